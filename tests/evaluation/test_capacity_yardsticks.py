"""Yardsticks of what fills up are what their names say."""

import numpy as np
import pytest

from forecaster.evaluation.capacity import yardsticks
from forecaster.evaluation.capacity.courses import HISTORY, HOUR, Courses
from forecaster.evaluation.capacity.yardsticks import AHEAD

STEPS = (HISTORY + 30) * HOUR
ROWS = np.array([HISTORY, HISTORY + 7]) * HOUR


def courses(*used: np.ndarray, size: np.ndarray | None = None) -> Courses:
    rows = np.array(used, np.float32)
    scale = np.ones_like(rows) if size is None else np.broadcast_to(size, rows.shape).astype(np.float32)
    return Courses(0.0, rows, scale, np.ones(len(rows), np.float32), [(str(n),) for n in range(len(rows))])


def test_predict_linear_is_the_least_squares_line_of_six_hours_as_prometheus_computes_it():
    noisy = 0.5 + np.cumsum(np.random.default_rng(1).normal(1e-4, 1e-3, STEPS))
    found = yardsticks.predict_linear(courses(noisy), ROWS)
    for k, row in enumerate(ROWS):
        slope, level = np.polyfit(np.arange(-72, 1) / HOUR, noisy[row - 72 : row + 1], 1)
        expected = np.clip(level + slope * np.array(AHEAD), 0, 1)
        np.testing.assert_allclose(found.used[0, k, :, 1], expected, atol=1e-5)


def test_predict_linear_leaves_out_what_is_missing():
    straight = np.linspace(0, 0.7, STEPS)
    holed = straight.copy()
    holed[ROWS[0] - 50 : ROWS[0] - 20] = np.nan
    whole, rest = (yardsticks.line(courses(one), ROWS[:1]) for one in (straight, holed))
    np.testing.assert_allclose(whole, rest, rtol=1e-4)
    assert np.isnan(yardsticks.line(courses(np.full(STEPS, np.nan)), ROWS)[1]).all()


def test_a_line_reaches_the_limit_when_it_does():
    found = yardsticks.of_rate(np.array([[0.5, 0.5, 0.5]]), np.array([[0.1, 0.0, 0.001]]), np.ones(1))
    assert found.full_in[0].tolist() == [5, np.inf, np.inf], "of one that takes 500 hours nothing is said"
    assert found.chance[0].tolist() == [[0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_the_line_of_last_week_undoes_a_resize():
    used, size = np.full(STEPS, 0.8), np.ones(STEPS)
    size[ROWS[0] - 100 :] = 2
    used[ROWS[0] - 100 :] = 0.4
    found = yardsticks.last_week(courses(used, size=size), ROWS[:1])
    np.testing.assert_allclose(found.used, 0.4, atol=1e-6)


def test_the_mixins_rule_needs_its_level_and_its_line():
    def rising(now: float, day: float) -> np.ndarray:
        return now + day / 24 * (np.arange(STEPS) - ROWS[0]) / HOUR

    rows = rising(0.7, 0.4), rising(0.7, 0.2), rising(0.55, 0.9), rising(0.85, 1.2)
    found = yardsticks.node_mixin(courses(*rows), ROWS[:1])
    assert found["warning"][0][:, 0].tolist() == [True, False, False, True] and found["warning"][1] == 24
    assert found["critical"][0][:, 0].tolist() == [False, False, False, True] and found["critical"][1] == 4


def test_holt_winters_learns_trend_and_daily_season():
    hours = np.arange(STEPS) / HOUR
    course = 0.1 + 0.0005 * hours + 0.02 * np.sin(2 * np.pi * hours / 24)
    found = yardsticks.holt_winters(courses(course), ROWS)
    for k, row in enumerate(ROWS):
        ahead = hours[row] + np.array(AHEAD)
        expected = 0.1 + 0.0005 * ahead + 0.02 * np.sin(2 * np.pi * ahead / 24)
        np.testing.assert_allclose(found.used[0, k, :, 1], expected, atol=0.01)
    assert (found.used[..., 0] < found.used[..., 2]).all()


def test_holt_winters_goes_on_over_gaps():
    course = np.linspace(0.2, 0.5, STEPS)
    course[100 * HOUR : 130 * HOUR] = np.nan
    assert np.isfinite(yardsticks.holt_winters(courses(course), ROWS).used).all()


def test_no_change_says_the_latest_value():
    course = np.linspace(0.2, 0.5, STEPS)
    found = yardsticks.no_change(courses(course), ROWS)
    assert found.used[0, 0] == pytest.approx(np.full((len(AHEAD), 3), course[ROWS[0]])) and not found.chance.any()
