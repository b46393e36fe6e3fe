"""Priorities by chance: what rings at once, what is a ticket, and what only comes with something else."""

import numpy as np
import pytest

from forecaster.risk.conditions import Condition
from forecaster.risk.priority import PRIORITIES, by_chance, priorities
from forecaster.risk.thresholds import Priorities

UNKNOWN = (np.nan, np.nan)


def condition(severity="P1", alone=None) -> Condition:
    return Condition(signal="cpu_pct", above=95, severity=severity, alone=alone)


def of(*incidents, on=(), usual=True, habit=False, recurring=np.nan, limits=None):
    """(priority, the incident that leads) of one server: incidents are (condition, (chance 30m, chance 8h)); `on` are
    the places of those that are on."""
    conditions, chances = zip(*incidents, strict=True)
    active = np.isin(np.arange(len(conditions)), on)[None]
    chance = {window: np.array([[pair[k] for pair in chances]], float) for k, window in enumerate(("30m", "8h"))}
    shape = active.shape
    rank, leading = by_chance(conditions, active, chance, np.broadcast_to(usual, shape),
                              np.broadcast_to(habit, shape), np.broadcast_to(recurring, shape), limits or Priorities())
    return PRIORITIES[rank[0]], int(leading[0])


@pytest.mark.parametrize(("soon", "later", "priority"), [
    (0.8, 0.8, "P1"), (0.79, 0.9, "P2"), (0.1, 0.5, "P2"), (0.1, 0.49, "P3"), (0.0, 0.0, "P3"), (1.0, 1.0, "P1")])
def test_p1_starts_at_its_chance_within_30_minutes_and_p2_at_its_chance_within_8_hours(soon, later, priority):
    assert of((condition(), (soon, later)))[0] == priority


def test_the_chances_from_which_on_they_ring_are_configured():
    limits = Priorities(p1_chance=0.3, p2_chance=0.2)
    assert [of((condition(), pair), limits=limits)[0] for pair in ((0.3, 0.3), (0.29, 0.3), (0.1, 0.19))] == [
        "P1", "P2", "P3"]


@pytest.mark.parametrize("chance", [UNKNOWN, (0.01, 0.02)])
@pytest.mark.parametrize(("severity", "priority"), [("P1", "P1"), ("P2", "P2"), ("P3", "P3")])
def test_an_incident_that_is_on_has_its_severity_whatever_its_chance_and_also_where_that_is_unknown(
        chance, severity, priority):
    assert of((condition(severity), chance), on=(0,)) == (priority, 0)


@pytest.mark.parametrize(("severity", "priority"), [("P1", "P1"), ("P2", "P2"), ("P3", "P3")])
def test_severity_is_the_highest_priority_that_an_incident_gives(severity, priority):
    assert of((condition(severity), (1.0, 1.0)))[0] == priority


def test_what_is_unknown_is_no_reason_to_ring():
    assert of((condition(), UNKNOWN)) == ("P3", -1)
    assert of((condition(), UNKNOWN), (condition(), (0.9, 0.9))) == ("P1", 1)


def test_alone_and_usual_an_incident_gives_at_most_what_it_gives_alone():
    full = condition(alone="P3"), (0.9, 0.95)
    assert of(full) == ("P3", 0)
    assert of((condition(alone="P2"), (0.9, 0.95))) == ("P2", 0)
    assert of(full, on=(0,)) == ("P3", 0)


def test_alone_but_unusual_it_gives_its_severity():
    assert of((condition(alone="P3"), (0.9, 0.95)), usual=False) == ("P1", 0)


@pytest.mark.parametrize(("other", "on", "priority"), [
    ((condition("P2"), (0.8, 0.8)), (), "P1"),
    ((condition("P2"), (0.1, 0.5)), (), "P2"),
    ((condition("P2"), (0.1, 0.49)), (), "P3"),
    ((condition("P2"), UNKNOWN), (1,), "P1"),
    ((condition("P3"), (1.0, 1.0)), (1,), "P3"),
    ((condition("P1", "P3"), (0.9, 0.9)), (), "P1"),
])
def test_with_the_company_of_another_p1_or_p2_that_is_on_or_likely_it_gives_its_severity(other, on, priority):
    assert of((condition(alone="P3"), (0.9, 0.95)), other, on=on)[0] == priority


def test_what_is_a_habit_of_the_server_or_comes_every_night_is_no_company():
    full, clock = (condition(alone="P2"), (1.0, 1.0)), (condition("P2", "P3"), (1.0, 1.0))
    assert of(full, clock, habit=[[True, False]])[0] == "P1"
    assert of(full, clock, habit=True)[0] == "P2"
    assert of((condition(alone="P3"), (1.0, 1.0)), clock, habit=True)[0] == "P3", "a nightly backup"
    assert of(full, clock, recurring=[[np.nan, 1.0]])[0] == "P2"


def test_company_is_of_the_same_server_alone():
    conditions, on = (condition(alone="P3"), condition()), np.array([[True, False], [False, True]])
    unknown = {window: np.full((2, 2), np.nan) for window in ("30m", "8h")}
    rank, leading = by_chance(conditions, on, unknown, np.ones((2, 2), bool), np.zeros((2, 2), bool),
                              np.full((2, 2), np.nan), Priorities())
    assert [PRIORITIES[place] for place in rank] == ["P3", "P1"] and leading.tolist() == [0, 1]


@pytest.mark.parametrize(("share", "priority"), [(1.0, "P2"), (0.5, "P2"), (0.49, "P1"), (0.0, "P1"), (np.nan, "P1")])
def test_work_of_every_night_is_a_ticket_and_never_a_page(share, priority):
    assert of((condition(), (1.0, 1.0)), recurring=share)[0] == priority
    assert of((condition(), UNKNOWN), on=(0,), recurring=share)[0] == priority
    company = (condition("P2"), (1.0, 1.0))
    assert of((condition(alone="P3"), (1.0, 1.0)), company, recurring=share)[0] == priority


def test_work_of_every_night_does_not_hide_another_incident():
    assert of((condition(), (1.0, 1.0)), (condition(), (0.9, 0.9)), recurring=[[1.0, np.nan]]) == ("P1", 1)


def test_the_incident_that_decides_leads_and_of_equal_ones_the_likeliest():
    assert of((condition("P2"), (1.0, 1.0)), (condition(), (0.8, 0.8)))[1] == 1
    assert of((condition(), (0.1, 0.6)), (condition(), (0.1, 0.7)))[1] == 1
    assert of((condition(), (0.9, 0.9)), (condition(), UNKNOWN), on=(1,))[1] == 1
    assert of((condition(), (0.9, 0.9)), (condition("P3"), UNKNOWN), on=(1,))[1] == 0


@pytest.mark.parametrize(("later", "leading"), [(0.05, 0), (0.049, -1)])
def test_an_incident_that_rings_nothing_is_named_from_five_percent_on(later, leading):
    assert of((condition(), (0.0, later))) == ("P3", leading)


def test_without_any_incident_nothing_leads():
    nothing = np.zeros((3, 0))
    rank, leading = by_chance((), nothing.astype(bool), {"30m": nothing, "8h": nothing}, nothing.astype(bool),
                              nothing.astype(bool), nothing, Priorities())
    assert rank.tolist() == [2] * 3 and leading.tolist() == [-1] * 3


def test_by_score_priorities_start_at_their_points_and_an_unknown_score_has_none():
    scores = np.array([70, 69.9, 40, 39.9, np.nan])
    assert priorities(scores, Priorities()) == ("P1", "P2", "P2", "P3", None)
