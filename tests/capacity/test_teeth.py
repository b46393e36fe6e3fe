"""Saw teeth and bursts: what the courses of a history with falls are, whatever a network makes of them."""

import numpy as np

from forecaster.capacity.burst import latest
from forecaster.capacity.falls import by_clock
from forecaster.capacity.growth import rare_steps, typical
from forecaster.capacity.past import HOURS
from forecaster.capacity.teeth import HORIZON, KNOTS, teeth

HISTORY = np.arange(1 - HOURS, 1)
AHEAD = np.arange(1, HORIZON + 1)


def of(course, first=0):
    """The teeth of a course, a function of hours from now, of which the column ``first`` is the first known."""
    z = course(HISTORY).astype(np.float32)[None]
    moves = np.diff(z, axis=1)
    noise = typical(moves[:, -168:])
    return teeth(z, moves, rare_steps(moves, noise), noise, np.full(1, first), np.ones(1, np.float32))


def from_a_level(at, growth=0.01, ceiling=0.8, floor=0.4, rising=0.0):
    """Grows to the ceiling and falls to the floor, which rises; at the last hour it has just fallen."""
    level, made, low = floor, [], floor
    for _ in range(at.size):
        low += rising
        level = level + growth if level + growth < ceiling else low
        made.append(level)
    return np.array(made)


def daily(at):
    return 0.5 + 0.2 * (at % 24) / 24


def test_a_rotation_by_the_clock_goes_on_as_it_did():
    made = of(daily).draws.course[0] - (daily(AHEAD) - daily(0))
    assert np.abs(made).max() < 0.02


def test_a_clean_up_by_hand_moves_the_floor_that_rotations_fall_to_and_nothing_else():
    def cleaned(at):
        return daily(at) - np.where(at >= -60, 0.3, 0)

    made = of(cleaned).draws.course[0] - (cleaned(AHEAD) - cleaned(np.zeros(1)))
    assert np.abs(made).max() < 0.05


def test_a_restore_between_rotations_is_no_growth_of_their_floor():
    def restored(at):
        return daily(at) + np.where(at >= -30, 0.15, 0)

    made = of(restored).draws.course[0] - (restored(AHEAD) - restored(np.zeros(1)))
    assert np.abs(made).max() < 0.05


def test_falls_from_a_level_are_spread_by_how_unevenly_it_grows():
    rng = np.random.default_rng(5)
    level, course = 0.4, []
    for growth in rng.lognormal(np.log(0.004), 0.9, HOURS):
        level = level + growth if level + growth < 0.8 else 0.4
        course.append(level)
    found = of(lambda _: np.array(course))
    low, _, high = (one[0] for one in found.draws.at_knots)
    week = int(np.searchsorted(KNOTS, 168))
    assert (low <= high).all() and low[0] >= 0 and high[0] < 0.05  # an hour ahead it is known
    assert high[week] - low[week] > 0.1
    assert ((course[-1] + found.draws.at_knots[:, 0] > 0.38) & (course[-1] + found.draws.at_knots[:, 0] < 0.82)).all()


def test_falls_from_a_level_come_when_such_days_lead_there():
    def resting(at):  # grows by 0.1 on each of five days, rests on two; falls by 0.5 at 0.8; now a rest begins
        hours = at - 48
        return 0.3 + (0.1 * (5 * (hours // 168) + np.minimum(hours % 168 / 24, 5)) + 0.2) % 0.5

    found = of(resting).draws.at_knots[1, 0]
    day, three = (int(np.searchsorted(KNOTS, hours)) for hours in (24, 72))
    np.testing.assert_allclose(found[[day, three]], resting(np.array([24, 72])) - resting(np.zeros(1)), atol=0.03)


def test_a_burst_leads_back_to_where_it_began():
    z = np.where(HISTORY < -10, 0.3, np.minimum(0.3 + 0.05 * (HISTORY + 11), 0.5)).astype(np.float32)[None]
    found = latest(z, np.diff(z, axis=1), np.zeros(1, np.float32))
    assert abs(float(found.before[0]) + 0.2) < 1e-6
    ended, begun, _, left, _, number, days, half_days = (float(one[0]) for one in found.traits)
    assert round(np.expm1(ended)) == 7 and round(np.expm1(begun)) == 11 and left == 1
    assert round(np.expm1(number)) == 1 and (days, half_days) == (7 / 24, 11 / 12)


def test_bursts_are_counted_and_a_rise_of_several_hours_is_one():
    z = 0.3 + 0.1 * np.isin(HISTORY, [-100, -99, -98, -40, -39, -3]) + 0.1 * np.isin(HISTORY, [-99, -98])
    found = latest(z.astype(np.float32)[None], np.diff(z, axis=-1)[None], np.zeros(1, np.float32))
    assert round(np.expm1(float(found.traits[5][0]))) == 3


def test_without_a_steep_rise_there_is_no_burst():
    z = np.full((1, HOURS), 0.4, np.float32)
    assert latest(z, np.diff(z, axis=1), np.zeros(1, np.float32)).before[0] == 0


def test_a_rotation_by_the_clock_is_one_where_some_days_leave_nothing_to_rotate():
    def idle_at_times(at):
        return np.where(at // 24 % 3 == 0, 0.5, daily(at))

    _, period, passed, often = by_clock(np.diff(idle_at_times(HISTORY))[None] < -0.1)
    assert (period[0], passed[0]) == (24, 0) and often[0] >= 8


def test_falls_from_one_level_that_are_whole_days_apart_by_chance_are_no_clock():
    def once_a_week(at):  # twice in sight, from the same level
        return 0.4 + 0.4 * ((at + 100) % 336) / 336

    made = of(once_a_week).draws
    later = np.array([23, 167, 235, 237])
    np.testing.assert_allclose(made.course[0, later], once_a_week(AHEAD)[later] - once_a_week(np.zeros(1)), atol=0.03)


def test_on_a_floor_that_rises_a_level_is_reached_ever_sooner():
    whole = from_a_level(np.arange(HOURS + HORIZON), growth=0.012, rising=2.5e-4)
    made = of(lambda _: whole[:HOURS]).draws
    assert np.abs(made.course[0, :120] - (whole[HOURS:HOURS + 120] - whole[HOURS - 1])).mean() < 0.02


def test_what_is_far_above_the_level_it_fell_from_does_not_fall_from_it():
    def lifted(at):
        return np.where(at < -200, from_a_level(at, ceiling=0.5, floor=0.3), 0.6 + 5e-4 * (at + 200))

    made = of(lifted).draws.at_knots
    assert (made > 0).all() and made[1, 0, -1] > 0.1


def test_of_what_has_fallen_once_half_of_the_draws_fall_again():
    rng = np.random.default_rng(2)
    course = np.cumsum(rng.exponential(0.0012, HOURS))
    course = np.where(np.arange(HOURS) < 400, 0.3 + course, 0.3 + course - course[400])
    low, _, high = of(lambda _: course).draws.at_knots[:, 0]
    top, week = course[399] - course[-1], int(np.searchsorted(KNOTS, 168))
    assert high[week] > top > low[week] + 0.1


def test_what_is_unusually_high_comes_back_as_it_has_before():
    rng = np.random.default_rng(3)
    noise = np.zeros(HOURS)
    for hour in range(1, HOURS):
        noise[hour] = 0.8 * noise[hour - 1] + 0.006 * rng.standard_normal()
    usual = of(lambda _: 0.5 + noise).draws
    high = of(lambda at: 0.5 + noise + np.where(at > -6, 0.03, 0)).draws
    assert -0.03 < high.course[0, 23] - usual.course[0, 23] < -0.008
    low, _, high = usual.at_knots[:, 0, int(np.searchsorted(KNOTS, 24))]
    assert high - low < 2.9 * noise.std()  # 2.56 from what is known now; 3.6 of the difference of any two days


def test_three_days_are_drawn_from_as_far_as_they_reach():
    made = of(lambda at: 0.4 + 1e-3 * np.maximum(at, -71), first=HOURS - 72).draws
    np.testing.assert_allclose(made.at_knots[:, 0], 1e-3 * np.tile(KNOTS, (3, 1)), atol=0.01)


def test_an_hour_of_history_leaves_one_course():
    made = of(lambda at: np.full(at.size, 0.4), first=HOURS - 2).draws
    assert (made.at_knots == made.course[0, KNOTS - 1]).all() and np.isfinite(made.course).all()
