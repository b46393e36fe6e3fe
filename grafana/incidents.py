"""PromQL about incidents: which are on, how likely each is, and from when until when they are expected.

The variables are those of `queries`. A chance is that of an incident within a window; it is unknown where the trend
forecasts the signal. There only what is on counts.
"""

from collections.abc import Mapping
from typing import NamedTuple

from grafana.queries import FLEET, ONE, SOME, none, urgency
from grafana.states import PENDING

LIKELY, POSSIBLE = 0.5, 0.1  # chances within 8 hours


class Named(NamedTuple):
    """An incident that is configured by default: its name in words, its signal, and that with its unit in words."""

    words: str
    signal: str
    measured: str
    unit: str


NAMED: Mapping[str, Named] = {
    "cpu_saturated": Named("CPU saturated", "cpu_pct", "CPU", "%"),
    "memory_exhausted": Named("memory exhausted", "mem_pct", "memory", "%"),
    "latency_high": Named("latency high", "latency_ms", "latency", " ms"),
    "cpu_pressure": Named("CPU pressure", "cpu_pressure_pct", "CPU pressure", "%"),
    "memory_pressure": Named("memory pressure", "mem_pressure_pct", "memory pressure", "%"),
    "io_pressure": Named("I/O pressure", "io_pressure_pct", "I/O pressure", "%"),
    "swap_storm": Named("swap storm", "swap_mb_s", "swap", " MB/s"),
    "disk_saturated": Named("disk saturated", "disk_busy_pct", "disk busy", "%"),
    "network_saturated": Named("network saturated", "net_used_pct", "network", "%"),
    "fds_exhausted": Named("file descriptors exhausted", "fds_used_pct", "file descriptors", "%"),
    "conntrack_exhausted": Named("connection tracking exhausted", "conntrack_used_pct", "connection tracking", "%"),
    "clock_out_of_step": Named("clock out of step", "clock_offset_s", "clock", " s"),
}
# Above which limit a curve shows which incident. Curves are read on demand, so only those of the three roles are.
LIMITS = {"cpu_saturated": 95, "memory_exhausted": 95, "latency_high": 200}


def chance(labels: str, window: str = "8h") -> str:
    """0-1, of each incident of each server."""
    return f'forecast_incident_chance{{{labels},window="{window}"}}'


def on(labels: str) -> str:
    """1 for each incident that is on; nothing for others."""
    return f"forecast_incident_active{{{labels}}}"


def _from(least: float, labels: str) -> str:
    """What is on, and what has at least this chance within 8 hours."""
    return f"{on(labels)} or {chance(labels)} >= {least}"


def _forecast(labels: str) -> str:
    """A sample where any server is forecast."""
    return f"count(forecast_priority{{{labels}}})"


def _known(labels: str) -> str:
    """A sample where the chance of any incident is known; the trend gives none."""
    return f"count({chance(labels)})"


def _at_risk(labels: str) -> str:
    """A sample where a server is P1 or P2, or an incident is on or LIKELY."""
    of = f'forecast_priority{{{labels},priority=~"P1|P2"}} == 1'
    return f"count({of} or {_from(LIKELY, labels)})"


def first(labels: str, state: str) -> str:
    """Seconds until the first incident is expected, 0 while one is on.

    Else -3 without known chances and while the state is BLIND, -2 where a server is P1 or P2 nevertheless, -1 where
    none is likely within 8 hours.
    """
    expected = f"min(forecast_incident_expected_timestamp_seconds{{{labels}}})"
    return (f"count({on(labels)}) * 0 or clamp_min({expected} - time(), 0) or ({state} == -1) * 0 - 3 "
            f"or {_known(labels)} * 0 - (1 + (({_at_risk(labels)}) * 0 + 1 or {_known(labels)} * 0)) "
            f"or {_forecast(labels)} * 0 - 3")


# the state, and with it, in the label `why`, what it rests on

_STATE, _SERVER_STATE = f"max(fleet:forecast_state:max{{{FLEET}}})", f"max(server:forecast_state:max{{{ONE}}})"


def _shown(labels: str) -> str:
    """The states of servers, PENDING in place of ACT NOW while the alert waits. Where it is not known whether there is
    such an alert, it is ACT NOW."""
    states = f"server:forecast_state:max{{{labels}}}"
    waits = f'ALERTS{{alertname="FleetcastServerP1",alertstate="pending",{labels}}}'
    return f"({states} == 4 and on (job, fleet, server, profile) {waits}) - {4 - PENDING} or {states}"


_UP = f'up{{job="forecaster",{FLEET}}}'
_AGE = f"min(job_instance:forecaster_forecast_age_seconds:max{{{FLEET}}})"
_SERVERS = f"server:forecast_state:max{{{FLEET}}}"


def _because(condition: str, why: str) -> str:
    return f'label_replace({condition}, "why", "{why}", "", "")'


def _in_words(vector: str, words: str, *labels: str) -> str:
    """Words in the label `why`: $1 is what stands in the labels."""
    names = ", ".join(f'"{label}"' for label in labels)
    joined = f'label_join({vector}, "why", " of ", {names})'
    return f'label_replace({joined}, "why", "{words}", "why", "(.+)")'


_COUNT = f'count_values("servers", count({_SERVERS}))'
_SILENT = f'count_values("silent", sum(fleet:forecast_blind_servers:count{{{FLEET}}}) > 0)'
# the first that is so
_DATA = " or on () ".join([
    _because(f"absent({_UP})", "no forecaster is scraped"),
    _because(f"max({_UP}) == 0", "forecaster down"),
    _because(f"{_AGE} > max(forecaster_forecast_ttl_seconds{{{FLEET}}})", "forecasts stale"),
    _because(f"absent({_STATE})", "rules not evaluated"),
    _because(f"max(fleet:forecast_complete:bool{{{FLEET}}}) == 0", "a shard is missing"),
    _in_words(f"{_SILENT} * on () group_left (servers) {_COUNT}", "$1 servers silent", "silent", "servers"),
    _in_words(_COUNT, "$1 of $1 servers report", "servers"),
    _because("vector(0)", "no servers"),
])
# BLIND, not nothing, where there is no state: an answer is missing only where Prometheus gives none
_SHOWN = f"({_STATE} != 4 or max({_shown(FLEET)}) and on () {_STATE} == 4)"
FLEET_STATE = f"({_SHOWN} or vector(-1)) + on () group_left (why) (0 * ({_DATA}))"
SERVER_STATE = f"max({_shown(ONE)}) or vector(-1)"

# the fleet

FLEET_FIRST = first(FLEET, _STATE)


def fleet_chance(window: str) -> str:
    """0-1: the chance that any server of the fleet has an incident; nothing of a fleet that is BLIND."""
    return f'max(fleet:forecast_severe_probability:any{{{FLEET},window="{window}"}}) and on () {_STATE} >= 0'


# 0-1 within 8 hours, 1 while an incident is on, -2 where the chance is unknown, -1 for a BLIND server
MAP = (
    f"sort_desc(max by (server, profile) (server:forecast_state:max{{{SOME}}} == -1) "
    f'or max by (server, profile) ({on(SOME)} or forecast_severe_probability{{{SOME},window="8h"}}) '
    f"or max by (server, profile) (server:forecast_state:max{{{SOME}}}) * 0 - 2)"
)


def with_state(state: float) -> str:
    """How many servers are shown in the state; 0 where others are."""
    states = f"max by (server) ({_shown(SOME)})"
    return f"count({states} == {state:g}) or count({states}) * 0"


# the table: a row for each incident that is on or POSSIBLE, and for each other server of a state that matters

_STATES = f"max by (server, profile) (server:forecast_state:max{{{SOME}}})"
_OTHERS = f"({_STATES} >= 2 or {_STATES} == -1) unless on (server) ({_from(POSSIBLE, SOME)})"
_ROWS = (
    f"(max by (server, profile, incident) ({_from(POSSIBLE, SOME)}) "
    f'or label_replace({_OTHERS}, "incident", "state", "", ""))'
)


def _of_server(expression: str) -> str:
    return f"{_ROWS} * 0 + on (server, profile) group_left () max by (server, profile) ({expression})"


def _of_incident(expression: str) -> str:
    return f"max by (server, profile, incident) ({expression}) and on (server, profile, incident) {_ROWS}"


# In place of rows, and only where all of the fleet is forecast: with the state of the servers, which is WATCH where no
# chance is known or where those of several incidents add up.
_WORST = f"max({_STATES}) and on () (max(fleet:forecast_complete:bool{{{FLEET}}}) == 1)"
_NONE = f'{none("server", "no server at risk", f"({_WORST}) == 0")} {none("server", "nothing to list", _WORST)}'

ROW_STATE = f"{_of_server(urgency(f'max by (server, profile) ({_shown(SOME)})'))} {_NONE}"
ROW_CHANCES = {window: _of_incident(chance(SOME, window)) for window in ("30m", "8h")}
# in ms, as Grafana has it; 0 for what is on
ROW_FROM = _of_incident(f"{on(SOME)} * 0 or 1000 * forecast_incident_expected_timestamp_seconds{{{SOME}}}")
ROW_SINCE = _of_server(f'1000 * ALERTS_FOR_STATE{{alertname=~"FleetcastServer(P1|P2|Gone)",{SOME}}}')


def _until() -> str:
    """The last step, at most 8 hours ahead, at which p50 is above the limit of the incident, in ms.

    One selector for all signals, as Prometheus waits up to 5 seconds for each that a forecaster does not answer.
    """
    signals = {NAMED[incident].signal: (incident, limit) for incident, limit in LIMITS.items()}
    name = f"forecast_({'|'.join(signals)})"
    # the smallest limit first leaves few series to relabel
    ahead = f'{{__name__=~"{name}",source="curve",percentile="p50",profile=~"$profile"}} > {min(LIMITS.values())}'
    ahead = f'label_replace({ahead}, "incident", "$1", "__name__", "{name}")'
    limits = " or ".join(f'label_replace(vector({limit}), "incident", "{signal}", "", "")'
                         for signal, (_, limit) in signals.items())
    last = f"max_over_time(timestamp({ahead} > on (incident) group_left () ({limits}))[8h:5m] offset -8h)"
    for signal, (incident, _) in signals.items():
        last = f'label_replace({last}, "incident", "{incident}", "incident", "{signal}")'
    return f"1000 * max by (server, profile, incident) ({last}) and on (server, profile, incident) {_ROWS}"


ROW_UNTIL = _until()


def _rounded(name: str, series: str, label: str) -> str:
    """The value of each server and signal as text in a label; `signal` is what the pattern of the name captures."""
    signal = f'label_replace({{__name__=~"{name}",{series}}}, "signal", "$1", "__name__", "{name}")'
    return f'count_values by (server, profile, signal) ("{label}", round(max by (server, profile, signal) ({signal})))'


def _why() -> str:
    """In the label `why`: "CPU 98% → 100%", the value now and the p90 forecast in 30 minutes, else the incident."""
    signals = "|".join(one.signal for one in NAMED.values() if one.unit != " s")  # of which whole numbers say enough
    past = _rounded(f"observed_({signals})", SOME, "now")
    ahead = _rounded(f"forecast_({signals})", f'{SOME},percentile="p90",horizon="30m"', "soon")
    made = f"{past} * on (server, profile, signal) group_left (soon) {ahead}"
    made = f'label_join({made}, "why", " ", "signal", "now", "soon")'
    for incident, one in NAMED.items():
        if one.unit != " s":
            made = f'label_replace({made}, "incident", "{incident}", "signal", "{one.signal}")'
            text = f"{one.measured} $1{one.unit} → $2{one.unit}"
            made = f'label_replace({made}, "why", "{text}", "why", "{one.signal} (.+) (.+)")'
    score = f'count_values by (server, profile) ("points", max by (server, profile) (forecast_risk_score{{{SOME}}}))'
    score = f'label_replace({score}, "why", "risk score $1", "points", "(.+)")'
    blind = _because(f"{_STATES} == -1", "no current data")
    others = f'label_replace({blind} or on (server, profile) {score}, "incident", "state", "", "")'
    named = f'label_replace({_ROWS}, "why", "$1", "incident", "(.+)")'
    keys = "server, profile, incident"
    return (f"(max by ({keys}, why) ({made} or {others}) and on ({keys}) {_ROWS}) or on ({keys}) {named}")


ROW_WHY = _why()

# one server

SERVER_FIRST = first(ONE, _SERVER_STATE)
SERVER_WHY = f"sort_desc(max by (incident) ({on(ONE)} or {chance(ONE)}))"
SERVER_ON = f"max by (incident) ({on(ONE)}) or max by (incident) ({chance(ONE)}) * 0"
SERVER_STATES = f"max({_shown(ONE)}) or max({_UP}) * 0 - 1"


def server_chance(window: str) -> str:
    """0-1: the chance of any incident of the server; nothing of one that is BLIND, whose forecast is old."""
    return f'max(forecast_severe_probability{{{ONE},window="{window}"}}) and on () {_SERVER_STATE} >= 0'


def server_chances(window: str) -> str:
    """0-1, of each incident of the server."""
    return f"max by (incident) ({chance(ONE, window)})"
