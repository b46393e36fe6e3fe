"""Answers of a query API of which a part cannot be used: that part alone is left out, counted and said."""

import json
import logging
import re
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from forecaster.readings import NoData, SourceNonsense, SourceRefused, SourceUnreachable
from forecaster.sources.prometheus import PrometheusSource
from forecaster.sources.transport import http_session
from tests.local_server import Request
from tests.prometheus_answers import STEP, T0

NAN = float("nan")
HISTOGRAM = {"count": "12", "sum": "1.4", "buckets": [[0, "0.1", "0.2", "5"]]}


@pytest.fixture
def asked(server):
    """A source of cpu and mem, both percent, whose answers the test's server decides."""
    signals = [SimpleNamespace(name=name, query=name, min=0.0, max=100.0) for name in ("cpu", "mem")]
    made = PrometheusSource(server.url, signals, STEP, session=http_session(retries=0), clock=lambda: 4711.0)
    yield made
    made.close()


def instant(server: str, value: object) -> dict:
    return {"metric": {"server": server}, "value": [T0, value]}


def answer(request: Request, cpu: list, **more) -> None:
    """`cpu` to the query of that name and db1, web1 to the other."""
    kind = "matrix" if request.path.endswith("range") else "vector"
    rows = [instant("db1", "10"), instant("web1", "20")]
    if kind == "matrix":
        rows = [{"metric": one["metric"], "values": [one["value"]]} for one in rows]
    result = cpu if request.form["query"] == "cpu" else rows
    request.answer(200, json.dumps({"status": "success", "data": {"resultType": kind, "result": result}} | more))


@pytest.mark.parametrize(("odd", "left_out", "words"), [
    ({"metric": {"server": "web1"}, "histogram": [T0, HISTOGRAM]}, 1,
     "native histograms are left out .*histogram_quantile.*: 1, for example {'server': 'web1'}"),
    (instant("web1", "NaN"), 1, "NaN or infinite are left out: 1, for example nan of {'server': 'web1'}"),
    (instant("web1", "+Inf"), 1, "NaN or infinite are left out: 1, for example inf of"),
    (instant("web1", "1e300"), 1, r"NaN or infinite are left out: 1, for example 1e\+300 of"),
    (instant("web1", "fast"), 1, "samples cannot be read are left out: 1, for example {'server': 'web1'}"),
    ({"metric": {"server": "web1"}, "value": [T0]}, 1, "samples cannot be read are left out: 1"),
    ({"metric": {"server": "web1"}}, 1, "samples cannot be read are left out: 1"),
    (7, 1, "samples cannot be read are left out: 1, for example 7"),
    ({"metric": {"host": "web1"}, "value": [T0, "3"]}, 1, "without the label 'server' are left out .*'host': 'web1'"),
    (instant("web1", "-862"), 1, r"values beyond 0\.\.100 are left out: 1, for example -862 of {'server': 'web1'}"),
    (instant("web1", "110.1"), 1, r"values beyond 0\.\.100 are left out: 1, for example 110.1 of"),
    (instant("db1", "40"), 0, "largest value counts .*: 1, for example 'db1' has {'server': 'db1'} and"),
])
def test_one_odd_element_costs_only_itself_and_is_said(asked, server, odd, left_out, words, caplog):
    server.respond = lambda request: answer(request, [instant("db1", "50"), odd])
    for _ in range(2):
        reading = asked.latest(T0)
    np.testing.assert_array_equal(reading.values, [[50, 10], [NAN, 20]])
    assert reading.failed == {} and reading.left_out == {"cpu": left_out, "mem": 0}
    told = asked.describe()["signals"]
    assert told["mem"]["warnings"] == [] and told["cpu"]["error"] is None
    (warning,) = told["cpu"]["warnings"]
    assert re.search(words, warning)
    assert caplog.text.count("signal cpu: ") == 1


def samples(*pairs: tuple[int, str], server: str = "web1") -> dict:
    return {"metric": {"server": server}, "values": [[T0 + 15 * n, value] for n, value in pairs]}


@pytest.mark.parametrize(("odd", "web", "words"), [
    ({"metric": {"server": "web1"}, "histograms": [[T0, HISTOGRAM]]}, [NAN, NAN], "native histograms are left out"),
    (samples((0, "NaN"), (1, "3")), [NAN, 3], "NaN or infinite are left out: 1, for example nan of"),
    (samples((0, "2"), (1, "-Inf")), [2, NAN], "NaN or infinite are left out: 1"),
    (samples((0, "7"), (1, "1000")), [7, NAN], "values beyond 0..100 are left out: 1, for example 1000 of"),
    (samples((0, "2"), (1, "fast")), [NAN, NAN], "cannot be read are left out: 1, .*'web1'}: could"),
    (samples((0, "2"), (9, "2")), [NAN, NAN], "cannot be read are left out: 1, .*outside the range of the query"),
    (samples(), [NAN, NAN], "cannot be read are left out: 1"),
    ({"metric": {"server": "web1"}, "values": 7}, [NAN, NAN], "cannot be read are left out: 1"),
    ({"metric": {}, "values": [[T0, "1"]]}, [NAN, NAN], "without the label 'server' are left out"),
    (samples((0, "4"), server="db1"), [NAN, NAN], "largest value counts"),
])
def test_one_odd_series_of_a_range_costs_only_itself_and_is_said(asked, server, odd, web, words):
    server.respond = lambda request: answer(request, [samples((0, "50"), (1, "51"), server="db1"), odd])
    readings = asked.range(T0, T0 + 15, 15)
    np.testing.assert_array_equal(readings.values[..., 0].T, [[50, 51], web])
    assert np.isfinite(readings.values[0, :, 1]).all() and readings.failed == {}
    (told,) = asked.describe()["signals"]["cpu"]["history"]
    assert re.search(words, told)


@pytest.mark.parametrize(("low", "high", "given", "taken"), [
    (0, 100, 110, 100), (0, 100, 110.01, NAN), (0, 100, -2, 0), (0, 100, -2.01, NAN), (0, 1, 1.09, 1),
    (0, 1, 1.11, NAN),
    (0, None, -1e-7, 0), (0, None, -0.01, NAN), (0, None, 1e12, 1e12), (None, 0, 0.5, NAN), (None, None, -5, -5),
    (50, 100, 49, 50), (50, 100, 48.9, NAN),
])
def test_a_value_counts_as_the_bound_up_to_two_percent_of_the_range_below_or_ten_above_and_is_left_out_beyond(
        server, low, high, given, taken):
    server.respond = lambda request: answer(request, [instant("db1", str(given)), instant("web1", "60")])
    signals = [SimpleNamespace(name="cpu", query="cpu", min=low, max=high)]
    asked = PrometheusSource(server.url, signals, STEP)
    np.testing.assert_array_equal(asked.latest(T0).values[0], np.float32([taken]))
    asked.close()


def test_only_when_every_series_of_a_signal_is_a_histogram_the_signal_fails_and_says_so(asked, server):
    odd = [{"metric": {"server": name}, "histogram": [T0, HISTOGRAM]} for name in ("db1", "web1")]
    server.respond = lambda request: answer(request, odd)
    reading = asked.latest(T0)
    assert list(reading.failed) == ["cpu"] and "not that of a Prometheus" not in str(reading.failed["cpu"])
    assert "native histograms are left out" in asked.describe()["signals"]["cpu"]["error"]
    np.testing.assert_array_equal(reading.values, [[NAN, 10], [NAN, 20]])


def test_the_read_fails_with_the_first_error_where_every_signal_does(asked, server):
    server.respond = lambda request: request.answer(422, json.dumps({"status": "error", "errorType": "execution",
                                                                     "error": f"no {request.form['query']}"}))
    for read in (lambda: asked.latest(T0), lambda: asked.range(T0, T0, 15)):
        with pytest.raises(SourceRefused, match="signal cpu: HTTP 422 execution: no cpu"):
            read()
    assert "no cpu" in asked.describe()["last_error"] and "no mem" in asked.describe()["signals"]["mem"]["error"]


def test_where_one_signal_fails_and_the_others_have_no_series_both_are_said(asked, server):
    server.respond = lambda request: (request.answer(500, "down") if request.form["query"] == "mem"
                                      else answer(request, []))
    with pytest.raises(NoData, match="no series at .* for any of cpu: check .*; .*signal mem: HTTP 500"):
        asked.latest(T0)


def test_a_query_that_hangs_costs_its_signal_and_no_more_than_its_timeout(server):
    signals = [SimpleNamespace(name=name, query=name) for name in ("cpu", "mem")]
    asked, released = PrometheusSource(server.url, signals, STEP, timeout=0.4), threading.Event()
    server.respond = lambda request: (released.wait(20) if request.form["query"] == "cpu" else
                                      answer(request, [instant("db1", "1")]))
    try:
        began = time.monotonic()
        reading = asked.latest(T0)
        assert time.monotonic() - began < 2
        np.testing.assert_array_equal(reading.values, [[NAN, 10], [NAN, 20]])
        assert isinstance(reading.failed["cpu"], SourceUnreachable)
    finally:
        released.set()
        asked.close()


def test_a_signal_that_failed_is_read_again_and_its_error_goes(asked, server):
    server.respond = lambda request: (request.answer(422, "no") if request.form["query"] == "cpu"
                                      else answer(request, []))
    assert list(asked.latest(T0).failed) == ["cpu"]
    server.respond = lambda request: answer(request, [instant("db1", "50")])
    assert asked.latest(T0).failed == {} and asked.describe()["signals"]["cpu"]["error"] is None


def test_victorias_partial_answer_is_said_per_signal_and_logged_once(asked, server, caplog):
    caplog.set_level(logging.WARNING)
    server.respond = lambda request: answer(request, [instant("db1", "50")], isPartial=True)
    for _ in range(3):
        assert asked.latest(T0).servers == ("db1", "web1")
    for one in asked.describe()["signals"].values():
        assert one["warnings"] == ["partial answer: a part of the storage did not respond, and servers may be missing"]
    assert caplog.text.count("signal cpu: answered with warnings, servers may be missing: partial answer") == 1
    server.respond = lambda request: answer(request, [instant("db1", "50")], isPartial=False)
    asked.latest(T0)
    assert all(one["warnings"] == [] for one in asked.describe()["signals"].values())


def test_warnings_that_are_no_list_are_no_reason_to_fail(asked, server):
    server.respond = lambda request: answer(request, [instant("db1", "50")], warnings="all is well", infos=7)
    assert asked.latest(T0).failed == {}


# -- ranges that are too large, or take too long

def by_points(limit: int, refuse):
    """A server that refuses ranges of cpu with more than `limit` points."""
    def respond(request: Request) -> None:
        first, last = (float(request.form[name]) for name in ("start", "end"))
        instants = np.arange(first, last + 1, 15)
        if request.form["query"] == "cpu" and len(instants) > limit:
            refuse(request)
        else:
            rows = [{"metric": {"server": "db1"}, "values": [[t, f"{(t - T0) / 15}"] for t in instants]}]
            request.answer(200, json.dumps({"status": "success", "data": {"resultType": "matrix", "result": rows}}))
    return respond


@pytest.mark.parametrize(("status", "kind", "error"), [
    (422, "execution", "query processing would load too many samples into memory in query execution"),
    (422, "execution", "err-mimir-max-chunks-per-query: the query exceeded the maximum number of chunks (limit: 9)"),
    (422, "execution", "expanding series: rpc error: code = ResourceExhausted desc = exceeded series limit: 100"),
    (422, "422", "cannot select more than -search.maxSamplesPerQuery=1000 samples; possible solutions: ..."),
    (503, "", "the query needs more memory than -search.maxMemoryPerQuery; it exceeds the limit"),
    (400, "bad_data", "exceeded maximum resolution of 50 points per timeseries. Try decreasing the query resolution"),
])
@pytest.mark.parametrize(("points", "limit"), [(96, 50), (6, 1)])
def test_a_range_that_another_system_calls_too_large_is_halved_until_it_is_not(
        asked, server, points, limit, status, kind, error):
    body = json.dumps({"status": "error", "errorType": kind, "error": error})
    server.respond = by_points(limit, lambda request: request.answer(status, body))
    for _ in range(2):
        readings = asked.range(T0, T0 + 15 * (points - 1), 15)
        np.testing.assert_array_equal(readings.values[:, 0, 0], np.arange(points))
    sizes = [len(np.arange(float(r.form["start"]), float(r.form["end"]) + 1, 15)) for r in server.seen
             if r.form["query"] == "cpu"]
    assert sizes.count(points) == 1 and max(sizes[-points // limit:]) <= limit
    assert len([r for r in server.seen if r.form["query"] == "mem"]) == 2, "the others are read in one piece"


def test_a_size_that_was_refused_is_tried_again_after_an_hour(server):
    clock = [T0]
    signals = [SimpleNamespace(name=name, query=name) for name in ("cpu", "mem")]
    asked = PrometheusSource(server.url, signals, STEP, clock=lambda: clock[0])
    refusal = json.dumps({"status": "error", "errorType": "422", "error": "exceeds the limit"})
    server.respond = by_points(24, lambda request: request.answer(422, refusal))
    asked.range(T0, T0 + 15 * 95, 15)
    server.respond = by_points(96, None)
    sizes = []
    for wait in (10, 3600, 3600, 3600):
        clock[0] += wait
        asked.range(T0, T0 + 15 * 95, 15)
        form = next(r.form for r in reversed(server.seen) if r.form["query"] == "cpu")
        sizes.append(96 - round((float(form["start"]) - T0) / 15))
    assert sizes == [24, 24, 48, 96]
    asked.close()


@pytest.mark.parametrize(("status", "error"), [
    (429, "too many outstanding requests"), (401, "limit of logins exceeded"), (422, "many-to-many matching"),
])
def test_a_refusal_for_another_reason_is_not_asked_again_in_pieces(asked, server, status, error):
    server.respond = by_points(1, lambda request: request.answer(status, json.dumps({"error": error})))
    readings = asked.range(T0, T0 + 15 * 95, 15)
    assert list(readings.failed) == ["cpu"] and len(server.seen) == 2
    assert np.isnan(readings.values[..., 0]).all() and np.isfinite(readings.values[..., 1]).all()


def test_a_range_that_takes_too_long_is_cut_to_a_quarter_for_the_next_time(server):
    released = threading.Event()
    signals = [SimpleNamespace(name=name, query=name) for name in ("cpu", "mem")]
    asked = PrometheusSource(server.url, signals, STEP, timeout=0.1, session=http_session(retries=0))
    server.respond = by_points(30, lambda request: released.wait(20))
    try:
        assert list(asked.range(T0, T0 + 15 * 95, 15).failed) == ["cpu"] and len(server.seen) == 2
        readings = asked.range(T0, T0 + 15 * 95, 15)
        assert readings.failed == {} and len(server.seen) == 2 + 4 + 1
        np.testing.assert_array_equal(readings.values[:, 0, 0], np.arange(96))
        server.respond = by_points(96, lambda request: None)
        asked.range(T0, T0 + 15 * 95, 15)
        assert len(server.seen) == 7 + 2 + 1, "as it may have been a busy moment, pieces grow again"
    finally:
        released.set()
        asked.close()


def test_a_timeout_that_prometheus_tells_itself_is_one_too(asked, server):
    body = json.dumps({"status": "error", "errorType": "timeout", "error": "query timed out in expression evaluation"})
    server.respond = by_points(30, lambda request: request.answer(503, body))
    assert list(asked.range(T0, T0 + 15 * 95, 15).failed) == ["cpu"] and len(server.seen) == 2
    assert asked.range(T0, T0 + 15 * 95, 15).failed == {}


def test_a_proxy_that_gives_up_waiting_is_one_too(asked, server):
    server.respond = by_points(30, lambda request: request.answer(504, "<title>504 Gateway Time-out</title>"))
    assert list(asked.range(T0, T0 + 15 * 95, 15).failed) == ["cpu"] and len(server.seen) == 2
    assert asked.range(T0, T0 + 15 * 95, 15).failed == {}


def test_an_answer_with_more_bytes_than_are_taken_is_asked_for_in_pieces(asked, server, monkeypatch):
    monkeypatch.setattr(asked, "_max_bytes", 1500)
    server.respond = by_points(96, lambda request: None)
    readings = asked.range(T0, T0 + 15 * 95, 15)
    assert readings.failed == {} and np.isfinite(readings.values).all()


def test_a_range_that_fails_half_way_keeps_what_was_read(asked, server):
    limited = by_points(48, lambda request: request.answer(422, '{"error": "too many samples"}'))

    def respond(request: Request) -> None:
        late = float(request.form["start"]) > T0 and request.form["query"] == "cpu"
        request.answer(500, "down") if late else limited(request)

    server.respond = respond
    readings = asked.range(T0, T0 + 15 * 95, 15)
    assert list(readings.failed) == ["cpu"]
    np.testing.assert_array_equal(np.isfinite(readings.values[:, 0, 0]), np.arange(96) < 48)


def test_a_page_that_is_no_answer_at_all_fails_every_signal_as_before(asked, server):
    server.respond = lambda request: request.answer(200, "<!DOCTYPE html><title>Sign in</title>")
    with pytest.raises(SourceNonsense, match="signal cpu: the answer is not that of a Prometheus query API.*DOCTYPE"):
        asked.latest(T0)
