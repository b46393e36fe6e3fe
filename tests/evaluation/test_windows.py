"""What `backtest` looks back on: files, a Prometheus and the simulator, and clear words where one cannot be used."""

import json
from argparse import Namespace

import numpy as np
import pytest

from exporter.profiles import METRICS
from forecaster.config import load_config
from forecaster.evaluation import windows as backtest_data
from forecaster.training import histories
from forecaster.training.dataset import DatasetError
from tests.local_server import local_server

START = 1_772_409_600  # 2026-03-02 00:00 UTC


def content(**changes) -> dict:
    """A good file's arrays; None leaves one out."""
    values = np.arange(2 * 10 * 2, dtype=np.float16).reshape(2, 10, 2)
    arrays = {"values": values, "server": np.array(["b", "a"]), "metric": np.array(["mem_pct", "cpu_pct"]),
              "start_unix": np.array(START), "step_seconds": np.array(300)} | changes
    return {name: array for name, array in arrays.items() if array is not None}


def saved(folder, **changes):
    np.savez(folder / "data.npz", **content(**changes))
    return folder / "data.npz"


def arguments(**given) -> Namespace:
    return Namespace(**{"data": None, "source": None, "start": None, "end": None, "windows": None, "days": 9.0, "fleets": 3,
                        "per_server": 8, "seed": 1, "fleet_file": None, "config_file": "fleet", "oracle": False,
                        "out": None, "plots": None, "kept_out": False} | given)


def quiet(label: str):
    return iter


# -- files


def test_a_file_becomes_a_history_with_its_servers_and_metrics_in_their_order(tmp_path):
    values = content()["values"].copy()
    values[1, 3, 0], values[0, 2, 1] = np.nan, np.inf
    history = histories.from_file(saved(tmp_path, values=values))
    assert history.servers == ("b", "a") and history.signals == ("mem_pct", "cpu_pct") and history.start == START
    assert history.values.shape == (10, 2, 2) and history.values.dtype == np.float32 and history.resolution == 300
    assert np.isnan(history.values[3, 1, 0]) and np.isnan(history.values[2, 0, 1]), "infinities count as missing"
    assert history.values[9, 1, 1] == values[1, 9, 1]


def test_metric_names_select_signals_of_the_configuration(tmp_path):
    history, signals = histories.from_file(saved(tmp_path)), load_config("node_exporter").signals
    assert list(histories.select(history, signals, "data.npz")) == ["mem_pct", "cpu_pct"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": None}, "no array metric; expected values, server, metric, start_unix, step_seconds, found values"),
        ({"values": np.zeros((2, 10), np.float32)}, r"values is float32 \(2, 10\); expected floats \(2 servers, steps, 2 me"),
        ({"values": np.zeros((2, 10, 3), np.float32)}, r"values is float32 \(2, 10, 3\)"),
        ({"values": np.zeros((2, 10, 2), np.int64)}, r"values is int64 \(2, 10, 2\); expected floats"),
        ({"server": np.array(["a", "a"])}, "a server is named twice"),
        ({"metric": np.array(["cpu_pct", "cpu_pct"])}, "a metric is named twice"),
        ({"step_seconds": np.array(0)}, "expected Unix seconds and a positive step"),
        ({"start_unix": np.array(np.nan)}, "start_unix nan"),
        ({"start_unix": np.array([1, 2])}, r"start_unix is int64 \(2,\); expected one number"),
        ({"step_seconds": np.array("5m")}, r"step_seconds is <U2 \(\); expected one number"),
        ({"server": np.array(["a", None], object)}, "cannot be read as .npz"),
    ],
)
def test_a_file_of_another_shape_is_refused_in_one_line_that_names_it(tmp_path, changes, message):
    with pytest.raises(DatasetError, match=message) as refused:
        histories.from_file(saved(tmp_path, **changes))
    assert str(refused.value).startswith(str(tmp_path / "data.npz")) and "\n" not in str(refused.value)


def test_a_file_that_is_missing_empty_or_cut_off_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no such file"):
        histories.from_file(tmp_path / "nothing.npz")
    (tmp_path / "empty.npz").touch()
    whole = saved(tmp_path, values=np.random.default_rng(0).random((2, 5000, 2))).read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("empty.npz", "half.npz", "array.npy"):
        with pytest.raises(DatasetError, match=f"{name}: cannot be read as .npz"):
            histories.from_file(tmp_path / name)


def test_an_unknown_metric_is_named_with_those_that_are_known(tmp_path):
    history = histories.from_file(saved(tmp_path, metric=np.array(["cpu_pct", "swap"])))
    with pytest.raises(DatasetError, match="data.npz: metric swap is no signal of the configuration; expected some of cpu_pct"):
        histories.select(history, load_config("fleet").signals, "data.npz")


# -- windows


def test_windows_are_read_from_a_file(tmp_path):
    np.save(tmp_path / "w.npy", np.array([[1, 5], [0, 7]]))
    history = histories.from_file(saved(tmp_path))
    windows = backtest_data.cut(arguments(windows=tmp_path / "w.npy"), load_config("fleet"), history)
    assert windows.place.tolist() == [[1, 4], [0, 6]]


def test_a_windows_file_that_is_none_is_refused(tmp_path):
    history = histories.from_file(saved(tmp_path))
    (tmp_path / "empty.npy").touch()
    (tmp_path / "text.npy").write_text("0 12\n")
    for path, message in ((tmp_path / "none.npy", "no such file"), (tmp_path / "empty.npy", "cannot be read as .npy"),
                          (tmp_path / "text.npy", "cannot be read as .npy"), (tmp_path / "data.npz", "an archive of arrays")):
        with pytest.raises(DatasetError, match=f"--windows {path}: {message}"):
            backtest_data.cut(arguments(windows=path), load_config("fleet"), history)


# -- flags


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": "x.npz", "source": "prometheus"}, "--data and --source are two sources"),
        ({"windows": "w.npy"}, "expected --data with it"),
        ({"kept_out": True}, "--kept-out draws windows of a recording"),
        ({"kept_out": True, "data": "x.npz", "windows": "w.npy"}, "and no --windows"),
        ({"source": "scrape"}, "--source scrape keeps three hours"),
        ({"source": "prometheus", "start": "1"}, "needs --start and --end"),
        ({"end": "1"}, "expected --source prometheus with them"),
        ({"oracle": True, "plots": "there"}, "--oracle writes neither forecasts nor plots"),
        ({"days": 0.0}, "--days 0; expected more than 0"),
        ({"days": float("nan")}, "--days nan"),
        ({"fleets": 0}, "--fleets 0; expected at least 1"),
        ({"per_server": -1}, "--per-server -1; expected at least 1"),
        ({"seed": -1}, "--seed -1; expected at least 0"),
    ],
)
def test_flags_that_make_no_sense_together_or_alone_are_refused(given, message):
    with pytest.raises(DatasetError, match=message):
        backtest_data.check(arguments(**given))


def test_what_a_model_kept_out_is_its_servers_from_an_instant_on(tmp_path):
    history = histories.from_file(saved(tmp_path))
    facts = {"kept_out_servers": ["a"], "kept_out_from": "2026-03-02T00:25:00Z"}
    kept, first = backtest_data.kept_out(history, "mine", facts)
    assert kept.servers == ("a",) and first == START + 1500
    np.testing.assert_array_equal(kept.values[:, 0], history.values[:, 1])
    long = histories.from_file(saved(tmp_path, values=np.ones((2, 3 * 288, 2), np.float16)))
    late = backtest_data.cut(arguments(per_server=20), load_config("fleet"), long, START + 2 * 86400)
    assert late.instants().min() >= START + 2 * 86400


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (None, "mine does not say what it kept out"),
        ({"kept_out_servers": ["a"]}, "expected first a model trained with --data"),
        ({"kept_out_servers": ["a", "z"], "kept_out_from": "1"}, "lacks 1 of the 2 servers mine kept out, such as z"),
    ],
)
def test_a_model_that_kept_nothing_out_of_this_recording_is_refused(tmp_path, facts, message):
    with pytest.raises(DatasetError, match=message):
        backtest_data.kept_out(histories.from_file(saved(tmp_path)), "mine", facts)


def test_times_are_read_as_rfc_3339_or_unix_seconds():
    for text in ("2026-03-02T00:00:00Z", "2026-03-02T01:00:00+01:00", "2026-03-02", "1772409600", "1772409600.0"):
        assert backtest_data.instant("--start", text) == START


@pytest.mark.parametrize("text", ["yesterday", "nan", "inf", "2026-13-01T00:00:00Z"])
def test_a_time_that_is_none_is_refused_with_the_flag_that_carries_it(text):
    with pytest.raises(DatasetError, match=f"--end {text}: expected RFC 3339 such as"):
        backtest_data.instant("--end", text)


# -- the simulator


def test_simulated_fleets_differ_in_seed_and_time_and_come_back_the_same():
    given = arguments(days=0.2, fleets=2)
    first, second = backtest_data.read(given, load_config("fleet"), quiet)
    again, _ = backtest_data.read(given, load_config("fleet"), quiet)
    assert first.signals == METRICS and first.resolution == 60 and first.start % 60 == 0
    assert first.start - second.start == backtest_data.FLEET_DISTANCE
    assert not np.allclose(first.values, second.values)
    np.testing.assert_array_equal(first.values, again.values)


def test_the_simulator_has_no_data_for_other_signals():
    with pytest.raises(DatasetError, match="node_exporter others: use --data or --source"):
        backtest_data.read(arguments(config_file="node_exporter"), load_config("node_exporter"), quiet)


# -- Prometheus

CONFIG = """
source: {url: "%s", profile_label: profile}
signals:
  cpu_pct: {query: cpu, unit: percent, max: 100}
"""


def answer(request) -> None:
    """cpu rises by one every minute on two servers; the second is seen from the second hour on only."""
    first, last, step = (float(request.form[name]) for name in ("start", "end", "step"))
    result = [
        {"metric": {"server": server, "profile": profile},
         "values": [[t, str((t - START) / 60)] for t in np.arange(first, last + 1, step) if t >= since]}
        for server, profile, since in (("a", "database", START), ("b", "web_api", START + 3600))
    ]
    result = [series for series in result if series["values"]]
    request.answer(200, json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}))


def from_prometheus(tmp_path, url: str, **given):
    (tmp_path / "config.yml").write_text(CONFIG % url)
    config = load_config(tmp_path / "config.yml")
    return backtest_data.read(arguments(source="prometheus", **given), config, quiet)[0]


def test_history_is_asked_of_prometheus_in_pieces_at_a_resolution_that_shows_motion(tmp_path):
    with local_server(answer) as server:
        history = from_prometheus(tmp_path, server.url, start="2026-03-02T00:00:00Z", end=str(START + 7 * 3600))
        assert len(server.seen) == 2
    assert history.servers == ("a", "b") and history.profiles == ("database", "web_api")
    assert history.resolution == 60 and history.start == START and len(history.values) == 7 * 60
    np.testing.assert_array_equal(history.values[:, 0, 0], np.arange(7 * 60))
    assert np.isnan(history.values[:60, 1]).all() and history.values[60, 1, 0] == 60


def test_a_refresh_that_shows_no_motion_asks_for_whole_steps_only():
    assert backtest_data.resolution(load_config("fleet")) == 60
    assert backtest_data.resolution(load_config("fleet", {"refresh": 50})) == 300


def test_a_prometheus_without_series_in_that_time_is_refused(tmp_path):
    def nothing(request) -> None:
        request.answer(200, '{"status": "success", "data": {"resultType": "matrix", "result": []}}')

    with local_server(nothing) as server, pytest.raises(DatasetError, match="no series in that time"):
        from_prometheus(tmp_path, server.url, start="0", end="3600")


def test_an_end_before_the_start_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="--end 5 is not after --start 10"):
        from_prometheus(tmp_path, "http://127.0.0.1:1", start="10", end="5")
