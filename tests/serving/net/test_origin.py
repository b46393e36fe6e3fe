import argparse

import pytest
from flask import Blueprint, Response, jsonify
from werkzeug.test import Client

from serving.net.options import WebOptions
from serving.net.origin import Guard, secured
from serving.web import Service, create_app

LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.2:8001", "[::1]:8001", "LOCALHOST:1", "fleet.localhost")
NEARBY = ("exporter:8001", "forecaster.monitoring.svc:8000", "forecaster.monitoring.svc.cluster.local", "a.internal")
ADDRESSES = ("10.1.2.3:8001", "[fe80::1]:8001")
FOREIGN = ("evil.example", "evil.example:8001", "localhost.evil.example", "127.0.0.1.evil.example", "svc", "[evil]",
           "a@b")


@pytest.fixture
def changes() -> list:
    return []


@pytest.fixture
def client(changes):
    """Makes a client of a service that listens on `listen`."""
    def make(listen: str = "127.0.0.1", **options: object) -> Client:
        views = Blueprint("views", __name__)

        @views.post("/change")
        def change() -> Response:
            changes.append("change")
            return jsonify({})

        service = Service("example", "An example.", reload=lambda: changes.append("reload"))
        return Client(Guard(create_app(service, views), listen, WebOptions(**options)))

    return make


@pytest.mark.parametrize("host", [*LOOPBACK, *ADDRESSES])
def test_a_service_on_loopback_is_addressed_by_localhost_or_an_ip_address(client, host):
    assert client().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", [*NEARBY, *FOREIGN])
def test_a_service_on_loopback_refuses_every_other_name(client, host):
    answer = client().get("/metrics", headers={"Host": host})
    assert (answer.status_code, answer.json["field"]) == (403, "Host")
    assert "--web.allowed-hosts" in answer.json["expected"]


@pytest.mark.parametrize("listen", ["0.0.0.0", "::", "10.1.2.3"])
@pytest.mark.parametrize("host", [*LOOPBACK, *ADDRESSES, *NEARBY])
def test_a_service_on_other_interfaces_is_addressed_by_names_that_public_dns_cannot_have_too(client, listen, host):
    assert client(listen).get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", [host for host in FOREIGN if host != "svc"])
def test_a_service_on_all_interfaces_refuses_public_names(client, host):
    assert client("0.0.0.0").get("/", headers={"Host": host}).status_code == 403


def test_the_name_listened_on_and_allowed_names_are_taken(client):
    assert client("fleet.example.com").get("/", headers={"Host": "fleet.example.com:8001"}).status_code == 200
    some = client(allowed_hosts=("fleet.example.com", "*.example.org"))
    taken = {host: some.get("/", headers={"Host": host}).status_code for host in (
        "Fleet.Example.com.", "a.example.org", "a.b.example.org", "example.org", "other.example.com", "aexample.org")}
    assert [*taken.values()] == [200, 200, 200, 403, 403, 403]
    assert client(allowed_hosts=("*",)).get("/", headers={"Host": "evil.example"}).status_code == 200


@pytest.mark.parametrize("headers", [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://evil.example"},
    {"Origin": "http://localhost:3000"},  # another service of this machine
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Content-Type": "text/plain"},
    {"Content-Type": "Text/Plain; charset=utf-8"},
    {"Content-Type": "multipart/form-data; boundary=x"},
    {"Content-Type": "application/x-www-form-urlencoded"},
], ids=str)
@pytest.mark.parametrize("path", ["/change", "/-/reload"])
def test_a_change_that_a_web_page_of_another_origin_can_send_is_refused(client, changes, path, headers):
    answer = client(lifecycle=True).post(path, data=b"{}", headers={"Host": "localhost:8001", **headers})
    assert answer.status_code in (403, 415) and changes == []
    assert answer.json["field"] in headers


@pytest.mark.parametrize("headers", [
    {},
    {"Content-Type": "application/json"},
    {"Content-Type": "application/x-protobuf"},
    {"Content-Type": "application/json", "Origin": "http://localhost:8001", "Sec-Fetch-Site": "same-origin"},
], ids=str)
def test_a_change_by_a_program_or_the_service_s_own_page_is_taken(client, changes, headers):
    assert client().post("/change", headers={"Host": "localhost:8001", **headers}).status_code == 200
    assert changes == ["change"]


def test_reads_from_other_origins_are_answered_without_leave_to_read_the_answer(client):
    headers = {"Host": "localhost", "Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    answer = client().get("/", headers=headers)
    assert answer.status_code == 200 and "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("method", ["post", "put"])
def test_a_reload_over_http_has_to_be_enabled(client, changes, method):
    answer = getattr(client(), method)("/-/reload")
    assert (answer.status_code, changes) == (403, [])
    assert "--web.enable-lifecycle" in answer.json["expected"] and "SIGHUP" in answer.json["expected"]
    assert getattr(client(lifecycle=True), method)("/-/reload").status_code == 200 and changes == ["reload"]


def test_the_headers_that_an_answer_has_itself_are_kept_and_nobody_may_embed_it():
    given = [("Content-Security-Policy", "default-src 'none'; script-src 'self'"), ("referrer-policy", "same-origin")]
    headers = dict(secured(given))
    assert headers["Content-Security-Policy"].startswith(f"{given[0][1]}; frame-ancestors 'none'")
    assert headers["referrer-policy"] == "same-origin" and "Referrer-Policy" not in headers
    own = [("Content-Security-Policy", "frame-ancestors https://grafana.example.com")]
    assert dict(secured(own))["Content-Security-Policy"] == "frame-ancestors https://grafana.example.com"


def test_the_flags_are_read():
    parser = argparse.ArgumentParser()
    WebOptions.add_flags(parser)
    assert WebOptions.of(parser.parse_args([])) == WebOptions()
    flags = ["--web.allowed-hosts", "Fleet.example.com, *.svc,", "--web.enable-lifecycle", "--web.access-log"]
    assert WebOptions.of(parser.parse_args(flags)) == WebOptions(("fleet.example.com", "*.svc"), True, True)
    for wrong in ("http://a", "a:80", "a b", "*a", "a.*"):
        with pytest.raises(SystemExit):
            parser.parse_args(["--web.allowed-hosts", wrong])
