"""Scenarios outlive a restart, and history repeats them."""

import numpy as np
import pytest

from exporter.fleet import Fleet
from exporter.live import LiveFleet
from exporter.profiles import load_fleet
from exporter.scenario_log import FILE, ScenarioLog
from tests import mutations

pytestmark = pytest.mark.slow

NOW = 1_772_409_600.0 + 40_000


def live(folder, now: float, config=None) -> LiveFleet:
    return LiveFleet(config or load_fleet(), lambda: now, ScenarioLog(folder))


def test_a_restarted_exporter_keeps_scenario_and_affected_servers_and_goes_on_where_it_was(tmp_path):
    first = live(tmp_path, NOW)
    first.set_scenario("critical")
    uninterrupted = Fleet(load_fleet())
    uninterrupted.set_scenario("critical", NOW)
    again = live(tmp_path, NOW + 1800).view()
    assert again.scenario == "critical" and (again.affected == first.view().affected).all()
    np.testing.assert_allclose(again.snapshot.values, uninterrupted.at(NOW + 1800).values, rtol=1e-9)


def test_history_over_a_scenario_is_what_the_live_fleet_showed(tmp_path):
    live(tmp_path, NOW).set_scenario("critical")
    shown = live(tmp_path, NOW + 1200).view().snapshot
    past = Fleet(load_fleet())
    past.events = ScenarioLog(tmp_path).load(load_fleet())
    np.testing.assert_allclose(past.at(NOW + 1200).values, shown.values, rtol=1e-9)
    assert shown.values[:, 0].max() > 90


def test_another_user_can_read_it_as_the_container_does_that_writes_history(tmp_path):
    live(tmp_path, NOW).set_scenario("critical")
    assert (tmp_path / "scenarios.json").stat().st_mode & 0o777 == 0o644


def test_a_reloaded_fleet_file_leaves_the_same_servers_in_the_same_trouble(tmp_path):
    fleet = live(tmp_path, NOW)
    fleet.set_scenario("critical")
    before = fleet.view().affected
    fleet.replace(load_fleet(overrides={"dynamics.jitter": 0.02}))
    assert (fleet.view().affected == before).all() and fleet.view().scenario == "critical"


def test_without_a_folder_nothing_is_kept():
    live(None, NOW).set_scenario("critical")
    assert live(None, NOW).view().scenario == "healthy"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"version": 9}',
        '{"version": 1, "time_scale": 1, "events": [[1]]}',
        '{"version": 1, "time_scale": 60, "events": [[1, "critical", 1]]}',
    ],
)
def test_a_log_that_cannot_be_used_is_reported_and_the_fleet_starts_as_configured(tmp_path, caplog, content):
    (tmp_path / FILE).write_text(content)
    assert live(tmp_path, NOW).view().scenario == "healthy"
    assert FILE in caplog.text
    [kept] = tmp_path.iterdir()
    assert kept.read_text() == content
    assert kept.name == (FILE if '": 9' in content or ": 60" in content else f"{FILE}.damaged")


def test_a_mutated_log_is_used_or_put_aside_and_the_fleet_goes_on(tmp_path):
    fleet = live(tmp_path, NOW)
    for name in ("degrading", "critical"):
        fleet.set_scenario(name)
    path, rng, used = tmp_path / FILE, np.random.default_rng(16), 0
    whole = path.read_bytes()
    for n in range(60):
        path.write_bytes((mutations.bytes_of if n % 2 else mutations.json_of)(rng, whole))
        again = Fleet(load_fleet())
        again.events = ScenarioLog(tmp_path).load(load_fleet())
        again.at(NOW)
        assert again.affected.shape == (20,) and again.scenario in load_fleet().scenarios
        again.set_scenario("healthy", NOW + 60)
        used += path.exists()
    assert 0 < used < 40


def test_scenarios_the_fleet_file_no_longer_knows_are_left_out(tmp_path):
    (tmp_path / FILE).write_text('{"version": 1, "time_scale": 1, "events": [[29540000, "doom", 29540000]]}')
    assert live(tmp_path, NOW).view().scenario == "healthy"


def test_a_disk_that_cannot_be_written_costs_the_log_and_not_the_scenario(tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    fleet = live(tmp_path / "file" / "below", NOW)
    fleet.set_scenario("critical")
    assert fleet.view().scenario == "critical" and "cannot be written" in caplog.text


def test_a_clock_set_back_forgets_what_it_had_put_into_the_future():
    fleet = Fleet(load_fleet())
    fleet.set_scenario("degrading", NOW + 86400 * 30)
    fleet.set_scenario("critical", NOW)
    assert fleet.scenario == "critical"
    assert fleet.at(NOW + 1800).affected.sum() == 5


def test_escalating_from_a_configured_scenario_keeps_its_servers():
    fleet = Fleet(load_fleet(overrides={"scenario": "critical"}))
    before = fleet.affected.copy()
    fleet.set_scenario("degrading", NOW)
    assert (fleet.affected == before).all() and before.sum() == 5
