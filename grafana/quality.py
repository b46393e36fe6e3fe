"""Forecast quality: can the forecasts be trusted, for which signal and how far ahead? By the forecaster's record."""

from collections.abc import Callable
from functools import partial

from grafana_foundation_sdk.models import dashboard as models

from grafana import board, fans, own_queries, panels, queries, states, tiles
from grafana.panels import column, now, query
from grafana.states import BLUE, CRITICAL, GREEN, GREY, NOTICE, ORANGE, QUIET, WARNING

_COVERAGE_STEPS = ((None, CRITICAL), (0.6, WARNING), (0.7, QUIET), (0.9, NOTICE))
_LOSS_STEPS = ((None, QUIET), (1, WARNING))
# window -> (its name, what stands where it has no figure yet)
_WINDOWS = {
    own_queries.HOUR: ("last hour", "Nothing scored yet: 5m begins 6 minutes after the start, 8h after 8 hours."),
    own_queries.DAY: ("last day", "Nothing scored yet: begins 6 hours after the start, from 500 outcomes on."),
}
_TITLES = {signal: title for signal, (title, _) in panels.SIGNALS.items()}
_METHODS = {"tft": "Model", "heuristic": "Fallback"}
_NOT_YET = "not yet"  # in a cell, or at a point of a line, beside others that have a figure


def dashboard() -> models.Dashboard:
    """For whoever decides whether to believe a forecast."""
    return board.build(board.QUALITY, "Forecast quality",
                       "Can the forecasts be trusted, for which signal and how far ahead?",
                       [board.query_variable(*board.FLEET),
                        board.query_variable("server", "Server", queries.ALL_SERVERS, "The server of the last chart."),
                        board.choice("signal", "Signal", board.SIGNAL_CHOICES, "CPU", "cpu_pct",
                                     "The signal of the charts."),
                        board.choice("horizon", "Horizon", ",".join(queries.HORIZONS), "30m", "30m",
                                     "The horizon of the charts.")],
                       board.PAST, "1m",
                       [("", _model()),
                        ("The last hour, by signal and horizon", _scored(own_queries.HOUR)),
                        ("The last day, by signal and horizon", _scored(own_queries.DAY)),
                        ("Over time", _courses()),
                        ("$server: predicted vs. actual, ${signal:text} at 30m", [_outcome().span(24).height(9)])])


def _model() -> list[board.Placed]:
    model = panels.rows("Model", "The model in use, its training date and the checksum of its weights.",
                        [column(own_queries.MODEL, "A")],
                        {"model": ("Model", 120), "method": ("Method", 80), "trained": ("Trained on", 110),
                         "weights": ("Weights", 110)})
    return board.row(5,
        (10, model),
        (4, panels.number("Model loaded",
                          "Whether the configured model is loaded. Otherwise the less accurate trend heuristic is "
                          "used.",
                          "none", now(own_queries.MODEL_LOADED),
                          states={-1: ("heuristic by choice", NOTICE), 0: ("NOT LOADED", CRITICAL),
                                  1: ("loaded", QUIET)})),
        (3, panels.number("Latest reload", "Time since the forecaster last read its configuration and model.", "s",
                          now(own_queries.MODEL_IN_USE)).decimals(0)),
        (3, panels.number("Fallback", "Share of the servers that the trend heuristic forecasts instead of the model.",
                          "percentunit", now(own_queries.HEURISTIC_SHARE),
                          steps=((None, QUIET), (0.01, WARNING), (0.5, CRITICAL))).decimals(0)),
        (4, tiles.forecast_age()))


def _matrix(title: str, description: str, nothing: str, expression: Callable[[str], str],
            unit: str) -> panels.table.Panel:
    """A row for each signal, a column for each horizon."""
    refs = dict(zip("ABCDE", queries.HORIZONS, strict=True))
    targets = [column(expression(horizon), ref) for ref, horizon in refs.items()]
    names = {"signal": ("Signal", 100)} | {f"Value #{ref}": (horizon, 55) for ref, horizon in refs.items()}
    made = panels.rows(title, description, targets, names, unit=unit, nothing=nothing, empty=_NOT_YET)
    return made.override_by_name("Signal", [panels.prop("mappings", panels.words_for(_TITLES))])


def _scored(window: str) -> list[board.Placed]:
    """Coverage, loss and the outcomes they rest on."""
    name, nothing = _WINDOWS[window]
    coverage = _matrix(f"Coverage of the {name}",
                       "Share of the outcomes between p10 and p90. 80% is right: the band is too narrow below and too "
                       "wide above.",
                       nothing, partial(own_queries.recorded, window, "coverage"), "percentunit").decimals(0)
    loss = _matrix(f"Loss of the {name} against the heuristic",
                   "Pinball loss divided by the trend heuristic's on the same outcomes. Below 1, the forecasts are "
                   "better.",
                   nothing, partial(own_queries.recorded, window, "loss"), "none").decimals(2)
    for horizon in queries.HORIZONS:
        panels.cells(coverage, horizon, "percentunit", steps=_COVERAGE_STEPS)
        panels.cells(loss, horizon, "none", steps=_LOSS_STEPS)
    outcomes = _matrix(f"Outcomes of the {name}",
                       "Outcomes that coverage and loss are computed from, summed over the forecasters. An outcome is "
                       "known when the horizon has passed.",
                       nothing, partial(own_queries.outcomes, window), "none").decimals(0)
    return [panel.span(8).height(9) for panel in (coverage, loss, outcomes)]


def _courses() -> list[board.Placed]:
    made = []
    for window, (name, nothing) in _WINDOWS.items():
        coverage = panels.lines(f"Coverage of the {name} at $horizon",
                                "Share of the outcomes between p10 and p90, by signal. The line at 80% is the target.",
                                "percentunit", query(own_queries.recorded(window, "coverage"), "{{signal}}"))
        loss = panels.lines(f"Loss of the {name} against the heuristic at $horizon",
                            "Pinball loss divided by the trend heuristic's, by signal. Below the line, the forecasts "
                            "are better.",
                            "none", query(own_queries.recorded(window, "loss"), "{{signal}}"))
        made += [panels.marked(coverage.min(0).max(1), (0.8, GREEN)), panels.marked(loss.min(0), (1, GREEN))]
        for panel in made[-2:]:
            panel.no_value(nothing).override_by_field_type("number", [panels.prop("noValue", _NOT_YET)])
            panels.titled(panel, _TITLES).span(12).height(8)
    widening = panels.lines("Bands widened at $horizon",
                            "Factor on the model's half-bands, by signal. It is above 1 where the bands proved too "
                            "narrow.",
                            "none", query(own_queries.WIDENING, "{{signal}}"))
    panels.titled(widening.min(1).no_value("no record is kept"), _TITLES)
    width = panels.bars("Band width of ${signal:text}",
                        "Mean difference of p90 and p10 in the signal's unit, by horizon. A wide band is an uncertain "
                        "forecast.",
                        "short", now(own_queries.BAND_WIDTH, "{{horizon}}"), steps=states.BARS)
    methods = panels.stacked("Servers by method", "Number of servers forecast by the model and by the trend heuristic.",
                             "none", query(own_queries.METHOD_COUNT, "{{method}}"))
    panels.titled(panels.coloured(methods, {"tft": BLUE, "heuristic": ORANGE}), _METHODS)
    return [*made, *(panel.span(8).height(8) for panel in (widening, width, methods))]


def _outcome() -> panels.timeseries.Panel:
    text = ("Grey is the actual value, the band p50 to p90 of 30 minutes before: half of the actual values should lie "
            "below it, a tenth above.")
    made = panels.lines("Predicted vs. actual", text, "short", query(own_queries.OUTCOME, "actual", "A"))
    panels.coloured(made, {"actual": GREY})
    return fans.upper_half(made, own_queries.outcome_forecast)
