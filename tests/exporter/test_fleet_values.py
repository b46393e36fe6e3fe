"""The exact course of the simulated fleet. Shipped models are trained on it: a change of it must be intended."""

import numpy as np
import pytest

from exporter.fleet import Fleet
from exporter.latent import RELEASED, Latent
from exporter.physics import knee, respond, saturate
from exporter.profiles import load_fleet
from exporter.schedule import daily_multipliers, transition_rates, weekday_morning, weekend

pytestmark = pytest.mark.slow

MINUTE, HOUR, DAY = 60, 3600, 86400
MONDAY = 1_772_409_600  # 2026-03-02
THURSDAY, SATURDAY = MONDAY + 3 * DAY, MONDAY + 5 * DAY


def fleet(**overrides: object) -> Fleet:
    """A fleet of 15 servers."""
    servers = {"database": 4, "etl": 3, "web_api": 5, "ml_compute": 3}
    return Fleet(load_fleet(overrides={"servers": servers, **overrides}))


def means(fleet: Fleet, instant: float) -> list[float]:
    """The mean of each metric over the servers."""
    return fleet.at(instant).values.mean(0).tolist()


def near(*values: float):
    return pytest.approx(values, rel=1e-6)


def test_a_healthy_fleet_on_a_weekday_and_in_the_night_of_a_weekend():
    healthy = fleet()
    assert means(healthy, THURSDAY + 11 * HOUR + 35.5) == near(
        44.683448, 51.017976, 52.350193, 10.014448, 60.995154, 66.058545, 0.0022863645, 16.496436
    )
    assert means(healthy, SATURDAY + HOUR + 1) == near(
        16.279582, 45.18994, 18.170222, 8.3852132, 21.341529, 23.374974, 0.0020054285, 14.899973
    )


def test_a_scenario_and_the_minutes_after_it_and_a_fork_of_them():
    troubled = fleet()
    troubled.set_scenario("critical", SATURDAY + 2 * HOUR)
    troubled.set_scenario("healthy", SATURDAY + 3 * HOUR)
    during, after = SATURDAY + 2 * HOUR + 1230, SATURDAY + 3 * HOUR + 415
    assert means(troubled, during) == near(
        35.893787, 59.191473, 58.315448, 169.26829, 62.626459, 63.552536, 0.035985313, 74.895275
    )
    assert troubled.at(during).state.tolist() == [4, 0, 0, 0, 4, 0, 0, 4, 0, 0, 0, 0, 0, 4, 0]
    assert troubled.at(during).affected.nonzero()[0].tolist() == [0, 4, 7, 13]
    assert means(troubled, after) == near(
        13.240755, 45.589261, 14.970398, 8.3296739, 19.699066, 21.028437, 0.0023374039, 14.474649
    )
    assert troubled.at(after).state.tolist() == [0] * 13 + [5, 0]
    assert means(troubled.fork(2, stream=3), SATURDAY + 4 * HOUR) == near(
        13.881097, 43.464178, 16.834748, 8.4773085, 18.781544, 20.435163, 0.0022682979, 14.519066
    )


def test_more_than_a_day_of_minutes_in_fast_motion():
    values, states = fleet(scenario="degrading", time_scale=20).trajectory((MONDAY + DAY) / 20, 2000)
    assert values.mean((0, 1)).tolist() == pytest.approx(
        [37.802307, 51.764194, 42.16909, 11.1817, 52.426922, 57.819599, 0.00225369, 15.873599], rel=1e-5
    )
    assert np.bincount(states.ravel()).tolist() == [21485, 194, 7318, 995, 5, 3]


def test_scenarios_come_into_force_two_minutes_later_and_replace_later_ones():
    changed = fleet()
    first = MONDAY // MINUTE + 2
    changed.set_scenario("degrading", MONDAY + 59)
    assert changed.events == [(first, "degrading", first)]
    changed.set_scenario("critical", MONDAY + 59)  # in the same minute
    assert changed.events == [(first, "critical", first)]
    changed.set_scenario("degrading", MONDAY + 60)
    assert changed.events[1:] == [(first + 1, "degrading", first)]
    changed.set_scenario("healthy", MONDAY + HOUR)
    changed.set_scenario("critical", MONDAY + 2 * HOUR)
    assert changed.events[2:] == [(first + 60, "healthy", first), (first + 120, "critical", first + 120)]
    changed.set_scenario("healthy", MONDAY + 60)
    assert changed.events == [(first, "critical", first), (first + 1, "healthy", first)]
    changed.set_scenario("degrading", MONDAY + 60)  # critical until then, so that the same servers stay affected
    assert changed.events[1:] == [(first + 1, "degrading", first)]
    changed.set_scenario("healthy", MONDAY + 60)
    seen = [snapshot.scenario for snapshot in changed.walk(MONDAY, MONDAY + 4 * MINUTE, MINUTE)]
    assert seen == ["healthy", "critical", "healthy", "healthy"]


@pytest.mark.parametrize("back", [60, 600])
def test_a_scenario_set_with_a_clock_that_was_set_back_changes_the_minutes_already_seen(back):
    moved = fleet()
    moved.at(THURSDAY)
    moved.set_scenario("critical", THURSDAY - back)
    fresh = fleet()
    fresh.events = moved.events
    with pytest.raises(ValueError, match="needs a present"):
        moved.fork(2, stream=1)
    np.testing.assert_allclose(moved.at(THURSDAY + 300).values, fresh.at(THURSDAY + 300).values, rtol=1e-12)


class Counted(Fleet):
    """A fleet that counts its steps."""

    steps = 0

    def _step(self, z: Latent) -> None:
        self.steps += 1
        super()._step(z)


def test_instants_of_a_minute_share_its_steps():
    counted = Counted(load_fleet())
    counted.at(MONDAY)
    assert counted.steps == 2 * 24 * 60 + 1
    for seconds, steps in ((55, 0), (60, 1), (115, 1), (180, 3)):
        counted.at(MONDAY + seconds)
        assert counted.steps == 2 * 24 * 60 + 1 + steps


def test_values_are_interpolated_between_minutes_and_change_with_the_tick():
    still = fleet(**{"dynamics.jitter": 0, "tick_seconds": 15})
    start, quarter, end = (still.at(THURSDAY + s).values for s in (0, 29.9, 60))
    np.testing.assert_allclose(quarter, 0.75 * start + 0.25 * end, rtol=1e-12)
    values, _ = still.trajectory(THURSDAY, 2)
    np.testing.assert_allclose(values[0], start, rtol=1e-6)
    np.testing.assert_allclose(values[1], end, rtol=1e-6)


def test_jitter_is_relative_and_at_most_three_standard_deviations():
    smooth, rough = fleet(**{"dynamics.jitter": 0}), fleet(**{"dynamics.jitter": 0.1})
    jitter = np.stack([rough.at(THURSDAY + s).values / smooth.at(THURSDAY + s).values - 1 for s in range(0, 500, 5)])
    assert (jitter.min(), jitter.max()) == pytest.approx((-0.3, 0.3))
    assert jitter.std() == pytest.approx(0.1, rel=0.03)


def test_shares_end_at_100_percent_with_and_without_jitter():
    baseline = "profiles.database.baseline"
    full = {f"{baseline}.{name}": {"mean": mean, "std": 0} for name, mean in (("cpu_pct", 900), ("error_rate", 0.9))}
    crowded = fleet(servers={"database": 20}, **full, **{"dynamics.jitter": 0.1})
    values, _ = crowded.trajectory(THURSDAY + 12 * HOUR, 1)
    assert values[0, :, [0, 6]].max() == 100 and values[0, :, 6].tolist() == [1] * 20
    assert crowded.at(THURSDAY + 12 * HOUR).values[:, [0, 6]].max(0).tolist() == [100, 1]


def test_a_walk_includes_the_start_and_excludes_the_end():
    present = fleet()
    present.at(MONDAY)
    for end, count in ((60, 1), (61, 2), (120, 2), (0, 0)):
        instants = [snapshot.instant for snapshot in present.walk(MONDAY, MONDAY + end, 60)]
        assert instants == [MONDAY, MONDAY + 60][:count]


def test_a_response_to_load_distress_and_noise():
    config = load_fleet()
    mean, std = config.baselines(("database", "web_api"))
    daily, multiplier, distress, shared = np.array([[0.6, 1.2], [1.5, 2.2], [0.3, 0.9], [-0.5, 1.5]])
    own = np.linspace(-3, 3, 16).reshape(2, 8)
    database, web = respond(mean, std, daily, multiplier, distress, shared, own, config.dynamics).tolist()
    assert database == near(35.285086, 51.155332, 77.257329, 7.703608, 44.049767, 38.07275, 0.0017867, 13.757303)
    assert web == near(97.431237, 86.772903, 33.48091, 88.002255, 223.73644, 336.46016, 0.033996458, 27.208591)
    assert knee(np.array([0.6, 0.7, 0.8]), 0.7).tolist() == near(0.0063464006, 0.034657359, 0.1063464)
    assert saturate(np.array([89.0, 90.0, 91.0, 110.0])).tolist() == near(89, 90, 90.951626, 98.646647)


def test_weekends_and_mornings_begin_and_end_to_the_minute():
    week, day = MONDAY // MINUTE, 24 * 60
    changes = [m for m in range(week, week + 7 * day) if weekend(m) != weekend(m - 1)]
    assert changes == [week, week + 5 * day] and weekend(week - 1)
    mornings = [m - week for m in range(week, week + 7 * day) if weekday_morning(m) != weekday_morning(m - 1)]
    assert mornings == [d * day + hour * 60 for d in range(5) for hour in (6, 9)] and weekday_morning(week + 360)


def test_the_load_follows_the_diurnal_curve_and_ramps_into_and_out_of_the_weekend():
    config, day = load_fleet(), 24 * 60
    multipliers = daily_multipliers(config)
    assert len(multipliers) == 7 * day
    assert multipliers[day + 12 * 60] == 1.15 and multipliers[day + 90] == pytest.approx(0.45)
    saturday, sunday = multipliers[5 * day : 6 * day], multipliers[6 * day :]
    assert sunday[12 * 60] == pytest.approx(0.7 * 1.15)
    assert saturday[60] / multipliers[day + 60] == pytest.approx(0.85)
    assert saturday[120] / multipliers[day + 120] == sunday[0] / multipliers[day] == pytest.approx(0.7)
    assert [multipliers[m] / multipliers[day + m] for m in (0, 60, 120)] == pytest.approx([0.7, 0.85, 1])


def test_transition_rates_are_by_source_target_and_time():
    rates = transition_rates(load_fleet().transitions["natural"])
    assert rates.shape == (6, 6, 3)
    assert rates[0].nonzero()[0].tolist() == [1, 2] and rates[0].nonzero()[1].tolist() == [1, 2]
    assert (rates[0, 1, 1], rates[0, 2, 2], rates[3, 4, 0]) == (0.003, 0.0005, 0.002)


def test_servers_are_released_at_the_end_of_a_scenario_until_they_are_healthy():
    condition = Latent.calm(0, 4)
    condition.assign_modes(np.array([True, True, False, False]), 0)
    assert condition.mode.tolist() == [1, 1, 0, 0]
    condition.state[:] = [4, 0, 4, 0]
    condition.assign_modes(np.array([False, False, False, True]), 2)
    assert condition.mode.tolist() == [RELEASED, 0, 0, 3]


def test_a_server_changes_state_where_its_draw_is_below_the_cumulative_chance():
    condition = Latent.calm(0, 4)
    chance = np.tile(np.array([0, 0, 0.25, 0.25, 0.25, 0.5]), (4, 1))
    chance[3] = 0
    condition.transit(chance, np.array([0.25, 0.125, 0.5, 0], np.float32))
    assert condition.state.tolist() == [5, 2, 0, 0]
