"""`fleet-forecaster backtest` from the command line to its table and files."""

import json
import sys

import numpy as np
import pytest

from forecaster.__main__ import main
from forecaster.commands import flags, outputs
from forecaster.config import load_config
from forecaster.evaluation import table as backtest_table
from forecaster.evaluation import yardsticks
from tests.tiny_models import write_untrained

pytestmark = pytest.mark.slow

START, DAY = 1_772_409_600, 288
METRICS = ("mem_pct", "cpu_pct", "latency_ms")
SHORT = ["backtest", "--model", "persistence"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three servers for three days; the second crosses severe thresholds now and then."""
    rng = np.random.default_rng(0)
    values = rng.normal(50, 3, (3, 3 * DAY, 3)).astype(np.float16)
    values[1, ::40, 1] = 99
    values[2, 700:, 0] = np.nan
    folder = tmp_path_factory.mktemp("data")
    np.savez(folder / "data.npz", values=values, server=np.array(["a", "b", "c"]), metric=np.array(METRICS),
             start_unix=START, step_seconds=300)
    np.save(folder / "w.npy", np.array([[0, 400], [1, 500], [2, 690], [1, 760]]))
    return folder


def of(data, *more) -> list[str]:
    return [*SHORT, "--data", str(data / "data.npz"), "--windows", str(data / "w.npy"), *map(str, more)]


def test_a_backtest_prints_a_table_and_writes_forecasts_and_figures(data, tmp_path, capsys):
    files = ["--out", tmp_path / "sub" / "f.npz", "--report", tmp_path / "r.json"]
    code = main(of(data, "--model", "last-day,heuristic", *files))
    printed, said = capsys.readouterr()
    assert code == 0 and said.endswith("data.npz: no values of disk_io_mb_s, net_in_mb_s, net_out_mb_s, error_rate, "
                                       "gc_pause_ms\n") and said.count("\n") == 1
    for text in ("4 windows", "persistence", "last-day", "heuristic", "mem_pct", "persistence, weighted", "P1", "now",
                 "any (of these incidents) within 8h: 4 windows"):
        assert text in printed
    forecast = np.load(tmp_path / "sub" / "f.npz")["forecast"]
    assert forecast.shape == (4, 3, 96, 3) and forecast.dtype == np.float32
    values = np.load(data / "data.npz")["values"].astype(np.float32)
    context = values[1, :760].T[None]
    signals = {name: load_config("fleet").signals[name] for name in METRICS}
    week = np.concatenate([np.full((1, 3, 7 * DAY - 760), np.nan, np.float32), context], -1)
    np.testing.assert_array_equal(forecast[3], yardsticks.named(signals)["persistence"](week)[0])
    report = json.loads((tmp_path / "r.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert list(report["models"]) == ["persistence", "last-day", "heuristic"] and report["context_steps"] == 2016
    row = report["models"]["persistence"]["signals"]["cpu_pct"]
    assert {"wql_at_5m", "pinball_at_4h", "coverage80_30m", "mape_8h", "accuracy_30m", "sql"} <= set(row)
    assert report["models"]["persistence"]["incidents"]["weighted_8h"]["base_rate"] == 0.5
    found = report["models"]["persistence"]["incidents"]["chances"]["8h"]
    assert found["any"]["incidents"] == 2 and found["cpu_saturated"]["servers"] == 1
    assert list(report["rules"]) == ["now", "yesterday", "predict-linear"] and "draws" not in report
    assert report["conditions"]["cpu_saturated"] == "cpu_pct above 95 for 5m"
    assert not list(tmp_path.glob("**/.*")), "nothing half-written is left"


def test_more_draws_have_a_mean_and_a_spread_and_leave_the_forecasts_figures_alone(data, tmp_path, capsys):
    for name, more in (("one", []), ("two", ["--draws", "2"])):
        given = ["--per-server", "5", "--seed", "3", "--report", str(tmp_path / name), *more]
        assert main([*SHORT, "--data", str(data / "data.npz"), *given]) == 0
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one", "two"))
    assert one["models"] == two["models"] and one["rules"] == two["rules"]
    assert "least of draws" in capsys.readouterr().out
    mean, least, most = two["draws"]["spread"]["now"]["8h"]["any"]["brier"]
    assert two["draws"]["count"] == 2 and least <= one["rules"]["now"]["8h"]["any"]["brier"] <= most
    assert mean == pytest.approx((least + most) / 2)


def test_episodes_are_counted_on_request(data, tmp_path, capsys):
    given = ["--per-server", "1", "--episodes", "60", "--report", str(tmp_path / "r.json")]
    assert main([*SHORT, "--data", str(data / "data.npz"), *given]) == 0
    assert "pages of persistence, 3 servers" in capsys.readouterr().out
    found = json.loads((tmp_path / "r.json").read_text())["episodes"]
    assert found["every_minutes"] == 60 and found["rules"]["P1"]["incidents"] > 0


def test_the_boosted_yardstick_is_trained_on_what_the_first_model_did_not_keep_out(tmp_path, monkeypatch, capsys):
    values = np.random.default_rng(1).normal(50, 3, (6 * DAY, 3, 1)).astype(np.float32)
    values[::40, :, 0] = 99
    np.savez(tmp_path / "d.npz", values=values.transpose(1, 0, 2), server=np.array(["a", "b", "c"]),
             metric=np.array(["cpu_pct"]), start_unix=START, step_seconds=300)
    kept = {"kept_out_servers": ["b"], "kept_out_from": "2026-03-05T00:00:00Z"}
    monkeypatch.setattr("forecaster.commands.backtest._facts", lambda loaded: ("persistence", kept))
    given = ["--data", tmp_path / "d.npz", "--kept-out", "--model", "gbm", "--report", tmp_path / "r.json"]
    assert main([*SHORT, *map(str, given)]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert list(report["models"]) == ["persistence"] and report["rules"]["gbm"]["8h"]["any"]["windows"] == 8


def test_the_written_figures_are_those_of_the_written_forecasts(data, tmp_path):
    assert main(of(data, "--out", tmp_path / "f.npz", "--report", tmp_path / "r.json")) == 0
    forecast = np.load(tmp_path / "f.npz")["forecast"]
    values, pairs = np.load(data / "data.npz")["values"].astype(np.float32), np.load(data / "w.npy")
    truth = np.stack([values[s, o : o + 96].T for s, o in pairs])
    error, levels = truth[..., None] - forecast, np.array([0.1, 0.5, 0.9])
    loss = np.where(np.isfinite(error), 2 * np.maximum(levels * error, (levels - 1) * error), np.nan)
    found = json.loads((tmp_path / "r.json").read_text())["models"]["persistence"]
    wql = [np.nanmean(loss[:, i]) / np.nanmean(np.abs(truth[:, i])) for i in range(3)]
    assert found["wql_mean"] == pytest.approx(np.mean(wql), abs=1e-6)
    assert found["signals"]["mem_pct"]["wql_8h"] == pytest.approx(wql[0], abs=1e-6)
    scale = []
    for s, o in pairs:
        day = values[s, DAY:o] - values[s, : o - DAY]
        scale.append(np.maximum(np.nanmean(np.abs(day), 0), 1e-3))
    ratio = np.maximum(np.nanmean(loss[:, :2], (2, 3)) / np.array(scale)[:, :2], 1e-6)
    assert found["signals"]["cpu_pct"]["sql"] == pytest.approx(np.exp(np.log(ratio[:, 1]).mean()), rel=1e-5)
    inside = (forecast[..., 0] <= truth) & (truth <= forecast[..., 2])
    assert found["inside80"] == pytest.approx(inside[np.isfinite(truth)].mean(), abs=1e-6)


def test_windows_are_drawn_by_seed_where_none_are_given(data, tmp_path):
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        given = ["--per-server", "2", "--seed", str(seed), "--report", str(tmp_path / name)]
        assert main([*SHORT, "--data", str(data / "data.npz"), *given]) == 0
    one, two, three = ((tmp_path / name).read_text() for name in ("one", "two", "three"))
    assert one == two != three and json.loads(one)["windows"] == 6 and json.loads(one)["seed"] == 3


def test_simulated_fleets_are_the_default_history(capsys):
    assert main([*SHORT, "--days", "2", "--fleets", "1", "--per-server", "1"]) == 0
    printed = capsys.readouterr().out
    assert "simulator, 1 x 2 days, seed 90001: 20 windows" in printed and "gc_pause_ms" in printed


def test_a_model_folder_is_measured_like_a_yardstick(tmp_path, capsys):
    folder = write_untrained(tmp_path / "tiny")
    assert main(["backtest", "--model", str(folder), "--days", "2", "--fleets", "1", "--per-server", "1"]) == 0
    assert f"{folder}\n" in capsys.readouterr().out, "a simulated fleet has no gaps: the heuristic forecasts nothing"


def test_plots_are_written_on_request(data, tmp_path):
    assert main(of(data, "--plots", tmp_path / "plots")) == 0
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "fan_worst.png", "fan_median.png", "fan_best.png", "by_horizon.png", "reliability.png"}


def test_without_matplotlib_all_but_plots_works_and_the_error_names_the_remedy(data, tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "forecaster.evaluation.plots", raising=False)
    monkeypatch.setattr("forecaster.evaluation.plots", None, raising=False)
    monkeypatch.delattr("forecaster.evaluation.plots")
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    assert main(of(data)) == 0
    assert main(of(data, "--plots", tmp_path)) == 1
    assert "pip install 'fleetcast[backtest]'" in capsys.readouterr().err


def refusal(capsys, *words) -> str:
    """The one line on stderr of a command that fails before any work."""
    assert main(list(map(str, words))) == 1
    printed, said = capsys.readouterr()
    assert printed == "" and said.count("\n") == 1 and said.startswith("fleet-forecaster: backtest: ")
    return said.removeprefix("fleet-forecaster: backtest: ").strip()


def test_a_model_that_is_neither_is_refused_with_what_there_is(data, capsys):
    said = refusal(capsys, *of(data, "--model", "gpt"))
    assert "--model gpt" in said and "expected default, servers" in said and "predict-linear" in said


def test_data_without_some_signals_is_measured_and_what_is_missing_is_said(data, tmp_path, capsys):
    held = dict(np.load(data / "data.npz"))
    held["values"] = held["values"].copy()
    held["values"][1, :, 2] = np.nan
    np.savez(tmp_path / "d.npz", **held | {"metric": np.array(["mem_pct", "cpu_pct", "swap"])})
    given = ["--data", tmp_path / "d.npz", "--config.file", "node_exporter", "--report", tmp_path / "r.json"]
    assert main(["backtest", "--model", "servers", *map(str, given), "--per-server", "1"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said == [f"{tmp_path / 'd.npz'}: metric swap is not a signal of the configuration and left out",
                    f"{tmp_path / 'd.npz'}: no values of disk_io_mb_s, net_in_mb_s, net_out_mb_s"]
    report = json.loads((tmp_path / "r.json").read_text())
    assert list(report["models"]["servers"]["signals"]) == ["mem_pct", "cpu_pct"] and report["missing"] == said
    assert np.isfinite(report["models"]["servers"]["wql_mean"])


def test_servers_without_some_signals_are_measured_by_those_they_have(data, tmp_path, capsys):
    held = dict(np.load(data / "data.npz"))
    held["values"] = held["values"].copy()
    held["values"][1, :, 0] = np.nan
    np.savez(tmp_path / "d.npz", **held)
    given = ["--data", tmp_path / "d.npz", "--config.file", "fleet", "--report", tmp_path / "r.json"]
    assert main([*SHORT, *map(str, given), "--per-server", "1"]) == 0
    assert f"{tmp_path / 'd.npz'}: no values of mem_pct on 1 of 3 servers" in capsys.readouterr().err
    assert json.loads((tmp_path / "r.json").read_text())["windows"] == 3


def test_outputs_that_cannot_be_written_are_refused_before_the_work(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("forecaster.training.histories.from_file", lambda path: pytest.fail("work has begun"))
    (tmp_path / "file").touch()
    assert "--out" in refusal(capsys, *of(data, "--out", tmp_path / "file" / "f.npz"))
    assert "is a folder" in refusal(capsys, *of(data, "--report", tmp_path))
    assert "is an input of this run" in refusal(capsys, *of(data, "--out", data / "data.npz"))
    assert "expected two files" in refusal(capsys, *of(data, "--out", tmp_path / "x", "--report", tmp_path / "x"))
    assert "--plots" in refusal(capsys, *of(data, "--plots", tmp_path / "file"))


def test_a_full_disk_is_noticed_before_the_first_forecast(data, tmp_path, capsys, monkeypatch):
    full = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr(outputs.shutil, "disk_usage", lambda path: full)
    monkeypatch.setattr("forecaster.evaluation.backtest.run", lambda *_: pytest.fail("work has begun"))
    assert "1 MB are free, up to 20 MB are needed" in refusal(capsys, *of(data, "--out", tmp_path / "f.npz"))


def test_a_failed_write_leaves_the_older_file_and_says_so(data, tmp_path, capsys, monkeypatch):
    (tmp_path / "f.npz").write_text("older")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    assert main(of(data, "--out", tmp_path / "f.npz")) == 1
    assert "f.npz: cannot be written (No space left on device)" in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--data x.npz --source prometheus", "--data and --source are two histories"),
        ("--windows w.npy", "--windows lists servers and steps of a file; expected --data"),
        ("--kept-out", "--kept-out draws windows of a model's training data"),
        ("--kept-out --data x.npz --windows w.npy", "and no --windows"),
        ("--model gbm", "--model gbm learns from what the first model did not keep out; expected --kept-out and a"),
        ("--draws 0", "--draws 0; expected at least 1"),
        ("--data x.npz --windows w.npy --draws 2", "--windows lists the windows, once; leave out --draws"),
        ("--episodes 7", "--episodes 7; expected a multiple of 5 minutes"),
        ("--oracle --episodes", "--oracle follows its own incidents; leave out --draws and --episodes"),
        ("--source scrape", "--source scrape holds three hours"),
        ("--source prometheus --start 1", "needs --start and --end"),
        ("--source prometheus --start 10 --end 5", "--end 5 is not after --start 10"),
        ("--end 1", "expected --source prometheus with them"),
        ("--oracle --data x.npz", "--oracle needs the hidden state of simulated fleets"),
        ("--oracle --plots there", "--oracle writes neither forecasts nor plots"),
        ("--oracle --without cpu_pct", "--oracle writes neither forecasts nor plots and needs all signals"),
        ("--oracle --days 2", "needs --days above 2, --rollouts from 10 and --origins from 1; found 2, 200 and 8"),
        ("--days 0", "--days 0; expected more than 0"),
        ("--days nan", "--days nan"),
        ("--days 367", "--days 367; expected more than 0, at most 366"),
        ("--fleets 0", "--fleets 0; expected at least 1"),
        ("--per-server -1", "--per-server -1; expected at least 1"),
        ("--seed -1", "--seed -1; expected at least 0"),
        ("--config.file node_exporter", "node_exporter has cpu_pct"),
        ("--config.file node_exporter --oracle", "node_exporter has cpu_pct"),
    ],
)
def test_flags_that_exclude_each_other_or_are_out_of_range_are_refused(words, message, capsys):
    assert message in refusal(capsys, *SHORT, *words.split())


def test_signals_that_are_left_out_are_unknown_to_every_forecaster(data, tmp_path, capsys):
    report = tmp_path / "r.json"
    assert main(of(data, "--without", "mem_pct, latency_ms", "--report", report)) == 0
    assert list(json.loads(report.read_text())["models"]["persistence"]["signals"]) == ["cpu_pct"]
    capsys.readouterr()
    assert "cannot leave out swap_pct; expected some" in refusal(capsys, *of(data, "--without", "swap_pct"))


def test_bad_data_is_one_line(data, tmp_path, capsys):
    (tmp_path / "w.npy").write_text("1 2")
    assert "--windows" in refusal(capsys, *of(data, "--windows", tmp_path / "w.npy"))
    assert "no such file" in refusal(capsys, *SHORT, "--data", tmp_path / "none.npz")


def test_progress_is_shown_on_a_terminal_only(monkeypatch, capsys):
    assert flags.progress("x") is iter
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(flags.progress("measuring")(range(3))) == [0, 1, 2]
    printed, said = capsys.readouterr()
    assert printed == "" and "measuring" in said
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert flags.progress("x") is iter


def test_unknown_figures_are_null_in_json():
    assert json.loads(backtest_table.to_json({"a": float("nan"), "b": (1, float("inf")), "c": {"d": 2.5}})) == {
        "a": None, "b": [1, None], "c": {"d": 2.5}}
