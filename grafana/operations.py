"""Forecaster operations: does the forecaster keep up, does it fail, and does what it depends on work?"""

from grafana_foundation_sdk.models import dashboard as models

from grafana import board, own_queries, panels, queries, surroundings
from grafana.panels import ANY_IS_BAD, BLUE, GREEN, ORANGE, VERMILLION, column, now, prop, query

_AGE_STEPS = ((None, GREEN), (60, ORANGE), (120, VERMILLION))


def dashboard() -> models.Dashboard:
    """For whoever runs Fleetcast."""
    return board.build(
        board.OPERATIONS,
        "Forecaster operations",
        "Does the forecaster keep up, does it fail, and does what it depends on work?",
        [board.query_variable(*board.FLEET)],
        board.PAST,
        "15s",
        [
            ("", _state()),
            ("Cycles", _cycles()),
            ("Queries and curves", _queries()),
            ("Scrapes, series and memory", _sizes()),
            ("Configuration", surroundings.configuration()),
            ("Exporter", surroundings.exporter()),
            ("Rules and alerts", surroundings.alerts()),
        ],
    )


def _state() -> list[board.Placed]:
    return [
        panels.number(
            "Forecaster",
            "Whether the forecaster, or every one of several, answers Prometheus.",
            "none",
            now(own_queries.UP),
            states=panels.UP,
            nothing="NOT SCRAPED",
        )
        .span(4)
        .height(4),
        panels.number(
            "Forecast age",
            "Time since the last cycle that succeeded; after 2 minutes forecasts are withheld.",
            "s",
            now(queries.FORECAST_AGE),
            steps=_AGE_STEPS,
        )
        .decimals(0)
        .span(4)
        .height(4),
        panels.number(
            "Failed cycles, 24 h",
            "Forecast cycles of the last day that failed in any stage.",
            "none",
            now(own_queries.FAILURES_TODAY),
            steps=ANY_IS_BAD,
        )
        .decimals(0)
        .span(4)
        .height(4),
        panels.number("Servers forecast", "Servers with a current forecast.", "none", now(queries.SERVER_COUNT))
        .span(4)
        .height(4),
        panels.number(
            "Stale servers",
            "Servers that were silent for too long to be forecast.",
            "none",
            now(queries.STALE),
            steps=ANY_IS_BAD,
        )
        .span(4)
        .height(4),
        panels.number(
            "Targets down",
            "Scrape targets of Prometheus that do not answer.",
            "none",
            now(own_queries.TARGETS_DOWN),
            steps=ANY_IS_BAD,
        )
        .span(4)
        .height(4),
    ]


def _cycles() -> list[board.Placed]:
    cycles = panels.lines(
        "Cycle duration",
        "How long a whole forecast cycle takes; it has to stay below the refresh interval.",
        "s",
        query(own_queries.CYCLE_MEAN, "mean", "A"),
        query(own_queries.cycle_quantile(0.95), "95 % are faster", "B"),
        query(own_queries.REFRESH, "refresh interval", "C"),
    )
    panels.coloured(cycles, {"mean": BLUE, "95 % are faster": ORANGE, "refresh interval": VERMILLION})
    stages = panels.stacked(
        "Stage duration", "How long each stage of the newest cycle took.", "s", query(own_queries.STAGES, "{{stage}}")
    )
    failures = panels.lines(
        "Failed cycles",
        "Cycles of the last 5 minutes that failed, by the stage that did; zero is normal.",
        "none",
        query(own_queries.FAILURES, "{{stage}}"),
    ).decimals(0)
    rate = panels.lines(
        "Cycles per minute",
        "How many cycles a forecaster runs in a minute: 4 with a refresh of 15 seconds.",
        "none",
        query(own_queries.CYCLES, "cycles", "A"),
        legend=False,
    ).decimals(1)
    success = panels.rows(
        "Stages",
        "Whether each stage succeeded when it last ran.",
        [column(own_queries.STAGE_SUCCESS, "A")],
        {"stage": "Stage", "Value": "Last run"},
    )
    panels.cells(success, "Last run", "none", states={0: ("FAILED", VERMILLION), 1: ("succeeded", GREEN)})
    spread = panels.bars(
        "Cycles by duration",
        "Cycles of the last 5 minutes that took at most so many seconds.",
        "none",
        now(own_queries.CYCLE_BUCKETS, "{{le}} s"),
        steps=panels.PLAIN,
    ).decimals(0)
    return [
        cycles.span(12).height(8),
        stages.decimals(3).span(12).height(8),
        failures.span(12).height(8),
        rate.span(12).height(8),
        success.span(12).height(8),
        spread.span(12).height(8),
    ]


def _queries() -> list[board.Placed]:
    return [
        panels.lines(
            "Query stage",
            "How long the forecaster waits for all its queries of a cycle.",
            "s",
            query(own_queries.QUERY_STAGE, "query stage"),
            legend=False,
        )
        .span(8)
        .height(8),
        panels.lines(
            "Query time in Prometheus",
            "90 % of Prometheus' queries spend less than this in each phase.",
            "s",
            query(own_queries.ENGINE_QUERY, "{{slice}}"),
        )
        .span(8)
        .height(8),
        panels.lines(
            "Reading curves",
            "How long Prometheus waits for a forecaster's curves (remote read), and reads that failed in 15 minutes.",
            "s",
            query(own_queries.CURVE_READ, "{{remote_name}}", "A"),
            query(own_queries.CURVE_READ_ERRORS, "failed reads", "B"),
        )
        .override_by_name(
            "failed reads", [prop("unit", "none"), panels.fixed(VERMILLION), prop("custom.axisPlacement", "right")]
        )
        .span(8)
        .height(8),
    ]


def _sizes() -> list[board.Placed]:
    series = panels.number(
        "Series in Prometheus",
        "Series in Prometheus' memory; it grows with servers, signals and horizons.",
        "short",
        query(own_queries.HEAD_SERIES),
        course=True,
    )
    ours = panels.number(
        "Series of this forecaster",
        "Series on the forecaster's /metrics page: about 190 for each server.",
        "short",
        query(own_queries.FORECAST_SERIES),
        course=True,
    )
    lost = panels.lines(
        "Lost scrapes",
        "Scrapes of the last 5 minutes without an answer; zero is normal.",
        "none",
        query(own_queries.SCRAPES_LOST, "{{job}} {{instance}}"),
    ).decimals(0)
    return [
        panels.lines(
            "Scrape size",
            "Series that each scrape brings.",
            "short",
            query(own_queries.SCRAPE_SAMPLES, "{{job}} {{instance}}"),
        )
        .span(12)
        .height(8),
        panels.lines(
            "Scrape duration",
            "How long each scrape takes; the limit is 4 seconds.",
            "s",
            query(own_queries.SCRAPE_SECONDS, "{{job}} {{instance}}"),
        )
        .span(12)
        .height(8),
        panels.lines(
            "Memory",
            "Resident memory of each process that tells it.",
            "bytes",
            query(own_queries.MEMORY, "{{job}} {{instance}}"),
        )
        .span(12)
        .height(8),
        panels.lines(
            "Processor", "Cores that each process uses.", "none", query(own_queries.CPU, "{{job}} {{instance}}")
        )
        .decimals(2)
        .span(12)
        .height(8),
        series.span(6).height(8),
        ours.span(6).height(8),
        lost.span(12).height(8),
    ]
