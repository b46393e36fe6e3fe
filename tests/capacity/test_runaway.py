"""Straight rises: a date at once, and a chance that grows with how long one has lasted."""

from dataclasses import replace

import numpy as np
import pytest

from forecaster.capacity.forecast import Filling, Weights, forecast
from forecaster.capacity.past import HOUR, HOURS, RECENT, Past
from forecaster.capacity.runaway import steady

BEGAN = 1_800_000_000 // HOUR * HOUR
WEIGHTS = Weights.load()
RATE = 20 * 60 / 2800  # of the size an hour: 20 MB a minute into 2800 MB


def course(minutes: int, rate=RATE, known_before=True, stops=10_000, backup=0.0) -> Past:
    """A rise that began `minutes` ago, from a tenth on, after a flat course; `backup` comes and goes each night."""
    instant = BEGAN + minutes * 60

    def used(at: np.ndarray) -> np.ndarray:
        hours = (at - BEGAN) / HOUR
        night = backup * ((hours < -1) & (hours % 24 >= 2) & (hours % 24 < 8))
        level = 0.1 + np.where(hours > 0, rate * np.minimum(hours, stops / 60), night)
        return np.where((hours >= 0) | known_before, level, np.nan)

    hourly = used(instant // HOUR * HOUR - HOUR * np.arange(HOURS - 1, -1, -1))
    recent = used(instant - 300 * np.arange(RECENT - 1, -1, -1))
    as_rows = (np.asarray(part, np.float32)[None] for part in (hourly, recent))
    return Past(float(instant), *as_rows, np.ones(1, np.float32))


def made(past: Past) -> Filling:
    return forecast(past, WEIGHTS)


@pytest.mark.parametrize("known_before", [True, False], ids=["flat before", "nothing known before"])
@pytest.mark.parametrize("minutes", [20, 40, 80])
def test_a_straight_rise_has_its_date_within_a_tenth_two_hours_before(minutes, known_before):
    found = made(course(minutes, known_before=known_before))
    left = 0.9 / RATE * HOUR - minutes * 60
    assert found.full_at[0, 1] - BEGAN - minutes * 60 == pytest.approx(left, rel=0.1)


def test_the_chance_of_a_rise_grows_with_how_long_it_has_lasted():
    chances = [made(course(minutes)).chance[0, 0] for minutes in (20, 40, 80)]
    assert chances[0] >= 0.5 and chances[2] >= 0.8 and sorted(chances) == chances


def test_a_rise_tells_its_growth_and_when_it_began():
    found = made(course(60))
    assert found.growth[0] == pytest.approx(24 * RATE, rel=0.05)
    assert found.growth_before[0] == pytest.approx(0, abs=0.01)
    assert found.changed_at[0] == pytest.approx(BEGAN, abs=300)


def test_a_rise_like_last_nights_backup_is_no_runaway():
    assert made(course(40, backup=0.4)).chance[0, 1] < 0.5


def test_a_rise_that_stopped_is_no_runaway():
    assert made(course(90, stops=40)).chance[0, 1] < 0.5


def test_a_rise_that_needs_more_than_six_hours_is_no_runaway():
    slow, fast = (made(course(60, rate=0.9 / hours)).growth[0] for hours in (7, 5))
    assert slow < 24 * 0.9 / 7 / 2 and fast == pytest.approx(24 * 0.9 / 5, rel=0.05)


def test_a_straight_rise_pages_nobody_before_it_has_outlasted_a_batch_job():
    batch, longer = made(course(7 * 60 + 30, rate=0.1)), made(course(13 * 60, rate=0.06))
    assert batch.chance[0, 0] < 0.8 and longer.chance[0, 0] >= 0.8
    assert (batch.full_at[0, 1] - BEGAN) / HOUR == pytest.approx(9, rel=0.1)


def weeks(rate: float, days: float, left: float, noise: float = 0.0) -> Past:
    """A line at so much a day since so many days, which is full in so many hours."""
    random = np.random.default_rng(5)

    def used(hours: np.ndarray) -> np.ndarray:
        level = 1 - rate / 24 * (left - hours) + noise * random.standard_normal(hours.shape)
        return np.where(hours >= -24 * days, level, np.nan).astype(np.float32)[None]

    hourly, recent = used(np.arange(1 - HOURS, 1.0)), used(np.arange(1 - RECENT, 1) / 12)
    return Past(float(BEGAN), hourly, recent, np.ones(1, np.float32))


@pytest.mark.parametrize("noise", [0.0, 1e-3], ids=["smooth", "rough"])
@pytest.mark.parametrize(("rate", "days", "left"), [(0.01, 28, 168), (0.1, 5, 24), (0.1, 5, 72), (0.3, 2, 6)])
def test_steady_growth_has_the_date_of_its_line(rate, days, left, noise):
    found = made(weeks(rate, days, left, noise))
    assert (found.full_at[0, 1] - BEGAN) / HOUR == pytest.approx(left, rel=0.1)


def test_a_smooth_line_that_has_lasted_makes_its_date_likely_and_a_rough_one_leaves_that_to_the_network():
    smooth, rough = (made(weeks(0.1, 5, 20, noise)).chance[0, 1] for noise in (0.0, 5e-3))
    assert smooth >= 0.9 and rough <= smooth


def test_growth_that_was_emptied_before_it_was_full_is_no_line():
    past = weeks(0.05, 28, 100)
    past.hourly[0, :400] = past.hourly[0, 400] + 0.3
    assert not steady(past).on[0] and steady(weeks(0.05, 12, 100)).on[0]


def test_room_that_was_made_within_the_present_hour_ends_a_steady_rise_at_once():
    past = weeks(0.06, 12, 20)
    past = replace(past, instant=past.instant + 25 * 60)
    past.recent[0, -4:] -= 0.08
    assert made(past).chance[0, 1] < 0.1
    past.recent[0, -1] = np.nan
    assert made(past).chance[0, 1] < 0.1, "the last value is late"
