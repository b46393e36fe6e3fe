"""`fleet-forecaster check-config` accepts what `serve` can start with, and names the remedy for the rest."""

from pathlib import Path

import pytest

from forecaster.__main__ import main
from forecaster.config import PRESETS


def with_model(folder, model: str, **other: str):
    """A preset's file with another model, and other values of other keys."""
    changed = {"model": model} | other
    lines = (PRESETS / "fleet.yml").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(tuple(f"{key}:" for key in changed))]
    (folder / "fleet.yml").write_text("\n".join([*kept, *(f"{key}: {value}" for key, value in changed.items())]) + "\n")
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


def test_signals_that_the_model_does_not_forecast_are_named(tmp_path, capsys):
    assert main(["check-config", "--config.file", with_model(tmp_path, "servers")]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("\nmodel servers: latency_ms, error_rate, gc_pause_ms not forecast, the trend is used\n")


@pytest.mark.parametrize(("model", "like", "said"), [
    ("servers", "cpu_pct", ["load forecast like cpu_pct",
                            "latency_ms, error_rate, gc_pause_ms not forecast, the trend is used"]),
    ("servers", "cpu", ["load, latency_ms, error_rate, gc_pause_ms not forecast, the trend is used",
                        "like of load ignored; expected a signal that a model of single series forecasts"]),
    ("default", "cpu_pct", ["load not forecast, the trend is used",
                            "like of load ignored; expected a signal that a model of single series forecasts"])])
def test_it_is_said_what_a_signal_is_forecast_like_and_where_that_is_ignored(model, like, said, tmp_path, capsys):
    path = Path(with_model(tmp_path, model))
    load = f"  load: {{query: x, unit: count, like: {like}}}\n"
    path.write_text(path.read_text().replace("signals:\n", "signals:\n" + load))
    assert main(["check-config", "--config.file", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [f"model {model}: {sentence}" for sentence in said]


def test_any_time_zone_is_good(tmp_path):
    assert main(["check-config", "--config.file", with_model(tmp_path, "default", timezone="Australia/Lord_Howe")]) == 0


def test_a_model_that_serve_would_refuse_is_refused(tmp_path, capsys):
    path = with_model(tmp_path, "default", encoder_steps="12", warmup="{samples: 100}")
    assert main(["check-config", "--config.file", path]) == 1
    assert "reads 24 steps of history, encoder_steps is 12; raise encoder_steps" in capsys.readouterr().err


def test_an_unknown_model_folder_is_refused_with_what_is_expected(tmp_path, capsys):
    path = with_model(tmp_path, str(tmp_path / "nothing"))
    assert main(["check-config", "--config.file", path]) == 1
    printed, said = capsys.readouterr()
    assert printed == "" and said == (
        f"fleet-forecaster: {path}: model: {tmp_path / 'nothing'} is not an artifact folder; expected one with "
        "artifact.json, the name of a shipped model (default, servers), or null\n")


@pytest.mark.parametrize("flag", ["--web.config.file", "--web.tokens.file"])
def test_the_files_of_tls_and_logins_are_checked_too(flag, tmp_path, capsys):
    file = tmp_path / "wrong.yml"
    file.write_text("unknown: 1")
    assert main(["check-config", "--config.file", "fleet", flag, str(file)]) == 1
    assert f"{file}: unknown: unknown key" in capsys.readouterr().err
