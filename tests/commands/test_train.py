"""`fleet-forecaster train` from the command line to an artifact folder, and errors before the work."""

import numpy as np
import pytest

from forecaster.__main__ import main
from forecaster.capacity.forecast import Weights
from forecaster.commands import train
from forecaster.models.artifact import MODELS
from forecaster.models.model import Model
from forecaster.training import capacity
from tests.tiny_models import write_untrained

pytestmark = pytest.mark.slow


def test_the_command_line_trains_from_the_simulator(tmp_path, capsys):
    few = ["--fleets=1", "--days=1", "--epochs=1", "--batches=2", "--rows=8", "--calibration-weeks=0"]
    code = main(["train", "--output", str(tmp_path / "m"), *few])
    printed = capsys.readouterr().out
    assert code == 0 and "cpu_pct" in printed and "parameters" in printed
    assert Model.load(tmp_path / "m", "cpu").facts["data"] == "simulator"


def test_the_command_line_trains_the_forecast_of_what_fills_up(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(capacity, "SERVERS", 4)
    monkeypatch.setattr(capacity, "INSTANTS", 3)
    path = tmp_path / "new" / "capacity.npz"
    assert main(["train", "--capacity", "--output", str(path), "--fleets=1", "--epochs=1", "--batches=2"]) == 0
    assert f"2 batches; written to {path}" in capsys.readouterr().out
    assert Weights.load(path).report["fleets"] == 1


def test_training_starts_from_an_earlier_models_weights(tmp_path):
    folder = write_untrained(tmp_path / "tiny")
    settings = ["--fleets=1", "--days=1", "--epochs=1", "--batches=1", "--rows=4", "--learning-rate=1e-9"]
    settings.append("--calibration-weeks=0")
    assert main(["train", "--output", str(tmp_path / "m"), "--start-from", str(folder), *settings]) == 0
    before, after = Model.load(folder, "cpu"), Model.load(tmp_path / "m", "cpu")
    assert after.encoding == before.encoding
    assert after.facts["started_from"] == before.facts["weights_sha256"][:12]
    name = "output_layer.weight"
    np.testing.assert_allclose(after.weights[name], before.weights[name], atol=1e-6)


def test_training_on_signals_the_simulator_lacks_says_which(tmp_path, capsys):
    assert main(["train", "--config.file", "node_exporter", "--output", str(tmp_path / "m")]) == 1
    assert "the simulator has the signals cpu_pct" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_training_from_a_prometheus_that_is_not_there_says_so_and_writes_nothing(tmp_path, capsys, free_port):
    source = ["--source", "prometheus", "--source.url", f"http://127.0.0.1:{free_port}", "--days", "0.2"]
    code = main(["train", *source, "--output", str(tmp_path / "m")])
    assert code == 1 and "check that Prometheus runs" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--source scrape", "--source scrape holds three hours, too few to train on; use --source prometheus"),
        (f"--start-from {MODELS / 'servers'}", "servers is a model of single series; expected a model of a fleet"),
        (f"--config.file node_exporter --start-from {MODELS / 'default'}", "expected those of node_exporter: cpu_pct"),
        ("--data x.npz --source prometheus", "leave out --source and --start-from"),
        ("--data x.npz --start-from y", "leave out --source and --start-from"),
        ("--data x.npz", "x.npz: no such file"),
        ("--capacity --source prometheus", "--capacity trains on simulated mounts; leave out --source and --data"),
        ("--device cuda --fleets 1 --days 0.1", "history of 2.4 h is too short to cut one window"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line_and_nothing_is_written(words, message, tmp_path, capsys):
    assert main(["train", "--output", str(tmp_path / "m"), *words.split()]) == 1
    printed, said = capsys.readouterr()
    assert message in said and said.startswith("fleet-forecaster: train: ") and said.count("\n") == 1 and printed == ""
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(("kind", "expected"), [
    ("", (26, 90, 150, 128)), ("--data x.npz", (26, 48, 150, 512)), ("--capacity", (200, 100, 100, 128)),
    ("--data x.npz --rows 8 --epochs 2", (26, 2, 150, 8)), ("--capacity --fleets 2", (2, 100, 100, 128))])
def test_settings_that_are_not_given_are_those_of_the_kind_of_model(kind, expected, tmp_path, monkeypatch):
    seen = []
    for name in ("_train_on_hosts", "_train_on_fleet", "_train_capacity"):
        monkeypatch.setattr(train, name,
                            lambda given, *_: seen.append((given.fleets, given.epochs, given.batches, given.rows)))
    assert main(["train", "--output", str(tmp_path / "m"), "--source", "prometheus", *kind.split()]) == 0
    assert seen == [expected]
