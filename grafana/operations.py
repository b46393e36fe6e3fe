"""Forecaster operations: does the forecaster keep up, does it fail, and does what it depends on work?"""

from grafana_foundation_sdk.models import dashboard as models

from grafana import board, own_queries, panels, queries, states, surroundings, tiles
from grafana.panels import column, now, prop, query
from grafana.states import ANY_IS_BAD, BLUE, CRITICAL, ORANGE, QUIET, VERMILLION


def dashboard() -> models.Dashboard:
    """For whoever runs Fleetcast."""
    return board.build(board.OPERATIONS, "Forecaster operations",
                       "Does the forecaster keep up, does it fail, and does what it depends on work?",
                       [board.query_variable(*board.FLEET)], board.PAST, "15s",
                       [("", _state()), ("Cycles", _cycles()), ("Queries and curves", _queries()),
                        ("Scrapes, series and memory", _sizes()), ("Config", surroundings.configuration()),
                        ("Exporter", surroundings.exporter()), ("Rules and alerts", surroundings.alerts())])


def _state() -> list[board.Placed]:
    return board.row(4,
        (4, panels.number("Forecaster", "Whether Prometheus can scrape every forecaster of the fleet.", "none",
                          now(own_queries.UP), states=states.UP, nothing="NOT SCRAPED")),
        (4, tiles.forecast_age()),
        (4, panels.number("Failed cycles, 24 h", "Failed forecast cycles of the last 24 hours.", "none",
                          now(own_queries.FAILURES_TODAY), steps=ANY_IS_BAD).decimals(0)),
        (4, panels.number("Servers forecast", "Servers with a current forecast.", "none", now(queries.SERVER_COUNT))),
        (4, panels.number("Blind servers", "Servers without a recent sample or without a forecast.", "none",
                          now(queries.BLIND), steps=ANY_IS_BAD)),
        (4, panels.number("Targets down", "Scrape targets that are down, without those of other fleets.", "none",
                          now(own_queries.TARGETS_DOWN), steps=ANY_IS_BAD)))


def _cycles() -> list[board.Placed]:
    cycles = panels.lines("Cycle duration", "Duration of a forecast cycle. It must stay below the refresh interval.",
                          "s", query(own_queries.CYCLE_MEAN, "mean", "A"),
                          query(own_queries.cycle_quantile(0.95), "95th percentile", "B"),
                          query(own_queries.REFRESH, "refresh interval", "C"))
    panels.coloured(cycles, {"mean": BLUE, "95th percentile": ORANGE, "refresh interval": VERMILLION})
    stages = panels.stacked("Stage duration", "Duration of each stage in the latest cycle.", "s",
                            query(own_queries.STAGES, "{{stage}}"))
    failures = panels.lines("Failed cycles", "Failed cycles in the last 5 minutes, by stage. Zero is normal.", "none",
                            query(own_queries.FAILURES, "{{stage}}")).decimals(0)
    rate = panels.lines("Cycles per minute", "Forecast cycles per minute. A refresh of 15 seconds gives 4.", "none",
                        query(own_queries.CYCLES, "cycles", "A"), legend=False).decimals(1)
    latest = panels.rows("Stages", "Result and duration of the latest run of each stage, the longest first.",
                         [column(own_queries.STAGE_SUCCESS, "A"), column(own_queries.STAGES, "B")],
                         {"stage": ("Stage", 130), "Value #A": ("Latest run", 120), "Value #B": ("Duration", 120)},
                         sort={"Duration": True})
    panels.cells(latest, "Latest run", "none", states={0: ("FAILED", CRITICAL), 1: ("succeeded", QUIET)})
    panels.cells(latest, "Duration", "s", decimals=3)
    return board.row(8, (12, cycles), (12, stages.decimals(3)), (8, failures), (8, rate), (8, latest))


def _queries() -> list[board.Placed]:
    curves = panels.lines("Remote read of curves",
                          "Duration of Prometheus' remote reads of curves, and failed reads in 15 minutes.", "s",
                          query(own_queries.CURVE_READ, "{{remote_name}}", "A"),
                          query(own_queries.CURVE_READ_ERRORS, "failed reads", "B"))
    curves.override_by_name("failed reads",
                            [prop("unit", "none"), panels.fixed(VERMILLION), prop("custom.axisPlacement", "right")])
    return board.row(8,
        (8, panels.lines("Query stage", "Time that the forecaster waits for the queries of a cycle.", "s",
                         query(own_queries.QUERY_STAGE, "query stage"), legend=False)),
        (8, panels.lines("Query time in Prometheus", "90th percentile of the time of a query in Prometheus, by phase.",
                         "s", query(own_queries.ENGINE_QUERY, "{{slice}}"))),
        (8, curves))


def _sizes() -> list[board.Placed]:
    series = panels.number("Series in Prometheus",
                           "Series in Prometheus' memory. Their number grows with servers, signals and horizons.",
                           "short", now(own_queries.HEAD_SERIES), nothing="not scraped")
    ours = panels.number("Series of this forecaster",
                         "Series on the forecaster's /metrics page, about 60 per server by default.", "short",
                         now(own_queries.FORECAST_SERIES))
    lost = panels.lines("Lost scrapes", "Failed scrapes in the last 5 minutes. Zero is normal.", "none",
                        query(own_queries.SCRAPES_LOST, "{{job}} {{instance}}")).decimals(0)
    return board.row(8,
        (12, panels.lines("Scrape size", "Samples of each scrape, by target.", "short",
                          query(own_queries.SCRAPE_SAMPLES, "{{job}} {{instance}}"))),
        (12, panels.lines("Scrape duration", "Duration of each scrape. The timeout is 4 seconds.", "s",
                          query(own_queries.SCRAPE_SECONDS, "{{job}} {{instance}}"))),
        (12, panels.lines("Memory", "Resident memory of each process.", "bytes",
                          query(own_queries.MEMORY, "{{job}} {{instance}}"))),
        (12, panels.lines("CPU", "CPU cores used by each process.", "none",
                          query(own_queries.CPU, "{{job}} {{instance}}")).decimals(2)),
        (6, series),
        (6, ours),
        (12, lost))
