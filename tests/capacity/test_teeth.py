"""Saw teeth and bursts: what the courses of a history with falls are, whatever a network makes of them."""

import numpy as np

from forecaster.capacity.burst import latest
from forecaster.capacity.growth import rare_steps, typical
from forecaster.capacity.past import HOURS
from forecaster.capacity.teeth import HORIZON, KNOTS, teeth

HISTORY = np.arange(1 - HOURS, 1)
AHEAD = np.arange(1, HORIZON + 1)


def of(course):
    """The teeth of a course, a function of hours from now."""
    z = course(HISTORY).astype(np.float32)[None]
    moves = np.diff(z, axis=1)
    noise = typical(moves[:, -168:])
    return teeth(z, moves, rare_steps(moves, noise), noise, np.zeros(1, np.int64))


def daily(at):
    return 0.5 + 0.2 * (at % 24) / 24


def test_a_rotation_by_the_clock_goes_on_as_it_did():
    made = of(daily).by_clock[0] - (daily(AHEAD) - daily(0))
    assert np.abs(made).max() < 0.02


def test_a_clean_up_by_hand_moves_the_floor_that_rotations_fall_to_and_nothing_else():
    def cleaned(at):
        return daily(at) - np.where(at >= -60, 0.3, 0)

    made = of(cleaned).by_clock[0] - (cleaned(AHEAD) - cleaned(np.zeros(1)))
    assert np.abs(made).max() < 0.05


def test_a_restore_between_rotations_is_no_growth_of_their_floor():
    def restored(at):
        return daily(at) + np.where(at >= -30, 0.15, 0)

    made = of(restored).by_clock[0] - (restored(AHEAD) - restored(np.zeros(1)))
    assert np.abs(made).max() < 0.05


def test_falls_from_a_level_are_spread_by_how_unevenly_it_grows():
    rng = np.random.default_rng(5)
    level, course = 0.4, []
    for growth in rng.lognormal(np.log(0.004), 0.9, HOURS):
        level = level + growth if level + growth < 0.8 else 0.4
        course.append(level)
    found = of(lambda _: np.array(course))
    low, _, high = (one[0] for one in found.fan)
    week = int(np.searchsorted(KNOTS, 168))
    assert (low <= high).all() and low[0] >= 0 and high[0] < 0.05  # an hour ahead it is known
    assert high[week] - low[week] > 0.1
    assert ((course[-1] + found.fan[:, 0] > 0.38) & (course[-1] + found.fan[:, 0] < 0.82)).all()


def test_falls_from_a_level_come_when_such_days_lead_there():
    def resting(at):  # grows by 0.1 on each of five days, rests on two; falls by 0.5 at 0.8; now a rest begins
        hours = at - 48
        return 0.3 + (0.1 * (5 * (hours // 168) + np.minimum(hours % 168 / 24, 5)) + 0.2) % 0.5

    found = of(resting).fan[1, 0]
    day, three = (int(np.searchsorted(KNOTS, hours)) for hours in (24, 72))
    np.testing.assert_allclose(found[[day, three]], resting(np.array([24, 72])) - resting(np.zeros(1)), atol=0.03)


def test_a_burst_leads_back_to_where_it_began():
    z = np.where(HISTORY < -10, 0.3, np.minimum(0.3 + 0.05 * (HISTORY + 11), 0.5)).astype(np.float32)[None]
    found = latest(z, np.diff(z, axis=1), np.zeros(1, np.float32))
    assert abs(float(found.before[0]) + 0.2) < 1e-6
    ended, begun, _, left, _ = (float(one[0]) for one in found.traits)
    assert round(np.expm1(ended)) == 7 and round(np.expm1(begun)) == 11 and left == 1


def test_without_a_steep_rise_there_is_no_burst():
    z = np.full((1, HOURS), 0.4, np.float32)
    assert latest(z, np.diff(z, axis=1), np.zeros(1, np.float32)).before[0] == 0
