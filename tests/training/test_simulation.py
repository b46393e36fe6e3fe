"""Simulated histories for training and validation."""

import numpy as np
import pytest

from exporter.profiles import METRICS, load_fleet
from forecaster.training.dataset import DatasetError
from forecaster.training.simulation import TrainingFleets, check_signals, simulate_many
from tests.tiny_models import MONDAY

pytestmark = pytest.mark.slow

FLEETS = TrainingFleets(load_fleet(), 1, 0.5, 300.0, 2, MONDAY + 60 * 86400)


def test_validation_histories_differ_from_training_in_time_and_seed():
    (training,), (validation,) = FLEETS.training(), FLEETS.validation()
    assert training.start - validation.start == 40 * 86400
    assert not np.allclose(training.values[:60, :20].mean(), validation.values[:60, :20].mean())


def test_replaced_training_histories_end_three_days_earlier_each_time_and_differ():
    (first,), (second,) = FLEETS.training(), FLEETS.training(1)
    assert first.start - second.start == 3 * 86400
    assert not np.allclose(first.values, second.values)


def test_fleets_that_are_simulated_at_once_are_those_simulated_one_by_one(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    many = simulate_many(load_fleet(), 3, 0.25, 300.0, 5, MONDAY)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    for made, expected in zip(many, simulate_many(load_fleet(), 3, 0.25, 300.0, 5, MONDAY), strict=True):
        assert made.start == expected.start and made.servers == expected.servers
        np.testing.assert_array_equal(made.values, expected.values)


def test_other_signals_than_the_simulators_are_refused():
    check_signals(METRICS, "fleet")
    with pytest.raises(DatasetError, match="the simulator has .*; mine.yml has swap: use the preset fleet"):
        check_signals(("swap",), "mine.yml")
