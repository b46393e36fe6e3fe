"""One server: actual values, forecasts up to now + 8 h, and the risk."""

from collections.abc import Callable, Iterable
from functools import partial

from grafana_foundation_sdk.models import dashboard as models

from grafana import board, fans, incidents, panels, queries
from grafana.panels import BLUE, CHANCE_STEPS, GREEN, GREY, ORANGE, PURPLE, RISK_STEPS, VERMILLION, now, query

_READING = (
    "**How to read the fans.** Grey is measured. The dashed line is the most likely course (p50). Of ten outcomes, "
    "one lies above the band and one below it. **A narrow band is a certain forecast, a wide band an uncertain one.** "
    "Horizontal lines are the limits that give risk points."
)


def dashboard() -> models.Dashboard:
    """Opened from the fleet's table and from alerts."""
    return board.build(board.SERVER, "Server", "One server: actual values, forecasts for 8 hours, and its risk.",
                       [board.query_variable(*board.FLEET), board.query_variable(*board.PROFILE),
                        board.query_variable(*board.ONE_SERVER)],
                       board.AHEAD, "15s",
                       [("", _state()),
                        ("Incidents", _incidents()),
                        ("$server: measured and forecast", [*_each(9, _fan, queries.CORE), _note().span(24).height(3)]),
                        ("Risk", _risk()),
                        ("Forecasts of 30 minutes ago and actual values", _each(8, _check, queries.CORE)),
                        ("The other signals", _each(8, _fan, queries.OTHER)),
                        ("Data and method", _basis())])


def _each(height: int, panel: Callable[[str], board.Placed], signals: Iterable[str]) -> list[board.Placed]:
    return board.row(height, *((12, panel(signal)) for signal in signals))


def _state() -> list[board.Placed]:
    first = panels.number("First incident in", "Time until the first incident is expected; NOW while one is on.", "s",
                          now(incidents.SERVER_FIRST), steps=((None, GREEN), (0, VERMILLION), (3600, ORANGE)))
    first.mappings(panels.texts(panels.FIRST)).decimals(0)
    chances = [
        panels.number(f"Any incident within {window}",
                      f"Calibrated chance that the server has an incident within {window}.",
                      "percentunit", now(incidents.server_chance(window)), steps=CHANCE_STEPS,
                      nothing="unknown").decimals(0)
        for window in ("30m", "8h")
    ]
    return board.row(5,
        (5, panels.number("$server, next 8 hours",
                          "ACT NOW: it is P1. LIKELY: it is P2, or an incident is on or has a chance of 50 %. "
                          "POSSIBLE: of 10 %. SAFE: none of it. UNKNOWN: no chance is known.",
                          "none", now(incidents.SERVER_VERDICT), states=panels.VERDICT, nothing="NO FORECAST")),
        (3, panels.number("Priority", "P1 pages, P2 opens a ticket, P3 is only shown.", "none",
                          now(incidents.SERVER_PRIORITY), states=panels.PRIORITY)),
        (2, panels.number("Risk", "Risk score of 0 to 100, from the p90 forecast of the next 30 minutes.", "none",
                          now(queries.SERVER_RISK), steps=RISK_STEPS)),
        (5, panels.bars("Why", "Chance of each incident within 8 hours; 100 % while it is on.", "percentunit",
                        now(incidents.SERVER_WHY, "{{incident}}"), steps=CHANCE_STEPS, largest=1,
                        nothing="no chance is known").decimals(0)),
        (3, first),
        (3, chances[0]),
        (3, chances[1]))


def _incidents() -> list[board.Placed]:
    courses = [
        panels.lines(f"Chance of each incident within {window}",
                     f"Calibrated chance that the incident is on at any time within {window}. None is known where the "
                     "trend forecasts its signal.",
                     "percentunit", query(incidents.server_chances(window), "{{incident}}")).min(0).max(1)
        for window in ("30m", "8h")
    ]
    states = panels.timeline("Incidents that are on", "Which incidents were on, and when.",
                             query(incidents.SERVER_ON, "{{incident}}")).mappings(panels.texts(panels.ON))
    marks = ((0.8, VERMILLION), (0.5, ORANGE))
    return [*board.row(8, *((12, panels.marked(course, mark).no_value("No chance of this server is known."))
                            for course, mark in zip(courses, marks, strict=True))),
            states.no_value("No incident of this server is known.").span(24).height(5)]


def _fan(signal: str) -> panels.timeseries.Panel:
    """Measured up to now, then p10 to p90."""
    title, unit = panels.SIGNALS[signal]
    drawn = "the lines are risk limits" if signal in panels.RISK_LIMITS else "it does not affect the risk"
    text = f"{title}: the measured mean of 5 minutes, then the forecast to 8 hours ahead; {drawn}."
    made = panels.lines(title, text, unit, query(queries.measured(signal), "measured", "A"))
    panels.coloured(made, {"measured": GREY})
    return _scaled(fans.band(made, partial(queries.curve, signal), BLUE), signal)


def _check(signal: str) -> panels.timeseries.Panel:
    """The forecast of 30 minutes ago, drawn at the instant it was for."""
    title, unit = panels.SIGNALS[signal]
    text = ("Grey is the actual value, the band p50 to p90 of 30 minutes before: half of the actual values should lie "
            "below it, a tenth above. It starts 30 minutes after the forecaster.")
    made = panels.lines(f"{title}: forecast and actual", text, unit, query(queries.measured(signal), "actual", "A"))
    panels.coloured(made, {"actual": GREY})
    return _scaled(fans.upper_half(made, partial(queries.predicted, signal), ORANGE), signal)


def _scaled(made: panels.timeseries.Panel, signal: str) -> panels.timeseries.Panel:
    made.no_value("This server has no such signal.")
    if signal in panels.RISK_LIMITS:
        fans.limits(made, signal)
    return made.min(0).max(100) if panels.SIGNALS[signal][1] == "percent" else made


def _note() -> panels.text.Panel:
    return panels.note("Reading help", "Meaning of the lines and bands of the fan charts.", _READING)


def _risk() -> list[board.Placed]:
    parts = panels.stacked("Risk by component",
                           "Risk points of each component, stacked. Their sum is the risk score. Where it decides, 70 "
                           "is P1 and 40 is P2.",
                           "none", query(queries.SERVER_POINTS, "{{component}}")).max(100)
    panels.coloured(parts, {"cpu": BLUE, "memory": PURPLE, "latency": ORANGE})
    panels.marked(parts, *RISK_STEPS[1:])
    course = panels.lines("Weighted probability",
                          "Incident probability as a sum of weights for the thresholds crossed within 30 minutes and "
                          "within 8 hours.",
                          "percentunit", query(queries.SERVER_PROBABILITY, "within {{window}}")).min(0).max(1)
    panels.coloured(course, {"within 30m": VERMILLION, "within 8h": BLUE})
    states = panels.timeline("Priority over time",
                             "Priority of the server, by its risk score or by the chances of its incidents.",
                             query(incidents.SERVER_PRIORITY, "priority")).mappings(panels.texts(panels.PRIORITY))
    return [parts.span(12).height(8), course.span(12).height(8), states.span(24).height(4)]


def _basis() -> list[board.Placed]:
    seen = panels.number("Last seen",
                         "Time since the latest sample of the server. After 30 minutes it is stale and not forecast.",
                         "s", now(queries.SERVER_LAST_SEEN), steps=((None, GREEN), (60, ORANGE), (1800, VERMILLION)))
    warm = panels.number("Warm-up", "Samples of the server as a share of those that the model needs.", "percentunit",
                         now(queries.SERVER_WARMUP), steps=((None, ORANGE), (1, GREEN)))
    method = panels.timeline("Method over time", "Whether the model or the trend heuristic made the forecast.",
                             query(queries.SERVER_METHOD, "method")).mappings(panels.texts(panels.METHOD))
    return board.row(5,
        (4, panels.number("Method", "The model, or during warm-up the less accurate trend heuristic.", "none",
                          now(queries.SERVER_METHOD), states=panels.METHOD)),
        (4, warm.decimals(0)),
        (4, seen.decimals(0)),
        (4, panels.number("Stale", "Whether the latest sample is too old for a forecast.", "none",
                          now(queries.SERVER_STALE), states=panels.YES_IS_BAD)),
        (8, method))
