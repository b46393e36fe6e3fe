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
    reloads = panels.rows(
        "Configuration reloads",
        "Whether each part took its configuration when it last read it, when that was, and its version.",
        [column(own_queries.RELOAD_OK, "A"), column(own_queries.RELOAD_AGE, "B"), column(own_queries.VERSIONS, "C")],
        names,
    )
    panels.cells(reloads, "Last reload", "none", states={0: ("REFUSED", VERMILLION), 1: ("taken", GREEN)})
    panels.cells(reloads, "Time since", "s", decimals=0)
    return [reloads.span(24).height(7)]


def exporter() -> list[board.Placed]:
    states = panels.stacked(
        "Servers by simulated state",
        "How many simulated servers are in which state; real servers have none.",
        "none",
        query(own_queries.SERVER_STATES, "{{state}}"),
    )
    colours = {
        "healthy": GREEN,
        "morning_spike": SKY,
        "heavy_load": BLUE,
        "degraded": ORANGE,
        "critical": VERMILLION,
        "recovering": PURPLE,
    }
    return [
        panels.number(
            "Metrics sources",
            "Whether an exporter or node_exporter answers Prometheus.",
            "none",
            now(own_queries.EXPORTER_UP),
            states=panels.UP,
            nothing="NOT SCRAPED",
        )
        .span(4)
        .height(8),
        panels.number(
            "Simulated servers",
            "Servers that the exporter shows; none where only real hosts are watched.",
            "none",
            now(own_queries.EXPORTER_SERVERS),
        )
        .span(4)
        .height(8),
        panels.number(
            "Ticks",
            "Ticks of the simulation in a second: 0.2 is one every 5 seconds, 0 is a simulation that stands still.",
            "none",
            query(own_queries.TICKS),
            course=True,
        )
        .decimals(2)
        .span(4)
        .height(8),
        panels.number(
            "Exporter scrape",
            "How long Prometheus waits for the exporter's page.",
            "s",
            query(own_queries.EXPORTER_SCRAPE),
            course=True,
        )
        .span(4)
        .height(8),
        panels.coloured(states, colours).span(8).height(8),
    ]


def alerts() -> list[board.Placed]:
    sent = panels.lines(
        "Alerts and messages",
        "Alerts handed to Alertmanager, errors in that, and messages Alertmanager sent out, in 5 minutes.",
        "none",
        query(own_queries.NOTIFICATIONS, "alerts handed over", "A"),
        query(own_queries.NOTIFICATION_ERRORS, "errors", "B"),
        query(own_queries.PAGES, "pages and tickets", "C"),
    ).decimals(0)
    panels.coloured(sent, {"alerts handed over": BLUE, "errors": VERMILLION, "pages and tickets": ORANGE})
    return [
        panels.number(
            "Firing alerts",
            "Alerts of this forecaster and of what it depends on that fire now, without the watchdog.",
            "none",
            now(queries.FIRING_COUNT),
            steps=ANY_IS_BAD,
        )
        .span(4)
        .height(8),
        panels.number(
            "Rule failures",
            "Evaluations of rules that failed in 15 minutes: their alerts may be missing.",
            "none",
            now(own_queries.RULE_FAILURES),
            steps=ANY_IS_BAD,
        )
        .decimals(0)
        .span(4)
        .height(8),
        panels.number(
            "Rule evaluation",
            "Time one evaluation of all rules takes; it has to stay far below 15 seconds.",
            "s",
            query(own_queries.RULE_SECONDS),
            course=True,
        )
        .span(4)
        .height(8),
        sent.span(12).height(8),
    ]
