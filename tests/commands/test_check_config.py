"""`fleet-forecaster check-config` accepts what `serve` can start with, and names the remedy for the rest."""

import pytest

from forecaster.__main__ import main
from forecaster.config import PRESETS


def with_model(folder, model: str):
    """A preset's file with another model."""
    lines = (PRESETS / "fleet.yml").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("model:")]
    (folder / "fleet.yml").write_text("\n".join([*kept, f"model: {model}"]) + "\n")
    return str(folder / "fleet.yml")


@pytest.mark.parametrize("preset", ["fleet", "node_exporter"])
def test_presets_that_name_a_shipped_model_are_good(preset, capsys):
    assert main(["check-config", "--config.file", preset]) == 0
    printed, said = capsys.readouterr()
    assert printed.startswith(f"{preset}: good; ") and "source prometheus" in printed and said == ""


@pytest.mark.parametrize("model", ["default", "servers", "null"])
def test_shipped_models_and_no_model_are_good(model, tmp_path, capsys):
    assert main(["check-config", "--config.file", with_model(tmp_path, model)]) == 0
    assert ": good; 8 signals, refresh 15s" in capsys.readouterr().out


def test_an_unknown_model_folder_is_refused_with_what_is_expected(tmp_path, capsys):
    path = with_model(tmp_path, str(tmp_path / "nothing"))
    assert main(["check-config", "--config.file", path]) == 1
    printed, said = capsys.readouterr()
    assert printed == "" and said == (
        f"fleet-forecaster: {path}: model: {tmp_path / 'nothing'} is not an artifact folder; expected one with "
        "artifact.json, the name of a shipped model (default, servers), or null\n")
