import subprocess
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from exporter.collector import FAMILIES, FleetCollector, SelfCollector, base_units, build_registry
from exporter.fleet import Fleet, Snapshot
from exporter.live import LiveFleet
from exporter.mounts import Mounts
from exporter.profiles import METRICS, STATES, load_fleet
from serving.exposition import metrics_response
from tests.results import Clock
from tests.tools import tool

pytestmark = pytest.mark.slow

NOW = 1_760_000_000.0


@pytest.fixture(scope="module")
def live() -> LiveFleet:
    """A fleet at NOW, for tests that only look at it."""
    return LiveFleet(load_fleet(), Clock())


@pytest.fixture
def own_live(clock) -> LiveFleet:
    """A fleet for one test that changes it or moves the clock."""
    return LiveFleet(load_fleet(), clock)


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return Fleet(load_fleet()).at(NOW)


def scrape(live: LiveFleet, **headers: str) -> str:
    registry = build_registry(SelfCollector(live, "1.2.3", lambda: (True, NOW)))
    return metrics_response(registry, FleetCollector(live).render(), headers).get_data(as_text=True)


def series(text: str) -> dict[tuple[str, frozenset], float]:
    return {(s.name, frozenset(s.labels.items())): s.value for family in parse(text) for s in family.samples}


def test_the_output_passes_promtool_and_is_not_empty(live):
    text = scrape(live)
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(series(text)) == 20 * (8 + 6 + 3 * 2) + 3 + 1 + 4


def test_the_output_is_openmetrics_when_that_is_asked_for(live):
    text = scrape(live, Accept="application/openmetrics-text;version=1.0.0")
    names = {family.name for family in parse_openmetrics(text)}
    assert {family.name for family in FAMILIES} | {"fleet_ticks", "server_state"} <= names


def test_every_server_has_its_eight_values_in_base_units(live, snapshot):
    got = series(scrape(live))
    servers, profiles = load_fleet().names()
    factors = {
        "cpu_pct": 0.01,
        "mem_pct": 0.01,
        "disk_io_mb_s": 1e6,
        "latency_ms": 1e-3,
        "net_in_mb_s": 1e6,
        "net_out_mb_s": 1e6,
        "error_rate": 1,
        "gc_pause_ms": 1e-3,
    }
    assert [family.signal for family in FAMILIES] == list(METRICS)
    for row, (server, profile) in enumerate(zip(servers, profiles, strict=True)):
        for column, family in enumerate(FAMILIES):
            value = got[family.name, frozenset({("server", server), ("profile", profile)})]
            assert value == pytest.approx(snapshot.values[row, column] * factors[family.signal], rel=1e-6)


def test_base_units_are_float32_of_the_same_shape():
    values = base_units(np.ones((3, 20, 8)))
    assert (values.shape, values.dtype) == ((3, 20, 8), np.float32)


def test_every_mount_has_its_size_and_what_is_available(own_live, clock):
    mounts = Mounts.of(load_fleet())
    clock.now += 2.5  # within a tick
    used, size = mounts.at(NOW)
    got = series(scrape(own_live))
    assert len(mounts.entities) == 20 * 3
    for row, entity in enumerate(mounts.entities):
        labels = frozenset(zip(("server", "profile", "mountpoint"), entity, strict=True))
        assert got["server_filesystem_size_bytes", labels] == size[row]
        assert got["server_filesystem_avail_bytes", labels] == size[row] - used[row]


def test_mounts_fill_in_simulated_time(clock):
    fast = LiveFleet(load_fleet(overrides={"time_scale": 60}), clock)
    clock.now += 3600
    assert np.array_equal(fast.mounts()[1], Mounts.of(load_fleet()).at(clock.now * 60)[0])


def test_the_state_is_a_set_with_exactly_one_member_a_server(live, snapshot):
    got = series(scrape(live))
    for row, (server, profile) in enumerate(zip(*load_fleet().names(), strict=True)):
        ones = [
            state
            for state in STATES
            if got["server_state", frozenset({("server", server), ("profile", profile), ("state", state)})]
            == 1
        ]
        assert ones == [STATES[snapshot.state[row]]]


def test_scenario_and_affected_servers_follow_the_control(own_live):
    own_live.set_scenario("critical")
    got = series(scrape(own_live))
    assert {
        name: got["fleet_scenario", frozenset({("scenario", name)})]
        for name in ("healthy", "degrading", "critical")
    } == {"healthy": 0, "degrading": 0, "critical": 1}
    assert got["fleet_affected_servers", frozenset()] == 5


def test_the_values_are_those_of_the_moment_of_the_scrape(own_live, clock):
    before = scrape(own_live)
    assert scrape(own_live) == before
    clock.now += 60
    assert scrape(own_live) != before


def test_ticks_are_counted_from_the_start_and_never_taken_back(own_live, clock):
    def ticks() -> float:
        return series(scrape(own_live))["fleet_ticks_total", frozenset()]

    assert ticks() == 0
    clock.now += 61
    assert ticks() == 12
    clock.now -= 30
    assert ticks() == 12


def test_ticks_are_of_simulated_time(clock):
    fast = LiveFleet(load_fleet(overrides={"time_scale": 60}), clock)
    clock.now += 1
    assert fast.view().ticks == 12


def test_a_value_that_is_nan_is_left_out(live, monkeypatch):
    real = live.view()
    values = real.snapshot.values.copy()
    values[0, 0] = np.nan
    monkeypatch.setattr(live, "view", lambda: replace(real, snapshot=replace(real.snapshot, values=values)))
    got = series(scrape(live))
    server = frozenset({("server", real.servers[0]), ("profile", real.profiles[0])})
    assert ("server_cpu_utilization_ratio", server) not in got
    assert ("server_memory_utilization_ratio", server) in got


def test_another_set_of_servers_replaces_the_series(own_live):
    collector = FleetCollector(own_live)
    assert b'server="ppgen001"' in collector.render()
    own_live.replace(load_fleet(overrides={"servers": {"database": 2}}))
    text = collector.render()
    assert b'server="ppgen001"' not in text
    assert b'server="ppdb002"' in text and b'mountpoint="/data"' in text


def test_build_info_carries_the_version(live):
    assert series(scrape(live))["fleet_exporter_build_info", frozenset({("version", "1.2.3")})] == 1
