"""PromQL about incidents: which are on, how likely each is, and when it is expected.

The variables are those of `queries`. A chance is that of an incident within a window; it is unknown where the trend
forecasts the signal. There only what is on counts.
"""

from grafana.queries import FLEET, ONE, SERVER_COUNT, SOME, none, priority

LIKELY, POSSIBLE = 0.5, 0.1  # chances within 8 hours


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


def verdict(labels: str) -> str:
    """3 a server is P1, 2 one is P2 or an incident is on or LIKELY, 1 one is POSSIBLE, 0 none, -1 chances unknown."""
    return (f"{_at_risk(labels)} or count({chance(labels)} >= {POSSIBLE}) * 0 + 1 or {_known(labels)} * 0 "
            f"or {_forecast(labels)} * 0 - 1")


def _at_risk(labels: str) -> str:
    """3 and 2 of the verdict."""
    of = f'forecast_priority{{{labels},priority="%s"}} == 1'
    return f"count({of % 'P1'}) * 0 + 3 or count({of % 'P2'} or {_from(LIKELY, labels)}) * 0 + 2"


def first(labels: str) -> str:
    """Seconds until the first incident is expected, 0 while one is on.

    Else -1 where none is likely within 8 hours, -2 where a server is P1 or P2 nevertheless, -3 without known chances.
    """
    expected = f"min(forecast_incident_expected_timestamp_seconds{{{labels}}})"
    return (f"count({on(labels)}) * 0 or clamp_min({expected} - time(), 0) or {_known(labels)} * 0 "
            f"- (1 + (({_at_risk(labels)}) * 0 + 1 or {_known(labels)} * 0)) or {_forecast(labels)} * 0 - 3")


# the fleet

FLEET_VERDICT, FLEET_FIRST = verdict(FLEET), first(FLEET)
_NONE = none("server", "no server at risk", f"{SERVER_COUNT} * 0")


def fleet_chance(window: str) -> str:
    """0-1: the chance that any server of the fleet has an incident."""
    return f'max(fleet:forecast_severe_probability:any{{{FLEET},window="{window}"}})'


# 4 for P1, 2 for P2, and the chance of the likeliest incident within 8 hours, 1 while one is on
_RANK = (
    f'max by (server) (4 * forecast_priority{{{SOME},priority="P1"}} '
    f'+ ignoring (priority) 2 * forecast_priority{{{SOME},priority="P2"}})'
)
_WORST = f"max by (server) ({on(SOME)} or {chance(SOME)})"
RISKIEST = f"topk(3, ({_RANK} + {_WORST} or {_RANK}) >= {POSSIBLE}) {_NONE}"
# 0-1 within 8 hours, 1 while an incident is on, -1 where it is unknown
MAP = (
    f'sort_desc(max by (server, profile) ({on(SOME)} or forecast_severe_probability{{{SOME},window="8h"}}) '
    f"or max by (server, profile) (forecast_priority{{{SOME}}}) * 0 - 1)"
)
# servers for each incident, else for each component of the risk
WHY = (
    f"count by (incident) (max by (server, incident) ({_from(LIKELY, SOME)})) "
    f"or count by (incident) ({chance(SOME)}) * 0 "
    f"or on () count by (component) (max by (server, component) (forecast_risk_points{{{SOME}}}) > 0) "
    f"or on () max by (component) (forecast_risk_points{{{SOME}}}) * 0"
)

# the table: a row for each incident that is on or POSSIBLE, and for each other server of P1 or P2; a query a column

_OTHERS = (
    f'max by (server, profile) (forecast_priority{{{SOME},priority=~"P1|P2"}} == 1) '
    f"unless on (server) ({_from(POSSIBLE, SOME)})"
)
_ROWS = (
    f"(max by (server, profile, incident) ({_from(POSSIBLE, SOME)}) "
    f'or label_replace({_OTHERS}, "incident", "risk score", "", ""))'
)


def _of_server(expression: str) -> str:
    return f"{_ROWS} * 0 + on (server, profile) group_left () max by (server, profile) ({expression})"


def _of_incident(expression: str) -> str:
    return f"max by (server, profile, incident) ({expression}) and on (server, profile, incident) {_ROWS}"


ROW_PRIORITY = f"sort({_of_server(priority(SOME))}) {_NONE}"
ROW_CHANCES = {window: _of_incident(chance(SOME, window)) for window in ("30m", "8h")}
ROW_EXPECTED = _of_incident(f"1000 * forecast_incident_expected_timestamp_seconds{{{SOME}}}")  # ms, as Grafana has it
ROW_ON = _of_incident(on(SOME))
ROW_RECURRING = _of_incident(f"forecast_incident_recurring_ratio{{{SOME}}}")
ROW_RISK = _of_server(f"forecast_risk_score{{{SOME}}}")


def row_now(signal: str) -> str:
    """The value the forecast started from."""
    return _of_server(f"observed_{signal}{{{SOME}}}")


def row_30m(signal: str) -> str:
    """The p90 forecast in 30 minutes."""
    return _of_server(f'forecast_{signal}{{{SOME},percentile="p90",horizon="30m"}}')


def row_delta(signal: str) -> str:
    """How much p90 in 30 minutes is above now."""
    forecast = f'forecast_{signal}{{{SOME},percentile="p90",horizon="30m"}}'
    return _of_server(f"{forecast} - on (instance, server, profile) observed_{signal}{{{SOME}}}")


# one server

SERVER_VERDICT, SERVER_FIRST, SERVER_PRIORITY = verdict(ONE), first(ONE), f"min({priority(ONE)})"
SERVER_WHY = f"max by (incident) ({on(ONE)} or {chance(ONE)})"
SERVER_ON = f"max by (incident) ({on(ONE)}) or max by (incident) ({chance(ONE)}) * 0"


def server_chance(window: str) -> str:
    """0-1: the chance of any incident of the server."""
    return f'max(forecast_severe_probability{{{ONE},window="{window}"}})'


def server_chances(window: str) -> str:
    """0-1, of each incident of the server."""
    return f"max by (incident) ({chance(ONE, window)})"
