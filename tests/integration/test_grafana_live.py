"""Every query of every dashboard, asked as Grafana asks it, against a real Prometheus with real forecasts."""

import json
import re
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from stack.layout import ROOT, Layout
from stack.up import Stack
from tests.grafana_stack import (
    HOUR,
    Prometheus,
    Query,
    ask,
    await_true,
    faster_stack,
    has_data,
    interpolate,
    load,
    queries,
)

NAMES = ("overview.json", "server.json", "quality.json", "operations.json", "capacity.json")
SPANS = {
    "overview.json": (-6 * HOUR, 8 * HOUR),
    "server.json": (-6 * HOUR, 8 * HOUR),
    "quality.json": (-6 * HOUR, 0.0),
    "operations.json": (-6 * HOUR, 0.0),
    "capacity.json": (-14 * 24 * HOUR, 14 * 24 * HOUR),
}
ALL = [query for name in NAMES for query in queries(name)]
_LATER = "forecasts are held against outcomes, which come a horizon later: 5 minutes at the earliest, 8 hours at most"
_DAY = "the forecaster shows its record from 6 hours and 500 outcomes on"
# (panel, references or None for all) -> why it has nothing to show in the first minute
EMPTY = {
    "CPU: predicted vs. actual": ("BC", _LATER),
    "Memory: predicted vs. actual": ("BC", _LATER),
    "Disk I/O: predicted vs. actual": ("BC", _LATER),
    "Latency: predicted vs. actual": ("BC", _LATER),
    "Predicted vs. actual": ("BC", _LATER),
    "Alert chain": ("A", "nothing is delivered without a pager, and so nothing is proved"),
    "Active alerts": (
        "BCDEFG",
        "only incidents that are on or possible are listed; the one row of a quiet fleet says there is none",
    ),
}
_FILLS = "by default only of what may fill up; test_grafana_capacity.py asks it of stored samples"
EMPTY |= {panel: ("A", _FILLS)
          for panel in ("Growth a day", "Growth before", "Growth changed", "Largest step", "Step at")}
EMPTY |= {"What fills up": ("CFG", _FILLS), "What is full first": ("BCDEFG", _FILLS),
          "Change within a day, of the last month": ("ABC", "the forecaster has just started")}
EMPTY |= {query.panel: ("ABCDE", _LATER) for query in ALL if "of the last hour" in query.panel}
EMPTY |= {query.panel: ("ABCDE", _DAY) for query in ALL if "of the last day" in query.panel}
# what a real host does not measure, and rates, which a new one has after 5 minutes: memory alone stands for all
HOST_LACKS = re.compile("_(latency_ms|error_rate|gc_pause_ms|cpu_pct|disk_io_mb_s|net_in_mb_s|net_out_mb_s)")
# the trend forecasts a new host and knows no chance; nothing is on; a container has no file system that is watched
NO_CHANCE = {
    "overview.json": {"Incident within 30 min", "Incident within 8 h", "Chance of an incident"},
    "server.json": {"Incident within 30 min", "Incident within 8 h", "Chance of each incident",
                    "Chance of each incident within 30 min, last 6 h", "Chance of each incident within 8 h, last 6 h",
                    "Incidents on, last 6 h", "What fills up"},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Iterator[Stack]:
    with faster_stack(tmp_path_factory.mktemp("grafana")) as made:
        made.prepare()
        made.start()
        yield made


@pytest.fixture(scope="module")
def prometheus(stack) -> Prometheus:
    """Prometheus once both forecasters have had two cycles, curves are answered and rules are evaluated."""
    api = Prometheus(stack.layout.url("prometheus"))
    ready = (
        "count(forecaster_cycles_total >= 3) == 2 and count(forecast_risk_score) == 21 "
        "and on () job_instance:forecaster_forecast_age_seconds:max and on () alertmanager_alerts "
        "and on () (count(fleet:forecast_health:bool) == 6) and on () observed_capacity_used_ratio"
    )
    await_true(lambda: api.instant(ready, time.time()), 60, ready)
    curve = 'forecast_mem_pct{source="curve",percentile="p90"}'  # a new host has no rates for 5 minutes
    await_true(lambda: len(api.instant(curve, time.time() + HOUR)) == 21, 20, "curves of 21 servers are answered")
    await_true(lambda: api.instant('ALERTS{alertname="FleetcastWatchdog"}', time.time()), 20, "the watchdog fires")
    return api


@pytest.fixture(scope="module")
def fleet(stack) -> Mapping[str, str]:
    return variables(stack.layout, "forecaster", "ppdb001")


@pytest.fixture(scope="module")
def host(stack) -> Mapping[str, str]:
    server = f"127.0.0.1:{stack.layout.ports['node-exporter']}"
    return {**variables(stack.layout, "forecaster-node", server), "signal": "mem_pct"}


def variables(layout: Layout, part: str, server: str) -> dict[str, str]:
    return {
        "datasource": "fleetcast-prometheus",
        "fleet": f"127.0.0.1:{layout.ports[part]}",
        "profile": ".*",
        "server": server,
        "signal": "cpu_pct",
        "horizon": "5m",
        "resource": "filesystem",
        "entity": "/",
    }


def may_be_empty(query: Query) -> bool:
    refs, reason = EMPTY.get(query.panel, ("", ""))
    return query.ref in refs and bool(reason)


def answers(prometheus: Prometheus, chosen: Iterable[Query], variables: Mapping[str, str]) -> list[tuple[Query, bool]]:
    """Each query and whether it has data, asked four at a time as a browser does."""
    now = time.time()
    with ThreadPoolExecutor(4) as pool:
        return list(
            pool.map(lambda one: (one, has_data(ask(prometheus, one, variables, SPANS[one.dashboard], now))), chosen)
        )


@pytest.mark.parametrize("name", NAMES)
def test_every_query_has_data_or_a_reason_to_have_none(prometheus: Prometheus, fleet: Mapping[str, str], name: str):
    asked = answers(prometheus, queries(name), fleet)
    assert len(asked) > 20
    assert [str(query) for query, found in asked if not found and not may_be_empty(query)] == []


@pytest.mark.parametrize("name", NAMES[:3])
def test_the_forecaster_of_real_hosts_has_data_too(prometheus: Prometheus, host: Mapping[str, str], name: str):
    asked = [(query, found) for query, found in answers(prometheus, queries(name), host)
             if not may_be_empty(query) and query.panel not in NO_CHANCE.get(name, ())]
    assert [str(query) for query, found in asked if not found and not HOST_LACKS.search(query.expression)] == []


def test_every_reason_to_be_empty_is_still_needed():
    panels = {query.panel for query in ALL}
    assert set(EMPTY) <= panels


@pytest.mark.parametrize(
    "query",
    [query for query in queries("server.json") if 'source="curve"' in query.expression and not query.instant],
    ids=str,
)
def test_a_fan_reaches_from_now_to_eight_hours_ahead(prometheus: Prometheus, fleet: Mapping[str, str], query: Query):
    now = time.time()
    (result,) = ask(prometheus, query, fleet, SPANS["server.json"], now)
    instants = [instant - now for instant, _ in result["values"]]
    assert -60 < instants[0] <= 360
    assert 7.8 * HOUR < instants[-1] <= 8.1 * HOUR


def test_measured_ends_now_and_the_forecast_goes_on(prometheus: Prometheus, fleet: Mapping[str, str]):
    measured = next(query for query in queries("server.json") if query.panel == "CPU" and query.ref == "A")
    now = time.time()
    (result,) = ask(prometheus, measured, fleet, SPANS["server.json"], now)
    instants = [instant - now for instant, _ in result["values"]]
    assert instants[0] < -2.5 * HOUR, "the history that was loaded is drawn"
    assert -60 <= instants[-1] <= 90


def test_the_risk_of_a_fleet_goes_on_into_the_future(prometheus: Prometheus, fleet: Mapping[str, str]):
    for title in ("Risk by profile", "Servers by priority over time", "Servers above a limit"):
        for query in (one for one in queries("overview.json") if one.panel == title and not one.instant):
            now = time.time()
            result = ask(prometheus, query, fleet, SPANS["overview.json"], now)
            assert max(float(one["values"][-1][0]) for one in result) > now + 7.8 * HOUR, title


def test_the_band_has_a_width_at_each_horizon(prometheus: Prometheus, fleet: Mapping[str, str]):
    (width,) = (query for query in queries("quality.json") if query.panel.startswith("Band width"))
    result = ask(prometheus, width, fleet, SPANS["quality.json"], time.time())
    assert [one["metric"]["horizon"] for one in result] == ["5m", "30m", "1h", "4h", "8h"]
    assert all(0 < float(one["values"][0][1]) < 100 for one in result)


def test_figures_of_two_forecasters_never_mix(
    prometheus: Prometheus, fleet: Mapping[str, str], host: Mapping[str, str]
):
    tiles = next(query for query in queries("overview.json") if query.panel == "Risk map")
    for chosen, count in ((fleet, 20), (host, 1)):
        result = ask(prometheus, tiles, chosen, SPANS["overview.json"], time.time())
        assert len(result) == count
    course = next(query for query in queries("overview.json") if query.panel == "Servers by priority over time")
    for chosen, count in ((fleet, 20), (host, 1)):
        now = time.time()
        result = ask(prometheus, course, chosen, SPANS["overview.json"], now)
        for instant in (now, now + 4 * HOUR):
            assert sum(float(value) for one in result for t, value in one["values"] if abs(t - instant) < 1) == count


@pytest.mark.parametrize("name", NAMES)
def test_variables_offer_what_is_there(prometheus: Prometheus, fleet: Mapping[str, str], name: str):
    end = time.time() + SPANS[name][1]
    offered = {
        one["name"]: prometheus.variable(interpolate(one["query"]["query"], fleet), one["regex"], end)
        for one in load(name)["templating"]["list"]
        if one["type"] == "query"
    }
    assert fleet["fleet"] in offered["fleet"] and len(offered["fleet"]) == 2
    if "profile" in offered:
        assert len(offered["profile"]) == 7
    if "server" in offered:
        assert len(offered["server"]) == 20 and fleet["server"] in offered["server"]


def test_annotations_mark_now_and_nothing_that_did_not_happen(prometheus: Prometheus, fleet: Mapping[str, str]):
    made = {one["name"]: interpolate(one["expr"], fleet) for one in load("server.json")["annotations"]["list"]}
    now = time.time()
    marks = {name: prometheus.range(expression, now - 2 * HOUR, now + 2 * HOUR) for name, expression in made.items()}
    (band,) = marks["Now"]
    assert all(0 < instant - now <= 370 for instant, _ in band["values"])
    assert marks["Model"] == []
    assert len(marks["Config reload"]) <= 1, "the start, once its minute has a point of the grid"


def test_annotations_mark_a_start_or_a_reload_for_a_minute(prometheus: Prometheus, fleet: Mapping[str, str]):
    expression = next(
        interpolate(one["expr"], fleet)
        for one in load("server.json")["annotations"]["list"]
        if one["name"] == "Config reload"
    )
    now = time.time()
    (marked,) = prometheus.range(expression, now - HOUR, now, 1)
    assert max(float(value) for _, value in marked["values"]) < 60


def test_annotations_mark_a_change_of_scenario(prometheus: Prometheus, stack: Stack, fleet: Mapping[str, str]):
    expression = next(
        interpolate(one["expr"], fleet)
        for one in load("server.json")["annotations"]["list"]
        if one["name"] == "Scenario"
    )
    assert prometheus.instant(expression, time.time()) == []
    set_scenario(stack.layout, "degrading")
    # one minute later the scenario is no longer new
    seconds = expression.replace("offset 1m", "offset 3s")
    await_true(
        lambda: [one["metric"]["scenario"] for one in prometheus.instant(seconds, time.time())] == ["degrading"],
        15,
        "the new scenario is marked",
    )
    set_scenario(stack.layout, "healthy")


def set_scenario(layout: Layout, name: str) -> None:
    request = urllib.request.Request(
        layout.url("exporter", "/scenario/set"),
        json.dumps({"scenario": name}).encode(),
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()


def test_every_metric_that_is_named_exists(prometheus: Prometheus, fleet: Mapping[str, str]):
    exposed = set(prometheus.get("label/__name__/values"))
    recorded = {
        rule["record"]
        for file in (ROOT / "prometheus" / "rules").glob("*.yml")
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    expressions = {interpolate(query.expression, {**fleet, "__range": "1h"}) for query in ALL}
    expressions |= {interpolate(one["expr"], fleet) for name in NAMES for one in load(name)["annotations"]["list"]}
    named = set().union(*map(metrics, expressions))
    assert len(named) > 60
    later = {"forecast_live_coverage_ratio", "forecast_live_loss_ratio", "forecast_live_recent_coverage_ratio",
             "forecast_live_recent_loss_ratio", "forecast_live_recent_outcomes"}  # nothing is scored yet
    absent = {"forecast_server_unforecast", "forecast_missing_signals",  # a whole fleet has neither, nor a quiet one:
              "forecast_incident_active", "forecast_incident_expected_timestamp_seconds"}
    filling = {"observed_capacity_full", *(name for name in named if re.search("_capacity_(previous_)?growth_", name))}
    assert named - exposed - recorded <= later | absent | filling
    for expression in expressions:
        for pattern in re.findall(r'__name__=~"([^"]+)"', expression):
            assert any(re.fullmatch(pattern, name) for name in exposed), pattern


_KEYWORDS = {"and", "or", "unless", "by", "on", "without", "offset", "bool", "group_left", "group_right", "ignoring"}


def metrics(expression: str) -> set[str]:
    """The metrics that a PromQL expression names."""
    bare = re.sub(r'"(\\.|[^"\\])*"', '""', expression)
    bare = re.sub(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\boffset -?\w+|@ (end|start)\(\)|\b\d[\w.]*", " ", bare)
    words = re.findall(r"[a-zA-Z_:][\w:]*(?!\w)(?!\s*\()", bare)
    return {word for word in words if word not in _KEYWORDS}
