"""Chances of incidents: examples are cut as in serving, and the command writes what serves."""

from dataclasses import replace

import numpy as np
import pytest

from forecaster.__main__ import main
from forecaster.commands.calibrate import FIRST_SEED, WEEKS
from forecaster.config import load_config
from forecaster.evaluation import calibration
from forecaster.evaluation.calibration import examples, of_fleets, table, write
from forecaster.models.artifact import ModelError
from forecaster.models.model import Model
from forecaster.risk.chances import FILE, Chances
from forecaster.risk.conditions import Condition
from forecaster.service.assembly import load_chances, load_model
from forecaster.training import chances
from forecaster.training.dataset import DatasetError
from tests.tiny_models import tiny_chances, write_untrained

pytestmark = pytest.mark.slow

SIGNALS = load_config("fleet").signals
LOW = {"cpu_busy": Condition(signal="cpu_pct", above=45.0), "memory_idle": Condition(signal="mem_pct", below=60.0)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model.load(write_untrained(tmp_path_factory.mktemp("model") / "tiny"), "cpu")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Weeks short enough to simulate in a test, and few steps."""
    monkeypatch.setattr(calibration, "DAYS", 0.6)
    monkeypatch.setattr(calibration, "INSTANTS", 4)
    monkeypatch.setattr(chances, "STEPS", 20)


@pytest.fixture(scope="module")
def made(model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "DAYS", 0.6)
        patch.setattr(calibration, "INSTANTS", 4)
        part = calibration.simulated(model, 5)
        group = np.arange(len(part)) % 2
        return part, examples(model, LOW, SIGNALS, [part], [group], [part.place[:, 1]], 1, iter)


def test_the_outcome_of_a_configured_incident_is_that_of_the_truth(made):
    part, rows = made
    truth = part.truth()
    cpu, memory = (part.history.signals.index(name) for name in ("cpu_pct", "mem_pct"))
    busy, idle = truth[:, cpu] > 45, truth[:, memory] < 60
    assert rows.asked.sum() == 2 * len(part)
    expected = np.concatenate([np.stack([one[:, :6].any(1), one.any(1)], 1) for one in (busy, idle)])
    np.testing.assert_array_equal(rows.outcome[rows.asked], expected)
    now = part.context(slice(None), 1)
    np.testing.assert_array_equal(rows.on[rows.asked], np.concatenate([now[:, cpu, 0] > 45, now[:, memory, 0] < 60]))


def test_every_signal_has_incidents_at_random_limits_some_reached_and_some_not(made):
    part, rows = made
    others = rows.outcome[~rows.asked, 1]
    assert len(others) == (8 - 2 + 2 * calibration.RANDOM) * len(part) and 0.1 < others.mean() < 0.9
    assert (rows.outcome[:, 0] <= rows.outcome[:, 1]).all(), "within 30 minutes is within 8 hours"


def test_calm_rows_are_those_whose_history_and_forecast_stay_below_the_limit(made):
    _, rows = made
    assert 0 < rows.calm.mean() < 0.9 and not rows.on[rows.calm].any()
    assert np.isfinite(rows.inputs).all() and not rows.inputs[rows.calm].any()


@pytest.fixture
def config_file(tmp_path):
    """The preset with limits that every hour crosses somewhere."""
    from forecaster.config import PRESETS

    text = (PRESETS / "fleet.yml").read_text()
    assert "  incidents: null\n" in text
    lower = "{cpu_busy: {signal: cpu_pct, above: 45}, latency_high: {signal: latency_ms, above: 20}}"
    text = text.replace("  incidents: null\n", f"  incidents: {lower}\n")
    (tmp_path / "fleet.yml").write_text(text)
    return tmp_path / "fleet.yml"


def test_the_command_writes_what_serving_reads_and_the_same_again(tmp_path, config_file, capsys):
    folder = write_untrained(tmp_path / "tiny")
    command = ["calibrate", "--config.file", str(config_file), "--model", str(folder), "--weeks", "5"]
    assert main(command) == 0
    first = (folder / FILE).read_bytes()
    assert "30m server" in capsys.readouterr().out
    found = Chances.load(folder, Model.load(folder, "cpu").facts["weights_sha256"])
    assert found.report["seeds"] == [FIRST_SEED, FIRST_SEED + 4] and found.report["windows"].keys() == {"30m", "8h"}
    (folder / FILE).write_text("damaged")
    assert main(command) == 0, "a damaged file must not keep the command from replacing it"
    assert Chances.load(folder, Model.load(folder, "cpu").facts["weights_sha256"]).report == found.report
    assert len(first) == len((folder / FILE).read_bytes())
    assert sorted(path.name for path in folder.iterdir()) == ["artifact.json", FILE, "report.json", "weights.npz"]


def test_a_figure_with_nothing_to_rest_on_is_a_dash(capsys):
    row = dict.fromkeys(("said", "base_rate", "brier", "skill", "auroc", "ece"), 0.1) | {"windows": 3, "auroc": None}
    assert "-" in table({"windows": {"30m": {"server": row}}}).splitlines()[1]


def test_training_on_simulated_fleets_ends_with_chances(tmp_path, monkeypatch, capsys):
    fit = replace(tiny_chances(), report={"windows": {}})
    monkeypatch.setattr(calibration, "of_fleets", lambda *_: fit)
    few = ["--fleets", "1", "--days", "1", "--epochs", "1", "--batches", "1", "--rows", "4"]
    assert main(["train", "--output", str(tmp_path / "m"), *few]) == 0
    model = Model.load(tmp_path / "m", "cpu")
    assert Chances.load(tmp_path / "m", model.facts["weights_sha256"]).slope.tolist() == fit.slope.tolist()
    assert "auroc" in capsys.readouterr().out


def test_weeks_with_too_few_incidents_say_so(model, monkeypatch):
    never = {"cpu_busy": Condition(signal="cpu_pct", above=1e6)}
    monkeypatch.setattr(chances, "LEAST", 10_000)
    with pytest.raises(DatasetError, match="incidents within 30 minutes .* at least 10000: use more history"):
        of_fleets(model, never, SIGNALS, 2, FIRST_SEED)


@pytest.mark.parametrize(("trained", "seed"), [(80, FIRST_SEED), (81, 80_980)])
def test_weeks_the_model_may_have_learnt_from_are_refused(model, monkeypatch, trained, seed):
    monkeypatch.setattr(model, "facts", model.facts | {"data": "simulator", "seed": trained})
    with pytest.raises(DatasetError, match=f"--seed {seed}: .* may have been trained on"):
        of_fleets(model, LOW, SIGNALS, WEEKS, seed)


def test_one_week_is_too_few(model):
    with pytest.raises(DatasetError, match="--weeks 1; expected at least 2"):
        of_fleets(model, LOW, SIGNALS, 1, FIRST_SEED)


def test_a_folder_that_cannot_be_written_keeps_its_chances(tmp_path, monkeypatch):
    write(tmp_path, tiny_chances(), "a" * 64)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, tiny_chances(), "b" * 64)
    assert Chances.load(tmp_path, "a" * 64) and len(list(tmp_path.iterdir())) == 1


def loaded(config) -> Chances | None:
    return load_chances(config, load_model(config))[0]


def serving(folder, method: str):
    return load_config("fleet", {"model": str(folder), "risk.method": method})


def test_method_calibrated_needs_chances_and_says_how_to_make_them(tmp_path):
    with pytest.raises(ModelError, match="has no chances.npz: run fleet-forecaster calibrate --model .*tiny"):
        loaded(serving(write_untrained(tmp_path / "tiny"), "calibrated"))


def test_chances_of_other_weights_cost_the_chances_and_not_the_forecast(tmp_path, caplog):
    folder = write_untrained(tmp_path / "tiny")
    write(folder, tiny_chances(), "f" * 64)
    assert loaded(serving(folder, "weighted")) is None
    assert "made for weights ffff" in caplog.text
    with pytest.raises(ModelError, match="made for weights ffff.*run fleet-forecaster calibrate.*method: weighted"):
        loaded(serving(folder, "calibrated"))


@pytest.mark.parametrize("preset", ["fleet", "node_exporter"])
def test_the_models_that_ship_have_chances_for_their_weights_which_keep_what_was_promised(preset):
    figures = loaded(load_config(preset, {"risk.method": "calibrated"})).report["windows"]
    assert figures["30m"]["server"]["ece"] <= 0.01 and figures["30m"]["server"]["skill"] >= 0.75
    assert figures["8h"]["server"]["ece"] <= 0.02
