"""The forecast of what fills up, by the weights that ship, of each kind of course that a resource may take."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.capacity.courses import until_full
from forecaster.capacity.forecast import HORIZON, WINDOW_HOURS, Weights, forecast
from forecaster.capacity.past import HOUR, HOURS, RECENT, Past
from tests.capacity.pasts import MONDAY, NOW, noise, past_of

WEIGHTS = Weights.load()
DAY = 24


def said(*courses, **settings):
    return forecast(past_of(*courses, **settings), WEIGHTS)


def full_in(made, row=0, percentile=1, instant=NOW):
    """Hours until the curve of p50 is full."""
    return (made.full_at[row, percentile] - instant) / HOUR


def assert_no_page(made):
    assert (made.chance[:, 0] < 0.8).all() and (made.chance[:, 1] < 0.5).all(), made.chance


def test_steady_growth_is_full_when_its_line_says():
    made = said(lambda at: 0.95 + 0.05 * at / 100 + noise(1, 2e-4)(at))
    assert full_in(made) == pytest.approx(100, rel=0.1)
    assert made.chance[0, 1] < 0.05 and made.chance[0, 2] > 0.8
    assert made.used[0, 47] == pytest.approx(0.974, abs=0.02)


def test_growth_that_has_sped_up_goes_on_at_its_new_rate():
    made = said(lambda at: 0.7 + np.where(at < -72, 0.001, 0.06) * (at + 72) / DAY + noise(1, 2e-4)(at))
    assert made.growth[0] == pytest.approx(0.06, rel=0.1) and made.growth_before[0] == pytest.approx(0.001, rel=0.3)
    assert made.used[0, 23, 1] == pytest.approx(0.94, abs=0.02)
    assert made.chance[0, 2] > 0.5


def test_growth_that_has_slowed_down_is_not_full_when_its_old_rate_says():
    made = said(lambda at: 0.9 + np.where(at < -240, 0.015, 0.001) * (at + 240) / DAY + noise(1, 5e-4)(at))
    assert made.growth[0] == pytest.approx(0.001, rel=0.3) and made.chance[0, 2] < 0.1
    assert made.used[0, 167, 1] < 0.95


def test_growth_on_weekdays_rests_at_the_weekend():
    friday = NOW // HOUR // DAY * DAY
    friday += (MONDAY + 5 * DAY - friday) % 168  # Friday 24:00
    start = friday * HOUR

    def worked(at):
        hours = at + friday - MONDAY
        weeks, of_week = np.divmod(hours, 168)
        return 0.5 + 0.0006 * (120 * (weeks - weeks.max()) + np.minimum(of_week, 120))

    made = said(worked, instant=float(start))
    assert made.used[0, 40, 1] - made.used[0, 0, 1] < 0.01
    assert made.used[0, 48 + 100, 1] - made.used[0, 47, 1] == pytest.approx(0.06, abs=0.03)


def rotated(at):
    """Logs that are rotated at midnight."""
    return 0.3 + 0.01 * ((at + NOW / HOUR) % DAY)


def backed_up(at):
    """A backup that lies there from one to three each night until it is copied."""
    return 0.5 + 0.2 * (((at + NOW / HOUR - 1) % DAY) < 2)


def swinging(at):
    """A cache that follows the load of the day."""
    return 0.5 + 0.3 * np.sin(2 * np.pi * (at + NOW / HOUR) / DAY)


@pytest.mark.parametrize("course", [rotated, backed_up])
@pytest.mark.parametrize("minutes", [0, 25, 50])
def test_what_happens_each_night_is_foreseen_by_the_hour(course, minutes):
    def seen(at):
        return course(at + minutes / 60) + noise(1, 2e-4)(at)

    made = said(seen, instant=NOW + 60 * minutes)
    apart = np.abs(made.used[0, :48, 1] - seen(np.arange(1, 49.0)))
    assert np.median(apart) < 0.02  # a line between two hours of which one is before and one after it may miss by much
    assert (apart > 0.03).sum() <= 4


@pytest.mark.parametrize("course", [swinging, lambda at: 0.3 + 0.08 * ((at + NOW / HOUR + 3) % 6)])
@pytest.mark.parametrize("minutes", [25, 55])
def test_what_grew_within_the_present_hour_is_not_expected_again(course, minutes):
    def seen(at):
        return course(at + minutes / 60) + noise(1, 2e-4)(at)

    made = said(seen, instant=NOW + 60 * minutes)
    assert np.abs(made.used[0, :2, 1] - seen(np.arange(1, 3.0))).max() < 0.03


def test_between_two_hours_a_burst_stops_or_goes_on_where_it_is():
    made = said(lambda at: 0.3 + 0.1 * np.maximum(0, at + 2 + 55 / 60) + noise(1, 2e-4)(at), instant=NOW + 55 * 60)
    assert 0.57 < made.used[0, 0, 1] < 0.71 and made.used[0, 0, 2] == pytest.approx(0.692, abs=0.02)


def test_a_backup_that_will_not_fit_tonight_fills_it_tonight():
    made = said(lambda at: np.minimum(1, backed_up(at) + 0.305 + 0.01 * at / DAY + noise(1, 2e-4)(at)))
    assert made.chance[0, 1] >= 0.5 and made.chance[0, 2] > 0.8
    assert full_in(made) < 25


@pytest.mark.parametrize("period", [24, 168])
def test_a_saw_tooth_never_fills_at_any_point_of_its_cycle(period):
    rough = noise(2, 1e-3)
    for phase in (0.2, 0.7, 0.97):
        made = said(lambda at, phase=phase: 0.55 + 0.4 * (at / period + phase) % 0.4 + rough(at))
        assert_no_page(made)
        assert made.chance[0, 2] < 0.5


def test_a_saw_tooth_whose_floor_rises_is_full_in_the_end():
    made = said(lambda at: 0.75 + 0.1 * (at / DAY % 1) + 0.02 * at / DAY + noise(1, 1e-3)(at))
    assert made.chance[0, 1] < 0.2 and made.chance[0, 3] > 0.5
    assert 100 < full_in(made) < 300


def test_a_burst_that_has_stopped_is_no_growth():
    made = said(lambda at: 0.4 + 0.4 * np.clip((at + 10) / 4, 0, 1) + noise(1, 5e-4)(at))
    assert_no_page(made)
    assert made.step[0] == pytest.approx(0.1, abs=0.01)


def test_after_a_jump_the_old_slope_goes_on():
    made = said(lambda at: 0.5 + 0.3 * (at > -30) + 0.002 * at / DAY + noise(1, 2e-4)(at))
    assert_no_page(made)
    assert made.growth[0] == pytest.approx(0.002, abs=0.001)
    assert made.used[0, 167, 1] == pytest.approx(0.814, abs=0.05)


def test_after_a_clean_up_by_hand_growth_goes_on_from_there():
    made = said(lambda at: 0.9 - 0.5 * (at > -20) + 0.01 * at / DAY + noise(1, 2e-4)(at))
    assert_no_page(made)
    assert made.growth[0] == pytest.approx(0.01, abs=0.003) and made.chance[0, 2] < 0.05
    assert made.used[0, 23, 1] == pytest.approx(0.41, abs=0.02)


def test_a_resize_pages_nobody():
    grown = 0.5 + 0.003 * np.arange(-HOURS + 1, 1) / DAY  # of today's size; yesterday's was half of it
    past = Past(NOW, grown[None].astype(np.float32), np.full((1, RECENT), 0.5, np.float32), np.ones(1, np.float32))
    made = forecast(past, WEIGHTS)
    assert_no_page(made)
    assert np.isnan(made.changed_at[0]) and made.growth[0] == pytest.approx(0.003, rel=0.1)


def test_a_device_replaced_an_hour_ago_has_wide_bands_and_no_page():
    made = said(lambda at: 0.3 + noise(1, 1e-4)(at), hours=1)
    assert_no_page(made)
    assert np.isfinite(made.used).all() and made.chance[0, 2] < 0.2


def test_a_disk_that_is_meant_to_be_full_is_no_prediction_worth_a_page():
    always = said(lambda at: 0.995 + 0 * at, lambda at: 0.97 + noise(1, 2e-3)(at),
                  lambda at: np.where(np.round(at) % 3 == 0, 0.999, 1.0) - 0.01 * (at == 0))
    assert_no_page(always)
    assert (always.chance[:, 2] < 0.5).all()


def test_a_nearly_empty_disk_with_a_steep_hour_is_not_about_to_be_full():
    made = said(lambda at: 0.05 + 0.08 * np.clip(at + 1, 0, 1) + noise(1, 1e-4)(at))
    assert_no_page(made)


def test_forty_minutes_of_history_are_enough_for_steady_growth_and_for_none():
    made = said(lambda at: 0.9 + 0.02 * at, lambda at: 0.4 + 0 * at, hours=40 / 60)
    assert np.isfinite(made.used).all() and made.used[0, 1, 1] > 0.91
    assert made.chance[1, 1] < 0.1


def test_gaps_and_resets_leave_a_forecast():
    past = past_of(lambda at: 0.5 + 0.003 * at / DAY - 0.2 * ((at > -300) & (at < -290)))
    past.hourly[0, 100:140] = np.nan
    past.hourly[0, -9:-3] = np.nan
    past.recent[0, :50] = np.nan
    made = forecast(past, WEIGHTS)
    assert_no_page(made)
    assert made.used[0, 167, 1] == pytest.approx(0.521, abs=0.03)


def test_a_share_above_one_and_a_limit_above_it_are_forecast():
    made = said(lambda at: 1.2 + 0.01 * at / DAY, limit=1.5)
    assert made.used[0, 23, 1] == pytest.approx(1.21, abs=0.02) and made.chance[0, 2] < 0.1


def test_a_flat_course_has_the_chance_zero_and_a_narrow_band():
    made = said(lambda at: 0.5 + 0 * at)
    assert made.chance.tolist() == [[0, 0, 0, 0]]
    assert made.used[0] == pytest.approx(0.5, abs=0.01) and np.isnan(made.full_at).all()


def test_what_is_full_now_is_full():
    made = said(lambda at: 1.0 + 0 * at)
    assert made.chance.tolist() == [[1, 1, 1, 1]] and (made.full_at == NOW).all()


def test_nothing_is_said_of_an_entity_of_which_nothing_is_known():
    made = said(lambda at: np.nan * at, lambda at: 0.5 + 0 * at)
    assert np.isnan(made.used[0]).all() and np.isnan(made.chance[0]).all() and np.isnan(made.growth[0])
    assert np.isfinite(made.used[1]).all()


def test_no_entities_give_no_rows():
    made = forecast(past_of(lambda at: at).rows(slice(0, 0)), WEIGHTS)
    assert made.used.shape == (0, HORIZON, 3) and made.chance.shape == (0, 4)


def test_an_outcome_stays_full_as_a_curve_does():
    used = np.array([[0.9, 1.0, 0.4], [0.5, 0.6, 0.7]], np.float32)
    made = until_full(used, np.array([1.0, 0.65], np.float32))
    np.testing.assert_allclose(made, [[0.9, 1.0, 1.0], [0.5, 0.6, 0.7]], rtol=1e-6)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from([0.3, 0.8, 1.0, 1.4]), st.integers(0, 11))
def test_any_history_has_curves_and_chances_that_agree(seed, limit, minutes):
    rng = np.random.default_rng(seed)
    rows, scale = 8, 10 ** rng.uniform(-4, 0, (8, 1))
    y = np.abs(rng.random((rows, 1)) + np.cumsum(rng.standard_normal((rows, HOURS)) * scale * 0.05, 1)) % 1.3
    y[rng.random(y.shape) < rng.random()] = np.nan
    recent = np.where(rng.random((rows, RECENT)) < 0.8, y[:, -1:], np.nan)
    past = Past(NOW + 300 * minutes, y.astype(np.float32), recent.astype(np.float32), np.full(rows, limit, np.float32))
    made = forecast(past, WEIGHTS)
    known = np.isfinite(y).any(1) | np.isfinite(recent).any(1)
    used, chance, when = made.used[known], made.chance[known], made.full_at[known]
    assert used.dtype == chance.dtype == np.float32 and when.dtype == np.float64
    assert np.isfinite(used).all() and (used >= 0).all() and (used <= 1.5).all()
    assert (np.diff(used, axis=2) >= 0).all() and (np.diff(chance, axis=1) >= 0).all()
    assert (chance >= 0).all() and (chance <= 1).all()
    for column, hours in enumerate(WINDOW_HOURS):
        for q, least in enumerate((0.9, 0.5, 0.1)):
            reached = when[:, q] <= past.instant + hours * HOUR
            assert (reached == (chance[:, column] >= np.float32(least))).all()


def test_a_percentile_that_is_lifted_to_its_chance_leaves_the_dates_of_the_others():
    ahead = np.arange(1, HORIZON + 1)
    line = 0.1 * ahead / 100
    falls = np.where(ahead < 48, line, line - 0.6)  # as it does in one case in ten
    said_by = SimpleNamespace(percentiles=lambda found: np.stack([falls, line, 1.1 * line])[None].astype(np.float32),
                              log_odds=lambda found, room, used: np.array([[-30, -30, 3, 4]]))
    past = past_of(lambda at: 0.9 + noise(1, 0.01)(at))
    past.recent[:] = past.hourly[:, -1:] = 0.9
    made = forecast(past, said_by)
    assert (made.full_at[0, 1:] - NOW) / HOUR == pytest.approx([100, 91], abs=1)


def test_the_forecast_of_an_entity_does_not_depend_on_the_others():
    past = past_of(*(lambda at, k=k: 0.5 + 0.01 * k + 1e-5 * k * at for k in range(5)))
    together, alone = forecast(past, WEIGHTS), forecast(past.rows(slice(3, 4)), WEIGHTS)
    np.testing.assert_allclose(together.used[3:4], alone.used, atol=1e-5)
    np.testing.assert_allclose(together.chance[3:4], alone.chance, atol=1e-4)


def test_neither_do_gaps_steps_and_falls_of_the_others_matter():
    rough = noise(3, 1e-3)
    past = past_of(lambda at: 0.5 + 1e-4 * at + rough(at), lambda at: 0.3 + 0.2 * (at % 24) / 24 - 0.1 * (at > -200),
                   lambda at: 0.4 + 0.2 * (at > -100) + rough(at), lambda at: 0.6 + 5e-4 * at)
    past.hourly[0, :300], past.hourly[2, 500:520] = np.nan, np.nan
    together = forecast(past, WEIGHTS)
    for row in range(4):
        alone = forecast(past.rows(slice(row, row + 1)), WEIGHTS)
        np.testing.assert_allclose(together.used[row], alone.used[0], atol=1e-5)
        np.testing.assert_allclose(together.chance[row], alone.chance[0], atol=1e-4)
        np.testing.assert_allclose(together.full_at[row], alone.full_at[0], atol=60)
        for name in ("growth", "growth_before", "changed_at"):
            np.testing.assert_allclose(getattr(together, name)[row], getattr(alone, name)[0], rtol=1e-5, atol=1e-7)
