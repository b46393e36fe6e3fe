"""Growth now and before, when it changed, and the largest step of a day."""

import numpy as np
import pytest

from forecaster.capacity.growth import growth
from forecaster.capacity.past import HOUR
from tests.capacity.pasts import NOW, noise, past_of


def test_steady_growth_is_its_slope_and_has_not_changed():
    rough = noise(1, 2e-4)
    made = growth(past_of(lambda at: 0.5 + 0.01 * at / 24 + rough(at)))
    assert made.now == pytest.approx([0.01], rel=0.02)
    assert np.isnan(made.before[0]) and np.isnan(made.changed[0])


def test_growth_that_changed_has_its_rates_before_and_after_and_the_hour():
    made = growth(past_of(lambda at: 0.5 + np.where(at < -60, 0.001, 0.02) * (at + 60) / 24 + noise(1, 1e-4)(at)))
    assert made.now == pytest.approx([0.02], rel=0.05) and made.before == pytest.approx([0.001], rel=0.1)
    assert made.changed == pytest.approx([NOW - 60 * HOUR], abs=6 * HOUR)


def test_a_jump_and_a_clean_up_are_no_growth():
    made = growth(past_of(lambda at: 0.4 + 0.005 * at / 24 + 0.3 * (at > -100), lambda at: 0.6 - 0.4 * (at > -50)))
    assert made.now == pytest.approx([0.005, 0.0], abs=5e-4)
    assert np.isnan(made.changed).all()


def test_a_saw_tooth_does_not_grow_and_one_with_a_rising_floor_grows_as_its_floor():
    made = growth(past_of(*(lambda at, k=k: 0.3 + 0.2 * (at % 24) / 24 + k * at / 24 for k in (0, 0.004))))
    assert made.now == pytest.approx([0.0, 0.004], abs=5e-4)


def test_the_largest_step_is_of_the_last_day_and_names_the_end_of_its_hour():
    made = growth(past_of(lambda at: 0.3 + 0.1 * (at >= -5) + 0.2 * (at >= -40), lambda at: at * 0 + 0.3))
    assert made.step == pytest.approx([0.1, 0.0], abs=1e-6)
    assert made.stepped[0] == NOW - 5 * HOUR and np.isnan(made.stepped[1])


def test_the_largest_step_may_be_in_the_present_hour_and_is_then_of_now():
    def jumps(at):
        return 0.3 + 0.1 * (at >= -5) + 0.5 * (at >= -0.05)

    def falls(at):
        return 0.9 - 0.5 * (at >= -0.05)

    past = past_of(jumps, falls, lambda at: at * 0 + 0.3, instant=NOW + 15 * 60)
    made = growth(past)
    assert made.step == pytest.approx([0.5, 0, 0], abs=1e-6) and made.stepped[0] == past.instant
    assert np.isnan(made.stepped[1:]).all()
    past.recent[0, -1] = np.nan  # a lost scrape, after which nothing is known of the jump
    assert growth(past).step[0] == pytest.approx(0.1)
    past.recent[0, -3:] = np.nan
    assert growth(past).step[0] == pytest.approx(0.1)


def test_a_rise_across_a_gap_is_no_step():
    past = past_of(lambda at: 0.3 + 0.1 * (at >= -5))
    past.hourly[0, -8:-5] = np.nan  # the rise is between hours that are not known
    assert growth(past).step == pytest.approx([0.0])
