"""Forecast quality: can the forecasts be trusted, for which signal and how far ahead?"""

from grafana_foundation_sdk.models import dashboard as models

from grafana import board, fans, own_queries, panels, queries
from grafana.panels import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, column, now, prop, query

_COVERAGE_STEPS = ((None, VERMILLION), (0.6, ORANGE), (0.7, GREEN), (0.9, SKY))
_HORIZON_COLOURS = dict(zip(queries.HORIZONS, (SKY, BLUE, GREEN, ORANGE, PURPLE), strict=True))
_P10, _P50, _P90 = "p10 (low)", "p50 (most likely)", "p90 (high)"


def dashboard() -> models.Dashboard:
    """For whoever decides whether to believe a forecast."""
    horizons = ",".join(queries.HORIZONS)
    return board.build(
        board.QUALITY,
        "Forecast quality",
        "Can the forecasts be trusted, for which signal and how far ahead?",
        [
            board.query_variable(*board.FLEET),
            board.query_variable(*board.PROFILE),
            board.query_variable(*board.ONE_SERVER),
            board.choice("signal", "Signal", board.SIGNAL_CHOICES, "CPU", "cpu_pct", "The signal of the charts."),
            board.choice(
                "horizon", "Horizon", horizons, "30m", "30m", "How far ahead the forecasts of the charts were."
            ),
        ],
        board.PAST,
        "1m",
        [
            ("", _model()),
            (
                "Forecasts against outcomes of the last hour",
                [_coverage().span(12).height(9), _loss().span(12).height(9)],
            ),
            ("The forecaster's own record of a day, at $horizon", _record()),
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


def _matrix(title: str, description: str, expression, unit: str) -> panels.table.Panel:
    """A row for each signal, a column for each horizon."""
    targets = [column(expression(horizon), ref) for horizon, ref in zip(queries.HORIZONS, "ABCDE", strict=True)]
    names = {"signal": "Signal"} | {
        f"Value #{ref}": horizon for horizon, ref in zip(queries.HORIZONS, "ABCDE", strict=True)
    }
    made = panels.rows(title, description, targets, names, unit=unit).decimals(2)
    made.no_value(
        "An outcome is compared with its forecast once the horizon has passed: 5 minutes after the start at the earliest."
    )
    mapping = models.ValueMap(
        options={
            signal: models.ValueMappingResult(text=f"{name} ({_short(grafana_unit)})", index=index)
            for index, (signal, (name, grafana_unit)) in enumerate(panels.SIGNALS.items())
        }
    )
    return made.override_by_name("Signal", [prop("mappings", [mapping])])


def _short(unit: str) -> str:
    return {"percent": "%", "percentunit": "ratio", "MBs": "MB/s"}.get(unit, unit)


def _coverage() -> panels.table.Panel:
    made = _matrix(
        "Coverage",
        "Share of the outcomes between p10 and p90. 80 % is what the band promises: below, it is too sure, above, "
        "too careful.",
        own_queries.coverage,
        "percentunit",
    ).decimals(0)
    for horizon in queries.HORIZONS:
        panels.cells(made, horizon, "percentunit", steps=_COVERAGE_STEPS)
    return made


def _loss() -> panels.table.Panel:
    return _matrix(
        "Loss",
        "Mean pinball loss of p10, p50 and p90 in the signal's own unit: how far off the forecasts were. Lower is better.",
        own_queries.loss,
        "short",
    )


def _record() -> list[board.Placed]:
    coverage = panels.lines(
        "Live coverage at $horizon",
        "Share of the last day's outcomes between the p10 and p90 that were published for them; the line is the promised 80 %.",
        "percentunit",
        query(own_queries.LIVE_COVERAGE, "{{signal}}"),
    )
    coverage.min(0).max(1).thresholds(panels.thresholds([(None, "transparent"), (0.8, GREEN)]))
    coverage.thresholds_style(
        panels.common.GraphThresholdsStyleConfig().mode(panels.looks.GraphThresholdsStyleMode.LINE)
    )
    loss = panels.lines(
        "Live loss against the heuristic at $horizon",
        "Pinball loss of the last day's forecasts over the trend heuristic's on the same outcomes: below 1 is better than it.",
        "none",
        query(own_queries.LIVE_LOSS, "{{signal}}"),
    )
    loss.min(0).thresholds(panels.thresholds([(None, "transparent"), (1, GREEN)]))
    loss.thresholds_style(
        panels.common.GraphThresholdsStyleConfig().mode(panels.looks.GraphThresholdsStyleMode.LINE)
    )
    widening = panels.lines(
        "Bands widened at $horizon",
        "Factor on the model's half-bands because outcomes fell outside too often; 1 is the model's own band.",
        "none",
        query(own_queries.LIVE_WIDENING, "{{signal}}"),
    )
    return [
        coverage.no_value("begins 6 hours after the first forecasts").span(8).height(8),
        loss.no_value("begins 6 hours after the first forecasts").span(8).height(8),
        widening.min(1).no_value("no record is kept").span(8).height(8),
    ]


def _courses() -> list[board.Placed]:
    coverage = (
        panels.lines(
            "Coverage at $horizon",
            "Share of the outcomes of 15 minutes between p10 and p90, by signal; the line is the promised 80 %.",
            "percentunit",
            query(own_queries.COVERAGE_COURSE, "{{signal}}"),
        )
        .min(0)
        .max(1)
    )
    coverage.thresholds(panels.thresholds([(None, "transparent"), (0.8, GREEN)])).no_value(
        "begins one horizon after the forecaster"
    )
    coverage.thresholds_style(
        panels.common.GraphThresholdsStyleConfig().mode(panels.looks.GraphThresholdsStyleMode.LINE)
    )
    loss = panels.lines(
        "Loss of $signal by horizon",
        "Mean pinball loss of 15 minutes in the signal's own unit, by horizon. Rising is a model that no longer fits.",
        "short",
        query(own_queries.LOSS_COURSE, "{{horizon}}"),
    )
    loss.no_value("begins 5 minutes after the forecaster")
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
    return [
        coverage.span(12).height(8),
        panels.coloured(loss, _HORIZON_COLOURS).span(12).height(8),
        panels.coloured(width, _HORIZON_COLOURS).span(12).height(8),
        methods.span(12).height(8),
    ]


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
