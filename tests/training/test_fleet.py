"""Training: a tiny real model learns, is written whole, and is served as it was trained."""

import numpy as np
import pytest
import torch

from forecaster.evaluation.acceptance import of_fleet
from forecaster.models.artifact import write_artifact
from forecaster.models.model import Model
from forecaster.training.dataset import training_batches
from forecaster.training.fleet import Training, _Batches, fit, pinball
from forecaster.training.library import fresh_weights
from tests.operations import Operations
from tests.tiny_models import TINY, windows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "tiny"
    made = fit(
        windows(),
        windows(),
        TINY,
        epochs=3,
        batches=40,
        rows=64,
        learning_rate=2e-2,
        patience=2,
        seed=1,
        device="cpu",
        progress=False,
        about={"name": "tiny"},
    )
    report = of_fleet(made, windows(), 1, 256)
    write_artifact(folder, made.weights, made.encoding, made.architecture, report, made.facts)
    return folder, report


def test_pinball_loss_is_the_textbook_one_and_ignores_what_was_not_observed():
    prediction = torch.tensor([[[[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]]])
    target = torch.tensor([[[2.5, float("nan")]]])
    quantiles = torch.tensor([0.1, 0.5, 0.9])
    expected = 2 * np.mean([0.1 * 1.5, 0.5 * 0.5, 0.1 * 0.5])
    assert float(pinball(prediction, target, quantiles, torch.ones(1))) == pytest.approx(expected)


def test_training_beats_forecasting_the_average_and_reports_its_accuracy(trained):
    _, report = trained
    fresh = Training(windows().encoding, TINY, fresh_weights(windows().encoding, TINY), 1e-2, 10)
    inputs, target = next(iter(training_batches(windows(), 128, 1, seed=9)))
    with torch.no_grad():
        untrained = float(fresh.loss(({k: torch.as_tensor(v) for k, v in inputs.items()}, torch.as_tensor(target))))
    assert report["val_loss"] < 0.75 * untrained
    assert set(report["signals"]) == set(windows().encoding.signals)
    assert 0 <= report["signals"]["cpu_pct"]["coverage80_30m"] <= 1 and report["cpu_accuracy_30m"] > 0


def test_a_trained_artifact_is_served_with_forecasts_near_the_present(trained):
    model = Model.load(trained[0], "cpu")
    past, _, instants, _, _ = windows().sample(64, np.random.default_rng(0))
    values, done = model.forecast(past, float(instants[0]), ("ppdb001",) * 64, ("database",) * 64)
    assert done.all()
    assert np.corrcoef(values[:, 0, 0, 1], past[:, 0, -1])[0, 1] > 0.3
    assert model.info["model"] == "tiny" and model.report["parameters"] > 0


def test_the_same_seed_trains_the_same_weights():
    settings = {"epochs": 1, "batches": 3, "rows": 8, "learning_rate": 1e-2, "patience": 1, "seed": 5, "device": "cpu"}
    one, two = (fit(windows(), windows(), TINY, progress=False, about={}, **settings).weights for _ in range(2))
    assert one.keys() == two.keys() and all(np.array_equal(one[key], two[key]) for key in one)


def test_more_steps_read_no_more_numbers_from_the_device():
    settings = {"epochs": 1, "rows": 8, "learning_rate": 1e-2, "patience": 1, "seed": 5, "device": "cpu"}
    read = []
    for batches in (2, 6):
        with Operations() as operations:
            fit(windows(), windows(), TINY, batches=batches, progress=False, about={}, **settings)
        read.append(operations.counts["_local_scalar_dense"])
    assert read[0] == read[1], "a step that reads one waits for the card"


def test_training_windows_are_replaced_before_they_are_memorized(monkeypatch):
    monkeypatch.setattr("forecaster.training.fleet.RENEW_BATCHES", 4)
    made = []
    batches = _Batches(windows(), 4, 2, 0, True, lambda n: made.append(n) or windows())
    for _ in range(7):
        assert len(list(batches)) == 2
    assert made == [1, 2, 3], "every fourth batch, and not before the first"


def test_fresh_weights_hold_everything_once():
    fresh = fresh_weights(windows().encoding, TINY)
    assert not any("decoder" in name for name in fresh if name.startswith(("post_lstm_gate", "post_lstm_add_norm")))
    Training(windows().encoding, TINY, fresh, 1e-2, 10)


def test_an_error_weighs_what_it_is_in_the_signals_unit_and_by_the_past_alone():
    encoding = windows().encoding
    module = Training(encoding, TINY, fresh_weights(encoding, TINY), 1e-2, 10)
    observed = torch.zeros(3, 24, 2 * len(encoding.signals))
    column = next(i for i, s in enumerate(encoding.scalings) if s.log)
    observed[1, -1, column], observed[2, :-1] = 9.0, 9.0
    weights = module.levels(observed)[..., 0]
    linear = [i for i, s in enumerate(encoding.scalings) if not s.log]
    assert (weights[:, linear] == 1).all()
    assert weights[1, column] == 4.0 and weights[0, column] == weights[2, column] < 1
