"""Fleet overview: are the next eight hours safe, which server is the problem, why, and how sure is it?"""

from grafana_foundation_sdk.models import dashboard as models

from grafana import active_alerts, board, panels, queries
from grafana.panels import (
    ANY_IS_BAD,
    GREEN,
    ORANGE,
    PROBABILITY_STEPS,
    RISK_STEPS,
    VERMILLION,
    column,
    now,
    prop,
    query,
)

_TILE_LINK = [board.server_link("${__field.labels.server}")]


def dashboard() -> models.Dashboard:
    """The dashboard Grafana opens with."""
    return board.build(
        board.OVERVIEW,
        "Fleet",
        "Are the next eight hours safe, which server is the problem, why, and how sure is it?",
        [board.query_variable(*board.FLEET), board.query_variable(*board.PROFILE)],
        board.AHEAD,
        "30s",
        [
            ("", _verdict()),
            ("", _figures()),
            ("Active alerts: every server with a risk above 0", [active_alerts.table().span(24).height(8)]),
            ("Firing now", _firing()),
            ("Risk, so far and by the forecast of the next 8 hours", _risk()),
        ],
    )


def _verdict() -> list[board.Placed]:
    first = panels.number(
        "First trouble in",
        "Time until the p90 forecast of a server first passes CPU or memory 95 % or latency 200 ms.",
        "s",
        now(queries.FLEET_FIRST_TROUBLE),
        steps=((None, GREEN), (0, VERMILLION), (3600, ORANGE)),
    )
    first.mappings(panels.texts({-1: ("none in 8 h", GREEN), 0: ("NOW", VERMILLION)})).decimals(0)
    riskiest = panels.number(
        "Riskiest servers",
        "The three servers with the highest risk score, 0 to 100; click one to open it.",
        "none",
        now(queries.RISKIEST, "{{server}}"),
        steps=((None, GREEN), (1, panels.SKY), *RISK_STEPS[1:]),
        names=True,
    )
    return [
        panels.number(
            "Next 8 hours",
            "ACT NOW: a server is P1. LIKELY: the median forecast of a server passes a limit. "
            "POSSIBLE: only its p90 does. SAFE: neither.",
            "none",
            now(queries.FLEET_VERDICT),
            states=panels.VERDICT,
            nothing="NO FORECAST",
        )
        .span(6)
        .height(5),
        riskiest.data_links([_link(_TILE_LINK[0])]).span(8).height(5),
        panels.bars(
            "Why",
            "How many servers have risk points for each component: what drives the risk.",
            "none",
            now(queries.RISK_DRIVERS, "{{component}}"),
            steps=ANY_IS_BAD,
        )
        .decimals(0)
        .span(4)
        .height(5),
        first.span(3).height(5),
        panels.number(
            "Fleet health",
            "By the mean incident probability of the next 30 minutes: warning above 40 %, critical above 70 %.",
            "none",
            now(queries.HEALTH),
            states=panels.HEALTH,
        )
        .span(3)
        .height(5),
    ]


def _figures() -> list[board.Placed]:
    by_priority = panels.bars(
        "Servers by priority",
        "How many servers are P1 (risk 70 or more), P2 (40 or more) and P3.",
        "none",
        now(queries.priority_count("P1"), "P1", "A"),
        steps=panels.PLAIN,
    ).decimals(0)
    by_priority.with_target(now(queries.priority_count("P2"), "P2", "B"))
    by_priority.with_target(now(queries.priority_count("P3"), "P3", "C"))
    for name, (_, colour) in zip(("P1", "P2", "P3"), panels.PRIORITY.values(), strict=True):
        by_priority.override_by_name(name, [panels.fixed(colour)])
    probabilities = [
        panels.number(
            f"Incident within {window}",
            f"Mean over all servers of the probability of an incident within {window}: "
            "now, and its course over 6 hours.",
            "percentunit",
            query(queries.fleet_probability(window)),
            steps=PROBABILITY_STEPS,
            course=True,
        )
        .decimals(0)
        .min(0)
        .max(1)
        for window in ("30m", "8h")
    ]
    scenario = panels.number(
        "Scenario",
        "What the simulated fleet plays at the moment, and how many servers that affects; real servers have none.",
        "none",
        now(queries.SCENARIO, "{{scenario}}"),
        names=True,
    )
    scenario.with_target(now(queries.AFFECTED, "servers affected", "B"))
    scenario.override_by_query(
        "A",
        [
            prop(
                "mappings",
                [
                    models.RangeMap(
                        options=models.DashboardRangeMapOptions(
                            from_val=0, to=1, result=models.ValueMappingResult(text="scenario")
                        )
                    )
                ],
            )
        ],
    )
    warmup = panels.number(
        "Warm-up",
        "How many servers are still forecast by the trend heuristic because they have too few samples for the model.",
        "none",
        now(queries.WARMUP),
        steps=((None, GREEN), (1, ORANGE)),
    )
    warmup.mappings(
        panels.texts(
            {-2: ("MODEL DID NOT LOAD", VERMILLION), -1: ("heuristic by choice", panels.SKY), 0: ("complete", GREEN)}
        )
    )
    return [
        probabilities[0].span(4).height(5),
        probabilities[1].span(4).height(5),
        by_priority.span(5).height(5),
        panels.number(
            "High risk",
            "Servers of priority P1: each of them pages.",
            "none",
            now(queries.HIGH_RISK),
            steps=ANY_IS_BAD,
        )
        .span(3)
        .height(5),
        scenario.span(4).height(5),
        warmup.span(4).height(5),
    ]


def _firing() -> list[board.Placed]:
    alerts = panels.rows(
        "Firing alerts",
        "The alerts of this forecaster, and of what it depends on, that fire in Prometheus now.",
        [column(queries.FIRING, "A")],
        {"alertname": "Alert", "priority": "Priority", "server": "Server", "instance": "Raised for"},
    )
    alerts.override_by_name("Server", [active_alerts.SERVER_LINK])
    held = panels.number(
        "Held by Alertmanager",
        "Alerts that Alertmanager notifies about (active) and that a silence or a "
        "page for the same server holds back (suppressed). The watchdog is always one of the active.",
        "none",
        now(queries.ALERTMANAGER_ALERTS, "{{state}}"),
        nothing="no Alertmanager",
        names=True,
    )
    return [
        alerts.span(12).height(7),
        held.span(6).height(7),
        panels.number(
            "Silences",
            "Silences in force: who set them expects what they hide.",
            "none",
            now(queries.ALERTMANAGER_SILENCES),
        )
        .span(3)
        .height(7),
        panels.number(
            "Alert chain",
            "Forecasts are current, rules are evaluated and alerts delivered: only then is silence good news.",
            "none",
            now(queries.WATCHDOG),
            states={0: ("BROKEN", VERMILLION), 1: ("works", GREEN)},
        )
        .span(3)
        .height(7),
    ]


def _risk() -> list[board.Placed]:
    tiles = panels.number(
        "Risk map",
        "One tile for each server, the riskiest first, with its risk score of 0 to 100; click one to open it.",
        "none",
        now(queries.RISK_MAP, "{{server}}"),
        steps=RISK_STEPS,
        names=True,
    )
    past = [queries.past_limit(signal) for signal in queries.TROUBLE]
    names = [
        f"{panels.SIGNALS[signal][0]} above {limit} {'ms' if signal == 'latency_ms' else '%'}"
        for signal, limit in queries.TROUBLE.items()
    ]
    over = panels.lines(
        "Servers past a limit",
        "Up to now by measurement, from now on by the p90 forecast: when how many servers are in trouble.",
        "none",
        *(query(expression, name, ref) for expression, name, ref in zip(past, names, "ABC", strict=True)),
    )
    priorities = panels.stacked(
        "Servers by priority over time",
        "Up to now as it was, from now on by the points of the p90 forecast.",
        "none",
        query(queries.PRIORITY_COURSE, "{{priority}}"),
    ).interval("1m")
    for value, (name, colour) in {"0": ("P3", panels.SKY), "1": ("P2", ORANGE), "2": ("P1", VERMILLION)}.items():
        priorities.override_by_name(value, [prop("displayName", name), panels.fixed(colour)])
    risk = (
        panels.lines(
            "Risk over time",
            "Risk score of the riskiest servers: up to now as it was, from now on what the p90 forecast gives for "
            "that hour.",
            "none",
            query(queries.RISK_COURSE, "{{server}}"),
        )
        .min(0)
        .max(100)
        .interval("1m")
    )
    panels.marked(risk, *RISK_STEPS[1:])
    return [
        tiles.data_links([_link(_TILE_LINK[0])]).span(24).height(9),
        risk.span(12).height(9),
        panels.heat_rows(
            "Risk by profile",
            "The highest risk score of each profile over time, bright is high; works for any number of servers.",
            "none",
            query(queries.RISK_BY_PROFILE, "{{profile}}"),
            100,
        )
        .interval("1m")
        .span(12)
        .height(9),
        priorities.span(12).height(8),
        panels.coloured(over.decimals(0), dict(zip(names, (panels.BLUE, ORANGE, panels.PURPLE), strict=True)))
        .span(12)
        .height(8),
    ]


def _link(made: dict[str, object]) -> panels.dashboard.DashboardLink:
    return panels.dashboard.DashboardLink(str(made["title"])).url(str(made["url"]))
