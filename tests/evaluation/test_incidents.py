"""Outcomes of incidents and figures of their chances, worked out by hand."""

import numpy as np
import pytest

from forecaster.evaluation import incidents
from forecaster.evaluation.incidents import ANY, Outcomes
from forecaster.evaluation.windows import Windows
from forecaster.risk.conditions import Condition
from forecaster.training.dataset import History

NAN, INF = np.nan, np.inf


def condition(**given) -> Condition:
    return Condition.model_validate({"signal": "cpu_pct", "above": 95} | given)


def windows(cpu: dict[int, float], now: int = 10, servers: int = 1) -> Windows:
    """One window of each server at row ``now`` of 120 quiet rows, with these values of the first server."""
    values = np.full((120, servers, 1), 10, np.float32)
    for row, value in cpu.items():
        values[row, 0, 0] = value
    names = tuple("abc"[:servers])
    history = History(0.0, 300.0, ("cpu_pct",), names, ("db", "web", "web")[:servers], values)
    return Windows(history, np.array([[server, now] for server in range(servers)]), 1)


def came(first, on=None, seen=1.0, server=None) -> Outcomes:
    """Outcomes of first steps (N, I)."""
    first = np.array(first, float).reshape(len(first), -1)
    names = ("one", "two")[: first.shape[1]]
    on = np.zeros(first.shape, bool) if on is None else np.array(on).reshape(first.shape)
    return Outcomes(names, tuple(server or "abcdefgh"[: len(first)]), on, first, np.full(first.shape, seen))


def test_the_first_step_beyond_the_limit_is_the_outcome_and_the_limit_itself_is_not_beyond():
    found = incidents.outcomes([windows({12: 95, 14: 95.5})], {"cpu": condition()})
    assert found.first.tolist() == [[4]] and found.on.tolist() == [[False]] and found.server == ("a",)
    assert found.within("30m").tolist() == [[1]] and found.first_of_any("30m").tolist() == [4]


def test_an_incident_that_must_last_counts_the_steps_before_the_origin():
    lasting = {"cpu": condition(**{"for": "15m"})}
    assert incidents.outcomes([windows({9: 99, 10: 99, 11: 99})], lasting).first.tolist() == [[1]]
    assert incidents.outcomes([windows({9: 99, 11: 99, 12: 99})], lasting).first.tolist() == [[INF]]
    assert incidents.outcomes([windows({8: 99, 9: 99, 10: 99})], lasting).on.tolist() == [[True]]
    assert incidents.outcomes([windows({9: 99, 10: 99})], lasting).on.tolist() == [[False]]


def test_an_incident_below_a_limit_is_on_under_it():
    found = incidents.outcomes([windows({15: 3})], {"idle": condition(above=None, below=5)})
    assert found.first.tolist() == [[5]]


def test_an_unknown_value_ends_an_incident_and_a_window_without_values_has_no_outcome():
    gap = incidents.outcomes([windows({11: 99, 12: NAN, 13: 99})], {"cpu": condition(**{"for": "10m"})})
    assert gap.first.tolist() == [[INF]] and gap.within("30m").tolist() == [[0]]
    late = incidents.outcomes([windows({row: NAN for row in range(11, 17)})], {"cpu": condition()})
    assert np.isnan(late.within("30m")).all() and late.within("8h").tolist() == [[0]]
    assert np.isnan(late.first_of_any("30m")).all()


def test_servers_that_an_incident_is_not_meant_for_have_no_outcome():
    found = incidents.outcomes([windows({12: 99}, servers=3)], {"cpu": condition(profiles="web")})
    np.testing.assert_array_equal(found.within("8h"), [[NAN], [0], [0]])


def test_any_incident_is_the_first_of_all_and_its_chance_the_largest():
    both = came([[3, 7], [INF, INF]])
    assert both.first_of_any("30m").tolist() == [3, INF] and both.first_of_any("8h").tolist() == [3, INF]
    np.testing.assert_allclose(incidents.any_of(np.array([[0.5, 0.5], [0.2, NAN], [NAN, NAN]])), [0.5, 0.2, NAN])
    np.testing.assert_array_equal(incidents.any_of(np.zeros((1, 0))), [NAN])


def test_figures_are_those_of_each_incident_and_of_any_of_them():
    outcomes = came([[3, INF], [INF, INF], [INF, 90], [INF, INF]])
    chance = np.array([[0.9, 0.0], [0.1, 0.0], [0.0, 0.8], [0.0, NAN]])
    found = incidents.figures({"30m": chance, "8h": chance}, outcomes)
    assert set(found["30m"]) == {ANY, "one", "two"}
    assert found["30m"]["one"]["brier"] == pytest.approx((0.01 + 0.01) / 4)
    assert found["30m"]["two"]["windows"] == 3 and found["30m"]["two"]["incidents"] == 0
    assert found["8h"][ANY]["incidents"] == 2 and found["8h"][ANY]["servers"] == 2
    assert found["8h"][ANY]["brier"] == pytest.approx((0.01 + 0.01 + 0.04) / 4, abs=1e-9)


def test_incidents_without_a_known_chance_have_no_figures():
    assert incidents.figures({"30m": np.full((2, 1), NAN)}, came([1, INF])) == {}


def test_incidents_that_begin_are_judged_where_they_are_not_on_at_the_origin():
    row = incidents.judge(np.array([1, 0.5, 0, 0]), np.array([1, 1, 0, 0.0]), np.array([True, False, False, False]),
                          ("a", "a", "b", "b"))
    assert row["windows"] == 4 and row["incidents"] == 2 and row["servers"] == 1
    assert row["begin"]["windows"] == 3 and row["begin"]["incidents"] == 1
    assert row["begin"]["skill"] == pytest.approx(1 - (0.25 / 3) / (2 / 9))


@pytest.mark.parametrize(
    ("chance", "outcome", "recall"),
    [
        ([0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 1, 1, 0], 1.0),   # all five: 4 of 5 are right
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 1], 1 / 3),         # 3 of 4 are too few
        ([0.9, 0.9, 0.5], [1, 0, 1], 0.0),                   # equal chances ring together
        ([0.2, 0.1], [0, 1], 0.0),
    ],
)
def test_recall_is_the_largest_whose_precision_suffices(chance, outcome, recall):
    assert incidents.recall_at(0.8, np.array(chance), np.array(outcome, bool)) == pytest.approx(recall)


def test_recall_is_unknown_without_incidents():
    assert np.isnan(incidents.recall_at(0.8, np.array([0.5]), np.array([False])))


def test_the_spread_over_draws_is_mean_least_and_most():
    draws = [incidents.figures({"8h": np.array([[1.0], [p], [0.0]])}, came([1, INF, INF])) for p in (0.0, 0.5)]
    found = incidents.spread(draws)["8h"][ANY]
    np.testing.assert_allclose(found["brier"], (0.25 / 6, 0, 0.25 / 3), atol=1e-9)
    np.testing.assert_allclose(found["begin"], (1 - 0.1875, 1 - 0.375, 1), atol=1e-9)
