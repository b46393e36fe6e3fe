"""`make up SECURE=1` with every real program, in fast motion: who enters, and that the parts talk to each other."""

import http.client
import json
import socket
import ssl
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from forecaster.sources.transport import fetch, http_session
from stack import certificates
from stack.preflight import find_holder
from stack.secure import PASSWORD, USER, Renewal, open_url
from stack.up import Stack
from tests.doors import basic, certificate_of, served_certificate, trusting
from tests.stack_rehearsal import await_true, rehearsal

PATHS = ("/", "/metrics", "/-/healthy", "/-/ready", "/status", "/api/v1/query?query=up", "/api/v2/alerts")
LISTENS = "0A"
SENT = "alertmanager_notifications_total"
FAILED = "prometheus_notifications_errors_total|alertmanager_notifications_failed_total"


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Iterator[Stack]:
    made = rehearsal(tmp_path_factory.mktemp("stack"), secure=True, without=("grafana", "forecaster-node"))
    preset = made.layout.plain / "forecaster/presets/fleet.yml"
    preset.write_text(yaml.safe_dump({**yaml.safe_load(preset.read_text()), "model": None}))  # it starts sooner
    with made:
        made.prepare()
        made.start()
        yield made


def get(stack: Stack, part: str, path: str, **form: Any) -> Any:
    url = stack.layout.url(part, f"{path}?{urllib.parse.urlencode(form)}")
    with open_url(stack.layout.secure, url, 10) as answer:
        return json.loads(answer.read())


def query(stack: Stack, promql: str, **form: Any) -> list[dict]:
    return get(stack, "prometheus", "/api/v1/query", query=promql, **form)["data"]["result"]


def listening(stack: Stack) -> set[tuple[str, int]]:
    """(address in hexadecimal, port) of every socket on which a process of the stack listens."""
    found = set()
    for table in ("tcp", "tcp6"):
        for fields in (line.split() for line in Path("/proc/net", table).read_text().splitlines()[1:]):
            address, port = fields[1].rsplit(":", 1)
            if fields[3] == LISTENS and (holder := find_holder(int(port, 16))) is not None:
                environment = Path(f"/proc/{holder[0]}/environ").read_bytes()
                if b"SUPERVISOR_SERVER_URL=unix://" + str(stack.layout.data).encode() in environment:
                    found.add((address, int(port, 16)))
    return found


def status(stack: Stack, port: int, path: str, headers: dict[str, str]) -> int:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=trusting(stack.layout.secure))
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_every_listening_port_answers_nobody_without_a_password(stack):
    found = listening(stack)
    assert {port for _, port in found} == {part.port for part in stack.plan.parts}
    assert {address for address, _ in found} == {"0100007F"}  # 127.0.0.1
    for _, port in found:
        answers = {status(stack, port, path, {}) for path in PATHS} | {status(stack, port, "/", basic(USER, "guessed"))}
        assert answers == {401}, port
        with socket.create_connection(("127.0.0.1", port), 10) as plain:
            plain.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            try:
                said = plain.recv(1000)
            except ConnectionResetError:
                said = b""
        assert not said or said.startswith(b"HTTP/1.0 400"), port


def test_a_client_that_does_not_know_the_authority_does_not_trust_the_parts(stack):
    for part in stack.plan.parts:
        with (socket.create_connection(("127.0.0.1", part.port), 10) as plain, pytest.raises(ssl.SSLError),
              ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")):
            pass


def test_prometheus_scrapes_every_part_over_tls(stack):
    await_true(lambda: len(query(stack, "up == 1")) == 6 and not query(stack, "up == 0"), 30, "every target is up")
    assert {target["scrapeUrl"].split(":")[0] for target in
            get(stack, "prometheus", "/api/v1/targets")["data"]["activeTargets"]} == {"https"}


def test_the_forecaster_reads_prometheus_and_prometheus_its_curves(stack):
    curve = 'forecast_cpu_pct{source="curve",percentile="p50"}'
    await_true(lambda: len(query(stack, curve, time=time.time() + 60)) == 20, 30, "Prometheus reads 20 servers' curves")
    source = get(stack, "forecaster", "/status")["source"]
    assert (source["url"], source["last_error"]) == (stack.layout.url("prometheus"), None)


def test_prometheus_alerts_and_alertmanager_notifies_the_pager(stack):
    def beats() -> bool:
        with open_url(stack.layout.secure, stack.layout.url("pager", "/"), 10) as page:
            return b"None has been received" not in page.read()

    await_true(beats, 40, "the pager has a heartbeat, which Prometheus sent by Alertmanager")
    for dashboard in (entry["annotations"].get("dashboard_url", "") for entry in
                      get(stack, "pager", "/received")["received"]):
        assert not dashboard.startswith("http://")


def await_shown(stack: Stack) -> None:
    """Returns once every part shows the certificate of the folder."""
    folder = stack.layout.secure
    for part in stack.plan.parts:
        await_true(lambda port=part.port: served_certificate(port, trusting(folder)) == certificate_of(folder), 10,
                   f"{part.name} shows the certificate")


def test_a_certificate_is_renewed_while_all_parts_run_and_they_go_on_talking(stack):
    folder, hours = stack.layout.secure, [0.0]
    certificates.make(folder, days=20)  # as after 345 days
    await_shown(stack)
    renewal = Renewal(stack.layout, lambda: hours[0] * 3600)
    session = http_session(retries=0, headers={"Connection": "close"}, ca_file=folder / certificates.AUTHORITY,
                           basic_auth=(USER, folder / PASSWORD))  # as the forecaster's, which keep connections

    def total(metric: str) -> float:
        return sum(float(one["value"][1]) for one in query(stack, f"{{__name__=~'{metric}'}}"))

    def asked() -> int:
        return fetch(session, "GET", stack.layout.url("prometheus", "/-/ready"), 10, 1 << 20).status

    assert asked() == 200
    hours[0], ending = 1.0, certificate_of(folder)
    assert len([*renewal.news()]) == 1
    began = time.time()
    assert certificate_of(folder) != ending
    await_shown(stack)
    assert asked() == 200
    sent, failed = total(SENT), total(FAILED)

    def read_on() -> bool:
        status = get(stack, "forecaster", "/status")
        return status["forecast"]["issued_unix"] > began + 5 and status["source"]["last_error"] is None

    await_true(read_on, 30, "the forecaster reads Prometheus")
    targets = get(stack, "prometheus", "/api/v1/targets")["data"]["activeTargets"]
    assert {(one["health"], one["lastError"]) for one in targets} == {("up", "")}
    assert {one["value"][1] for one in query(stack, f"min_over_time(up[{time.time() - began:.0f}s])")} == {"1"}
    await_true(lambda: total(SENT) > sent, 60, "Alertmanager goes on notifying the pager")
    assert total(FAILED) == failed
