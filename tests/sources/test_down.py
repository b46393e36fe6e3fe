"""A Prometheus that does not answer, told apart from one that answers with an error and from mistakes on this side."""

import threading
from types import SimpleNamespace

import pytest

from forecaster.readings import NoData, SourceDown, SourceError
from forecaster.sources.prometheus import PrometheusSource
from forecaster.sources.transport import http_session
from tests.local_server import Request
from tests.prometheus_answers import GOOD, STEP, T0

EMPTY = GOOD[:GOOD.index("[{")] + "[]}}"


def failure(url: str, queries: int = 1, timeout: float = 5.0, **session) -> SourceError:
    """What the latest values fail with."""
    signals = [SimpleNamespace(name=f"s{n}", query=f"q{n}") for n in range(queries)]
    source = PrometheusSource(url, signals, STEP, timeout=timeout, session=http_session(retries=0, **session))
    try:
        with pytest.raises(SourceError) as caught:
            source.latest(T0)
        return caught.value
    finally:
        source.close()


def close(request: Request) -> None:
    request.close_connection = True


def halve(request: Request) -> None:
    request.answer(200, GOOD[:-60], Content_Length=str(len(GOOD)))
    request.close_connection = True


def test_nobody_listening_and_connections_that_are_closed_are_no_answer(server, free_port):
    assert isinstance(failure(f"http://127.0.0.1:{free_port}"), SourceDown)
    for server.respond in (close, halve):
        assert isinstance(failure(server.url), SourceDown)


def test_silence_is_no_answer(server):
    released = threading.Event()
    server.respond = lambda request: released.wait(30)
    try:
        assert isinstance(failure(server.url, 3, timeout=0.3), SourceDown)
    finally:
        released.set()


@pytest.mark.parametrize(("status", "body"), [
    (500, ""), (401, ""), (200, "<html>"), (200, EMPTY),
    (503, '{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}'),
    (422, '{"status":"error","errorType":"execution","error":"query timed out in query execution"}')])
def test_whatever_it_answers_is_an_answer(server, status, body):
    server.respond = lambda request: request.answer(status, body)
    error = failure(server.url)
    assert not isinstance(error, SourceDown) and (body != EMPTY or isinstance(error, NoData))


@pytest.mark.parametrize(("status", "body"), [(503, "Service Unavailable"), (502, "<html>"), (504, "")])
def test_a_prometheus_that_starts_and_a_proxy_that_does_not_reach_it_are_no_answer(server, status, body):
    server.respond = lambda request: request.answer(status, body)
    assert isinstance(failure(server.url), SourceDown)


def test_one_answer_among_many_queries_is_an_answer(server):
    def only_the_last(request: Request) -> None:
        if request.form["query"] == "q2":
            request.answer(500, "too busy")
        else:
            request.close_connection = True

    server.respond = only_the_last
    assert not isinstance(failure(server.url, 3), SourceDown)


def test_mistakes_on_this_side_do_not_count_as_silence(server, tmp_path):
    assert not isinstance(failure(server.url, bearer_token_file=tmp_path / "gone"), SourceDown)
    https = server.url.replace("http:", "https:")
    assert not isinstance(failure(https), SourceDown), "it answers, without TLS"
    assert not isinstance(failure(https, ca_file=tmp_path / "gone"), SourceDown)
