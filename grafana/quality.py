"""Forecast quality: can the forecasts be trusted, for which signal and how far ahead? By the forecaster's record."""

from collections.abc import Callable
from functools import partial

from grafana_foundation_sdk.models import dashboard as models

from grafana import board, fans, own_queries, panels, queries
from grafana.panels import BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION, column, now, prop, query

_COVERAGE_STEPS = ((None, VERMILLION), (0.6, ORANGE), (0.7, GREEN), (0.9, SKY))
_LOSS_STEPS = ((None, GREEN), (1, ORANGE))
# window -> (its name, what stands where it has no figure yet)
_WINDOWS = {
    own_queries.HOUR: ("last hour", "Nothing scored yet: a horizon needs 12 outcomes in the last hour."),
    own_queries.DAY: ("last day", "Nothing scored yet: a horizon needs 6 hours and live.minimum outcomes."),
}


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
                        ("$server: forecast and actual, $signal at 30m", [_outcome().span(24).height(9)])])


def _model() -> list[board.Placed]:
    model = panels.rows("Model", "The model in use, its training date and the checksum of its weights.",
                        [column(own_queries.MODEL, "A")],
                        {"model": "Model", "method": "Method", "trained": "Trained on", "weights": "Weights"})
    return board.row(5,
        (10, model),
        (4, panels.number("Model loaded",
                          "Whether the configured model is loaded. Otherwise the less accurate trend heuristic is "
                          "used.",
                          "none", now(own_queries.MODEL_LOADED),
                          states={-1: ("heuristic by choice", SKY), 0: ("NOT LOADED", VERMILLION),
                                  1: ("loaded", GREEN)})),
        (3, panels.number("In use for", "Time since the forecaster last read its configuration and model.", "s",
                          now(own_queries.MODEL_IN_USE)).decimals(0)),
        (4, panels.number("On the heuristic",
                          "Share of the servers that the trend heuristic forecasts instead of the model.",
                          "percentunit", query(own_queries.HEURISTIC_SHARE),
                          steps=((None, GREEN), (0.01, ORANGE), (0.5, VERMILLION)), course=True).decimals(0)),
        (3, panels.number("Forecast age", "Time since the last forecast. After 2 minutes, forecasts are withheld.", "s",
                          now(queries.FORECAST_AGE), steps=panels.AGE_STEPS).decimals(0)))


def _matrix(title: str, description: str, expression: Callable[[str], str], unit: str) -> panels.table.Panel:
    """A row for each signal, a column for each horizon."""
    refs = dict(zip("ABCDE", queries.HORIZONS, strict=True))
    targets = [column(expression(horizon), ref) for ref, horizon in refs.items()]
    names = {"signal": "Signal"} | {f"Value #{ref}": horizon for ref, horizon in refs.items()}
    words = {signal: models.ValueMappingResult(text=name, index=index)
             for index, (signal, (name, _)) in enumerate(panels.SIGNALS.items())}
    made = panels.rows(title, description, targets, names, unit=unit)
    return made.override_by_name("Signal", [prop("mappings", [models.ValueMap(options=words)])])


def _scored(window: str) -> list[board.Placed]:
    """Coverage, loss and the outcomes they rest on."""
    name, nothing = _WINDOWS[window]
    coverage = _matrix(f"Coverage of the {name}",
                       "Share of the outcomes between p10 and p90. 80 % is right: the band is too narrow below and too "
                       "wide above.",
                       partial(own_queries.recorded, window, "coverage"), "percentunit").decimals(0)
    loss = _matrix(f"Loss of the {name} against the heuristic",
                   "Pinball loss divided by the trend heuristic's on the same outcomes. Below 1, the forecasts are "
                   "better.",
                   partial(own_queries.recorded, window, "loss"), "none").decimals(2)
    for horizon in queries.HORIZONS:
        panels.cells(coverage, horizon, "percentunit", steps=_COVERAGE_STEPS)
        panels.cells(loss, horizon, "none", steps=_LOSS_STEPS)
    outcomes = _matrix(f"Outcomes of the {name}",
                       "Outcomes that coverage and loss are computed from, summed over the forecasters. An outcome is "
                       "known when the horizon has passed.", partial(own_queries.outcomes, window), "none").decimals(0)
    return [panel.no_value(nothing).span(8).height(9) for panel in (coverage, loss, outcomes)]


def _courses() -> list[board.Placed]:
    made = []
    for window, (name, nothing) in _WINDOWS.items():
        coverage = panels.lines(f"Coverage of the {name} at $horizon",
                                "Share of the outcomes between p10 and p90, by signal. The line at 80 % is the target.",
                                "percentunit", query(own_queries.recorded(window, "coverage"), "{{signal}}"))
        loss = panels.lines(f"Loss of the {name} against the heuristic at $horizon",
                            "Pinball loss divided by the trend heuristic's, by signal. Below the line, the forecasts "
                            "are better.",
                            "none", query(own_queries.recorded(window, "loss"), "{{signal}}"))
        made += [panels.marked(coverage.min(0).max(1), (0.8, GREEN)), panels.marked(loss.min(0), (1, GREEN))]
        for panel in made[-2:]:
            panel.no_value(nothing).span(12).height(8)
    widening = panels.lines("Bands widened at $horizon",
                            "Factor on the model's half-bands, by signal. It is above 1 where the bands proved too "
                            "narrow.",
                            "none", query(own_queries.WIDENING, "{{signal}}"))
    widening.min(1).no_value("No record is kept.")
    width = panels.bars("Band width of $signal",
                        "Mean difference of p90 and p10 in the signal's unit, by horizon. A wide band is an uncertain "
                        "forecast.",
                        "short", now(own_queries.BAND_WIDTH, "{{horizon}}"), steps=panels.PLAIN)
    methods = panels.stacked("Servers by method", "Number of servers forecast by the model and by the trend heuristic.",
                             "none", query(own_queries.METHOD_COUNT, "{{method}}"))
    panels.coloured(methods, {"tft": BLUE, "heuristic": ORANGE})
    return [*made, *(panel.span(8).height(8) for panel in (widening, width, methods))]


def _outcome() -> panels.timeseries.Panel:
    text = ("Grey is the actual value, the band p50 to p90 of 30 minutes before: half of the actual values should lie "
            "below it, a tenth above.")
    made = panels.lines("Forecast and actual", text, "short", query(own_queries.OUTCOME, "actual", "A"))
    panels.coloured(made, {"actual": GREY})
    return fans.upper_half(made, own_queries.outcome_forecast, ORANGE)
