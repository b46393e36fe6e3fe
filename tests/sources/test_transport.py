"""Requests on connections that stay open, against servers that misbehave."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from forecaster.readings import SourceDown, SourceUnreachable
from forecaster.sources.prometheus import AT_ONCE, PrometheusSource
from forecaster.sources.transport import TLSError, fetch, http_session
from tests.local_server import LocalServer, Request, local_server
from tests.prometheus_answers import GOOD, T0, good


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with local_server(good) as running:
        yield running


@pytest.fixture
def source():
    """Makes sources of `count` signals and closes them."""
    made = []

    def make(url: str, count: int = 3, retries: int = 2, timeout: float = 5.0) -> PrometheusSource:
        signals = [SimpleNamespace(name=f"s{n}", query=f"q{n}") for n in range(count)]
        session = http_session(retries=retries, backoff=0.01)
        made.append(PrometheusSource(url, signals, 300.0, session=session, timeout=timeout))
        return made[-1]

    yield make
    for one in made:
        one.close()


def warmed(source: PrometheusSource, server: LocalServer) -> PrometheusSource:
    """The source with a connection open for each of its queries, the server with nothing seen."""
    barrier = threading.Barrier(len(source.describe()["signals"]))
    server.respond = lambda request: (barrier.wait(5), good(request))  # so that all of them are needed
    source.latest(T0)
    server.respond = good
    server.seen.clear()
    return source


def test_connections_stay_open_for_the_next_round_and_no_others_are_made(server, source):
    asked = warmed(source(server.url), server)
    for _ in range(3):
        assert asked.latest(T0).values.tolist() == [[1.5, 1.5, 1.5]]
    assert len(server.seen) == 9 and len(server._connections) == 3


def test_every_answer_goes_to_its_own_query(server, source):
    def echo(request: Request) -> None:
        result = [{"metric": {"server": "db1"}, "value": [T0, request.form["query"].removeprefix("q")]}]
        request.answer(200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}))

    asked = warmed(source(server.url, 6), server)
    server.respond = echo
    for _ in range(2):
        assert asked.latest(T0).values.tolist() == [[0, 1, 2, 3, 4, 5]]


def test_no_more_queries_are_on_their_way_than_prometheus_can_bear(server, source):
    asked, under_way, most, lock = source(server.url, AT_ONCE + 5), [0], [0], threading.Lock()

    def counted(request: Request) -> None:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.02)
        with lock:
            under_way[0] -= 1
        good(request)

    server.respond = counted
    for _ in range(2):
        assert np.isfinite(asked.latest(T0).values).all()
    assert len(server.seen) == 2 * (AT_ONCE + 5) and most[0] <= AT_ONCE


def test_connections_the_server_has_closed_meanwhile_are_opened_anew(server, source):
    asked = warmed(source(server.url, retries=0), server)
    server.hang_up()
    time.sleep(0.05)
    assert asked.latest(T0).servers == ("db1",)
    assert len(server.seen) == 3


def closing(times: int) -> Callable[[Request], None]:
    """Hangs up on the first requests instead of answering them."""
    left = [times]

    def respond(request: Request) -> None:
        left[0] -= 1
        if left[0] >= 0:
            request.close_connection = True
        else:
            good(request)

    return respond


def test_a_connection_that_breaks_before_the_answer_costs_one_attempt(server, source):
    asked = warmed(source(server.url, 1, retries=1), server)
    server.respond = closing(1)
    assert asked.latest(T0).servers == ("db1",)
    assert len(server.seen) == 2
    server.respond = closing(2)
    with pytest.raises(SourceUnreachable, match="signal s0: .*check that Prometheus runs"):
        asked.latest(T0)
    assert len(server.seen) == 4


def test_without_retries_a_broken_connection_is_unreachable(server, source):
    asked = warmed(source(server.url, 1, retries=0), server)
    server.respond = closing(1)
    with pytest.raises(SourceUnreachable, match="signal s0"):
        asked.latest(T0)
    assert len(server.seen) == 1
    assert asked.latest(T0).servers == ("db1",)


@pytest.mark.parametrize(("headers", "attempts"), [({}, 3), ({"Retry_After": "60"}, 1)])
def test_a_busy_server_is_asked_as_often_on_an_open_connection_as_on_a_new_one(server, source, headers, attempts):
    asked = warmed(source(server.url, 1), server)
    server.respond = lambda request: request.answer(503, "busy", **headers)
    with pytest.raises(SourceDown, match="HTTP 503: busy"):
        asked.latest(T0)
    assert len(server.seen) == attempts
    server.respond = good
    asked.latest(T0)
    assert len(server._connections) == 1, "a whole answer leaves the connection open"


def test_half_an_answer_on_an_open_connection_is_not_asked_for_again(server, source):
    asked = warmed(source(server.url, 1), server)

    def half(request: Request) -> None:
        request.answer(200, GOOD[:-60], Content_Length=str(len(GOOD)))
        request.close_connection = True

    server.respond = half
    with pytest.raises(SourceUnreachable, match="signal s0: .*(IncompleteRead|broken)"):
        asked.latest(T0)
    assert len(server.seen) == 1
    server.respond = good
    assert asked.latest(T0).servers == ("db1",)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
def test_an_open_connection_that_goes_silent_ends_at_the_deadline_and_is_not_used_again(server, source, head):
    asked, released = warmed(source(server.url, 2, timeout=0.4), server), threading.Event()

    def silent(request: Request) -> None:
        if request.form["query"] == "q0":
            request.wfile.write(head)
            released.wait(20)
            request.close_connection = True
        else:
            good(request)

    server.respond = silent
    try:
        began = time.monotonic()
        reading = asked.latest(T0)
        assert time.monotonic() - began < 2
        assert "signal s0: no answer within 0.4s" in str(reading.failed["s0"]) and list(reading.failed) == ["s0"]
        np.testing.assert_array_equal(reading.values, [[np.nan, 1.5]])
        assert len(server.seen) == 2, "what takes too long is not repeated"
        server.respond = good
        assert asked.latest(T0).values.tolist() == [[1.5, 1.5]]
    finally:
        released.set()


def test_a_proxy_of_the_environment_is_asked_every_time(server, source, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    asked = source("http://prometheus.invalid:9090/prefix")
    for _ in range(2):
        assert asked.latest(T0).servers == ("db1",)
    assert {request.path for request in server.seen} == {"http://prometheus.invalid:9090/prefix/api/v1/query"}


def test_a_request_that_timed_out_is_not_repeated(server):
    released = threading.Event()
    server.respond = lambda request: released.wait(20)
    try:
        with pytest.raises(TimeoutError, match="no answer within 0.2s"):
            fetch(http_session(backoff=0.01), "GET", server.url, 0.2, 1000)
        assert len(server.seen) == 1
    finally:
        released.set()


def test_a_redirect_is_an_answer_and_its_body_is_bounded_as_any_other(server):
    server.respond = lambda request: request.answer(307, b"x" * 5000, Location="http://elsewhere.invalid:99999/")
    answer = fetch(http_session(), "POST", server.url, 5.0, 5000, data="q=1")
    assert (answer.status, len(answer.body)) == (307, 5000)
    assert answer.headers["location"] == "http://elsewhere.invalid:99999/"
    with pytest.raises(ValueError, match="larger than 4999 bytes"):
        fetch(http_session(), "POST", server.url, 5.0, 4999, data="q=1")


def test_an_answer_is_measured_after_decompression(server):
    server.respond = lambda request: request.answer(200, gzip.compress(bytes(10_000_000)), Content_Encoding="gzip")
    with pytest.raises(ValueError, match="larger than 1000000 bytes"):
        fetch(http_session(), "GET", server.url, 5.0, 1_000_000)
    assert fetch(http_session(), "GET", server.url, 5.0, 10_000_000).body == bytes(10_000_000)


def test_cookies_are_not_sent_back(server):
    server.respond = lambda request: request.answer(200, "", Set_Cookie="route=a; Path=/")
    session = http_session()
    for _ in range(2):
        fetch(session, "GET", server.url, 5.0, 1000)
    assert [request.headers["Cookie"] for request in server.seen] == [None, None]


def test_the_ca_file_of_the_session_counts_before_that_of_the_environment(server, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "of-the-environment"))
    url = server.url.replace("http:", "https:")
    with pytest.raises(TLSError, match="of-the-session"):
        fetch(http_session(ca_file=tmp_path / "of-the-session"), "GET", url, 5.0, 1000)
    with pytest.raises(TLSError, match="of-the-environment"):
        fetch(http_session(), "GET", url, 5.0, 1000)


def test_a_header_of_the_request_takes_the_place_of_the_sessions_in_any_spelling(server):
    session = http_session(headers={"accept": "text/html", "X-Scope-OrgID": "team"})
    fetch(session, "GET", server.url, 5.0, 1 << 20, headers={"Accept": "text/plain"})
    (request,) = server.seen
    assert request.headers.get_all("Accept") == ["text/plain"] and request.headers["X-Scope-OrgID"] == "team"


def test_the_request_says_who_it_is_for_and_how_long_it_is(server, source):
    asked = warmed(source(server.url, 1), server)
    asked.latest(T0)
    (request,) = server.seen
    assert request.headers["Host"] == server.url.removeprefix("http://")
    assert int(request.headers["Content-Length"]) == len(request.body)
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert request.form == {"query": "q0", "time": f"{T0}.000", "timeout": "4500ms"}


def test_an_address_where_nobody_listens_is_named_in_the_error(free_port):
    with pytest.raises(ConnectionError, match=f"^HTTPConnection.host='127.0.0.1', port={free_port}.: .*refused"):
        fetch(http_session(retries=0), "GET", f"http://127.0.0.1:{free_port}/", 5.0, 100)
