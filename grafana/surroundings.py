"""The sections about what the forecaster depends on: configuration, exporter, rules and alerts."""

from grafana import board, own_queries, panels, queries
from grafana.panels import ANY_IS_BAD, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, column, now, query


def configuration() -> list[board.Placed]:
    names = {
        "job": "Part",
        "instance": "Address",
        "Value #A": "Last reload",
        "Value #B": "Time since",
        "version": "Version",
    }
    reloads = panels.rows("Configuration reloads",
                          "Result and age of the latest configuration reload of each part, and its version.",
                          [column(own_queries.RELOAD_OK, "A"), column(own_queries.RELOAD_AGE, "B"),
                           column(own_queries.VERSIONS, "C")],
                          names)
    panels.cells(reloads, "Last reload", "none", states={0: ("REFUSED", VERMILLION), 1: ("taken", GREEN)})
    panels.cells(reloads, "Time since", "s", decimals=0)
    return [reloads.span(24).height(7)]


def exporter() -> list[board.Placed]:
    states = panels.stacked("Servers by simulated state",
                            "Number of simulated servers in each state. Real servers have no state.", "none",
                            query(own_queries.SERVER_STATES, "{{state}}"))
    colours = {
        "healthy": GREEN,
        "morning_spike": SKY,
        "heavy_load": BLUE,
        "degraded": ORANGE,
        "critical": VERMILLION,
        "recovering": PURPLE,
    }
    return board.row(8,
        (4, panels.number("Metrics sources", "Whether Prometheus can scrape an exporter or node_exporter.", "none",
                          now(own_queries.EXPORTER_UP), states=panels.UP, nothing="NOT SCRAPED")),
        (4, panels.number("Simulated servers",
                          "Number of simulated servers. It is 0 where only real hosts are monitored.", "none",
                          now(own_queries.EXPORTER_SERVERS))),
        (4, panels.number("Ticks",
                          "Ticks of the simulation per second. 0.2 is one tick every 5 seconds, 0 is a stopped "
                          "simulation.",
                          "none", query(own_queries.TICKS), course=True).decimals(2)),
        (4, panels.number("Exporter scrape", "Duration of a scrape of the exporter.", "s",
                          query(own_queries.EXPORTER_SCRAPE), course=True)),
        (8, panels.coloured(states, colours)))


def alerts() -> list[board.Placed]:
    sent = panels.lines("Alerts and messages",
                        "Alerts sent to Alertmanager, errors, and notifications sent by Alertmanager, in 5 minutes.",
                        "none", query(own_queries.NOTIFICATIONS, "alerts sent", "A"),
                        query(own_queries.NOTIFICATION_ERRORS, "errors", "B"),
                        query(own_queries.PAGES, "pages and tickets", "C")).decimals(0)
    panels.coloured(sent, {"alerts sent": BLUE, "errors": VERMILLION, "pages and tickets": ORANGE})
    return board.row(8,
        (4, panels.number("Firing alerts",
                          "Firing alerts of this forecaster and of its dependencies, without the watchdog.", "none",
                          now(queries.FIRING_COUNT), steps=ANY_IS_BAD)),
        (4, panels.number("Rule failures", "Failed rule evaluations in 15 minutes. Their alerts may be missing.",
                          "none", now(own_queries.RULE_FAILURES), steps=ANY_IS_BAD).decimals(0)),
        (4, panels.number("Rule evaluation",
                          "Duration of one evaluation of all rules. It must stay far below 15 seconds.", "s",
                          query(own_queries.RULE_SECONDS), course=True)),
        (12, sent))
