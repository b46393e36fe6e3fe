"""One server: what was measured, what is forecast up to now + 8 h, how sure that is, and what it means for the risk."""

from grafana_foundation_sdk.models import dashboard as models

from grafana import board, fans, panels, queries
from grafana.panels import BLUE, GREEN, GREY, ORANGE, PURPLE, RISK_STEPS, SKY, VERMILLION, now, query

_P10, _P50, _P90 = "p10 (low)", "p50 (most likely)", "p90 (high)"
_READING = (
    "**How to read the fans.** Grey is measured. The dashed line right of now is the most likely course (p50). Of ten "
    "outcomes one lies above the band, one below: **a narrow band is a sure forecast, a wide one is not.** Horizontal "
    "lines are the limits that give risk points."
)


def dashboard() -> models.Dashboard:
    """Opened from the fleet's table and from alerts."""
    return board.build(
        board.SERVER,
        "Server",
        "One server: measured, forecast for 8 hours, and what that means for its risk.",
        [
            board.query_variable(*board.FLEET),
            board.query_variable(*board.PROFILE),
            board.query_variable(*board.ONE_SERVER),
        ],
        board.AHEAD,
        "15s",
        [
            ("", _state()),
            (
                "$server: measured and forecast",
                [*(_fan(signal).span(12).height(9) for signal in queries.CORE), _note().span(24).height(3)],
            ),
            ("Risk", _risk()),
            (
                "What was predicted 30 minutes ago against what came",
                [_check(signal).span(12).height(8) for signal in queries.CORE],
            ),
            ("The other signals", [_fan(signal).span(12).height(8) for signal in queries.OTHER]),
            ("What this rests on", _basis()),
        ],
    )


def _state() -> list[board.Placed]:
    first = panels.number(
        "First trouble in",
        "Time until the p90 forecast first passes CPU or memory 95 % or latency 200 ms.",
        "s",
        now(queries.SERVER_FIRST_TROUBLE),
        steps=((None, GREEN), (0, VERMILLION), (3600, ORANGE)),
    )
    first.mappings(panels.texts({-1: ("none in 8 h", GREEN), 0: ("NOW", VERMILLION)})).decimals(0)
    probabilities = [
        panels.number(
            f"Incident within {window}",
            f"Probability of an incident on this server within {window}.",
            "percentunit",
            now(queries.server_probability(window)),
            steps=panels.PROBABILITY_STEPS,
        ).decimals(0)
        for window in ("30m", "8h")
    ]
    return [
        panels.number(
            "$server, next 8 hours",
            "ACT NOW: it is P1. LIKELY: the median forecast passes a limit. POSSIBLE: only p90 does. SAFE: neither.",
            "none",
            now(queries.SERVER_VERDICT),
            states=panels.VERDICT,
            nothing="NO FORECAST",
        )
        .span(6)
        .height(5),
        panels.number(
            "Risk",
            "Risk score of 0 to 100, from the p90 forecast of the next 30 minutes; 70 is P1, 40 is P2.",
            "none",
            now(queries.SERVER_RISK),
            steps=RISK_STEPS,
        )
        .span(3)
        .height(5),
        panels.number(
            "Priority",
            "P1 pages, P2 makes a ticket, P3 is only shown.",
            "none",
            now(queries.SERVER_PRIORITY),
            states=panels.PRIORITY,
        )
        .span(3)
        .height(5),
        panels.bars(
            "Why",
            "Risk points of each component: at most 40 for CPU, 35 for memory, 25 for latency.",
            "none",
            now(queries.SERVER_POINTS, "{{component}}"),
            steps=((None, SKY), (8, ORANGE), (25, VERMILLION)),
            largest=40,
        )
        .span(4)
        .height(5),
        first.span(3).height(5),
        probabilities[0].span(3).height(5),
        probabilities[1].span(2).height(5),
    ]


def _fan(signal: str) -> panels.timeseries.Panel:
    """Measured up to now, then p10 to p90."""
    title, unit = panels.SIGNALS[signal]
    drawn = "the lines are the limits of the risk" if signal in panels.RISK_LIMITS else "it adds nothing to the risk"
    made = panels.lines(
        title,
        f"{title}: measured (mean of 5 minutes), then the forecast to 8 hours ahead; {drawn}.",
        unit,
        query(queries.measured(signal), "measured", "A"),
        query(queries.curve(signal, "p90"), _P90, "B"),
        query(queries.curve(signal, "p50"), _P50, "C"),
        query(queries.curve(signal, "p10"), _P10, "D"),
    )
    panels.coloured(made, {"measured": GREY})
    fans.band(made, _P10, _P50, _P90, BLUE)
    return _scaled(made, signal)


def _check(signal: str) -> panels.timeseries.Panel:
    """The forecast of 30 minutes ago, drawn where it was for."""
    title, unit = panels.SIGNALS[signal]
    made = panels.lines(
        f"{title}, predicted and come",
        "Grey is what came, the band what was forecast 30 minutes before: "
        "eight times in ten grey should lie in it. It begins 30 minutes after the forecaster.",
        unit,
        query(queries.measured(signal), "came", "A"),
        *(
            query(queries.predicted(signal, percentile), name, ref)
            for percentile, name, ref in (("p90", _P90, "B"), ("p50", _P50, "C"), ("p10", _P10, "D"))
        ),
    )
    panels.coloured(made, {"came": GREY})
    fans.band(made, _P10, _P50, _P90, ORANGE)
    return _scaled(made, signal)


def _scaled(made: panels.timeseries.Panel, signal: str) -> panels.timeseries.Panel:
    made.no_value("This server does not measure it.")
    if signal in panels.RISK_LIMITS:
        fans.limits(made, signal)
    return made.min(0).max(100) if panels.SIGNALS[signal][1] == "percent" else made


def _note() -> panels.text.Panel:
    return panels.note("Reading help", "What the lines and bands of the fan charts mean.", _READING)


def _risk() -> list[board.Placed]:
    parts = panels.stacked(
        "Risk and what it is made of",
        "Risk points of each component on top of each other: their sum is the risk score. 70 is P1, 40 is P2.",
        "none",
        query(queries.SERVER_POINTS, "{{component}}"),
    ).max(100)
    panels.coloured(parts, {"cpu": BLUE, "memory": PURPLE, "latency": ORANGE})
    panels.marked(parts, *RISK_STEPS[1:])
    course = (
        panels.lines(
            "Probability of an incident",
            "On this server, within the next 30 minutes and the next 8 hours.",
            "percentunit",
            query(queries.SERVER_PROBABILITY, "within {{window}}"),
        )
        .min(0)
        .max(1)
    )
    panels.coloured(course, {"within 30m": VERMILLION, "within 8h": BLUE})
    states = panels.timeline(
        "Priority over time",
        "The priority that the risk score gave the server; the figures stand beside it.",
        query(queries.SERVER_PRIORITY, "priority"),
    ).mappings(panels.texts(panels.PRIORITY))
    return [parts.span(12).height(8), course.span(12).height(8), states.span(24).height(4)]


def _basis() -> list[board.Placed]:
    seen = panels.number(
        "Last seen",
        "Time since the newest sample of the server; from 30 minutes on it is stale and not forecast.",
        "s",
        now(queries.SERVER_LAST_SEEN),
        steps=((None, GREEN), (60, ORANGE), (1800, VERMILLION)),
    )
    warm = panels.number(
        "Warm-up",
        "Samples seen, of those the model needs before it forecasts the server.",
        "percentunit",
        now(queries.SERVER_WARMUP),
        steps=((None, ORANGE), (1, GREEN)),
    )
    method = panels.timeline(
        "Method over time",
        "Whether the model or the trend heuristic made the forecast; the figure stands beside it.",
        query(queries.SERVER_METHOD, "method"),
    ).mappings(panels.texts(panels.METHOD))
    return [
        panels.number(
            "Method",
            "What forecasts the server: the model, or during warm-up the less sure trend heuristic.",
            "none",
            now(queries.SERVER_METHOD),
            states=panels.METHOD,
        )
        .span(4)
        .height(5),
        warm.decimals(0).span(4).height(5),
        seen.decimals(0).span(4).height(5),
        panels.number(
            "Stale",
            "Whether the server was silent for too long to be forecast.",
            "none",
            now(queries.SERVER_STALE),
            states=panels.YES_IS_BAD,
        )
        .span(4)
        .height(5),
        method.span(8).height(5),
    ]
