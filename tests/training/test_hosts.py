"""Models of single series: trained from a recording, calibrated and judged on what was kept out, served with a past."""

import logging

import numpy as np
import pytest
import torch

from forecaster.__main__ import main
from forecaster.config import load_config
from forecaster.evaluation.acceptance import widening
from forecaster.models.model import Model
from forecaster.models.network import ANCHORS
from forecaster.service.assembly import load_model
from forecaster.training import histories
from forecaster.training.hosts import encoding_of, fit, objective, row_loss, rows
from tests.operations import Operations
from tests.tiny_models import MONDAY, TINY

pytestmark = pytest.mark.slow

logging.getLogger("forecaster.training.hosts").setLevel(logging.ERROR)
METRICS = list(load_config("node_exporter").signals)[:5]  # those of every host


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Ten hosts of 29.5 days: half idle, half with a daily course."""
    path, rng, t = tmp_path_factory.mktemp("data") / "hosts.npz", np.random.default_rng(0), np.arange(int(29.5 * 288))
    values = np.full((10, len(t), 5), 0.5, np.float32)
    values[5:] = (10 + 5 * np.sin(2 * np.pi * t / 288))[None, :, None] * rng.gamma(20, 0.05, (5, len(t), 5))
    np.savez(
        path, values=values, server=[f"h{i}" for i in range(10)], metric=METRICS, start_unix=MONDAY, step_seconds=300
    )
    return path


@pytest.fixture(scope="module")
def trained(recording, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "hosts"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forecaster.training.hosts.KEPT_DAYS", 15)
        patch.setattr("forecaster.evaluation.acceptance.EVALUATED", 8)
        arguments = ["train", "--config.file", "node_exporter", "--data", str(recording), "--output", str(folder)]
        few = ["--examples", "1024", "--epochs", "1", "--batches", "4", "--rows", "32"]
        assert main([*arguments, *few, "--device", "cpu"]) == 0
    return folder


def test_a_recording_becomes_a_model_that_the_preset_for_real_hosts_can_serve(trained):
    model = load_model(load_config("node_exporter", {"model": str(trained)}))
    assert model.context_steps == 2016 and model.facts["kept_out_servers"] == ["h0", "h5"]
    assert np.shape(model.facts["widening"]) == (5, len(ANCHORS))
    assert model.facts["settings"] == {"epochs": 1, "batches": 4, "rows": 32, "learning_rate": 0.003}


def test_the_report_is_of_kept_out_servers_beside_the_yardsticks(trained):
    report = Model.load(trained, "cpu").report
    assert report["windows"] == 16 and set(report["yardsticks"]) == {"last-day", "seasonal-naive", "persistence"}
    assert 0 < report["inside80"] <= 1 and report["signals"]["cpu_pct"]["sql"] > 0


def test_an_idle_host_is_forecast_exactly_idle_by_a_trained_model(trained):
    values, done = Model.load(trained, "cpu").forecast(np.full((1, 5, 2016), 0.5, np.float32), MONDAY, ("h",), ("g",))
    assert done.all() and (values == 0.5).all()


def test_a_recording_too_short_says_how_much_is_needed(tmp_path, capsys):
    np.savez(
        tmp_path / "short.npz", values=np.ones((6, 3000, 5), np.float32), server=[f"h{i}" for i in range(6)],
        metric=METRICS, start_unix=MONDAY, step_seconds=300,
    )
    arguments = ["train", "--config.file", "node_exporter", "--data", str(tmp_path / "short.npz")]
    assert main([*arguments, "--output", str(tmp_path / "m")]) == 1
    assert "holds 10.4 days; expected more than" in capsys.readouterr().err


def test_no_examples_at_all_are_refused(recording, tmp_path, capsys):
    arguments = ["train", "--config.file", "node_exporter", "--data", str(recording), "--output", str(tmp_path / "m")]
    assert main([*arguments, "--examples", "0"]) == 1
    assert "--examples 0; expected at least 1" in capsys.readouterr().err


def test_a_step_reads_no_number_from_the_device(recording, monkeypatch):
    monkeypatch.setattr("forecaster.training.hosts.KEPT_DAYS", 15)
    history, config = histories.from_file(recording), load_config("node_exporter")
    signals = histories.select(history, config.signals, "the recording")
    with Operations() as operations:
        fit(history, signals, TINY, steps=3, rows_per_batch=8, examples=64, learning_rate=1e-3, seed=1, device="cpu",
            timezone="UTC", about={})
    assert operations.counts["native_layer_norm"] and not operations.counts["_local_scalar_dense"]


def test_rows_do_not_depend_on_how_many_processes_prepare_them(recording):
    history = histories.from_file(recording)
    signals = histories.select(history, load_config("node_exporter").signals, "the recording")
    encoding = encoding_of(history, signals, "UTC", TINY.quantiles)
    one, three = (rows(history, np.arange(10), len(history.values), 700, encoding, 4, workers) for workers in (1, 3))
    assert len(one["target"]) > 600 and one.keys() == three.keys()
    for key, values in one.items():
        np.testing.assert_array_equal(three[key], values, err_msg=key)
    assert len(np.unique(one["observed"][:, -1, 0])) > 300, "every chunk draws others"


def test_targets_that_were_not_observed_do_not_count_in_a_rows_loss():
    quantiles = torch.tensor([0.1, 0.5, 0.9])
    found = row_loss(torch.zeros(1, 2, 3), torch.tensor([[2.0, float("nan")]]), quantiles)
    assert float(found[0]) == pytest.approx(2 * 2 * (0.1 + 0.5 + 0.9) / 3)


def test_an_idle_rows_error_counts_like_a_busy_ones():
    def told(idle, busy):
        loss, error = torch.tensor([idle, busy]), torch.tensor([1e-2, 10.0])
        return objective(loss, error, torch.zeros(2), torch.tensor([1e9, 1e9]))

    base, idle, busy = told(1e-3, 1.0), told(5e-4, 1.0), told(1e-3, 0.5)
    assert float(base - idle) == pytest.approx(float(base - busy), rel=0.01) and idle < base


def test_a_large_hosts_error_counts_by_its_size_too():
    def told(small, large):
        loss, error = torch.tensor([small, large]), torch.tensor([1e-2, 10.0])
        return objective(loss, error, torch.tensor([0.1, 100.0]), torch.tensor([20.0, 20.0]))

    base = told(1e-3, 1.0)
    assert base - told(1e-3, 0.5) > 1.01 * (base - told(5e-4, 1.0))


def test_bands_half_as_wide_as_they_should_be_are_doubled():
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((4000, 1, 96)).astype(np.float32)
    forecast = np.tile(np.array([-0.6408, 0, 0.6408], np.float32), (4000, 1, 96, 1))
    assert np.array(widening(forecast, truth)) == pytest.approx(2.1, abs=0.1), "for 82 % inside"


def test_outcomes_on_a_band_without_width_ask_for_no_widening():
    exact = np.full((50, 1, 96), 5.0, np.float32)
    assert widening(np.repeat(exact[..., None], 3, -1), exact) == [[1.0] * len(ANCHORS)]
