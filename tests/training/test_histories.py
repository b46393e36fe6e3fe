"""Recorded history is read from files and from a Prometheus; what cannot be used is refused in one line."""

import json

import numpy as np
import pytest

from forecaster.config import load_config
from forecaster.readings import SourceRefused
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
        ({"metric": None}, "npz: no array metric; expected values, server, metric, .*, found values"),
        ({"values": np.zeros((2, 10), np.float32)}, r"float32 \(2, 10\); expected floats \(2 servers, steps, 2 me"),
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
    with pytest.raises(DatasetError, match="data.npz: metric swap is not a signal .*; expected some of cpu_pct"):
        histories.select(history, load_config("fleet").signals, "data.npz")


def test_times_are_read_as_rfc_3339_or_unix_seconds():
    for text in ("2026-03-02T00:00:00Z", "2026-03-02T01:00:00+01:00", "2026-03-02", "1772409600", "1772409600.0"):
        assert histories.instant("--start", text) == START


@pytest.mark.parametrize("text", ["yesterday", "nan", "inf", "2026-13-01T00:00:00Z"])
def test_a_time_that_is_none_is_refused_with_the_flag_that_carries_it(text):
    with pytest.raises(DatasetError, match=f"--end {text}: expected RFC 3339 such as"):
        histories.instant("--end", text)


# -- Prometheus

CONFIG = """
source: {url: "%s", profile_label: profile}
signals:
  cpu_pct: {query: cpu, unit: percent, max: 10000}
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


def from_prometheus(tmp_path, url: str, hours: float, resolution: float = 60.0):
    (tmp_path / "config.yml").write_text(CONFIG % url)
    return histories.from_prometheus(load_config(tmp_path / "config.yml"), START, START + hours * 3600, resolution)


def test_history_is_asked_of_prometheus_in_pieces(tmp_path):
    with local_server(answer) as server:
        history = from_prometheus(tmp_path, server.url, 7)
        assert len(server.seen) == 3, "the first piece is one of a thousand servers, the others one of an answer's"
    assert history.servers == ("a", "b") and history.profiles == ("database", "web_api")
    assert history.resolution == 60 and history.start == START and len(history.values) == 7 * 60
    np.testing.assert_array_equal(history.values[:, 0, 0], np.arange(7 * 60))
    assert np.isnan(history.values[:60, 1]).all() and history.values[60, 1, 0] == 60


def test_a_prometheus_without_series_in_that_time_is_refused(tmp_path):
    def nothing(request) -> None:
        request.answer(200, '{"status": "success", "data": {"resultType": "matrix", "result": []}}')

    with local_server(nothing) as server, pytest.raises(DatasetError, match="no series in that time"):
        from_prometheus(tmp_path, server.url, 1)


def test_a_signal_that_cannot_be_read_refuses_the_whole_history(tmp_path):
    def one_refused(request) -> None:
        answer(request) if request.form["query"] == "cpu" else request.answer(422, '{"error": "many-to-many"}')

    with local_server(one_refused) as server, pytest.raises(SourceRefused, match="signal mem_pct.*many-to-many"):
        (tmp_path / "config.yml").write_text(CONFIG % server.url + "  mem_pct: {query: mem, unit: percent}\n")
        histories.from_prometheus(load_config(tmp_path / "config.yml"), START, START + 3600, 60.0)


def test_the_last_fifth_of_a_prometheus_is_for_validation(tmp_path):
    with local_server(answer) as server:
        (tmp_path / "config.yml").write_text(CONFIG % server.url)
        config = load_config(tmp_path / "config.yml")
        training, validation = histories.to_train_on(config, 2.5, START + 2.5 * 86400 + 59)
    assert (len(training.values), len(validation.values)) == (2880, 720)
    assert training.start == START and validation.start == START + 2880 * 60
    assert validation.values[0, 0, 0] == 2880


def test_an_optional_signal_that_no_server_has_is_not_trained_on(tmp_path):
    def only_cpu(request) -> None:
        answer(request) if request.form["query"] == "cpu" else request.answer(
            200, '{"status": "success", "data": {"resultType": "matrix", "result": []}}')

    lacking = "  swap: {query: swap, unit: count, optional: true}\n  mem_pct: {query: mem, unit: percent}\n"
    with local_server(only_cpu) as server:
        (tmp_path / "config.yml").write_text(CONFIG % server.url + lacking)
        training, _ = histories.to_train_on(load_config(tmp_path / "config.yml"), 2.5, START + 2.5 * 86400)
    assert training.signals == ("cpu_pct", "mem_pct")


def test_a_prometheus_whose_last_fifth_holds_no_window_is_refused(tmp_path):
    with local_server(answer) as server, pytest.raises(DatasetError, match=r"holds 48\.0 h; expected at least 50 h"):
        (tmp_path / "config.yml").write_text(CONFIG % server.url)
        histories.to_train_on(load_config(tmp_path / "config.yml"), 2.0, START + 2 * 86400)
