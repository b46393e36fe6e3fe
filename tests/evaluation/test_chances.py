"""Chances without a model of incidents say what their names promise."""

import numpy as np
import pytest

from forecaster.evaluation import chances
from forecaster.evaluation.chances import Exceedance
from forecaster.evaluation.scoring import DAY
from forecaster.evaluation.windows import Windows
from forecaster.risk.conditions import Condition
from forecaster.training.dataset import History
from tests.tiny_models import chances_of

SIGNALS = ("cpu_pct",)


def condition(**given) -> Condition:
    return Condition.model_validate({"signal": "cpu_pct", "above": 95} | given)


def context(**at: float) -> np.ndarray:
    """float32 (1, 1, 300), quiet but for values at "ago_N", N steps before the newest."""
    values = np.full((1, 1, 300), 10, np.float32)
    for when, value in at.items():
        values[0, 0, 299 - int(when.removeprefix("ago_"))] = value
    return values


def said(rule, given: np.ndarray, **more) -> list[bool]:
    """Within 30 minutes and within 8 hours."""
    return [bool(one[0]) for one in rule(given, condition(**more), SIGNALS).values()]


def test_now_is_whether_it_is_on():
    assert said(chances.now, context(ago_0=96)) == [True, True]
    assert said(chances.now, context(ago_1=96)) == [False, False]
    assert said(chances.now, context(ago_0=96), **{"for": "10m"}) == [False, False]


def test_yesterday_is_what_was_on_in_the_same_time_yesterday():
    assert said(chances.yesterday, context(**{f"ago_{DAY - 1}": 96})) == [True, True]
    assert said(chances.yesterday, context(**{f"ago_{DAY - 6}": 96})) == [True, True]
    assert said(chances.yesterday, context(**{f"ago_{DAY - 7}": 96})) == [False, True]
    assert said(chances.yesterday, context(**{f"ago_{DAY}": 96})) == [False, False]
    assert said(chances.yesterday, context(ago_0=96)[..., -100:]) == [False, False]


def test_the_line_of_the_last_hour_crosses_the_limit():
    rising = np.full((1, 1, 300), 10, np.float32)
    rising[0, 0, -12:] = 60 + np.arange(12)  # 71 now, 1 a step: above 95 after 25 steps
    assert said(chances.line, rising) == [False, True]
    rising[0, 0, -12:] += 20
    assert said(chances.line, rising) == [True, True]
    falling = 100 - rising
    assert said(chances.line, falling, above=None, below=5) == [True, True]


def test_rules_say_nothing_of_servers_that_an_incident_is_not_meant_for():
    values = np.full((400, 2, 1), 99, np.float32)
    history = History(0.0, 300.0, SIGNALS, ("a", "b"), ("web", "db"), values)
    windows = Windows(history, np.array([[0, 300], [1, 300]]), 1)
    found = chances.of_rules([windows], {"cpu": condition(servers="a")})
    assert set(found) == {"now", "yesterday", "predict-linear"}
    for by_window in found.values():
        assert {label: of.tolist() for label, of in by_window.items()} == {"30m": [[1], [0]], "8h": [[1], [0]]}


def test_the_chance_of_a_forecast_is_that_of_its_most_likely_step():
    quantiles = np.tile(np.array([10, 20, 30], np.float32), (1, 96, 1))
    quantiles[0, 3] = [85, 95, 100]
    quantiles[0, 50] = [95, 100, 105]
    found, step = chances_of(Exceedance(), condition(), context()[:, 0], quantiles, (0.1, 0.5, 0.9), 0.0)
    assert found["30m"][0] == pytest.approx(0.5) and found["8h"][0] == pytest.approx(0.9) and step.tolist() == [4]


def test_an_incident_below_a_limit_reads_the_quantiles_from_the_other_end():
    quantiles = np.tile(np.array([5, 20, 30], np.float32), (1, 96, 1))
    below = condition(above=None, below=5)
    found, _ = chances_of(Exceedance(), below, context()[:, 0], quantiles, (0.1, 0.5, 0.9), 0.0)
    assert found["30m"][0] == pytest.approx(0.1)


def test_an_incident_that_must_last_needs_all_its_steps_and_those_before_the_forecast():
    quantiles = np.tile(np.array([10, 20, 30], np.float32), (1, 96, 1))
    quantiles[0, 0] = [95, 100, 105]
    lasting = condition(**{"for": "15m"})
    calm, _ = chances_of(Exceedance(), lasting, context(ago_0=99)[:, 0], quantiles, (0.1, 0.5, 0.9), 0.0)
    begun, _ = chances_of(Exceedance(), lasting, context(ago_0=99, ago_1=99)[:, 0], quantiles, (0.1, 0.5, 0.9), 0.0)
    assert calm["30m"][0] < 0.01 and begun["30m"][0] == pytest.approx(0.9)
