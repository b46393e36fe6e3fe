"""PromQL about what fills up: dates, chances and growth of entities, such as the mounts of a server.

The variables are those of `queries`, and $resource and $entity for one entity of the server. Replicas say the same of
an entity, which is first reduced to one series. There is no date where p50 is not full within 14 days.
"""

from grafana.queries import FLEET, ONE, none

ONE_ENTITY = f'{ONE},resource="$resource",entity="$entity"'
WINDOWS = {"4h": "4 h", "24h": "24 h", "7d": "7 d", "14d": "14 d"}
_KEYS = "server, resource, entity"


def used(labels: str) -> str:
    """0-1 of the limit, of each entity that has a current forecast."""
    return f"max by ({_KEYS}) (observed_capacity_used_ratio{{{labels}}})"


def chance(labels: str, window: str) -> str:
    """0-1, of full within the window."""
    return f'max by ({_KEYS}) (forecast_capacity_full_chance{{{labels},window="{window}"}})'


def date(labels: str, percentile: str = "p50") -> str:
    """When it is full, in Unix seconds."""
    return f'min by ({_KEYS}) (forecast_capacity_full_timestamp_seconds{{{labels},percentile="{percentile}"}})'


def full(labels: str) -> str:
    """1 for each entity that is full now."""
    return f"max by ({_KEYS}) (observed_capacity_full{{{labels}}})"


def growth(labels: str, which: str = "") -> str:
    """A share a day, now or (`previous_`) before it changed."""
    return f"max by ({_KEYS}) (observed_capacity_{which}growth_ratio_per_day{{{labels}}})"


# variables: what is likely to be full comes first. Grafana asks at the end of the range, 14 days ahead or now.


def _offered(label: str, labels: str) -> str:
    ranked = f'max by ({label}) (forecast_capacity_full_chance{{{labels},window="7d"}}%s)'
    return f'query_result(sort_desc({ranked % ""} or {ranked % " offset 14d"}))'


SERVERS = _offered("server", FLEET)
RESOURCES = _offered("resource", ONE)
ENTITIES = _offered("entity", f'{ONE},resource="$resource"')


def names(label: str) -> str:
    """What Grafana finds in an answer of these."""
    return f'/{label}="([^"]*)"/'


# all entities

_WATCHED = f"count({used(FLEET)})"
COUNT = _WATCHED
FIRST = f"count({full(FLEET)}) * 0 or clamp_min(min({date(FLEET)}) - time(), 0) or {_WATCHED} * 0 - 1"
FULL_NOW = f"count({full(FLEET)}) or {_WATCHED} * 0"
AGE = f"time() - max(forecaster_capacity_last_success_timestamp_seconds{{{FLEET}}} > 0)"
FAILED = (
    f"count(max by (resource) (forecaster_capacity_failed{{{FLEET}}}) == 1) "
    f"or count(forecaster_capacity_failed{{{FLEET}}}) * 0"
)


def likely(window: str) -> str:
    """How many entities are more likely than not to be full within the window."""
    return f"count({chance(FLEET, window)} >= 0.5) or {_WATCHED} * 0"


# the tables: a row for each entity of the fleet that will be full, or for each of one server


def _urgency(labels: str) -> str:
    """4 full, 3 P1, 2 P2, 1 P3; 0 of others."""
    return f"max by ({_KEYS}) (entity:capacity_urgency:max{{{labels}}})"


_ROWS = f"(({full(FLEET)} or {date(FLEET)} or {_urgency(FLEET)}) * 0)"


def _at(labels: str) -> str:
    """In ms; 0 for what is full."""
    return f"{full(labels)} * 0 or 1000 * {date(labels)}"


def _listed(expression: str) -> str:
    return f"{expression} and on ({_KEYS}) {_ROWS}"


_NOTHING = none("server", "nothing is full within 14 days", f"{_WATCHED} * 0 - 1")
# column -> query
FLEET_ROWS = {
    "A": f"{_urgency(FLEET)} or {_ROWS} {_NOTHING}",
    "B": _listed(used(FLEET)),
    "C": _at(FLEET),
    "D": _listed(chance(FLEET, "24h")),
    "E": _listed(chance(FLEET, "7d")),
    "F": _listed(growth(FLEET)),
    "G": _listed(growth(FLEET, "previous_")),
}
SERVER_ROWS = {
    "A": f"{_urgency(ONE)} or {used(ONE)} * 0",
    "B": used(ONE),
    "C": _at(ONE),
    "D": chance(ONE, "24h"),
    "E": chance(ONE, "7d"),
    "F": growth(ONE),
    "G": growth(ONE, "previous_"),
}

# one entity

_THERE = f"max(observed_capacity_used_ratio{{{ONE_ENTITY}}})"
# in ms; 0 while it is full, -1 where it is not within 14 days
ENTITY_AT = {
    percentile: f"max({full(ONE_ENTITY)}) * 0 or 1000 * max({date(ONE_ENTITY, percentile)}) or {_THERE} * 0 - 1"
    for percentile in ("p90", "p50", "p10")
}
ENTITY_CHANCES = f"sort(max by (window) (forecast_capacity_full_chance{{{ONE_ENTITY}}}))"
ENTITY_USED = _THERE


def amount(figure: str) -> str:
    """A figure of the entity (share, or share a day) in the unit of its limit, with the label `unit`."""
    size = f"max by (unit) (observed_capacity_size{{{ONE_ENTITY}}})"
    return f"{size} * on () group_left () max(observed_capacity_{figure}{{{ONE_ENTITY}}})"


# in ms, as Grafana has it
CHANGED = f"1000 * max(observed_capacity_growth_changed_timestamp_seconds{{{ONE_ENTITY}}})"
STEP_AT = f"1000 * max(observed_capacity_largest_step_timestamp_seconds{{{ONE_ENTITY}}})"

# what the exporter has of the simulated mounts reaches back further than the forecaster's first start
_MOUNT = '{server="$server",mountpoint="$entity"}'
COURSE = (
    f"max(observed_capacity_used_ratio{{{ONE_ENTITY}}}) "
    f"or 1 - max(server_filesystem_avail_bytes{_MOUNT} / server_filesystem_size_bytes{_MOUNT})"
)


def curve(percentile: str) -> str:
    """The forecast to 14 days ahead. It has a sample an hour, which a look-back of 5 minutes would miss."""
    labels = f'source="curve",server="$server",resource="$resource",entity="$entity",percentile="{percentile}"'
    return f"max(last_over_time(forecast_capacity_used_ratio{{{labels}}}[1h]))"


_USED_SERIES = f"observed_capacity_used_ratio{{{ONE_ENTITY}}}"
# by how much the used share has changed within a day, and what that was in the month
DAILY = f"max({_USED_SERIES}) - max({_USED_SERIES} offset 1d)"


def usual(quantile: float) -> str:
    """The quantile of the daily changes of the last 28 days, as one level for the whole chart."""
    return f"quantile_over_time({quantile}, ({DAILY})[28d:1h] @ end())"
