"""VictoriaMetrics in Prometheus' place: the same queries, and storage that takes samples of the future."""

import gzip
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests

from exporter.fleet import Fleet
from exporter.history import write_history
from exporter.profiles import load_fleet
from forecaster.config import load_config
from forecaster.publish.push import SERVERS, Push, PushError, lines
from forecaster.readings import NoData, SourceRefused
from forecaster.service.app import Forecaster
from forecaster.sources.prometheus import PrometheusSource
from forecaster.sources.transport import http_session
from tests.local_server import local_server
from tests.results import SIGNALS, curves, make_result
from tests.tiny_models import history, write_untrained
from tests.tools import tool

HOURS, RESOLUTION = 2.25, 15.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Store:
    """A running VictoriaMetrics with the simulated fleet's last hours."""

    def __init__(self, url: str, end: float):
        self.url, self.end = url, end

    def flush(self) -> None:
        requests.get(f"{self.url}/internal/force_flush", timeout=10).raise_for_status()

    def query(self, query: str, at: float) -> dict[str, float]:
        """Value by percentile, or by server where there is no percentile."""
        form = {"query": query, "time": f"{at:.3f}", "nocache": "1"}
        answer = requests.get(f"{self.url}/api/v1/query", form, timeout=10)
        answer.raise_for_status()
        return {one["metric"].get("percentile", one["metric"].get("server")): float(one["value"][1])
                for one in answer.json()["data"]["result"]}


@contextmanager
def victoria(folder: Path, *flags: str) -> Iterator[str]:
    """Address of a VictoriaMetrics that runs for the length of a with block."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([
            tool("victoria-metrics"), f"-storageDataPath={folder / 'data'}", f"-httpListenAddr=127.0.0.1:{port}",
            "-retentionPeriod=1", "-search.latencyOffset=0s", "-memory.allowedBytes=200MB", *flags,
        ], stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        while not _answers(f"{url}/health"):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder, end = tmp_path_factory.mktemp("victoria"), time.time() // 300 * 300
    with victoria(folder) as url:
        page = folder / "history"
        with page.open("wb") as out:
            write_history(Fleet(load_fleet()), end - HOURS * 3600, end, RESOLUTION, out)
        answer = requests.post(f"{url}/api/v1/import/prometheus", data=_in_milliseconds(page.read_text()), timeout=60)
        answer.raise_for_status()
        held = Store(url, end)
        held.flush()
        yield held


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def _in_milliseconds(text: str) -> bytes:
    """OpenMetrics has seconds where this import expects milliseconds."""
    return "".join(f"{series}{int(float(seconds) * 1000)}\n" for series, space, seconds in (
        (line[: line.rindex(" ") + 1], " ", line.rsplit(" ", 1)[1])
        for line in text.splitlines() if line and line[0] != "#"
    )).encode()


def test_a_forecaster_reads_victoria_metrics_as_it_reads_prometheus_and_forecasts_by_the_model(store, tmp_path):
    model = write_untrained(tmp_path / "tiny")
    given = {"source.url": store.url, "model": str(model), "source.timeout": "30s"}
    forecaster = Forecaster(lambda: load_config("fleet", given), lambda: store.end - 15)
    assert forecaster.parts.cycle.run_once()
    result = forecaster.parts.board.last
    assert result.servers == history().servers and set(result.method) == {"tft"}
    assert np.isfinite(result.observed).all() and np.isfinite(result.forecast).all()
    expected = store.query("avg_over_time(server_cpu_utilization_ratio[5m]) * 100", result.issued)
    found = dict(zip(result.servers, result.observed[:, 0].tolist(), strict=True))
    assert found == pytest.approx(expected, rel=1e-5)
    assert not any(forecaster.parts.cycle.errors.values())


def test_values_that_reach_the_store_late_fill_the_window_after_a_while(tmp_path):
    """A host whose agent could not deliver for twenty minutes, and did later."""
    end = time.time() // 60 * 60 - 600
    lost = (end - 1800, end - 600)
    (tmp_path / "config.yml").write_text(
        "refresh: 1m\nmodel: null\nsource: {timeout: 30s}\n"
        "signals: {cpu_pct: {query: 'avg_over_time(late_cpu[$step]) and late_cpu', unit: percent, max: 100}}\n")

    def rows(first: float, last: float) -> bytes:
        return "".join(f'late_cpu{{server="{name}"}} 40 {int(t * 1000)}\n' for t in np.arange(first, last, 15)
                       for name in ("db1", "web1") if name == "db1" or not lost[0] <= t < lost[1]).encode()

    with victoria(tmp_path, "-search.disableCache") as url:
        held, now = Store(url, end), [end - 240]
        requests.post(f"{url}/api/v1/import/prometheus", data=rows(end - 7200, end + 600), timeout=60)
        held.flush()
        forecaster = Forecaster(lambda: load_config(tmp_path / "config.yml", {"source.url": url}), lambda: now[0])
        cycle, middle = forecaster.parts.cycle, sum(lost) / 2
        for _ in range(5):  # a window is whole after a step
            assert cycle.run_once()
            now[0] += 60
        np.testing.assert_array_equal(cycle.memory.window.latest(middle), [[40], [np.nan]])
        text = "".join(f'late_cpu{{server="web1"}} 40 {int(t * 1000)}\n' for t in np.arange(*lost, 15))
        requests.post(f"{url}/api/v1/import/prometheus", data=text.encode(), timeout=60)
        held.flush()
        for _ in range(5):  # what lacks values is read again after a pause
            assert cycle.run_once()
            now[0] += 60
    np.testing.assert_array_equal(cycle.memory.window.latest(middle), [[40], [40]])


def test_a_range_lies_on_the_grid_that_was_asked_for(store):
    source = PrometheusSource(store.url, load_config("fleet").signals, 300.0, timeout=30.0)
    start = store.end - 3615.0  # on no whole step of victoria's own choosing
    readings = source.range(start, start + 40 * 15.0, 15.0)
    assert readings.instants.tolist() == [start + 15.0 * n for n in range(41)]
    assert np.isfinite(readings.values).all()
    now = source.latest(float(readings.instants[-1]))
    np.testing.assert_allclose(readings.values[-1], now.values, rtol=1e-5)


def test_what_victoria_metrics_refuses_or_does_not_have_is_said(store):
    config = load_config("fleet")
    with pytest.raises(NoData, match="has no series"):
        PrometheusSource(store.url, config.signals, 300.0, timeout=30.0).latest(store.end - 90 * 86400)
    broken = {"cpu_pct": config.signals["cpu_pct"].model_copy(update={"query": "sum by (("})}
    with pytest.raises(SourceRefused, match="sum by"):
        PrometheusSource(store.url, broken, 300.0, timeout=30.0).latest(store.end)


def pushed(store: Store, issued: float, more: float, name: str) -> None:
    values = curves(1, len(SIGNALS)) + np.float32(more)
    result = make_result(servers=(name,), profiles=("web_api",), issued=issued, forecast=values)
    assert Push(store.url, http_session(), 10.0).send(result) == len(SIGNALS) * 3 * 96
    store.flush()


def test_curves_written_ahead_are_there_up_to_8_hours_and_the_newest_forecast_is_the_one_seen(store):
    issued, name = time.time() // 300 * 300, "pushed"
    query = f'last_over_time(forecast_cpu_pct{{source="curve",server="{name}"}}[5m])'
    for push in range(3):  # a later, lower forecast must win over an earlier, higher one, and the other way round
        pushed(store, issued + 300 * push, (5, 0, 9)[push], name)
        base = curves(1, len(SIGNALS))[0, 0] + np.float32((5, 0, 9)[push])
        for ahead in (1, 2, 40, 96):
            found = store.query(query, issued + 300 * (push + ahead))
            assert [found[p] for p in ("p10", "p50", "p90")] == pytest.approx(base[ahead - 1].tolist()), (push, ahead)
    past = store.query(query, issued + 300)  # what lies behind is left as it was said one step before
    assert past["p50"] == pytest.approx(float(curves(1, len(SIGNALS))[0, 0, 0, 1]) + 5)
    curve = f'forecast_cpu_pct{{source="curve",server="{name}",percentile="p90"}}'
    worst = store.query(f"max_over_time({curve}[8h] offset -8h)", issued)
    assert worst


def test_with_deduplication_the_newest_forecast_alone_is_stored_and_dashboards_draw_it_without_gaps(tmp_path):
    issued, query = time.time() // 300 * 300, 'max by (server) (forecast_cpu_pct{source="curve",percentile="p50"})'
    with victoria(tmp_path, "-dedup.minScrapeInterval=1s") as url:
        held = Store(url, issued)
        for push in range(3):
            pushed(held, issued + 300 * (push - 2), (5, 9, 0)[push], "pushed")
        counted = f"count_over_time({query[len('max by (server) ('):-1]}[5m])"
        assert held.query(counted, issued + 600) == {"p50": 1}
        ahead = {"query": query, "start": issued + 300, "end": issued + 8 * 3600, "step": 60, "nocache": "1"}
        (curve,) = requests.get(f"{url}/api/v1/query_range", ahead, timeout=10).json()["data"]["result"]
    expected = np.repeat(curves(1, len(SIGNALS))[0, 0, :, 1], 5)[: 95 * 5 + 1]
    assert [float(value) for _, value in curve["values"]] == pytest.approx(expected.tolist())


def test_a_forecaster_writes_its_curves_once_a_step_and_shows_it_as_a_stage(store, tmp_path):
    now = [store.end - 315.0]
    given = {"source.url": store.url, "push.url": store.url, "model": str(write_untrained(tmp_path / "tiny")),
             "source.timeout": "30s", "push.timeout": "30s"}
    forecaster = Forecaster(lambda: load_config("fleet", given), lambda: now[0])
    cycle, sent = forecaster.parts.cycle, []
    send = cycle._push.send
    cycle._push.send = lambda result, *more: sent.append(result.issued) or send(result, *more)
    for _ in range(4):
        assert cycle.run_once()
        now[0] += 15.0
    assert sent == [store.end - 315.0, store.end - 300.0]  # the first cycle, and the first of the next step
    store.flush()
    last = store.end - 300 + 8 * 3600
    found = store.query('last_over_time(forecast_latency_ms{source="curve",percentile="p50"}[5m])', last)
    assert set(found) == {"p50"} and cycle.errors["push"] is None


@pytest.mark.parametrize(("answer", "said"), [
    (404, "Prometheus has none"), (401, "HTTP 401"), (None, "check push.url")])
def test_a_push_that_fails_says_why_and_harms_no_forecast(store, answer, said):
    with local_server(lambda request: request.answer(answer or 500, "no")) as server:
        url = server.url if answer else f"http://127.0.0.1:{free_port()}"
        given = {"source.url": store.url, "push.url": url, "model": "none", "source.timeout": "30s"}
        forecaster = Forecaster(lambda: load_config("fleet", given), lambda: store.end - 15)
        assert forecaster.parts.cycle.run_once()
    assert said in forecaster.parts.cycle.errors["push"]
    assert forecaster.parts.board.last is not None


def test_lines_leave_out_what_is_not_known():
    values = curves(2, len(SIGNALS))
    values[0, 0, 5:] = np.nan
    values[1, 1] = np.nan
    result = make_result(servers=("a", "b"), profiles=("x", 'y"'), forecast=values, issued=900.0)
    text, samples = lines(result, np.array([0, 1]))
    told = [json.loads(line) for line in text.splitlines()]
    first = told[0]
    labels = {"percentile": "p10", "profile": "x", "server": "a", "source": "curve"}
    assert first["metric"] == {"__name__": "forecast_cpu_pct", **labels}
    assert first["timestamps"] == [(900 + 300 * k) * 1000 - k for k in range(1, 6)]
    metrics = [one["metric"] for one in told]
    assert ("b", f"forecast_{SIGNALS[1]}") not in {(metric["server"], metric["__name__"]) for metric in metrics}
    assert samples == sum(len(one["values"]) for one in told)


def test_what_is_sent_is_compressed_json_lines_with_the_headers_given():
    with local_server(lambda request: request.answer(204, "")) as server:
        Push(f"{server.url}/prefix", http_session(headers={"X-Scope-OrgID": "team"}), 5.0).send(make_result())
        (request,) = server.seen
    assert request.path == "/prefix/api/v1/import" and request.headers["X-Scope-OrgID"] == "team"
    assert len(gzip.decompress(request.body).splitlines()) == 3 * len(SIGNALS) * 3


def test_a_slow_store_gets_no_more_than_the_time_for_the_whole_push():
    servers = tuple(f"s{n}" for n in range(3 * SERVERS))
    result = make_result(servers=servers, profiles=("web",) * len(servers))
    now = [0.0]
    with local_server(lambda request: now.__setitem__(0, now[0] + 4.0) or request.answer(204, "")) as server:
        push = Push(server.url, http_session(), 5.0, lambda: now[0])
        with pytest.raises(PushError, match=f"{2 * SERVERS} of {3 * SERVERS} servers written within 5s"):
            push.send(result)
        assert len(server.seen) == 2
    assert not push.due(result.issued + 1, result.step)  # what is left comes with the next step, not at once


def test_an_unreachable_store_is_a_push_error():
    with pytest.raises(PushError, match=r"check push\.url"):
        Push(f"http://127.0.0.1:{free_port()}", http_session(0), 1.0).send(make_result())
