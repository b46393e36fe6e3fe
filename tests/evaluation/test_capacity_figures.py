"""What was known, what came after, and the figures of forecasts of what fills up."""

import numpy as np
import pytest

from forecaster.evaluation.capacity import figures
from forecaster.evaluation.capacity.courses import HISTORY, HOUR, RECENT, WEEK_STEPS, Courses
from forecaster.evaluation.capacity.yardsticks import Said

STEPS = (HISTORY + 400) * HOUR
NOW = HISTORY * HOUR


@pytest.fixture(scope="module")
def courses() -> Courses:
    """The first is full after 30.5 hours and is cleaned 10 hours later; the second is resized just before the first
    instant; the third is always full."""
    hours = (np.arange(STEPS) - NOW) / HOUR
    fills = np.where(hours >= 40.5, 0.2, np.clip(0.7 + 0.3 * hours / 30.5, 0.1, 1))
    size = np.ones((3, STEPS), np.float32)
    size[1, hours >= -1] = 2
    used = np.stack([fills, np.where(hours < -1, 0.8, 0.4), np.ones(STEPS)])
    names = [("a",), ("b",), ("c",)]
    return Courses(3600.0, used.astype(np.float32), size, np.ones(3, np.float32), names, ["x", "y", "z"])


def test_the_past_is_that_of_every_instant_relative_to_the_size_of_then(courses):
    rows = np.array([NOW, NOW + WEEK_STEPS])
    past = courses.past(rows)
    assert past.instant == 3600 + NOW * 300 and past.hourly.shape == (6, HISTORY) and past.recent.shape == (6, RECENT)
    for n in (0, 1):
        for k, row in enumerate(rows):
            share = courses.used[n, : row + 1] * courses.size[n, : row + 1] / courses.size[n, row]
            np.testing.assert_allclose(past.hourly[2 * n + k], share[::-HOUR][HISTORY - 1 :: -1], rtol=1e-6)
            np.testing.assert_allclose(past.recent[2 * n + k], share[-RECENT:], rtol=1e-6)
    assert past.hourly[2, -1] == past.hourly[2, 0] == np.float32(0.4)


def test_what_is_full_stays_full_in_the_outcome(courses):
    rows = courses.instants()[:2]
    assert courses.full_in(rows)[0].tolist() == pytest.approx([30.5, 29.5])
    assert np.isinf(courses.full_in(rows)[1]).all()
    later = courses.later(rows, (24, 72, 399, 400))
    np.testing.assert_allclose(later[0, 0], [0.7 + 0.3 * 24 / 30.5, 1, 1, np.nan], rtol=1e-5)
    np.testing.assert_allclose(later[1, 1], [0.4, 0.4, np.nan, np.nan])


def said(truth: figures.Came, off: float, chance: float, late: float) -> Said:
    used = truth.used[..., None] + np.array([off - 0.1, off, off + 0.1])
    return Said(used, np.full((len(used), 4), chance), truth.full_in + late)


def test_figures_leave_out_what_is_full_already(courses):
    rows = courses.instants(24)[:2]
    truth = figures.came(courses, rows)
    found = figures.of(said(truth, 0.05, 0.5, 3), truth)
    assert found["windows"] == 4
    assert found["loss"]["1d"] == pytest.approx(2 / 3 * (0.1 * 0.05 + 0.5 * 0.05 + 0.1 * 0.15), rel=1e-5)
    assert found["inside"] == {"1d": 1, "36h": 1, "3d": 1, "7d": 1}
    assert found["rate"] == {"4h": 0, "24h": 0.25, "7d": 0.5, "14d": 0.5}
    assert found["skill"]["7d"] == pytest.approx(0)
    assert found["date"] == {"windows": 2, "median_hours": pytest.approx(3), "median_ratio": pytest.approx(3 / 6.5)}


def test_a_date_that_is_not_said_is_infinitely_wrong(courses):
    truth = figures.came(courses, courses.instants(24)[:1])
    assert figures.of(said(truth, 0, 0, np.inf), truth)["date"]["median_hours"] == np.inf


def test_the_windows_of_one_pattern_can_be_chosen_and_several_courses_joined(courses):
    truth = figures.joined([figures.came(courses, courses.instants(24)[:2])] * 2)
    assert figures.of(said(truth, 0, 0, 0), truth, truth.pattern == "y")["windows"] == 4
    assert figures.of(said(truth, 0, 0, 0), truth, truth.pattern == "z")["windows"] == 0
