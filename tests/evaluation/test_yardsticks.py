"""Yardsticks say what their names promise."""

import numpy as np
import pytest

from forecaster.config import load_config
from forecaster.evaluation import yardsticks
from forecaster.evaluation.scoring import DAY
from forecaster.evaluation.yardsticks import NAMES
from forecaster.models import heuristic

SIGNALS = load_config("fleet").signals
ALL = yardsticks.named(SIGNALS)


def week(value):
    """float32 (1, 1, 2016) of a function of the step."""
    return value(np.arange(2016)).astype(np.float32)[None, None]


def test_yesterday_repeats_in_the_seasonal_forecast():
    daily = week(lambda t: t % 288)
    found = yardsticks.seasonal_naive(daily)
    np.testing.assert_array_equal(found[0, 0, :, 1], np.arange(96))
    np.testing.assert_array_equal(found[0, 0, :, 0], found[0, 0, :, 2])


def test_the_last_day_is_its_quantiles_at_every_step():
    found = yardsticks.last_day(week(lambda t: np.where(t < 2016 - 288, 1e6, t - (2016 - 288))))
    np.testing.assert_allclose(found[0, 0, 0], np.quantile(np.arange(288), [0.1, 0.5, 0.9]), rtol=1e-6)
    assert (found[0, 0] == found[0, 0, :1]).all()


def test_persistence_holds_the_newest_value_and_widens_with_distance():
    walk = np.random.default_rng(0).standard_normal(2016).cumsum().astype(np.float32)[None, None] + 1000
    found = yardsticks.persistence(walk)[0, 0]
    np.testing.assert_allclose(found[0, 1], walk[0, 0, -1], rtol=1e-6)
    width = found[:, 2] - found[:, 0]
    assert width[0] < width[11] < width[95]


def test_predict_linear_draws_the_line_of_the_last_hour_on():
    found = yardsticks.predict_linear(week(lambda t: 3.0 * t))[0, 0]
    np.testing.assert_allclose(found[:, 1], 3.0 * (2015 + np.arange(1, 97)), rtol=1e-5)
    np.testing.assert_array_equal(found[:, 0], found[:, 2])


def test_a_steady_fall_does_not_predict_negative_values():
    assert (yardsticks.predict_linear(week(lambda t: 2015.0 - t)) >= 0).all()


@pytest.mark.parametrize("name", ["heuristic", "persistence", "seasonal-naive", "last-day", "predict-linear"])
def test_every_yardstick_forecasts_through_gaps_and_with_little_history(name):
    signals = load_config("fleet").signals
    make = yardsticks.named(signals)[name]
    window = np.random.default_rng(1).random((2, len(signals), 600)).astype(np.float32)
    window[:, :, 100:110] = np.nan
    window[1, :, :590] = np.nan
    found = make(window)
    assert found.shape == (2, len(signals), 96, 3) and found.dtype == np.float32
    assert np.isfinite(found).all() and (np.diff(found, axis=-1) >= 0).all()


def test_a_series_never_seen_is_taken_for_zero_rather_than_invented():
    assert (yardsticks.last_day(np.full((1, 1, 300), np.nan, np.float32)) == 0).all()


def window(steps: int = 7 * DAY, seed: int = 0) -> np.ndarray:
    """float32 (3, 8, steps) around 50, as noisy as most."""
    return np.random.default_rng(seed).normal(50, 5, (3, len(SIGNALS), steps)).clip(0, 100).astype(np.float32)


def test_the_command_line_names_the_yardsticks_there_are():
    assert set(ALL) == set(NAMES)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("steps", [1, 2, 13, DAY - 1, DAY, 2 * DAY, 7 * DAY])
def test_a_yardstick_forecasts_rising_numbers_from_any_history(name, steps):
    made = ALL[name](window(steps))
    assert made.shape == (3, 8, 96, 3) and made.dtype == np.float32
    assert np.isfinite(made).all() and made.min() >= 0 and (np.diff(made, axis=-1) >= 0).all()


def test_a_gap_holds_the_last_value_and_what_precedes_the_first_is_the_first():
    given = np.array([[[np.nan, 3, np.nan, np.nan, 5]]], np.float32)
    np.testing.assert_array_equal(yardsticks.bridge(given)[0, 0], [3, 3, 3, 3, 5])


def test_the_heuristic_is_the_one_that_serves():
    given = window()
    np.testing.assert_array_equal(ALL["heuristic"](given), heuristic.forecast(given[..., -24:], SIGNALS))


def test_an_idle_series_is_forecast_as_exactly_idle():
    idle = np.full((1, 1, 7 * DAY), 2.5, np.float32)
    for name in ("persistence", "seasonal-naive", "last-day", "predict-linear"):
        assert (ALL[name](idle) == 2.5).all(), name


def test_seasonal_naive_repeats_yesterdays_values_at_the_same_time():
    given = window()
    made = yardsticks.seasonal_naive(given)
    np.testing.assert_array_equal(made[..., 1], given[..., -DAY : -DAY + 96])
    change = np.quantile(given[0, 0, DAY:] - given[0, 0, :-DAY], 0.1)
    assert made[0, 0, 0, 0] == pytest.approx(max(given[0, 0, -DAY] + change, 0), abs=1e-4)


def test_last_day_quantiles_know_nothing_older_than_a_day():
    given = window()
    expected = np.quantile(given[..., -DAY:], (0.1, 0.5, 0.9), axis=-1)
    np.testing.assert_allclose(yardsticks.last_day(given)[:, :, 50], np.moveaxis(expected, 0, -1), rtol=1e-5)
