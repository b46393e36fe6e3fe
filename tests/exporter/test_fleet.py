"""The simulated fleet: one deterministic trajectory, believable load, trouble that announces itself."""

from datetime import UTC, datetime

import numpy as np
import pytest

from exporter.fleet import Fleet, UnknownScenario
from exporter.physics import knee, respond, saturate
from exporter.profiles import METRICS, STATES, load_fleet
from forecaster.risk.score import assess
from forecaster.risk.thresholds import RiskConfig

pytestmark = pytest.mark.slow

MONDAY = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
CPU, MEMORY, LATENCY = (METRICS.index(name) for name in ("cpu_pct", "mem_pct", "latency_ms"))


@pytest.fixture(scope="module")
def week():
    """A healthy week at one minute: values (10080, S, 8), states (10080, S)."""
    return Fleet(load_fleet()).trajectory(MONDAY, 7 * 1440)


def trailing_mean(values: np.ndarray) -> np.ndarray:
    total = np.cumsum(values, axis=0, dtype=np.float64)
    means = total.copy()
    means[5:] -= total[:-5]
    return means / np.minimum(np.arange(1, len(values) + 1), 5)[:, None, None]


def severe(means: np.ndarray) -> np.ndarray:
    return (means[..., CPU] > 95) | (means[..., MEMORY] > 95) | (means[..., LATENCY] > 200)


def test_the_default_fleet_is_the_20_servers_in_7_profiles_of_the_original_system():
    fleet = Fleet(load_fleet())
    counts = {profile: fleet.profiles.count(profile) for profile in set(fleet.profiles)}
    assert counts == {
        "ml_compute": 3,
        "database": 4,
        "web_api": 5,
        "conductor": 2,
        "etl": 3,
        "risk_analytics": 2,
        "generic": 1,
    }
    assert fleet.servers[2] == "ppdb001" and fleet.servers == tuple(sorted(fleet.servers))


def test_the_fleet_scales_by_configuration_and_names_stay():
    config = load_fleet(overrides={"servers": {"database": 400}})
    fleet = Fleet(config)
    assert len(fleet.servers) == 400 and fleet.servers[0] == "ppdb001" and fleet.servers[-1] == "ppdb400"
    assert fleet.at(MONDAY).values.shape == (400, 8)


def test_same_seed_and_instant_give_the_same_fleet_however_it_is_reached():
    instant = MONDAY + 3 * DAY + 11 * HOUR + 35
    stepped = Fleet(load_fleet())
    for back in (20 * HOUR, 3 * HOUR, 90.0, 0.0):
        reached = stepped.at(instant - back)
    jumped = Fleet(load_fleet()).at(instant)
    np.testing.assert_allclose(reached.values, jumped.values, rtol=1e-9)
    assert (reached.state == jumped.state).all()


def test_history_and_live_values_are_one_trajectory_across_midnight():
    config = load_fleet()
    start = MONDAY + 2 * DAY - 5 * MINUTE
    past = list(Fleet(config).walk(start, start + 10 * MINUTE, MINUTE))
    live = Fleet(config)
    for then in past:
        np.testing.assert_allclose(live.at(then.instant).values, then.values, rtol=1e-9)


def test_walking_through_the_past_does_not_disturb_the_live_fleet():
    fleet = Fleet(load_fleet())
    before = fleet.at(MONDAY).values
    list(fleet.walk(MONDAY - DAY, MONDAY - DAY + 5 * MINUTE, MINUTE))
    np.testing.assert_array_equal(fleet.at(MONDAY).values, before)


def test_another_seed_gives_another_fleet():
    assert not np.allclose(
        Fleet(load_fleet()).at(MONDAY).values, Fleet(load_fleet(overrides={"seed": 43})).at(MONDAY).values
    )


def test_values_change_with_every_tick_of_five_seconds_and_not_between():
    fleet = Fleet(load_fleet())
    first, same, next_tick = (fleet.at(MONDAY + s).values for s in (0.0, 4.9, 5.0))
    np.testing.assert_array_equal(first, same)
    assert (first != next_tick).all()


def test_values_stay_in_their_physical_bounds_in_any_scenario():
    fleet = Fleet(load_fleet())
    fleet.set_scenario("critical", MONDAY)
    values, _ = fleet.trajectory(MONDAY, 600)
    sampled = np.stack([s.values for s in fleet.walk(MONDAY, MONDAY + 10 * HOUR, 5 * MINUTE)])
    for array in (values, sampled):
        assert np.isfinite(array).all() and array.min() >= 0
        assert array[..., [CPU, MEMORY]].max() <= 100 and array[..., METRICS.index("error_rate")].max() <= 1


def test_baselines_of_database_and_ml_compute_are_the_original_ones():
    profiles = load_fleet().profiles
    expected = {
        "database": [(40, 15), (50, 8), (85, 35), (12, 6)],
        "ml_compute": [(45, 12), (55, 10), (30, 15), (8, 4)],
    }
    for name, figures in expected.items():
        found = [(b.mean, b.std) for b in (profiles[name].baseline[metric] for metric in METRICS[:4])]
        assert found == figures


def test_a_healthy_weeks_load_follows_the_daily_curve_and_rests_at_weekends(week):
    cpu = week[0][..., CPU].mean(1).reshape(7, 24, 60).mean(-1)
    weekdays, weekend = cpu[:5].mean(0), cpu[5:].mean(0)
    assert weekdays[9:17].mean() > 2 * weekdays[0:5].mean()
    assert weekend[9:17].mean() < 0.8 * weekdays[9:17].mean()


def test_latency_follows_load_with_a_knee_instead_of_independent_noise(week):
    values = week[0]
    cpu, latency = values[..., CPU], values[..., LATENCY] / values[..., LATENCY].mean(0)
    calm, busy = latency[(cpu > 30) & (cpu < 50)], latency[cpu > 85]
    assert np.median(busy) > 2 * np.median(calm)
    assert knee(np.array(0.3), 0.7) < 1e-3 and knee(np.array(1.2), 0.7) == pytest.approx(0.5, abs=1e-3)


def test_saturation_approaches_100_percent_without_passing_it():
    demand = np.array([50.0, 90.0, 100.0, 150.0, 400.0])
    assert saturate(demand)[:2].tolist() == [50.0, 90.0]
    assert (np.diff(saturate(demand)) > 0).all() and saturate(demand)[-1] <= 100.0


def test_in_a_healthy_week_no_p1_falls_on_a_server_that_stays_out_of_degraded_and_critical(week):
    values, states = week
    ahead = np.lib.stride_tricks.sliding_window_view(trailing_mean(values), 30, axis=0)[::40, ..., 4::5]  # 6 steps
    troubled = np.isin(states, (STATES.index("degraded"), STATES.index("critical"), STATES.index("recovering"))).any(0)
    calm = np.flatnonzero(~troubled)
    assert len(calm) >= 5
    for moment in ahead[:, calm]:
        future = np.repeat(moment.astype(np.float32)[..., None], 3, axis=-1)  # perfect foresight: p10 = p50 = p90
        assert "P1" not in assess(future, METRICS, RiskConfig()).priority


@pytest.mark.parametrize("hour", [3, 9, 14, 21])
def test_critical_marches_affected_servers_into_severe_trouble_within_minutes_at_any_hour(hour):
    fleet, start = Fleet(load_fleet()), MONDAY + 3 * DAY + hour * HOUR
    fleet.set_scenario("critical", start)
    affected = fleet.affected
    values, states = fleet.trajectory(start, 40)
    assert affected.sum() == 5
    means = trailing_mean(values)
    assert severe(means)[15:, affected].all(), "every affected server is severe from the 15th minute on"
    assert not severe(means)[:, ~affected].any()
    for path in ("".join(str(s) for s in dict.fromkeys(column)) for column in states[:15, affected].T.tolist()):
        assert "234" in path, "heavy load, degraded, critical, in this order"


def test_trouble_announces_itself_because_multipliers_are_approached_over_minutes():
    fleet, start = Fleet(load_fleet()), MONDAY + 3 * DAY + 10 * HOUR
    fleet.set_scenario("critical", start)
    cpu = fleet.trajectory(start, 20)[0][:, fleet.affected, CPU].mean(1)
    assert np.abs(np.diff(cpu)).max() < 0.5 * (cpu[-1] - cpu[0])


def test_degrading_raises_affected_servers_mildly_and_healthy_lets_them_recover():
    fleet, start = Fleet(load_fleet()), MONDAY + 3 * DAY + 10 * HOUR
    fleet.set_scenario("degrading", start)
    fleet.set_scenario("healthy", start + 2 * HOUR)
    affected = fleet._affected(fleet.events[0])
    values, states = fleet.trajectory(start, 240)
    during, after = values[30:120, affected, CPU].mean(), values[150:, affected, CPU].mean()
    assert during > 1.2 * after
    assert (states[150:, affected] <= 1).mean() > 0.8


def test_scenarios_affect_their_share_and_escalation_keeps_the_same_servers():
    fleet = Fleet(load_fleet())
    assert fleet.affected.sum() == 0
    fleet.set_scenario("degrading", MONDAY)
    first = fleet.affected.copy()
    fleet.set_scenario("critical", MONDAY + HOUR)
    assert first.sum() == 5 and (fleet.affected == first).all()


def test_an_unknown_scenario_names_the_valid_ones_and_changes_nothing():
    fleet = Fleet(load_fleet())
    with pytest.raises(UnknownScenario, match="'doom'.*healthy, degrading, critical"):
        fleet.set_scenario("doom", MONDAY)
    assert fleet.scenario == "healthy"


def test_a_scenario_leaves_the_past_as_it_was():
    fleet, untouched = Fleet(load_fleet()), Fleet(load_fleet())
    fleet.at(MONDAY + 5 * HOUR)
    fleet.set_scenario("critical", MONDAY + 5 * HOUR)
    np.testing.assert_allclose(fleet.at(MONDAY + 4 * HOUR).values, untouched.at(MONDAY + 4 * HOUR).values, rtol=1e-9)


def test_a_clock_set_back_across_a_scenario_change_keeps_changes_in_order():
    fleet = Fleet(load_fleet())
    fleet.set_scenario("critical", MONDAY + HOUR)
    fleet.set_scenario("healthy", MONDAY)
    assert fleet.scenario == "healthy"
    assert not fleet.at(MONDAY + 3 * HOUR).affected.any()


def test_forks_roll_forward_from_the_same_present_on_their_own_streams():
    fleet = Fleet(load_fleet())
    present = fleet.at(MONDAY + 10 * HOUR)
    fork = fleet.fork(3, stream=1)
    future = fork.at(MONDAY + 11 * HOUR).values.reshape(3, 20, 8)
    assert fork.servers == fleet.servers * 3
    np.testing.assert_allclose(
        fleet.fork(2, stream=2).at(present.instant).values[20:], present.values, rtol=0.07
    )  # jitter
    assert not np.allclose(future[0], future[1])
    real = fleet.at(MONDAY + 11 * HOUR).values
    assert not np.allclose(future[0], real)
    again = Fleet(load_fleet())
    again.at(MONDAY + 10 * HOUR)
    np.testing.assert_allclose(again.fork(3, stream=1).at(MONDAY + 11 * HOUR).values.reshape(3, 20, 8), future)


def test_a_fork_cannot_go_back_and_cannot_replay_the_real_stream():
    fleet = Fleet(load_fleet())
    with pytest.raises(ValueError, match="needs a present"):
        fleet.fork(2, stream=1)
    fleet.at(MONDAY)
    with pytest.raises(ValueError, match="fork needs another one"):
        fleet.fork(2, stream=0)
    with pytest.raises(ValueError, match="only moves forward"):
        fleet.fork(2, stream=1).at(MONDAY - HOUR)


def test_simulated_time_can_run_faster_than_the_clock():
    config = load_fleet(overrides={"time_scale": 60})
    instant = MONDAY + 30.0
    slow = Fleet(load_fleet()).at(instant * 60).values
    np.testing.assert_allclose(Fleet(config).at(instant).values, slow, rtol=1e-9)


def test_a_response_keeps_its_shape_and_a_distressed_server_does_not_sleep():
    config = load_fleet()
    mean, std = config.baselines(("database",))
    calm, night = np.zeros(1), np.full(1, 0.4)
    own = np.zeros((1, len(METRICS)))
    quiet = respond(mean, std, night, np.ones(1), calm, calm, own, config.dynamics)
    troubled = respond(mean, std, night, np.full(1, 2.2 * 1.6), np.ones(1), calm, own, config.dynamics)
    assert quiet.shape == (1, 8) and quiet[0, CPU] == pytest.approx(16.0)
    assert severe(troubled).all()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"servers": {"databas": 4}}, "unknown profile 'databas'"),
        ({"servers": {"database": -1}}, "expected 0 to 999"),
        ({"servers": {"database": 0}}, "empty fleet"),
        ({"scenario": "doom"}, "expected one of healthy, degrading, critical"),
        ({"diurnal": [[0, 1], [24, 2]]}, "midnight"),
        ({"units": {"cpu_pct": "percent"}}, "expected exactly"),
        ({"dynamics.slow_minutes": 600}, "90"),
    ],
)
def test_a_fleet_file_that_makes_no_sense_is_refused_with_a_reason(overrides, message):
    with pytest.raises(ValueError, match=message):
        load_fleet(overrides=overrides)
