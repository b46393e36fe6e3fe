"""Every PromQL expression of the dashboards, by name.

Two fleets can live in one Prometheus. Each expression therefore selects the fleet `$fleet`, so that their figures
never mix. Several forecasters can make one fleet's forecasts: shards, each with its own servers, and replicas, with the
same servers. Where servers are counted or added up, each server is first reduced to one series. Curves
(`source="curve"`) lie in the future and carry no `fleet`: they are joined with the servers of the fleet.

Grafana's variables: $fleet one fleet, $profile one or more profiles, $server one server, $signal one signal,
$horizon one horizon.
"""

CORE = ("cpu_pct", "mem_pct", "disk_io_mb_s", "latency_ms")
OTHER = ("net_in_mb_s", "net_out_mb_s", "error_rate", "gc_pause_ms")
SIGNALS = CORE + OTHER
HORIZONS = ("5m", "30m", "1h", "4h", "8h")

# From which value on a signal means trouble: the middle band of the risk points (forecaster/presets/fleet.yml).
TROUBLE = {"cpu_pct": 95, "mem_pct": 95, "latency_ms": 200}

# The risk points of a component: what p90 is above, and the points (likewise).
RISK_SIGNALS = {"cpu": "cpu_pct", "memory": "mem_pct", "latency": "latency_ms"}
RISK_POINTS = {
    "cpu": ((90, 15), (95, 30), (98, 40)),
    "memory": ((90, 12), (95, 25), (98, 35)),
    "latency": ((100, 8), (200, 15), (500, 25)),
}

# What the exporter measures, as an expression in the signal's own unit: it reaches back further than observed_*,
# which begins with the first start of the forecaster.
_MEASURED = {
    "cpu_pct": "server_cpu_utilization_ratio{%s}[5m]) * 100",
    "mem_pct": "server_memory_utilization_ratio{%s}[5m]) * 100",
    "disk_io_mb_s": "server_disk_io_bytes_per_second{%s}[5m]) / 1e6",
    "latency_ms": "server_request_latency_seconds{%s}[5m]) * 1000",
    "net_in_mb_s": "server_network_receive_bytes_per_second{%s}[5m]) / 1e6",
    "net_out_mb_s": "server_network_transmit_bytes_per_second{%s}[5m]) / 1e6",
    "error_rate": "server_error_ratio{%s}[5m])",
    "gc_pause_ms": "server_gc_pause_seconds{%s}[5m]) * 1000",
}
# seconds; a look-back of 5 minutes would otherwise draw what was measured 5 minutes into the future. Loaded history
# has a sample a minute.
_FRESH = 90

FLEET = 'fleet="$fleet"'
SOME = f'{FLEET},profile=~"$profile"'
ONE = f'{FLEET},server="$server"'

# variables
FLEETS = "label_values(forecaster_build_info, fleet)"
PROFILES = f"label_values(forecast_last_seen_timestamp_seconds{{{FLEET}}}, profile)"
ALL_SERVERS = f"label_values(forecast_last_seen_timestamp_seconds{{{FLEET}}}, server)"


def urgency(states: str) -> str:
    """The states, with BLIND as 2.5, between CLEARING and LIKELY: a server that nobody sees must not be the last."""
    return f"{states} >= 0 or ({states} == -1) + 3.5"


def _rank(ago: str) -> str:
    """State and chance of each server, so long ago."""
    states = f"({urgency(f'max by (server) (server:forecast_state:max{{{FLEET}}}{ago})')})"
    return f'{states} + max by (server) (forecast_severe_probability{{{FLEET},window="8h"}}{ago}) or {states}'


# The riskiest first, which is then the one that is chosen. Grafana asks at the end of the range, which is now or 8
# hours ahead; at other ends the servers are there, in no order.
SERVERS = (
    f'query_result(sort_desc({_rank("")} or {_rank(" offset 8h")} '
    f"or count by (server) (present_over_time(forecast_last_seen_timestamp_seconds{{{FLEET}}}[8h10m])) * 0 - 2))"
)
NAMES = '/server="([^"]*)"/'


def known(labels: str = FLEET) -> str:
    """The fleet's servers, also those without a current forecast."""
    return f"forecast_last_seen_timestamp_seconds{{{labels}}}"


def none(label: str, text: str, zero: str) -> str:
    """A row that says `text` in place of an empty answer: zero, and shown as such.

    `zero` has no sample where nothing is known, for then nothing may be said.
    """
    return f'or on () label_replace({zero}, "{label}", "{text}", "", "")'


# annotations

HAS_SIMULATION = f"(count({known()} and on (server) server_cpu_utilization_ratio) > 0)"
SCENARIO_CHANGED = f"(fleet_scenario == 1 and fleet_scenario offset 1m == 0) and on () {HAS_SIMULATION}"
CONFIG_RELOADED = f"time() - forecaster_config_last_reload_success_timestamp_seconds{{{FLEET}}} < 60"
MODEL_CHANGED = (
    f"max by (instance, model, method, weights) (forecaster_model_info{{{FLEET}}}) "
    f"unless max by (instance, model, method, weights) (forecaster_model_info{{{FLEET}}} offset 2m) "
    f"and on (instance) max by (instance) (forecaster_model_info{{{FLEET}}} offset 2m)"
)
# True for the 5 minutes after the last scrape and nowhere else: a thin band that marks "now".
NOW = (
    f'max(timestamp(up{{job="forecaster",{FLEET}}})) < time() - 10 '
    f'unless on () max(count_over_time(up{{job="forecaster",{FLEET}}}[1h] offset -1h))'
)


# the fleet

SERVER_COUNT = f"sum(fleet:forecast_servers:count{{{FLEET}}})"
# 0-1: the mean of the servers' weighted sums, as the specification has it
FLEET_WEIGHTED = f"max by (window) (fleet:forecast_incident_probability:avg{{{FLEET}}})"


_NO_RISK = none("server", "no risk points", f"{SERVER_COUNT} * 0")
_OURS_AHEAD = f"and on (server) last_over_time({known(SOME)}[$__range] @ end())"


def _points(component: str) -> str:
    """The risk points of a component at each instant of the p90 curves that lie ahead."""
    ahead = f'forecast_{RISK_SIGNALS[component]}{{source="curve",percentile="p90",profile=~"$profile"}}'
    terms, before = [], 0
    for limit, points in RISK_POINTS[component]:
        terms.append(f"({ahead} > bool {limit}) * {points - before}")
        before = points
    return f'label_replace({" + ".join(terms)}, "component", "{component}", "", "")'


# The risk that each later instant would have by the same points. The score of now looks at the next 30 minutes.
_RISK_AHEAD = f"sum by (server, profile) ({' or '.join(map(_points, RISK_POINTS))}) {_OURS_AHEAD}"
RISK_BY_PROFILE = f"max by (profile) ({_RISK_AHEAD}) or max by (profile) (forecast_risk_score{{{SOME}}})"
RISK_COURSE = (
    f"topk(8, max by (server) ({_RISK_AHEAD}) > 0) or max by (server) (forecast_risk_score{{{SOME}}}) "
    f"and on (server) (topk(8, max by (server) (max_over_time(forecast_risk_score{{{SOME}}}[$__range] @ end()))) > 0) "
    f"{_NO_RISK}"
)

def priority(labels: str) -> str:
    """1, 2 or 3 of each server; of replicas that differ, the more urgent."""
    ranks = (f'forecast_priority{{{labels},priority="P{rank}"}} == 1' for rank in (1, 2, 3))
    return "min by (server, profile) ({} or ({}) * 2 or ({}) * 3)".format(*ranks)


# Servers by priority, 1 to 3: as it was, then by the points of the curves. (risk - 10) / 30 passes 1 at 40, 2 at 70.
PRIORITY_COURSE = (
    f'count_values("priority", 3 - clamp(floor((({_RISK_AHEAD}) - 10) / 30), 0, 2) or {priority(SOME)})'
)


def past_limit(signal: str) -> str:
    """How many servers are past the signal's TROUBLE limit: by measurement up to now, from then on by the p90 curve.

    0 for all times where the forecaster is there and does not know the signal.
    """
    limit = TROUBLE[signal]
    ahead = f'forecast_{signal}{{source="curve",percentile="p90",profile=~"$profile"}}'
    return (
        f"sum(({ahead} > bool {limit}) {_OURS_AHEAD}) "
        f"or sum(max by (server) (observed_{signal}{{{SOME}}}) > bool {limit}) or {SERVER_COUNT} * 0"
    )


# what stands in the label `text`: the scenario and how many servers it affects
SCENARIO = (
    f'label_join(count_values by (scenario) ("count", (fleet_scenario == 1) * 0 + on () group_left () '
    f'sum(fleet_affected_servers)), "text", ": servers affected ", "scenario", "count") and on () {HAS_SIMULATION} '
    f"{none('text', 'real servers', f'{SERVER_COUNT} * 0')}"
)
BLIND = f"sum(fleet:forecast_blind_servers:count{{{FLEET}}})"
# of the forecaster that is furthest behind; where none answers, since any of them had forecasts
FORECAST_AGE = (
    f"max(job_instance:forecaster_forecast_age_seconds:max{{{FLEET}}}) "
    f"or time() - max(max_over_time(forecaster_last_success_timestamp_seconds{{{FLEET}}}[6h]))"
)

_FIRING = (
    f'ALERTS{{alertstate="firing",job="forecaster",{FLEET},severity!="none"}} '
    'or ALERTS{alertstate="firing",fleet="",alertname=~"Fleetcast.+",severity!="none"}'
)
_EVALUATED = f"max(fleet:forecast_complete:bool{{{FLEET}}}) * 0"
# since when, in ms; says that there is none only while rules are evaluated
FIRING = (
    "1000 * max by (alertname, priority, server, instance) "
    f"(ALERTS_FOR_STATE and ignoring (alertstate) ({_FIRING})) {none('alertname', 'no alert is firing', _EVALUATED)}"
)
FIRING_COUNT = f"count({_FIRING}) or {_EVALUATED}"
ALERT_CHAIN = f"max(fleet:alert_chain:broken{{{FLEET}}})"
ALERTMANAGER_ALERTS = 'sum by (state) (alertmanager_alerts{state=~"active|suppressed"})'
ALERTMANAGER_SILENCES = 'sum(alertmanager_silences{state="active"})'

# one server

# as the chances, nothing of a BLIND server
SERVER_RISK = f"max(forecast_risk_score{{{ONE}}}) and on () max(server:forecast_state:max{{{ONE}}}) >= 0"
SERVER_POINTS = f"max by (component) (forecast_risk_points{{{ONE}}})"
SERVER_PROBABILITY = f"max by (window) (forecast_incident_probability{{{ONE}}})"
SERVER_METHOD = f'max(forecast_method{{{ONE},method="heuristic"}})'
# 1 for a server that the model forecasts, which by default has no series of its warm-up
SERVER_WARMUP = (
    f'max(forecast_method{{{ONE},method="tft"}} == 1) '
    f"or max(clamp_max(forecast_warmup_samples{{{ONE}}} / forecast_warmup_required_samples{{{ONE}}}, 1))"
)
SERVER_LAST_SEEN = f"time() - (max({known(ONE)}) or max(max_over_time({known(ONE)}[6h])))"


def measured(signal: str) -> str:
    """What was measured, up to now: the mean over 5 minutes, as the forecaster sees it."""
    observed = f"observed_{signal}{{{ONE}}}"
    exported = _MEASURED[signal] % 'server="$server"'
    sample = exported.split("[", 1)[0]
    return (
        f"max by (server) ({observed}) and on (server) max by (server) (timestamp({observed})) > time() - {_FRESH} "
        f"or max by (server) (avg_over_time({exported}) "
        f"and on (server) max by (server) (timestamp({sample})) > time() - {_FRESH}"
    )


def curve(signal: str, percentile: str) -> str:
    """The forecast from now to now + 8 h."""
    return f'max by (server) (forecast_{signal}{{source="curve",server="$server",percentile="{percentile}"}})'


def predicted(signal: str, percentile: str) -> str:
    """What was forecast 30 minutes ago for the instant it is drawn at; the gauges have p50 and p90 by default."""
    return f'max by (server) (forecast_{signal}{{{ONE},percentile="{percentile}",horizon="30m"}} offset 30m)'
