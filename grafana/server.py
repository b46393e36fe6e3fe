"""One server: actual values, forecasts up to now + 8 h, and the risk."""

from collections.abc import Callable, Iterable
from functools import partial

from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import BigValueTextMode

from grafana import active_alerts, board, capacity, fans, incidents, panels, queries, states, tiles
from grafana.panels import now, query
from grafana.states import BLUE, CHANCE_STEPS, GREY, ORANGE, PURPLE, RISK_STEPS, VERMILLION

_READING = (
    "**How to read the fans.** Grey is the actual value, the dashed blue line the median forecast (p50). Of ten "
    "outcomes, one lies above p90 (purple), one below p10 (dotted). **A narrow band is a certain forecast, a wide band "
    "an uncertain one.** Horizontal lines are the limits that give risk points. A signal that the server does not "
    "measure has no data."
)


def dashboard() -> models.Dashboard:
    """Opened from the fleet's table and from alerts."""
    return board.build(board.SERVER, "Server", "One server: actual values, forecasts for 8 hours, and its risk.",
                       [board.query_variable(*board.FLEET), board.query_variable(*board.ONE_SERVER)],
                       board.AHEAD, "15s",
                       [("", _state()),
                        ("Incidents", _incidents()),
                        ("$server: actual and forecast", [*_each(9, _fan, queries.CORE), _note().span(24).height(3)]),
                        ("Capacity", capacity.server_row()),
                        ("Risk", _risk()),
                        ("Predicted vs. actual", _each(8, _check, queries.CORE)),
                        ("Other signals", _each(8, _fan, queries.OTHER)),
                        ("Data and method", _basis())])


def _each(height: int, panel: Callable[[str], board.Placed], signals: Iterable[str]) -> list[board.Placed]:
    return board.row(height, *((12, panel(signal)) for signal in signals))


def _state() -> list[board.Placed]:
    chances = tiles.chances(incidents.server_chance, "Calibrated chance that the server has an incident within {}.",
                            CHANCE_STEPS)
    seen = panels.number("Last sample",
                         "Time since the latest sample of the server. After 30 minutes it is stale and not forecast.",
                         "s", now(queries.SERVER_LAST_SEEN), steps=states.AGE_STEPS, nothing="none in 6 h")
    return board.row(4,
        (6, tiles.state("State of $server", incidents.SERVER_STATE, BigValueTextMode.VALUE)),
        (4, tiles.first(incidents.SERVER_FIRST, "of the server")),
        (3, chances[0]),
        (3, chances[1]),
        (2, panels.number("Risk", "Risk score of 0 to 100, from the p90 forecast of the next 30 minutes.", "none",
                          now(queries.SERVER_RISK), steps=RISK_STEPS, nothing="unknown")),
        (3, seen.decimals(0)),
        (3, panels.number("Method", "The model, or during warm-up the less accurate trend heuristic.", "none",
                          now(queries.SERVER_METHOD), states=states.METHOD)))


def _incidents() -> list[board.Placed]:
    why = panels.bars("Chance of each incident", "Chance of each incident within 8 hours; 100% while it is on.",
                      "percentunit", now(incidents.SERVER_WHY, "{{incident}}"), steps=states.CHANCE_BARS, largest=1,
                      nothing="no chance is known").decimals(0)
    courses = [
        panels.lines(f"Chance of each incident within {words}, last 6 h",
                     f"Calibrated chance that the incident is on at any time within {words}. None is known where the "
                     "trend forecasts its signal.",
                     "percentunit", query(incidents.server_chances(window), "{{incident}}")).min(0).max(1)
        for window, words in tiles.WINDOWS.items()
    ]
    marks = ((0.8, VERMILLION), (0.5, ORANGE))
    shown = [why, *(panels.until_now(panels.marked(*one)) for one in zip(courses, marks, strict=True))]
    on = panels.timeline("Incidents on, last 6 h", "Which incidents were on, and when.",
                         query(incidents.SERVER_ON, "{{incident}}")).mappings(panels.texts(states.ON))
    course = panels.timeline("State, last 6 h", "State of the server over time.",
                             query(incidents.SERVER_STATES, "state")).mappings(panels.texts(states.SHOWN))
    for panel in (*shown, on):
        panels.titled(panel, active_alerts.WORDS)
    return [*board.row(8, *((8, panel) for panel in shown)),
            *board.row(5, (12, panels.until_now(on)), (12, panels.until_now(course)))]


def _fan(signal: str) -> panels.timeseries.Panel:
    """Actual values up to now, then p10 to p90."""
    title, unit = panels.SIGNALS[signal]
    drawn = "the lines are risk limits" if signal in panels.RISK_LIMITS else "it gives no risk points"
    text = f"{title}: the actual mean of 5 minutes, then the forecast to 8 hours ahead; {drawn}."
    made = panels.lines(title, text, unit, query(queries.measured(signal), "actual", "A"))
    panels.coloured(made, {"actual": GREY})
    return _scaled(fans.band(made, partial(queries.curve, signal)), signal)


def _check(signal: str) -> panels.timeseries.Panel:
    """The forecast of 30 minutes ago, drawn at the instant it was for."""
    title, unit = panels.SIGNALS[signal]
    text = ("Grey is the actual value, the band p50 to p90 of 30 minutes before: half of the actual values should lie "
            "below it, a tenth above. It starts 30 minutes after the forecaster.")
    made = panels.lines(f"{title}: predicted vs. actual", text, unit, query(queries.measured(signal), "actual", "A"))
    panels.coloured(made, {"actual": GREY})
    return panels.until_now(_scaled(fans.upper_half(made, partial(queries.predicted, signal)), signal))


def _scaled(made: panels.timeseries.Panel, signal: str) -> panels.timeseries.Panel:
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
    return board.row(8, (12, panels.until_now(parts)), (12, panels.until_now(course)))


def _basis() -> list[board.Placed]:
    warm = panels.number("Warm-up", "Samples of the server as a share of those that the model needs.", "percentunit",
                         now(queries.SERVER_WARMUP), steps=((None, states.WARNING), (1, states.QUIET)))
    method = panels.timeline("Method, last 6 h", "Whether the model or the trend heuristic made the forecast.",
                             query(queries.SERVER_METHOD, "method")).mappings(panels.texts(states.METHOD))
    return board.row(4, (4, warm.decimals(0)), (20, panels.until_now(method)))
