import http.client
import ssl
import subprocess
import threading
import time
from contextlib import suppress
from typing import get_type_hints

import pytest
from flask import Blueprint, request

from exporter.app import create_app as create_exporter
from exporter.profiles import load_fleet
from forecaster.config import load_config
from forecaster.service.app import Forecaster
from serving.net.access import write
from serving.net.connections import Limits
from serving.net.lanes import LANES
from serving.net.traffic import PHASES, REASONS, Traffic
from serving.web import Service, create_app
from stack.pager import Pager
from stack.pager import create_app as create_pager
from tests.served import QUICK, Reply, Served, everything

GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n"
POST = b"POST %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n%b\r\n%b"


def services():
    """(name, application, a path that takes a POST) of all services."""
    yield "exporter", create_exporter(load_fleet()), b"/scenario/set"
    yield "forecaster", Forecaster(lambda: load_config("fleet", {"model": "none"}), time.time).app, b"/api/v1/read"
    yield "pager", create_pager(Pager(print, None, time.monotonic)), b"/page"


@pytest.fixture(scope="module", params=services(), ids=lambda one: one[0])
def service(request):
    _, app, path = request.param
    with Served(app) as served:
        served.path = path
        yield served


@pytest.mark.parametrize("text", [
    b"\x00\x01\x02\x03\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"head / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"post /-/reload HTTP/1.1\r\nHost: localhost\r\n\r\n",  # a check of the method POST would not see it
    b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    GET % (b"/", b"no colon\r\n"),
    GET % (b"/", b"A: b\r\n folded: c\r\n"),
    GET % (b"/", b"A: \x00\r\n"),
    GET % (b"/\x00", b""),
    GET % (b"/", b"SCRIPT_NAME: /x\r\n"),
    GET % (b"http://localhost/metrics", b""),
    GET % (b"localhost:80", b""),
    GET % (b"*", b""),
    GET % ("/caf\u00e9".encode(), b""),
    GET % (b"/\xff", b""),
    GET % (b"/%ff", b""),
    GET % (b"/%00", b""),
    GET % (b"/%ed%a0%80", b""),  # a lone surrogate
    GET % (b"/predictions/current?server=%ed%a0%80", b""),
    GET % (b"/capacity?server=%ff%fe", b""),
    POST % (b"/-/ready", b"Content-Length: 5\r\nContent-Length: 6\r\n", b"abcdef"),
    POST % (b"/-/ready", b"Content-Length: 5\r\nContent-Length: 5\r\n", b"abcde"),
    POST % (b"/-/ready", b"Content-Length: -1\r\n", b""),
    POST % (b"/-/ready", b"Content-Length: 1e3\r\n", b""),
    POST % (b"/-/ready", b"Content-Length: " + b"9" * 5000 + b"\r\n", b""),
    POST % (b"/-/ready", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    POST % (b"/-/ready", b"Transfer-Encoding: gzip\r\n", b"0\r\n\r\n"),
    POST % (b"/-/ready", b"Transfer-Encoding: chunked\r\n", b"zz\r\nabc\r\n0\r\n\r\n"),
    POST % (b"/-/ready", b"Transfer-Encoding: chunked\r\n", b"-3\r\nabc\r\n0\r\n\r\n"),
    POST % (b"/-/ready", b"Transfer-Encoding: chunked\r\n", b"3\r\nabcdef\r\n0\r\n\r\n"),
], ids=lambda text: text[:60])
def test_a_malformed_request_is_answered_with_400_and_json(service, text):
    reply = service.ask(text)
    assert reply.status == 400, reply.text
    assert set(reply.json) == {"error", "field", "expected"}
    assert reply.headers["connection"] == "close"
    assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("body", [
    b"[" * 100_000,
    b'{"scenario":' * 50_000,
    b'{"scenario": NaN}',
    b'{"scenario": -Infinity}',
    b'{"scenario": "\\ud800"}',
    b'{"scenario": ' + b"9" * 10_000 + b"}",
    b'{"scenario": "\xff"}',
    b'{"alerts": [{"status": "firing", "labels": {"a": "\\udfff"}}]}',
    b'{"alerts": ' + b"9" * 10_000 + b"}",
    b"\x00",
    b"",
], ids=lambda text: text[:40])
def test_a_malformed_body_is_answered_with_4xx_and_json(service, body):
    reply = service.ask(POST % (service.path, b"Content-Length: %d\r\n" % len(body), body))
    assert reply.status in (400, 415), reply.text
    assert {"error", "field", "expected"} <= set(reply.json) and len(reply.text) < 2000


def test_a_head_that_is_too_large_is_answered_with_431_and_json(service):
    reply = service.get("/" + "a" * (1 << 20))
    assert (reply.status, set(reply.json)) == (431, {"error", "field", "expected"})


@pytest.mark.parametrize("form", ["length", "chunks"])
def test_a_body_that_is_too_large_is_answered_with_413_and_json(form):
    body = b"x" * 200
    rest = (b"Content-Length: 200\r\n", body) if form == "length" else (
        b"Transfer-Encoding: chunked\r\n", b"c8\r\n%b\r\n0\r\n\r\n" % body)
    service, views = Service("example", "An example."), Blueprint("views", __name__)
    views.post("/data")(lambda: str(len(request.get_data())))
    with Served(create_app(service, views, max_request_bytes=100), body_limit=100) as served:
        reply = served.ask(POST % (b"/data", *rest))
        assert (reply.status, set(reply.json)) == (413, {"error", "field", "expected"})


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """The TLS of a server with a certificate of its own."""
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-subj", "/CN=localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                   check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def echo(environ, start_response):
    """Answers with what it was asked."""
    body = environ["wsgi.input"].read() + environ["QUERY_STRING"].encode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["REQUEST_METHOD"].encode(), b" ", body]


def test_keep_alive_and_pipelined_requests_are_answered_in_order():
    with Served(echo) as served:
        connection = http.client.HTTPConnection(*served.address, timeout=10)
        for n in range(3):
            connection.request("GET", f"/?{n}")
            assert connection.getresponse().read() == b"GET %d" % n
        connection.close()
        reply = served.ask(GET % (b"/?1", b"") + POST % (b"/", b"Content-Length: 1\r\n", b"2"))
        assert reply.text.index(b"GET 1HTTP/1.1 200 OK") < reply.text.index(b"POST 2")


def test_a_body_may_come_in_chunks_and_wait_for_100_continue():
    with Served(echo) as served, served.connect(POST % (
            b"/", b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", b"")) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert Reply(everything(connection)).body == b"POST abcde"


def test_head_has_the_length_and_no_body_and_options_the_methods(service):
    got, head = service.get("/-/healthy"), service.ask(b"HEAD" + GET[3:] % (b"/-/healthy", b"Connection: close\r\n"))
    assert (got.status, head.status, head.body) == (200, 200, b"")
    assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.body))
    options = service.ask(b"OPTIONS" + GET[3:] % (b"/-/healthy", b"Connection: close\r\n"))
    assert (options.status, "GET" in options.headers["allow"]) == (200, True)


def test_http_1_0_needs_no_host_and_ends_the_connection(service):
    assert service.ask(b"GET /-/healthy HTTP/1.0\r\n\r\n").status == 200


def test_every_answer_tells_browsers_to_embed_sniff_and_run_nothing(service):
    for path in ("/", "/-/healthy", "/nothing", "/-/ready", "/metrics"):
        headers = service.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy.replace(
            "style-src 'unsafe-inline'", "")
        assert "frame-ancestors 'none'" in policy and "base-uri 'none'" in policy and "form-action" in policy


# -- slow clients ---------------------------------------------------------------------------------------------------


SLOW = {
    "head": b"GET /-/heal",
    "headers": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: b",
    "nothing": b"",
    "body": POST % (b"/", b"Content-Length: 100\r\n", b"a"),
    "chunks": POST % (b"/", b"Transfer-Encoding: chunked\r\n", b"5\r\nab"),
    "idle": GET % (b"/", b""),
}


@pytest.mark.parametrize("phase", SLOW)
def test_a_client_that_stops_is_closed_after_the_deadline_of_its_phase(phase):
    with Served(echo, QUICK) as served, served.connect(SLOW[phase]) as connection:
        started = time.monotonic()
        everything(connection)
        assert 0.1 < time.monotonic() - started < 2


@pytest.mark.parametrize("phase", ["head", "body"])
def test_a_client_that_drips_is_closed_after_the_deadline_of_its_phase(phase):
    with Served(echo, QUICK) as served, served.connect(SLOW[phase]) as connection:
        started = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - started < 5:
                connection.sendall(b"x")
                time.sleep(0.02)
        assert time.monotonic() - started < 2


def test_a_client_that_does_not_read_its_answer_is_closed_after_a_deadline():
    def large(environ, start_response):
        start_response("200 OK", [])
        return [b"x" * (64 << 20)]

    with Served(large, QUICK) as served, served.connect(GET % (b"/", b"")) as connection:
        eventually(lambda: served.server.connections.held)
        eventually(lambda: not served.server.connections.open)
        assert served.server.connections.held == 0
        assert len(everything(connection)) < 64 << 20


def eventually(condition, seconds: float = 5) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


def test_a_request_is_answered_while_hundreds_of_connections_wait_for_slow_clients():
    limits = Limits(connections=50)
    with Served(echo, limits) as served:
        slow = [served.connect(SLOW[phase]) for phase in [*SLOW] * 50]
        started = time.monotonic()
        assert served.get("/").status == 200
        assert time.monotonic() - started < 1
        assert len(served.server.connections.open) <= 50
        for one in slow:
            one.close()


def test_health_and_metrics_answer_while_every_thread_for_pages_is_occupied_and_more_get_503():
    release = threading.Event()

    def stuck(environ, start_response):
        if environ["PATH_INFO"] == "/slow":
            release.wait(10)
        start_response("200 OK", [])
        return [b"done"]

    with Served(stuck) as served:
        slow = [served.connect(GET % (b"/slow", b"Connection: close\r\n")) for _ in range(8 + 64)]
        eventually(lambda: served.phases() == ["work"] * (8 + 64))
        for path in ("/-/healthy", "/-/ready", "/metrics"):
            started = time.monotonic()
            assert served.get(path).status == 200
            assert time.monotonic() - started < 0.5
        reply = served.get("/other")
        assert (reply.headers["retry-after"], set(reply.json)) == ("1", {"error", "field", "expected"})
        assert counted(served) == {"pages": 1}
        release.set()
        for one in slow:
            with one:
                assert everything(one).endswith(b"done")


def test_a_request_for_which_no_thread_can_be_started_gets_503_and_later_ones_are_answered(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with Served(echo) as served:
        with monkeypatch.context() as limited:
            limited.setattr(threading.Thread, "start", refuse)
            assert served.get("/").status == 503
        assert served.get("/").status == 200


def test_a_request_whose_client_has_left_is_dropped_if_no_thread_has_begun_it():
    release, seen = threading.Event(), []

    def stuck(environ, start_response):
        seen.append(environ["PATH_INFO"])
        release.wait(10)
        start_response("200 OK", [])
        return [b"done"]

    with Served(stuck) as served:
        slow = [served.connect(GET % (b"/slow", b"")) for _ in range(8)]
        eventually(lambda: len(seen) == 8)
        with served.connect(GET % (b"/left", b"")):
            eventually(lambda: served.phases() == ["work"] * 9)
        eventually(lambda: served.phases() == ["work"] * 8)
        release.set()
        assert served.get("/last").status == 200 and "/left" not in seen
        for one in slow:
            one.close()


def test_what_a_client_sends_while_it_is_answered_is_not_kept_without_a_bound():
    release = threading.Event()

    def stuck(environ, start_response):
        release.wait(10)
        start_response("200 OK", [])
        return [b"done"]

    with Served(stuck) as served, served.connect(GET % (b"/", b"")) as connection:
        with pytest.raises(OSError):
            for _ in range(1000):
                connection.sendall(b"x" * (1 << 16))
        release.set()


def test_bodies_and_answers_together_have_a_bound():
    limits = Limits(held_bytes=1 << 20)
    with Served(echo, limits) as served:
        slow = [served.connect(POST % (b"/", b"Content-Length: 500000\r\n", b"x" * 400_000)) for _ in range(10)]
        eventually(lambda: 400_000 <= served.server.connections.held <= 1 << 20
                   and len(served.server.connections.open) <= 3)
        assert served.get("/").status == 200
        for one in slow:
            one.close()


def test_a_handshake_that_is_never_made_is_closed_after_a_deadline(tls):
    with Served(echo, QUICK, tls=lambda: tls) as served, served.connect(b"\x16\x03") as connection:
        eventually(lambda: not served.server.connections.open)
        assert everything(connection) == b""


def test_tls_is_asked_for_each_connection(tls):
    contexts = iter([tls, None])
    with Served(echo, tls=lambda: next(contexts)) as served:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(*served.address, timeout=10, context=trusting)
        connection.request("GET", "/?secure")
        assert connection.getresponse().read() == b"GET secure"
        connection.close()
        assert served.get("/?plain").body == b"GET plain"


# -- counters ----------------------------------------------------------------------------------------------------------


def counted(served: Served) -> dict[str, float]:
    """The counters that are not 0, by the value of their label, or their name without one."""
    return {(*sample.labels.values(), sample.name)[0]: sample.value for family in served.server.traffic.collect()
            for sample in family.samples if sample.name.endswith("_total") and sample.value}


def test_every_reason_and_lane_has_a_counter_that_begins_at_zero():
    samples = [sample for family in Traffic().collect() for sample in family.samples if sample.name.endswith("_total")]
    assert len(samples) == len(REASONS) + len(LANES) + 1
    assert {sample.value for sample in samples} == {0}
    assert {*PHASES} == {name for name, kind in get_type_hints(Limits).items() if kind is float}


@pytest.mark.parametrize("phase", [phase for phase in SLOW if phase not in ("headers", "chunks")])
def test_a_connection_that_is_closed_after_a_deadline_is_counted_by_its_phase(phase):
    with Served(echo, QUICK) as served, served.connect(SLOW[phase]) as connection:
        everything(connection)
        assert counted(served) == {f"{'head' if phase == 'nothing' else phase}_timeout": 1}


def test_a_client_that_leaves_by_itself_is_not_counted():
    with Served(echo) as served:
        for text in (b"", SLOW["head"], SLOW["body"], SLOW["idle"]):
            served.connect(text).close()
        assert served.get("/").status == 200
        assert counted(served) == {}


def test_connections_closed_for_want_of_room_or_memory_are_counted():
    with Served(echo, Limits(connections=4)) as served:
        slow = [served.connect() for _ in range(9)]
        eventually(lambda: counted(served) == {"connection_limit": 5})
        for one in slow:
            one.close()
    with Served(echo, Limits(held_bytes=1 << 20)) as served:
        slow = [served.connect(POST % (b"/", b"Content-Length: 500000\r\n", b"x" * 400_000)) for _ in range(3)]
        eventually(lambda: counted(served) == {"memory_limit": 1})
        for one in slow:
            one.close()


def test_tls_handshakes_that_fail_are_counted_and_a_scan_of_ports_is_one_line_a_minute(tls, caplog):
    now = 0.0
    with Served(echo, tls=lambda: tls, traffic=Traffic(lambda: now)) as served:
        for number in range(1, 21):
            with served.connect(b"GET / HTTP/1.1\r\n\r\n" if number % 2 else b"\x16\x03\x01" + bytes(200)) as client:
                everything(client)
            eventually(lambda expected=number: [*counted(served).values()] == [expected])
        assert [*counted(served)] == ["fleetcast_web_tls_handshake_failures_total"]
        now = 60.0
        served.connect().close()
        eventually(lambda: len(caplog.records) == 2)
    first, second = [record.getMessage() for record in caplog.records]
    assert "failed: 1 since" in first and "127.0.0.1" in first
    assert "failed: 20 since" in second


# -- the access log ----------------------------------------------------------------------------------------------------


def test_each_request_is_a_line_of_the_access_log():
    with Served(echo) as served:
        served.get("/a%1b[2J?secret=1")
        served.ask(b"nonsense\r\n\r\n")
        eventually(lambda: len(served.log) == 2)
    (client, method, path, status, size, seconds), malformed = served.log
    assert (client, method, path, status, size) == ("127.0.0.1", "GET", "/a%1b[2J", 200, 12)
    assert 0 < seconds < 5 and malformed[3] == 400


def test_the_access_log_escapes_what_a_client_chooses(capsys):
    write("127.0.0.1", "GET", "/\x1b[2J\n{}", 200, 5, 0.1)
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and line[:-1].isprintable() and line.isascii()


def test_an_access_log_that_cannot_be_written_costs_its_lines_only(monkeypatch):
    written = []
    with suppress(OSError), open("/dev/full", "w") as full:  # closing it fails, as it still holds the line
        monkeypatch.setattr("sys.stderr", full)
        write("127.0.0.1", "GET", "/", 200, 5, 0.1)
        written.append("nothing, and no error")
    assert written
