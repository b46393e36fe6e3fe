"""`fleet-forecaster check-config` accepts what `serve` can start with, and names the remedy for the rest."""

import json
from pathlib import Path

import pytest

from forecaster.__main__ import main
from forecaster.config import PRESETS
from tests.local_server import Request, local_server


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


def respond(request: Request) -> None:
    """As a Prometheus that has a server for every query but those of `gone`, and refuses `refused`."""
    query, ranged = request.form["query"], request.path.endswith("query_range")
    if "refused" in query:
        body = {"status": "error", "errorType": "bad_data", "error": "1:1: parse error"}
    else:
        one = {"metric": {"server": "web1", "mountpoint": "/"}} | (
            {"values": [[float(request.form["end"]), "0.5"]]} if ranged else
            {"value": [float(request.form["time"]), "0.5"]})
        body = {"status": "success", "data": {"resultType": "matrix" if ranged else "vector",
                                              "result": [] if "gone" in query else [one]}}
    request.answer(400 if "refused" in query else 200, json.dumps(body))


@pytest.mark.parametrize(("query", "code", "said"), [
    ("a", 0, ""), ("gone", 0, "capacity.resources.filesystem: Prometheus has no series for it now"),
    ("refused", 1, "capacity.resources.filesystem: Prometheus at {url}, resource filesystem: HTTP 400 bad_data: 1:1")])
def test_prometheus_is_asked_whether_it_takes_the_queries_and_has_series(query, code, said, tmp_path, capsys):
    resource = f"{{filesystem: {{query: {query}, size: b, entity: [mountpoint]}}}}"
    (tmp_path / "own.yml").write_text(f"base: fleet\nmodel: null\ncapacity: {{resources: {resource}}}\n")
    with local_server(respond) as server:
        line = ["check-config", "--config.file", str(tmp_path / "own.yml"), "--source.url", server.url]
        assert main(line) == 0 and not server.seen, "only when it is told to"
        assert main([*line, "--ask"]) == code
    captured = capsys.readouterr()
    assert said.format(url=server.url) in captured.out + captured.err
    assert ("no series" in captured.out + captured.err) == (query == "gone")


def test_a_prometheus_that_does_not_answer_is_a_problem_where_it_is_asked(tmp_path, capsys):
    with local_server(respond) as server:
        url = server.url
    assert main(["check-config", "--config.file", "fleet", "--source.url", url, "--ask"]) == 1
    assert f"fleet: source: Prometheus at {url}" in capsys.readouterr().err
    assert main(["check-config", "--config.file", "fleet", "--source", "scrape", "--source.url", url, "--ask"]) == 1
    assert "scrape has no queries to ask" in capsys.readouterr().err
