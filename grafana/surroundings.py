"""The sections about what the forecaster depends on: configuration, exporter, rules and alerts."""

from grafana_foundation_sdk.models.common import BigValueTextMode

from grafana import board, own_queries, panels, queries
from grafana.panels import column, now, query
from grafana.states import ANY_IS_BAD, BLUE, CRITICAL, GREEN, ORANGE, PURPLE, QUIET, SKY, UP, VERMILLION


def configuration() -> list[board.Placed]:
    reloads = panels.rows("Config reloads",
                          "Result and age of the latest configuration reload of each part, and its version.",
                          [column(own_queries.RELOAD_OK, "A"), column(own_queries.RELOAD_AGE, "B"),
                           column(own_queries.VERSIONS, "C")],
                          {"job": ("Part", 200), "instance": ("Address", 250), "Value #A": ("Latest reload", 150),
                           "Value #B": ("Age", 150), "version": ("Version", 200)})
    panels.cells(reloads, "Latest reload", "none", states={0: ("FAILED", CRITICAL), 1: ("succeeded", QUIET)})
    panels.cells(reloads, "Age", "s", decimals=0)
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
    return [
        *board.row(4,
            (6, panels.number("Scenario",
                              "Current scenario of the simulated fleet and number of affected servers. Real servers "
                              "have no scenario.",
                              "none", now(queries.SCENARIO, "{{text}}"), shown=BigValueTextMode.NAME)),
            (4, panels.number("Metrics sources", "Whether Prometheus can scrape every exporter.", "none",
                              now(own_queries.EXPORTER_UP), states=UP, nothing="NOT SCRAPED")),
            (4, panels.number("Simulated servers", "Number of simulated servers.", "none",
                              now(own_queries.EXPORTER_SERVERS), nothing="no simulation")),
            (5, panels.number("Simulation ticks",
                              "Ticks of the simulation per second. 0.2 is one tick every 5 seconds, 0 is a stopped "
                              "simulation.",
                              "none", now(own_queries.TICKS), nothing="no simulation").decimals(2)),
            (5, panels.number("Exporter scrape", "Duration of a scrape of the exporter.", "s",
                              now(own_queries.EXPORTER_SCRAPE), nothing="no simulation"))),
        panels.coloured(states, colours).span(24).height(7),
    ]


def alerts() -> list[board.Placed]:
    sent = panels.lines("Alerts and notifications",
                        "Alerts sent to Alertmanager, errors, and notifications sent by Alertmanager, in 5 minutes.",
                        "none", query(own_queries.NOTIFICATIONS, "alerts sent", "A"),
                        query(own_queries.NOTIFICATION_ERRORS, "errors", "B"),
                        query(own_queries.PAGES, "pages and tickets", "C")).decimals(0)
    panels.coloured(sent, {"alerts sent": BLUE, "errors": VERMILLION, "pages and tickets": ORANGE})
    held = panels.number("Alerts in Alertmanager",
                         "Active alerts are notified. Suppressed alerts are silenced, or inhibited by a page for the "
                         "same server. Of all fleets; the watchdogs are always active.",
                         "none", now(queries.ALERTMANAGER_ALERTS, "{{state}}"), nothing="not scraped",
                         shown=BigValueTextMode.VALUE_AND_NAME)
    return [
        *board.row(4,
            (4, panels.number("Alerts firing",
                              "Firing alerts of this fleet and of what it depends on, without the watchdogs.", "none",
                              now(queries.FIRING_COUNT), steps=ANY_IS_BAD, nothing="rules not evaluated")),
            (4, panels.number("Failed rules", "Failed rule evaluations in 15 minutes. Their alerts may be missing.",
                              "none", now(own_queries.RULE_FAILURES), steps=ANY_IS_BAD,
                              nothing="not scraped").decimals(0)),
            (5, panels.number("Rule evaluation",
                              "Duration of one evaluation of all rules. It must stay far below 15 seconds.", "s",
                              now(own_queries.RULE_SECONDS), nothing="not scraped")),
            (7, held),
            (4, panels.number("Silences", "Active silences in Alertmanager.", "none",
                              now(queries.ALERTMANAGER_SILENCES), nothing="not scraped"))),
        sent.span(24).height(7),
    ]
