"""PromQL about the forecaster itself: how good its forecasts are, how it runs, and what it depends on.

The variables are those of `queries`.
"""

from grafana import queries

# the quality of forecasts: the forecasters' own record, by signal

HOUR, DAY = "forecast_live_recent_", "forecast_live_"  # what the series of the two windows begin with


def recorded(window: str, figure: str, horizon: str = "$horizon") -> str:
    """`coverage` (0.8 is what the band promises) or `loss` (below 1 is better than the heuristic) at a horizon.

    The mean over shards, weighted by the outcomes that each of them rests on.
    """
    where = f'{{{queries.FLEET},horizon="{horizon}"}}'
    ratio, count = f"{window}{figure}_ratio{where}", f"{window}outcomes{where}"
    return f"sum by (signal) ({ratio} * {count}) / sum by (signal) ({count} and {ratio})"


def outcomes(window: str, horizon: str = "$horizon") -> str:
    """How many outcomes the two rest on; no sample while there is none."""
    return f'sum by (signal) ({window}outcomes{{{queries.FLEET},horizon="{horizon}"}}) > 0'


WIDENING = f'max by (signal) (forecast_live_widening_ratio{{{queries.FLEET},horizon="$horizon"}})'


def _band_width(horizon: str) -> str:
    """The mean difference of p90 and p10 on the curves, `horizon` ahead."""
    high, low = (f'max by (server) (forecast_${{signal}}{{source="curve",percentile="{percentile}"}} offset -{horizon})'
                 for percentile in ("p90", "p10"))
    return f'label_replace(avg({high} - {low} and on (server) {queries.known()}), "horizon", "{horizon}", "", "")'


BAND_WIDTH = " or ".join(map(_band_width, queries.HORIZONS))
HEURISTIC_SHARE = f'avg(max by (server) (forecast_method{{{queries.FLEET},method="heuristic"}}))'
METHOD_COUNT = f"sum by (method) (max by (server, method) (forecast_method{{{queries.FLEET}}}))"
MODEL = f"max by (model, method, weights, trained, device) (forecaster_model_info{{{queries.FLEET}}})"
MODEL_LOADED = (
    f"min(forecaster_model_loaded{{{queries.FLEET}}}) - (max(forecaster_model_configured{{{queries.FLEET}}}) == bool 0)"
)
MODEL_IN_USE = f"time() - max(forecaster_config_last_reload_success_timestamp_seconds{{{queries.FLEET}}})"
OUTCOME = f"max by (server) (observed_${{signal}}{{{queries.ONE}}})"


def outcome_forecast(percentile: str) -> str:
    """What was forecast for the instant it is drawn at, 30 minutes earlier."""
    return queries.predicted("${signal}", percentile)


# servers without a forecast, and servers with some signals missing

_MISSING = (
    'label_replace(count_values by (server) ("count", '
    f"max by (server) (forecast_missing_signals{{{queries.FLEET}}}) > 0), "
    '"reason", "$1 signals missing", "count", "(.+)")'
)
UNFORECAST = (
    f"max by (server, reason) (forecast_server_unforecast{{{queries.FLEET}}} or {_MISSING}) "
    f"{queries.none('server', 'every server is forecast', f'{queries.SERVER_COUNT} * 0')}"
)

# the forecaster and what it depends on

# Of this fleet's forecasters, and of targets that are of no fleet: Prometheus, Alertmanager, exporters.
_OURS = 'fleet=~"${fleet:regex}|"'
UP = f'min(up{{job="forecaster",{queries.FLEET}}})'
EXPORTER_UP = 'min(up{job=~"fleet-exporter|node"})'
_ANSWERS = f'(max(up{{job="forecaster",{queries.FLEET}}}) == 1) * 0'  # zero, where a counter without series means that
CYCLE_MEAN = (
    f"sum(rate(forecaster_cycle_duration_seconds_sum{{{queries.FLEET}}}[5m])) "
    f"/ sum(rate(forecaster_cycle_duration_seconds_count{{{queries.FLEET}}}[5m]))"
)
REFRESH = f"max(forecaster_refresh_interval_seconds{{{queries.FLEET}}})"


def cycle_quantile(quantile: float) -> str:
    """Seconds, over 5 minutes."""
    buckets = f"forecaster_cycle_duration_seconds_bucket{{{queries.FLEET}}}"
    return f"histogram_quantile({quantile}, sum by (le) (rate({buckets}[5m])))"


STAGES = f"max by (stage) (forecaster_stage_duration_seconds{{{queries.FLEET}}})"
STAGE_SUCCESS = f"min by (stage) (forecaster_stage_success{{{queries.FLEET}}})"
FAILURES = f"sum by (stage) (increase(forecaster_cycle_failures_total{{{queries.FLEET}}}[5m]))"
FAILURES_TODAY = f"sum(increase(forecaster_cycle_failures_total{{{queries.FLEET}}}[24h])) or {_ANSWERS}"
CYCLES = f"avg(rate(forecaster_cycles_total{{{queries.FLEET}}}[5m])) * 60"
QUERY_STAGE = f'max(forecaster_stage_duration_seconds{{{queries.FLEET},stage="query"}})'
ENGINE_QUERY = 'max by (slice) (prometheus_engine_query_duration_seconds{quantile="0.9"})'
_SCRAPED = "sum(prometheus_tsdb_head_series) * 0"  # zero while Prometheus itself is scraped, and else nothing
CURVE_READ = (
    "sum by (remote_name) (rate(prometheus_remote_storage_read_request_duration_seconds_sum[15m])) / "
    "sum by (remote_name) (rate(prometheus_remote_storage_read_request_duration_seconds_count[15m]) > 0) "
    "or sum by (remote_name) (prometheus_remote_storage_read_queries_total) * 0 "
    f"{queries.none('remote_name', 'no curve was read', _SCRAPED)}"
)
CURVE_READ_ERRORS = f'sum(increase(prometheus_remote_storage_read_queries_total{{code!~"2.."}}[15m])) or {_SCRAPED}'
SCRAPE_SAMPLES = f"max by (job, instance) (scrape_samples_post_metric_relabeling{{{_OURS}}})"
SCRAPE_SECONDS = f"max by (job, instance) (scrape_duration_seconds{{{_OURS}}})"
SCRAPES_LOST = f"sum by (job, instance) (count_over_time(up{{{_OURS}}}[5m]) - sum_over_time(up{{{_OURS}}}[5m]))"
MEMORY = f"max by (job, instance) (process_resident_memory_bytes{{{_OURS}}})"
CPU = f"sum by (job, instance) (rate(process_cpu_seconds_total{{{_OURS}}}[5m]))"
HEAD_SERIES = "max(prometheus_tsdb_head_series)"
FORECAST_SERIES = f'max(scrape_samples_post_metric_relabeling{{job="forecaster",{queries.FLEET}}})'
_PARTS = "(forecaster|fleet_exporter|prometheus|alertmanager)_config_last_reload"
RELOAD_OK = f'min by (job, instance) ({{__name__=~"{_PARTS}_successful",{_OURS}}})'
RELOAD_AGE = f'time() - max by (job, instance) ({{__name__=~"{_PARTS}_success_timestamp_seconds",{_OURS}}})'
TARGETS_DOWN = f"sum(up{{{_OURS}}} == bool 0)"
TICKS = "sum(rate(fleet_ticks_total[5m]))"
EXPORTER_SERVERS = "count(server_cpu_utilization_ratio)"
EXPORTER_SCRAPE = 'max(scrape_duration_seconds{job="fleet-exporter"})'
SERVER_STATES = (
    f"sum by (state) (server_state) and on () {queries.HAS_SIMULATION} "
    f"{queries.none('state', 'real servers', f'{queries.SERVER_COUNT} * 0')}"
)
NOTIFICATIONS = "sum(increase(prometheus_notifications_sent_total[5m]))"
NOTIFICATION_ERRORS = "sum(increase(prometheus_notifications_errors_total[5m]))"
PAGES = 'sum(increase(alertmanager_notifications_total{integration="webhook"}[5m]))'
RULE_SECONDS = "sum(prometheus_rule_group_last_duration_seconds)"
RULE_FAILURES = "sum(increase(prometheus_rule_evaluation_failures_total[15m]))"
VERSIONS = (
    'max by (job, instance, version) ({__name__=~"(forecaster|fleet_exporter|prometheus|alertmanager|node_exporter)'
    f'_build_info",{_OURS}}})'
)
