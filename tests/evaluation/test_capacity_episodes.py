"""Alerts and fills are counted as a person counts them."""

import numpy as np
import pytest

from forecaster.evaluation.capacity import episodes
from forecaster.evaluation.capacity.courses import HISTORY, HOUR, Courses
from forecaster.evaluation.capacity.episodes import Alert

HOURS = HISTORY + 400
FIRST = HISTORY  # first hour that is judged


def course(*points: tuple[int, float]) -> Courses:
    """One entity: straight lines between (hours after the first judged one, used share)."""
    hours, shares = zip(*((hour + FIRST, share) for hour, share in points), strict=True)
    used = np.interp(np.arange(HOURS * HOUR) / HOUR, hours, shares)[None].astype(np.float32)
    return Courses(0.0, used, np.ones_like(used), np.ones(1, np.float32), [("a", "/")], ["steady"])


def judged(courses: Courses, *rung: tuple[int, int], window: int = 24, held: int = 0) -> dict:
    """Of an alert that holds in these spans of hours after the first judged one."""
    rows = courses.instants()
    hours = rows / HOUR - FIRST
    raised = np.any([(hours >= first) & (hours <= last) for first, last in rung], 0)[None]
    return episodes.judge(courses, rows, Alert(raised, window, held), episodes.fills(courses, int(rows[0])))[0]


def counts(found: dict) -> tuple[int, int, int]:
    return found["true"], found["prevented"], found["false"]


GROWS = course((-200, 0.2), (100, 1.0), (110, 1.0), (110.5, 0.3), (400, 0.35))


def test_an_alert_is_true_where_it_gets_full_within_the_window_and_a_quarter():
    for begin, true in ((75, 1), (70, 1), (69, 0)):
        found = judged(GROWS, (begin, 99))
        assert counts(found) == (true, 0, 1 - true), begin


def test_an_alert_that_resolves_for_less_than_six_hours_is_one():
    assert judged(GROWS, (80, 82), (88, 90))["alerts"] == 1
    assert judged(GROWS, (80, 82), (89, 90))["alerts"] == 2


def test_an_alert_begins_after_its_for():
    found = judged(GROWS, (69, 69), (72, 99), held=1)
    assert (found["alerts"], found["leads"]) == (1, [pytest.approx(100 - 73, abs=0.1)])


def test_an_alert_while_it_is_full_is_none():
    assert judged(GROWS, (101, 109))["alerts"] == 0


def test_a_fill_is_noticed_by_an_alert_at_least_four_hours_before():
    for begin, noticed in ((96, 1), (97, 0)):
        found = judged(GROWS, (begin, 99))
        assert (found["fills"], found["foreseeable"], found["noticed"]) == (1, 1, noticed), begin
    assert judged(GROWS, (40, 99))["noticed"] == 1, "an early alert that is still on"
    assert judged(GROWS, (40, 60))["noticed"] == 0, "one that ended long before"


def test_no_notice_is_expected_of_a_fill_that_begins_within_the_last_four_hours():
    found = judged(course((-400, 0.4), (97, 0.5), (100, 1.0), (110, 1.0), (110.5, 0.3), (400, 0.35)))
    assert (found["fills"], found["foreseeable"]) == (1, 0)


def test_a_clean_up_that_kept_it_from_full_counts_apart():
    cleaned = course((-200, 0.2), (90, 0.97), (90.5, 0.4), (400, 0.5))
    assert counts(judged(cleaned, (80, 89))) == (0, 1, 0)
    slow = course((-600, 0.5), (90, 0.7), (90.5, 0.4), (400, 0.5))
    assert counts(judged(slow, (80, 89))) == (0, 0, 1), "it would not have been full"


def test_a_rotation_keeps_nothing_from_full():
    days = [point for day in range(-20, 14) for point in ((24 * day, 0.55), (24 * day + 23.5, 0.97))]
    assert counts(judged(course(*days), (60, 69))) == (0, 0, 1)


def test_alerts_at_the_edges_of_the_weeks_are_not_judged():
    assert judged(GROWS, (0, 5))["alerts"] == 0
    assert judged(GROWS, (371, 372))["alerts"] == 0
