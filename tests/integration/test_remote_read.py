"""Remote read: the curves in the future, queried through a real Prometheus."""

import resource
import threading
import time

import numpy as np
import pytest
import requests
from werkzeug.serving import make_server

from forecaster.publish.remote_read import remote_read_blueprint
from tests.real_prometheus import running
from tests.results import app_of, board_with, curves, make_result


class Live:
    """A real Prometheus reading from a real server whose board is filled by the test."""

    def __init__(self, url: str, board):
        self.url, self.board = url, board

    def api(self, path: str, **params) -> dict:
        return requests.get(f"{self.url}/api/v1/{path}", params=params, timeout=10).json()

    def results(self, path: str, **params) -> list:
        body = self.api(path, **params)
        assert body["status"] == "success", body
        assert not body.get("warnings"), body
        return body["data"]["result"]


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prometheus")
    board = board_with(None)
    app = app_of(remote_read_blueprint(board, sample_limit=1000))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with running(folder, f"""
global: {{external_labels: {{site: here}}}}
remote_read:
  - url: http://127.0.0.1:{server.server_port}/api/v1/read
    read_recent: true
    required_matchers: {{source: curve}}
    filter_external_labels: false
""") as url:
            yield Live(url, board)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _now_result(age: float):
    now = time.time()
    return now, make_result(issued=now - age)


@pytest.mark.parametrize("age", [0.0, 14.9, 119.0])
def test_prometheus_draws_three_curves_of_96_points_from_now_to_8_hours_ahead(live, age):
    now, result = _now_result(age)
    live.board.publish(result)
    found = live.results("query_range", query='forecast_cpu_pct{source="curve",server="ppdb001"}',
                         start=now, end=now + 8 * 3600, step=300)
    assert [one["metric"] for one in found] == [
        {"__name__": "forecast_cpu_pct", "percentile": percentile, "profile": "database", "server": "ppdb001",
         "source": "curve"} for percentile in ("p10", "p50", "p90")]
    for q, one in enumerate(found):
        assert len(one["values"]) == 96
        assert min(at for at, _ in one["values"]) > now
        assert [float(value) for _, value in one["values"]] == result.forecast[0, 0, :, q].tolist()


def test_on_a_finer_grid_a_curve_is_a_stair_without_gaps(live):
    now, result = _now_result(10)
    live.board.publish(result)
    one, = live.results("query_range", start=now, end=now + 3600, step=15,
                        query='forecast_cpu_pct{source="curve",server="ppdb001",percentile="p50"}')
    instants = [at for at, _ in one["values"]]
    assert set(np.diff(instants).round(3)) == {15.0}
    assert instants[0] == pytest.approx(now + 300 - 10, abs=15)
    assert len({value for _, value in one["values"]}) == 12


def test_prometheus_finds_the_worst_value_of_the_next_8_hours(live):
    forecast = curves(3)
    forecast[2, 0, 95, 2], forecast[0, 0, 0, 2] = 99.5, 88.5
    now = time.time()
    live.board.publish(make_result(issued=now - 5, forecast=forecast))
    curve = 'forecast_cpu_pct{source="curve",percentile="p90"}'
    found = live.results("query", time=now, query=f"max_over_time({curve}[8h] offset -8h)")
    assert {one["metric"]["server"]: float(one["value"][1]) for one in found} == {
        "ppdb001": 88.5, "ppdb002": forecast[1, 0, :, 2].max(), "ppweb001": 99.5}


def test_prometheus_honours_its_other_matchers_through_remote_read(live):
    now, result = _now_result(5)
    live.board.publish(result)
    found = live.results("query", time=now + 1800, query='{__name__=~"forecast_(cpu|mem)_pct",source="curve",'
                                                         'server!~"ppdb.*",percentile!="p10"}')
    metrics = [one["metric"] for one in found]
    assert {(metric["__name__"], metric["server"], metric["percentile"]) for metric in metrics} == {
        (name, "ppweb001", percentile) for name in ("forecast_cpu_pct", "forecast_mem_pct")
        for percentile in ("p50", "p90")}


def test_prometheus_does_not_ask_without_the_marker_and_gets_nothing_once_the_forecast_has_expired(live):
    now, result = _now_result(5)
    live.board.publish(result)
    span = {"start": now, "end": now + 8 * 3600, "step": 300}
    assert live.results("query_range", query='forecast_cpu_pct{server="ppdb001"}', **span) == []
    live.board.publish(make_result(issued=now - 121))
    assert live.results("query_range", query='forecast_cpu_pct{source="curve"}', **span) == []


def test_a_refused_request_reaches_the_user_of_prometheus_with_its_reason(live):
    now, result = _now_result(5)
    live.board.publish(result)
    body = live.api("query_range", query='{__name__=~"forecast_.*",source="curve"}',
                    start=now, end=now + 28800, step=300)
    told = " ".join([body.get("error", ""), *body.get("warnings", [])])
    assert "1000 samples" in told


def _asked(live, expression: str) -> tuple[list, int]:
    """What an instant query for the servers that match finds, and by how many MiB this process grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    query = f'count(forecast_cpu_pct{{source="curve",percentile="p50",server=~"{expression}"}}) or vector(0)'
    body = requests.post(f"{live.url}/api/v1/query", timeout=30,
                         data={"query": query, "time": str(time.time() + 1800)}).json()
    found = body["data"]["result"] if body["status"] == "success" else []
    return found, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10


def test_what_anybody_may_ask_of_prometheus_takes_little_memory_and_ordinary_names_are_found(live):
    live.board.publish(_now_result(5)[1])
    for expression in ("(a?)" * 5000, "(?:" + "(a?)" * 400 + "){100}"):
        assert _asked(live, expression)[1] < 150
    names = "|".join(f"ppdb{n:03}" for n in range(500))
    assert [one["value"][1] for one in _asked(live, names)[0]] == ["2"]
