"""Fitting calibrated chances: what was put into simulated outcomes is found again, and the command writes what
serves."""

import json

import numpy as np
import pytest

from forecaster.__main__ import main
from forecaster.commands.calibrate import FIRST_SEED, WEEKS
from forecaster.config import load_config
from forecaster.evaluation import calibration
from forecaster.evaluation.calibration import Week, calibrate, fit_fleet, fit_server, judge, table, write
from forecaster.models.artifact import ModelError
from forecaster.models.model import Model
from forecaster.risk.chance import FILE, Calibration, Fit
from forecaster.service.assembly import load_calibration, load_model
from forecaster.training.dataset import DatasetError
from tests.tiny_models import write_untrained

pytestmark = pytest.mark.slow

STEPS, SERVERS = 6, 20
TRUE = Fit((0.6, 0.0, 0.4), 0.3, 0.02, 0.1, 0.2)


def week(seed: int, truth: Fit = TRUE, instants: int = 400) -> Week:
    """Random evidence and what comes of it under ``truth``: one blow to many servers, and each server's own trouble."""
    rng = np.random.default_rng(seed)
    calm = rng.random((instants, SERVERS, 1, 1)) < 0.9
    exceedance = np.where(calm, 1e-4, rng.random((instants, SERVERS, 1, STEPS))).reshape(-1, 1, STEPS)
    spoken = truth.spoken(exceedance).reshape(instants, SERVERS)
    blow = (rng.random((instants, 1)) < truth.common) & (rng.random((instants, SERVERS)) < truth.floor / truth.common)
    came = (blow | (rng.random((instants, SERVERS)) < spoken)).reshape(-1)
    return Week(exceedance, np.where(came, 3.0, np.inf), np.zeros(len(came), bool), instants)


@pytest.fixture(scope="module")
def weeks():
    return [week(seed) for seed in range(8)]


@pytest.fixture(scope="module")
def fit(weeks):
    return fit_fleet(fit_server(weeks, STEPS), weeks, STEPS)


def test_the_chances_outcomes_were_drawn_with_are_found_again(weeks, fit):
    exceedance = week(99).exceedance
    error = fit.server(fit.spoken(exceedance)) - TRUE.server(TRUE.spoken(exceedance))
    assert np.abs(error).mean() < 0.01 and fit.floor == pytest.approx(TRUE.floor, abs=0.005)


def test_blows_to_many_servers_at_once_are_found_again(fit):
    assert fit.common == pytest.approx(TRUE.common, abs=0.04)
    assert fit.any(np.zeros(500)) < 0.2 < 1 - (1 - fit.floor) ** 500


def test_a_fit_on_some_weeks_is_calibrated_on_others(fit):
    figures = judge(fit, [week(50), week(51)], STEPS)
    assert figures["server"]["ece"] < 0.02 and figures["server"]["skill"] > 0.2
    assert abs(figures["any"]["said"] - figures["any"]["base_rate"]) < 0.05


def test_evidence_that_speaks_against_gets_no_weight():
    other_way = [Week(1 - w.exceedance, w.first, w.beyond, w.instants) for w in (week(1), week(2))]
    assert min(fit_server(other_way, STEPS).weights) >= 0


def test_a_crossing_after_the_window_does_not_count_in_it():
    late = Week(np.full((3, 1, 96), 0.1), np.array([7.0, 6.0, np.inf]), np.zeros(3, bool), 1)
    assert late.crossed(6).tolist() == [False, True, False] and late.crossed(96).tolist() == [True, True, False]


def test_servers_in_trouble_already_are_no_onset(fit):
    some = week(3)
    beyond = np.arange(len(some.first)) % 2 == 0
    figures = judge(fit, [Week(some.exceedance, some.first, beyond, some.instants)], STEPS)
    assert (figures["server"]["windows"], figures["onset"]["windows"]) == (8000, 4000)


def test_a_figure_with_nothing_to_rest_on_is_null_and_the_table_shows_a_dash(fit):
    quiet = Week(np.full((20, 1, STEPS), 1e-4), np.full(20, np.inf), np.zeros(20, bool), 1)
    figures = judge(fit, [quiet], STEPS)
    assert figures["server"]["auroc"] is None and "-" in table({"windows": {"30m": figures}})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model.load(write_untrained(tmp_path_factory.mktemp("model") / "tiny"), "cpu")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model's folder, and weeks short enough to simulate in a test."""
    monkeypatch.setattr(calibration, "DAYS", 0.6)
    monkeypatch.setattr(calibration, "INSTANTS", 3)
    return write_untrained(tmp_path / "tiny")


@pytest.fixture
def config_file(tmp_path):
    """The preset with thresholds that every hour crosses somewhere."""
    from forecaster.config import PRESETS

    text = (PRESETS / "fleet.yml").read_text()
    at = text.index("severe: {cpu")
    changed = text[:at] + "severe: {cpu: 45, memory: 60, latency: 20}" + text[text.index("}", at) + 1 :]
    (tmp_path / "fleet.yml").write_text(changed)
    return tmp_path / "fleet.yml"


def test_the_command_writes_what_serving_reads_and_the_same_again(folder, config_file, capsys):
    command = ["calibrate", "--config.file", str(config_file), "--model", str(folder), "--weeks", "2"]
    assert main(command) == 0
    first = (folder / FILE).read_text()
    assert "30m server" in capsys.readouterr().out
    made = Calibration.load(folder, Model.load(folder, "cpu").facts["weights_sha256"])
    assert made.windows.keys() == {"30m", "8h"} and made.severe["cpu"] == 45
    assert made.report["weeks"] == [1, 1] and json.loads(first)["report"]["seeds"] == [80001, 80002]
    (folder / FILE).write_text("damaged")
    assert main(command) == 0, "a damaged file must not keep the command from replacing it"
    assert (folder / FILE).read_text() == first
    assert sorted(path.name for path in folder.iterdir()) == ["artifact.json", FILE, "report.json", "weights.npz"]


def test_training_on_simulated_fleets_ends_with_a_calibration(tmp_path, monkeypatch, capsys):
    fit = Calibration({"30m": TRUE}, {"cpu": 95.0}, {"windows": {}})
    monkeypatch.setattr(calibration, "calibrate", lambda model, *_, **__: (fit, model.facts["weights_sha256"]))
    few = ["--fleets", "1", "--days", "1", "--epochs", "1", "--batches", "1", "--rows", "4"]
    assert main(["train", "--output", str(tmp_path / "m"), *few]) == 0
    model = Model.load(tmp_path / "m", "cpu")
    assert Calibration.load(tmp_path / "m", model.facts["weights_sha256"]) == fit
    assert "auroc" in capsys.readouterr().out


def test_weeks_without_any_incident_say_so(model, monkeypatch):
    monkeypatch.setattr(calibration, "simulated", lambda *_: Week(np.full((20, 3, 96), 0.1), np.full(20, np.inf),
                                                                   np.zeros(20, bool), 1))
    with pytest.raises(DatasetError, match="within 30m no server crossed a severe threshold in 2 weeks .*more --weeks"):
        calibrate(model, load_config("fleet").risk, 3, FIRST_SEED)


@pytest.mark.parametrize(("trained", "seed"), [(80, FIRST_SEED), (81, 80_980)])
def test_weeks_the_model_may_have_learnt_from_are_refused(model, monkeypatch, trained, seed):
    monkeypatch.setattr(model, "facts", model.facts | {"data": "simulator", "seed": trained})
    with pytest.raises(DatasetError, match=f"--seed {seed}: .* may have been trained on"):
        calibrate(model, load_config("fleet").risk, WEEKS, seed)


def test_one_week_is_too_few(model):
    with pytest.raises(DatasetError, match="--weeks 1; expected at least 2"):
        calibrate(model, load_config("fleet").risk, 1, FIRST_SEED)


def test_a_folder_that_cannot_be_written_keeps_its_calibration(tmp_path, monkeypatch):
    made = Calibration({"30m": TRUE}, {"cpu": 95.0}, {}), "a" * 64
    write(tmp_path, made)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, (made[0], "b" * 64))
    assert Calibration.load(tmp_path, "a" * 64) == made[0] and len(list(tmp_path.iterdir())) == 1


def loaded(config) -> Calibration | None:
    return load_calibration(config, load_model(config))


def serving(folder, method: str):
    return load_config("fleet", {"model": str(folder), "risk.method": method})


def test_method_calibrated_needs_a_calibration_and_says_how_to_make_one(tmp_path):
    with pytest.raises(ModelError, match="no calibration for 30m, 8h: run fleet-forecaster calibrate --model .*tiny"):
        loaded(serving(write_untrained(tmp_path / "tiny"), "calibrated"))


def test_a_calibration_of_other_weights_costs_the_calibrated_chances_and_not_the_forecast(tmp_path, caplog):
    folder = write_untrained(tmp_path / "tiny")
    write(folder, (Calibration({"30m": TRUE, "8h": TRUE}, {"cpu": 95.0}, {}), "f" * 64))
    assert loaded(serving(folder, "weighted")) is None
    assert "made for weights ffff" in caplog.text
    with pytest.raises(ModelError, match="made for weights ffff.*run fleet-forecaster calibrate.*method: weighted"):
        loaded(serving(folder, "calibrated"))


def test_thresholds_moved_away_from_those_of_the_fit_are_pointed_out(caplog):
    assert loaded(load_config("fleet")) and "risk.severe" not in caplog.text
    assert loaded(load_config("fleet", {"risk.severe.cpu": 80}))
    assert "the calibration was made at {'cpu': 95.0" in caplog.text


def test_the_default_model_is_calibrated_for_its_weights_and_keeps_what_was_promised():
    shipped = loaded(load_config("fleet", {"risk.method": "calibrated"}))
    figures = shipped.report["windows"]
    assert figures["30m"]["server"]["ece"] <= 0.03 and figures["30m"]["server"]["skill"] >= 0.5
    assert figures["8h"]["server"]["ece"] <= 0.03 and figures["8h"]["any"]["ece"] <= 0.03
