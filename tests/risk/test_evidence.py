"""What speaks for an incident: quantiles read backwards, and a history held against a limit in its own spread."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.risk.evidence import (
    DAY,
    INPUTS,
    SPANS,
    STRETCHES,
    begun,
    carried,
    evidence,
    exceedance,
    lasting_least,
    log_odds,
)

LEVELS = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
TENS = tuple(range(10, 80, 10))
WEEK = 7 * DAY


def quantiles(*values: float, rows: int = 1, steps: int = 96) -> np.ndarray:
    """float32 (N, H, Q): this quantile function at every step."""
    return np.broadcast_to(np.array(values, np.float32), (rows, steps, len(LEVELS))).copy()


def chance_above(limit: float, *values: float) -> float:
    return float(exceedance(quantiles(*values), LEVELS, np.array([limit], np.float32))[0, 0])


def series(rows: int = 3, steps: int = WEEK, seed: int = 0) -> np.ndarray:
    """float32 (N, T): noise about 60 that passes 90 for an hour every night."""
    values = np.random.default_rng(seed).normal(60, 4, (rows, steps))
    values[:, (np.arange(steps) - steps) % DAY < 12] += 35
    return values.astype(np.float32)


def ahead(rows: int = 3, seed: int = 1) -> np.ndarray:
    made = np.sort(np.random.default_rng(seed).normal(70, 15, (rows, 96, len(LEVELS))), -1)
    return made.astype(np.float32)


def of(history, said, limit=90.0, lasting=1, floor=1e-3, levels=LEVELS, known=None):
    filled, since = carried(history)
    limits = np.full(len(history), limit, np.float32)
    return evidence(filled, since if known is None else known, said, levels, limits, lasting, floor)


def test_a_limit_on_a_quantile_has_that_quantiles_chance():
    for level, value in zip(LEVELS, TENS, strict=True):
        assert chance_above(value, *TENS) == pytest.approx(1 - level, abs=1e-6)


def test_between_two_quantiles_the_chance_is_linear():
    assert chance_above(45, *TENS) == pytest.approx((0.5 + 0.25) / 2)


def test_beyond_the_outer_quantiles_the_chance_fades_without_a_jump_and_never_becomes_nothing():
    near, far, further = (chance_above(limit, *TENS) for limit in (70.001, 80, 90))
    assert near == pytest.approx(0.02, rel=1e-2) and 0 < further < far < near
    assert far / near == pytest.approx(further / far, rel=1e-2)
    below, lowest = chance_above(9.999, *TENS), chance_above(-1e6, *TENS)
    assert below == pytest.approx(0.98, rel=1e-3) and lowest == pytest.approx(1)


def test_a_value_pinned_to_one_number_is_certain_on_either_side_of_it():
    assert chance_above(99.9, *[100.0] * 7) == pytest.approx(1)
    assert chance_above(100.0, *[100.0] * 7) == pytest.approx(0.02)  # all that its quantiles say of values above 100
    assert chance_above(100.1, *[100.0] * 7) == pytest.approx(0)


levels_of = st.lists(st.floats(0, 100, width=32), min_size=7, max_size=7)


@settings(deadline=None, derandomize=True)
@given(levels_of, levels_of, st.floats(1, 99), st.floats(0, 50))
def test_higher_quantiles_and_lower_limits_never_lower_the_chance(one, other, limit, more):
    low, high = np.minimum(np.sort(one), np.sort(other)), np.maximum(np.sort(one), np.sort(other))
    assert 0 <= chance_above(limit, *low) <= chance_above(limit - more, *low) + 1e-6 <= 1 + 1e-6
    assert chance_above(limit, *low) <= chance_above(limit, *high) + 0.02 + 1e-6  # tails of other slopes may cross


def test_what_must_last_is_the_least_of_its_steps():
    values = np.array([[5, 9, 8, 3, 7, 7, 7]], np.float32)
    assert lasting_least(values, 1).tolist() == values.tolist()
    assert lasting_least(values, 3).tolist() == [[5, 5, 5, 3, 3, 3, 7]]
    assert lasting_least(values, 99).tolist() == [[5, 5, 5, 3, 3, 3, 3]]


def test_a_spike_is_evidence_of_a_short_incident_and_not_of_one_that_must_last():
    spike = np.full((1, WEEK), 50, np.float32)
    spike[0, -1] = 99
    short, long = (of(spike, quantiles(*[50.0] * 7), lasting=steps) for steps in (1, 3))
    now = 3 * len(STRETCHES) + 3 * len(SPANS)
    assert short[0, now] > 0 > long[0, now] and short[0, now + 1] == long[0, now + 1] > 0


def test_gaps_are_carried_and_what_comes_before_the_first_value_is_not_known():
    nan = np.nan
    filled, known = carried(np.array([[nan, 1, nan, 3], [1, 2, 3, nan], [nan] * 4, [1, 2, 3, 4]], np.float32))
    assert filled.tolist() == [[1, 1, 1, 3], [1, 2, 3, 3], [0, 0, 0, 0], [1, 2, 3, 4]]
    assert known.tolist() == [3, 4, 1, 4]


def test_a_short_gap_is_the_same_as_the_value_before_it():
    history = series()
    history[:, 1000:1003] = history[:, 999:1000]
    gap = history.copy()
    gap[:, 1000:1003] = np.nan
    np.testing.assert_array_equal(of(gap, ahead()), of(history, ahead()))


def test_another_unit_of_the_same_series_and_limit_is_the_same_evidence():
    percent = of(series(), ahead(), 90.0, 3, floor=1e-3)
    for factor in (0.01, 1024.0):
        other = of(series() * np.float32(factor), ahead() * np.float32(factor), 90.0 * factor, 3, floor=1e-3 * factor)
        spread = percent.shape[1] - 4  # the spread itself is in the signal's unit
        np.testing.assert_allclose(np.delete(other, spread, 1), np.delete(percent, spread, 1), rtol=2e-3, atol=2e-3)


def test_below_a_limit_is_above_it_of_the_negated_series():
    low, said = 100 - series(), 100 - ahead()[..., ::-1]
    mirrored = [1 - level for level in reversed(LEVELS)]
    above, below = of(series(), ahead(), 90.0, 3), of(-low, -said[..., ::-1], -10.0, 3, levels=mirrored)
    unlike = [above.shape[1] - 4, above.shape[1] - 3]  # the spread knows where 0 is
    np.testing.assert_allclose(np.delete(below, unlike, 1), np.delete(above, unlike, 1), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("steps", [1, 2, 5, 11, 24, 100, DAY, DAY + 7, 3 * DAY, WEEK])
@pytest.mark.parametrize("lasting", [1, 3, 12])
def test_a_history_of_any_length_is_evidence_without_unknown_numbers(steps, lasting):
    made = of(series(steps=steps), ahead(), lasting=lasting)
    assert made.shape == (3, INPUTS) and made.dtype == np.float32 and np.isfinite(made).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 1e-6, 1.0, 1e6, 1e9]), st.sampled_from([-1e6, 0.0, 60.0, 1e6]))
def test_no_number_is_unknown_whatever_the_scale_limit_and_gaps(seed, scale, limit):
    rng = np.random.default_rng(seed)
    history = (rng.normal(0, 1, (4, 400)) * scale).astype(np.float32)
    history[rng.random(history.shape) < rng.random()] = np.nan
    said = np.sort(rng.normal(0, 1, (4, 96, len(LEVELS))) * scale, -1).astype(np.float32)
    assert np.isfinite(of(history, said, limit, int(rng.integers(1, 20)), 1e-6)).all()


def test_what_is_before_the_known_steps_does_not_count():
    quiet, loud = np.full((1, WEEK), 50, np.float32), np.full((1, WEEK), 50, np.float32)
    loud[:, : -2 * DAY - 50] = 99
    since = np.array([2 * DAY])
    np.testing.assert_array_equal(of(loud, ahead(1), known=since), of(quiet, ahead(1), known=since))
    assert (of(loud, ahead(1)) != of(quiet, ahead(1))).any()


def test_work_of_every_night_is_a_habit_before_it_begins():
    nightly, once = np.full((2, WEEK), 50, np.float32), quantiles(*[50.0] * 7, rows=2)
    nightly[0, np.arange(WEEK) % DAY < 6] = 99  # begins at this minute, on each of the seven days before
    nightly[1, :6] = 99  # a week ago alone
    made = of(nightly, once)
    habits = made.shape[1] - 4 - 2 * len(SPANS) - 3 - 9 * len(SPANS)
    share, recent, yesterday, last_week = made[:, habits : habits + 4].T
    assert share.tolist() == pytest.approx([1, 1 / 7]) and recent.tolist() == [1, 0]
    assert yesterday.tolist() == [1, 0] and last_week.tolist() == [1, 1]


def test_log_odds_are_bounded():
    odds = log_odds(np.array([0, 0.5, 1], np.float32))
    assert odds.tolist() == [-9, 0, 9]


def test_rows_do_not_depend_on_their_company():
    together = of(series(300), ahead(300))
    np.testing.assert_allclose(together[200:203], of(series(300)[200:203], ahead(300)[200:203]), rtol=1e-6)


def rising(begin: int, rows: int = 1) -> np.ndarray:
    """Quantiles far below 90 until step `begin`, far above from it on."""
    made = quantiles(*TENS, rows=rows)
    made[:, begin - 1 :] += 100
    return made


BEFORE = np.zeros((1, 12), np.float32)


def test_an_incident_has_begun_at_the_step_from_which_on_it_is_more_likely_than_not():
    limit = np.array([90], np.float32)
    for begin in (1, 6, 20, 96):
        assert begun(BEFORE, rising(begin), LEVELS, limit, 1, np.array([[0.9, 0.95]]))[0] in range(1, begin + 1)
    assert begun(BEFORE, rising(20), LEVELS, limit, 1, np.array([[0.01, 0.95]])).tolist() == [20]
    assert begun(BEFORE, rising(20), LEVELS, limit, 3, np.array([[0.01, 0.95]])).tolist() == [22], "after it has lasted"
    assert begun(BEFORE, rising(20), LEVELS, limit, 1, np.array([[0.01, 0.49]])).tolist() == [0]


def test_an_incident_that_is_likely_within_30_minutes_is_expected_within_them():
    limit = np.array([90], np.float32)
    assert begun(BEFORE, quantiles(*TENS), LEVELS, limit, 1, np.array([[0.8, 0.9]])).tolist() == [6]
