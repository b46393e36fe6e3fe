"""The Prometheus source against servers that misbehave."""

import gzip
import json
import threading
import time

import numpy as np
import pytest

from forecaster.readings import SourceDown, SourceError, SourceNonsense, SourceRefused, SourceUnreachable
from forecaster.sources.transport import http_session
from forecaster.sources.up import render
from tests.local_server import Request
from tests.prometheus_answers import GOOD, T0, good


def test_the_warning_goes_once_the_series_are_one_again(server, source):
    rows = [{"metric": {"server": name, "disk": disk}, "value": [T0, "1"]}
            for name, disk in [(f"db{n}", disk) for n in range(12) for disk in "abc"] + [("web1", "a")]]
    body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}})
    server.respond = lambda request: request.answer(200, body)
    asked = source(server.url, quick(), cpu="cpu")
    assert np.isfinite(asked.latest(T0).values).all()
    (warning,) = asked.describe()["signals"]["cpu"]["warnings"]
    assert "more than one series" in warning and ": 12, for example 'db0' has" in warning and "'db3'" not in warning
    server.respond = good
    asked.latest(T0)
    assert asked.describe()["signals"]["cpu"]["warnings"] == []


def test_where_series_of_one_server_overlap_in_a_range_the_largest_value_counts(server, source):
    series = [("db1", "a", range(4), 1), ("db1", "b", range(2, 6), -1), ("db1", "c", range(3, 7), 10),
              ("web1", "a", range(8), 1)]
    server.respond = answering("matrix", [
        {"metric": {"server": name, "disk": disk}, "values": [[T0 + 15 * n, f"{n * times}"] for n in places]}
        for name, disk, places, times in series])
    asked = source(server.url, quick(), cpu="cpu")
    values = asked.range(T0, T0 + 105, 15).values[:, :, 0]
    np.testing.assert_array_equal(values[:, 0], [0, 1, 2, 30, 40, 50, 60, np.nan])
    np.testing.assert_array_equal(values[:, 1], range(8))
    (told,) = asked.describe()["signals"]["cpu"]["history"]
    assert "more than one series" in told and ": 1, for example 'db1' has" in told


@pytest.mark.parametrize(("step", "text"), [(300, "x[300s]"), (2.5, "x[2500ms]"), (0.25, "x[250ms]")])
def test_the_step_is_rendered_as_a_duration(step, text):
    assert render("x[$step]", step) == text


@pytest.mark.parametrize("url", ["127.0.0.1:9090", "ftp://host", "http://user:secret@host",
                                 "http://host/?a=b", "http://"])
def test_an_address_that_cannot_work_is_refused_without_showing_secrets(url, source):
    with pytest.raises(ValueError, match="source url: expected") as caught:
        source(url, cpu="cpu")
    assert "secret" not in str(caught.value)


def answering(kind: str, result: list, **more):
    """A server that gives every query these series."""
    body = json.dumps({"status": "success", "data": {"resultType": kind, "result": result}} | more)
    return lambda request: request.answer(200, body)


def quick(**more) -> dict:
    return {"timeout": 5.0, "session": http_session(retries=2, backoff=0.01, **more)}


@pytest.mark.parametrize(("body", "words"), [
    ("<html>hello</html>", "not that of a Prometheus query API.*begins with '<html>hello"),
    ("[]", "not that of a Prometheus query API"),
    ('{"status":"success"}', "not that of a Prometheus query API"),
    ('{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}',
     r"samples cannot be read are left out: 1, for example \{\}; the query was cpu"),
    ('{"data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}', "samples cannot be read"),
    ('{"status":"success","data":{"resultType":"vector","result":[7]}}', "samples cannot be read.*example 7"),
    (b"\xff\xfe\x00", "not that of a Prometheus query API"),
])
def test_answers_that_are_no_query_answers_are_nonsense(server, source, body, words):
    server.respond = lambda request: request.answer(200, body)
    with pytest.raises(SourceNonsense, match=words):
        source(server.url, quick(), cpu="cpu").latest(T0)


@pytest.mark.parametrize(("samples", "words"), [
    ([[T0 + 1, "1"]], "off the grid of 15s"), ([[T0 - 15, "1"]], "outside the range"),
    ([[T0 + 900, "1"]], "outside the range"), ([[T0, "one"]], "cannot be read"),
    ([], "cannot be read"), (7, "cannot be read"),
])
def test_range_answers_off_the_grid_are_nonsense(server, source, samples, words):
    body = {"status": "success", "data": {"resultType": "matrix", "result": [
        {"metric": {"server": "db1"}, "values": samples}]}}
    server.respond = lambda request: request.answer(200, json.dumps(body))
    with pytest.raises(SourceNonsense, match=words):
        source(server.url, quick(), cpu="cpu").range(T0, T0 + 60, 15)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_overloaded_prometheus_is_asked_again_and_then_told(server, source, status):
    server.respond = lambda request: good(request) if len(server.seen) > 2 else request.answer(status, "busy")
    assert source(server.url, quick(), cpu="cpu").latest(T0).values.tolist() == [[1.5]]
    assert len(server.seen) == 3
    server.respond = lambda request: request.answer(status, "Service Unavailable")
    with pytest.raises(SourceRefused if status == 429 else SourceDown, match=f"HTTP {status} ?: Service Unavailable"):
        source(server.url, quick(), cpu="cpu").latest(T0)
    assert len(server.seen) == 6


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_other_refusals_are_not_repeated(server, source, status):
    server.respond = lambda request: request.answer(status, "no")
    with pytest.raises(SourceRefused, match=f"HTTP {status} : no"):
        source(server.url, quick(), cpu="cpu").latest(T0)
    assert len(server.seen) == 1


def test_a_redirect_is_not_followed_but_told(server, source):
    server.respond = lambda request: request.answer(302, "", Location="https://sso/login")
    with pytest.raises(SourceRefused, match="HTTP 302 : redirected to https://sso/login"):
        source(server.url, quick(), cpu="cpu").latest(T0)


def test_a_connection_closed_without_an_answer_is_tried_again(server, source):
    def hang_up_once(request: Request) -> None:
        if len(server.seen) == 1:
            request.close_connection = True
        else:
            good(request)

    server.respond = hang_up_once
    assert source(server.url, quick(), cpu="cpu").latest(T0).servers == ("db1",)


def test_half_an_answer_is_unreachable_not_half_a_fleet(server, source):
    def half(request: Request) -> None:
        request.answer(200, GOOD[:-60], Content_Length=str(len(GOOD)))
        request.close_connection = True

    server.respond = half
    with pytest.raises(SourceUnreachable, match="signal cpu: .*(IncompleteRead|broken)"):
        source(server.url, quick(), cpu="cpu").latest(T0)


def test_nobody_listening_is_unreachable_and_says_what_to_check(free_port, source):
    asked = source(f"http://127.0.0.1:{free_port}", quick(), cpu="cpu")
    with pytest.raises(SourceUnreachable, match="signal cpu: .*refused; check that Prometheus runs"):
        asked.latest(T0)
    with pytest.raises(SourceUnreachable):
        asked.range(T0, T0 + 60, 15)


def test_a_wedged_prometheus_stalls_no_cycle_and_no_query_is_repeated(server, source):
    released = threading.Event()
    server.respond = lambda request: (released.wait(20), request.answer(200, GOOD))
    queries = {f"s{n}": "cpu" for n in range(6)}
    asked = source(server.url, quick() | {"timeout": 0.3}, **queries)
    try:
        began = time.monotonic()
        with pytest.raises(SourceUnreachable, match="no answer within 0.3s"):
            asked.latest(T0)
        assert time.monotonic() - began < 2
        with pytest.raises(SourceUnreachable):
            asked.range(T0, T0 + 60, 15)
        assert len(server.seen) == 12
    finally:
        released.set()


def test_repeated_attempts_end_at_the_deadline_too(server, source):
    released = threading.Event()
    server.respond = lambda request: (released.wait(0.4), request.answer(503, "starting"))
    asked = source(server.url, quick() | {"timeout": 0.6}, cpu="cpu")
    try:
        with pytest.raises(SourceUnreachable, match="no answer within 0.6s"):
            asked.latest(T0)
    finally:
        released.set()


def test_an_answer_that_trickles_is_cut_off_at_the_deadline(server, source):
    released = threading.Event()

    def trickle(request: Request) -> None:
        request.answer(200, b"", Content_Length="100000")
        while not released.wait(0.05):
            request.wfile.write(b" ")

    server.respond = trickle
    before = threading.active_count()
    try:
        began = time.monotonic()
        with pytest.raises(SourceUnreachable, match="within 0.4s"):
            source(server.url, quick() | {"timeout": 0.4}, cpu="cpu").latest(T0)
        assert time.monotonic() - began < 2
        until = time.monotonic() + 5
        while threading.active_count() > before + 1 and time.monotonic() < until:
            time.sleep(0.02)
        assert threading.active_count() <= before + 1, "who asked has hung up, and its thread waits for the next round"
    finally:
        released.set()


def test_gzip_is_understood_and_warnings_are_kept(server, source):
    body = json.dumps(json.loads(GOOD) | {"warnings": ["remote storage is slow", 7] + ["x" * 999] * 20})
    packed = gzip.compress(body.encode())
    server.respond = lambda request: request.answer(200, packed, Content_Encoding="gzip")
    asked = source(server.url, quick(), cpu="cpu")
    assert asked.latest(T0).values.tolist() == [[1.5]]
    warnings = asked.describe()["signals"]["cpu"]["warnings"]
    assert warnings[:2] == ["remote storage is slow", "7"] and len(warnings) == 10 and len(warnings[9]) == 300


def test_labels_that_stay_are_remembered_and_labels_that_change_are_not(server, source):
    answers = iter([
        [("db1", "db", "1"), ("web1", "web", "2")],
        [("db1", "db", "3"), ("web1", "web", "4")],  # the same labels
        [("web1", "web", "5"), ("db1", "db", "6")],  # in another order
        [("web1", "front", "7"), ("db1", "db", "8"), ("app1", "app", "9")],
        [("db1", "db", "10")],
        [("db1", "db", "11"), ("db1", "x", "12"), ("web1", "web", "13")],  # which of the two is meant?
        [("db1", "db", "15"), ("db1", "x", "14"), ("web1", "web", "16")],
    ])

    def respond(request: Request) -> None:
        rows = [{"metric": {"server": name, "profile": profile}, "value": [T0, value]}
                for name, profile, value in next(answers)]
        request.answer(200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}}))

    server.respond = respond
    asked = source(server.url, quick(), cpu="cpu")
    for servers, profiles, values in [
        (("db1", "web1"), ("db", "web"), [1, 2]),
        (("db1", "web1"), ("db", "web"), [3, 4]),
        (("db1", "web1"), ("db", "web"), [6, 5]),
        (("app1", "db1", "web1"), ("app", "db", "front"), [9, 8, 7]),
        (("db1",), ("db",), [10]),
        (("db1", "web1"), ("db", "web"), [12, 13]),
        (("db1", "web1"), ("db", "web"), [15, 16]),
    ]:
        reading = asked.latest(T0)
        assert (reading.servers, reading.profiles) == (servers, profiles)
        np.testing.assert_array_equal(reading.values[:, 0], np.array(values, np.float32))
        assert len(asked.describe()["signals"]["cpu"]["warnings"]) == (values[0] in (12, 15))


def test_the_profile_of_a_server_is_the_first_signals(server, source):
    def respond(request: Request) -> None:
        labels = {"a": {"server": "db1"}} | {name: {"server": "db1", "profile": name} for name in "bc"}
        rows = [{"metric": labels[request.form["query"]], "value": [T0, "1"]}]
        request.answer(200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}}))

    server.respond = respond
    assert source(server.url, quick(), a="a", b="b", c="c").latest(T0).profiles == ("b",)


def test_queries_are_posted_with_tenant_and_a_token_read_anew_each_time(server, source, tmp_path):
    token = tmp_path / "token"
    token.write_text("one\n")
    session = quick(headers={"X-Scope-OrgID": "me"}, bearer_token_file=token)
    asked = source(server.url + "/tenant/", session, cpu="up[$step]")
    asked.latest(T0 + 0.5)
    token.write_text("two")
    asked.latest(T0)
    first, second = server.seen
    assert (first.command, first.path) == ("POST", "/tenant/api/v1/query")
    assert first.form == {"query": "up[300s]", "time": f"{T0}.500", "timeout": "4500ms"}
    assert first.headers["X-Scope-OrgID"] == "me"
    assert [r.headers["Authorization"] for r in (first, second)] == ["Bearer one", "Bearer two"]
    token.unlink()
    with pytest.raises(SourceUnreachable, match="credentials file .*token cannot be read"):
        asked.latest(T0)


def test_basic_auth_reads_its_password_from_a_file(server, source, tmp_path):
    (tmp_path / "password").write_text("open sesame\n")
    source(server.url, quick(basic_auth=("ali", tmp_path / "password")), cpu="cpu").latest(T0)
    assert server.seen[0].headers["Authorization"] == "Basic YWxpOm9wZW4gc2VzYW1l"
    with pytest.raises(ValueError, match="exclude each other"):
        http_session(bearer_token_file="a", basic_auth=("b", "c"))


def test_a_netrc_file_does_not_smuggle_in_a_password(server, source, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("default login eve password guess\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    source(server.url, quick(), cpu="cpu").latest(T0)
    assert server.seen[0].headers["Authorization"] is None


def test_tls_is_verified_and_a_missing_ca_file_is_told(server, source, tmp_path):
    https = server.url.replace("http:", "https:")
    with pytest.raises(SourceError, match="SSL"):
        source(https, quick(), cpu="cpu").latest(T0)
    with pytest.raises(SourceUnreachable, match="no-such-ca"):
        source(https, quick(ca_file=tmp_path / "no-such-ca"), cpu="cpu").latest(T0)
    assert http_session().verify is True and http_session(ca_file="/etc/ca.pem").verify == "/etc/ca.pem"


@pytest.mark.slow
def test_a_thousand_servers_of_a_piece_are_placed_quickly(server, source):
    pieces = [[T0 + 15 * n, f"{n}.25"] for n in range(480)]
    body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [
        {"metric": {"server": f"s{n:04}"}, "values": pieces} for n in range(1000)]}})
    server.respond = lambda request: request.answer(200, body)
    asked = source(server.url, quick() | {"timeout": 30.0, "max_samples": 10**6}, cpu="cpu")
    began = time.process_time()
    readings = asked.range(T0, T0 + 15 * 479, 15)
    assert readings.values.shape == (480, 1000, 1)
    np.testing.assert_array_equal(readings.values[:, 999, 0], np.arange(480) + 0.25)
    assert time.process_time() - began < 5
