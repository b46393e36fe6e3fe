"""Forecast quality: can the forecasts be trusted, for which signal and how far ahead?"""

from collections.abc import Callable
from functools import partial

from grafana_foundation_sdk.models import dashboard as models

from grafana import board, fans, own_queries, panels, queries
from grafana.panels import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, column, now, prop, query

_COVERAGE_STEPS = ((None, VERMILLION), (0.6, ORANGE), (0.7, GREEN), (0.9, SKY))
_LOSS_STEPS = ((None, GREEN), (1, ORANGE))
_HORIZON_COLOURS = dict(zip(queries.HORIZONS, (SKY, BLUE, GREEN, ORANGE, PURPLE), strict=True))
_P10, _P50, _P90 = "p10 (low)", "p50 (most likely)", "p90 (high)"
# window -> (its name, what stands where it has no figure yet)
_WINDOWS = {
    own_queries.HOUR: ("last hour", "Nothing scored yet: a horizon is shown once the last hour has 12 outcomes for it."),
    own_queries.DAY: ("last day", "Nothing scored yet: a horizon is shown after 6 hours and live.minimum outcomes."),
}


def dashboard() -> models.Dashboard:
    """For whoever decides whether to believe a forecast."""
    return board.build(
        board.QUALITY,
        "Forecast quality",
        "Can the forecasts be trusted, for which signal and how far ahead?",
        [
            board.query_variable(*board.FLEET),
            board.query_variable("server", "Server", queries.ALL_SERVERS, "The server of the last chart."),
            board.choice("signal", "Signal", board.SIGNAL_CHOICES, "CPU", "cpu_pct", "The signal of the charts."),
            board.choice("horizon", "Horizon", ",".join(queries.HORIZONS), "30m", "30m", "The horizon of the charts."),
        ],
        board.PAST,
        "1m",
        [
            ("", _model()),
            *((f"The {name}, by signal and horizon", _scored(window)) for window, (name, _) in _WINDOWS.items()),
            ("Over time", _courses()),
            ("$server: forecast and outcome, $signal at $horizon", [_outcome().span(24).height(9)]),
        ],
    )


def _model() -> list[board.Placed]:
    model = panels.rows(
        "Model",
        "The model in use, when it was trained, and the checksum of its weights.",
        [column(own_queries.MODEL, "A")],
        {"model": "Model", "method": "Method", "trained": "Trained on", "weights": "Weights"},
    )
    return [
        model.span(10).height(5),
        panels.number(
            "Model loaded",
            "Whether the configured model is in use, or the less sure trend heuristic in its place.",
            "none",
            now(own_queries.MODEL_LOADED),
            states={-1: ("heuristic by choice", SKY), 0: ("NOT LOADED", VERMILLION), 1: ("loaded", GREEN)},
        )
        .span(4)
        .height(5),
        panels.number(
            "In use for",
            "Time since the forecaster last read its configuration and model.",
            "s",
            now(own_queries.MODEL_IN_USE),
        )
        .decimals(0)
        .span(3)
        .height(5),
        panels.number(
            "On the heuristic",
            "Share of the servers that the trend heuristic forecasts instead of the model.",
            "percentunit",
            query(own_queries.HEURISTIC_SHARE),
            steps=((None, GREEN), (0.01, ORANGE), (0.5, VERMILLION)),
            course=True,
        )
        .decimals(0)
        .span(4)
        .height(5),
        panels.number(
            "Forecast age",
            "Time since the last forecast; after 2 minutes forecasts are withheld.",
            "s",
            now(queries.FORECAST_AGE),
            steps=((None, GREEN), (60, ORANGE), (120, VERMILLION)),
        )
        .decimals(0)
        .span(3)
        .height(5),
    ]


def _matrix(title: str, description: str, expression: Callable[[str], str], unit: str) -> panels.table.Panel:
    """A row for each signal, a column for each horizon."""
    refs = dict(zip("ABCDE", queries.HORIZONS, strict=True))
    targets = [column(expression(horizon), ref) for ref, horizon in refs.items()]
    names = {"signal": "Signal"} | {f"Value #{ref}": horizon for ref, horizon in refs.items()}
    words = {signal: models.ValueMappingResult(text=name) for signal, (name, _) in panels.SIGNALS.items()}
    made = panels.rows(title, description, targets, names, unit=unit)
    return made.override_by_name("Signal", [prop("mappings", [models.ValueMap(options=words)])])


def _scored(window: str) -> list[board.Placed]:
    """Coverage, loss and the outcomes they rest on."""
    name, nothing = _WINDOWS[window]
    coverage = _matrix(
        f"Coverage of the {name}",
        "Share of the outcomes between p10 and p90. The band promises 80 %: below, it is too narrow, above, too wide.",
        partial(own_queries.recorded, window, "coverage"),
        "percentunit",
    ).decimals(0)
    loss = _matrix(
        f"Loss of the {name} against the heuristic",
        "Pinball loss over the trend heuristic's on the same outcomes: below 1 the forecasts are better than it.",
        partial(own_queries.recorded, window, "loss"),
        "none",
    ).decimals(2)
    for horizon in queries.HORIZONS:
        panels.cells(coverage, horizon, "percentunit", steps=_COVERAGE_STEPS)
        panels.cells(loss, horizon, "none", steps=_LOSS_STEPS)
    outcomes = _matrix(
        f"Outcomes of the {name}",
        "How many outcomes the two rest on. An outcome is compared with its forecast once the horizon has passed.",
        partial(own_queries.outcomes, window),
        "none",
    ).decimals(0)
    return [panel.no_value(nothing).span(8).height(9) for panel in (coverage, loss, outcomes)]


def _courses() -> list[board.Placed]:
    made = []
    for window, (name, nothing) in _WINDOWS.items():
        coverage = panels.lines(
            f"Coverage of the {name} at $horizon",
            "Share of the outcomes between p10 and p90, by signal; the line is the promised 80 %.",
            "percentunit",
            query(own_queries.recorded(window, "coverage"), "{{signal}}"),
        )
        loss = panels.lines(
            f"Loss of the {name} against the heuristic at $horizon",
            "Pinball loss over the trend heuristic's on the same outcomes, by signal; below the line the forecasts are better.",
            "none",
            query(own_queries.recorded(window, "loss"), "{{signal}}"),
        )
        made += [panels.marked(coverage.min(0).max(1), (0.8, GREEN)), panels.marked(loss.min(0), (1, GREEN))]
        for panel in made[-2:]:
            panel.no_value(nothing).span(12).height(8)
    widening = panels.lines(
        "Bands widened at $horizon",
        "Factor on the model's half-bands because outcomes fell outside too often, by signal; 1 is the model's own band.",
        "none",
        query(own_queries.WIDENING, "{{signal}}"),
    )
    widening.min(1).no_value("No record is kept.")
    width = panels.lines(
        "Band width of $signal",
        "Mean distance of p10 and p90 in the signal's own unit, by horizon: how unsure the forecaster is.",
        "short",
        query(own_queries.BAND_WIDTH, "{{horizon}}"),
    )
    methods = panels.stacked(
        "Servers by method",
        "How many servers the model and the trend heuristic forecast.",
        "none",
        query(own_queries.METHOD_COUNT, "{{method}}"),
    )
    panels.coloured(methods, {"tft": BLUE, "heuristic": ORANGE})
    panels.coloured(width, _HORIZON_COLOURS)
    return [*made, *(panel.span(8).height(8) for panel in (widening, width, methods))]


def _outcome() -> panels.timeseries.Panel:
    made = panels.lines(
        "Forecast and outcome",
        "Grey is what came, the band what was forecast one horizon before: eight times in ten grey should lie in it.",
        "short",
        query(own_queries.OUTCOME, "came", "A"),
        *(
            query(own_queries.outcome_forecast(percentile), name, ref)
            for percentile, name, ref in (("p90", _P90, "B"), ("p50", _P50, "C"), ("p10", _P10, "D"))
        ),
    )
    panels.coloured(made, {"came": GREY})
    return fans.band(made, _P10, _P50, _P90, ORANGE)
