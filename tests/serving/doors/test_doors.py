"""Who enters a service, with which scope, and what is written down of it."""

import json
import logging
import os
from datetime import UTC, datetime

import pytest
from flask import Blueprint, request
from prometheus_client import CollectorRegistry

from serving.doors.entry import Doors, needs
from serving.settings import SettingsError
from serving.web import Service, create_app
from stack.certificates import make
from tests.doors import HASH, PASSWORD, WRONG, basic, bearer, token_of, write_certificates, write_tokens, write_users
from tests.grafana_stack import await_true

EVERYTHING = ("/", "/-/healthy", "/-/ready", "/nowhere")


def app_behind(doors: Doors):
    """A service with a view for each scope."""
    views = Blueprint("views", __name__)

    @views.post("/change")
    def change():
        return request.get_data()

    @views.post("/bring")
    @needs("write")
    def bring():
        return "brought"

    @views.post("/ask")
    @needs("read")
    def ask():
        return "answered"

    return create_app(Service("example", "An example."), views, doors=doors).test_client()


@pytest.fixture
def files(tmp_path):
    return write_users(tmp_path), write_tokens(tmp_path)


def states(doors: Doors) -> dict[str, tuple[float, float]]:
    """(whether it could be used when it was read last, when it was read with success) of each file, by flag."""
    registry = CollectorRegistry()
    registry.register(doors)
    found = {(sample.name.removeprefix("fleetcast_web_config_last_reload_"), sample.labels["file"]): sample.value
             for family in registry.collect() for sample in family.samples
             if sample.name.startswith("fleetcast_web_config")}
    return {file: (found["successful", file], found["success_timestamp_seconds", file]) for _, file in found}


def failures(doors: Doors) -> dict[str, float]:
    """The logins that failed, by reason; none that is 0."""
    return {sample.labels["reason"]: sample.value for family in doors.collect() for sample in family.samples
            if sample.name == "fleetcast_web_login_failures_total" and sample.value}


def test_without_files_everybody_enters():
    client = app_behind(Doors("example"))
    assert [client.get("/-/healthy").status_code, client.post("/change").status_code] == [200, 200]


@pytest.mark.parametrize("path", EVERYTHING)
@pytest.mark.parametrize("login", [{}, basic("alice", WRONG), basic("mallory", PASSWORD), bearer("x" * 30),
                                   {"Authorization": "Basic !"}, {"Authorization": "Digest a=b"}, bearer("é" * 20)])
def test_nobody_enters_anywhere_without_a_login_not_even_for_health(files, path, login):
    answer = app_behind(Doors("example", *files)).get(path, headers=login)
    assert answer.status_code == 401
    assert {*answer.json} == {"error", "field", "expected"}
    assert answer.headers.getlist("WWW-Authenticate") == ['Basic realm="example", charset="UTF-8"', "Bearer"]


def test_a_login_that_is_bound_to_tenants_gets_nothing_of_a_service_that_knows_none(tmp_path):
    file = write_tokens(tmp_path, {"bound": ("read",), "whole": ("read",)})
    for name, tenants in (("bound", "[a]"), ("whole", "['*']")):
        file.write_text(file.read_text().replace(f"{name}.token,", f"{name}.token, tenants: {tenants},"))
    client = app_behind(Doors("example", write_users(tmp_path), file))
    for path in (*EVERYTHING, "/metrics"):
        answer = client.get(path, headers=bearer(token_of("bound")))
        assert answer.status_code == 403 and "token bound is bound to tenants" in answer.json["error"]
    assert client.get("/", headers=bearer(token_of("whole"))).status_code == 200


def test_only_ways_to_log_in_that_there_are_are_named(files):
    users, tokens = files
    answer = app_behind(Doors("example", users)).get("/")
    assert answer.headers.getlist("WWW-Authenticate") == ['Basic realm="example", charset="UTF-8"']
    answer = app_behind(Doors("example", tokens=tokens)).get("/", headers=basic("alice", PASSWORD))
    assert (answer.status_code, answer.headers.getlist("WWW-Authenticate")) == (401, ["Bearer"])


def test_a_user_may_do_everything(files):
    client, login = app_behind(Doors("example", *files)), basic("alice", PASSWORD)
    assert [client.get(path, headers=login).status_code for path in EVERYTHING] == [200, 200, 200, 404]
    assert [client.post(path, headers=login).status_code for path in ("/change", "/bring", "/ask")] == [200] * 3


@pytest.mark.parametrize(("token", "allowed"), [
    ("reader", {"get", "/ask"}), ("controller", {"get", "/ask", "/change", "/-/reload"}), ("writer", {"/bring"})])
def test_a_token_may_do_what_its_scopes_say(files, token, allowed):
    client, login = app_behind(Doors("example", *files)), bearer(token_of(token))
    answers = {"get": client.get("/-/ready", headers=login)}
    answers |= {path: client.post(path, headers=login) for path in ("/ask", "/change", "/-/reload", "/bring")}
    assert {name for name, answer in answers.items() if answer.status_code == 200} == allowed
    for answer in answers.values():
        if answer.status_code != 200:
            assert answer.status_code == 403
            assert f"token {token} lacks the scope" in answer.json["error"]


def test_the_headers_of_the_file_are_on_every_answer_and_win(tmp_path):
    file = tmp_path / "web.yml"
    file.write_text("http_server_config: {headers: {X-Frame-Options: deny, Content-Security-Policy: default-src x}}\n"
                    f"basic_auth_users: {{alice: '{HASH}'}}\n")
    client = app_behind(Doors("example", file))
    for login in ({}, basic("alice", PASSWORD)):
        headers = client.get("/", headers=login).headers
        assert (headers["X-Frame-Options"], headers["Content-Security-Policy"]) == ("deny", "default-src x")


def test_a_wrong_file_at_the_start_is_one_error(tmp_path):
    for arguments in ({"web_config": tmp_path / "none.yml"}, {"tokens": tmp_path / "none.yml"}):
        with pytest.raises(SettingsError, match="cannot be read"):
            Doors("example", **arguments)


class Clock:
    """Seconds that pass as a test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def doors_with(clock: Clock, **files) -> Doors:
    """Doors whose Unix time begins at 1000 s."""
    return Doors("example", **files, ticks=clock, clock=lambda: 1000 + clock.now)


def enters(client, login) -> bool:
    return client.get("/", headers=login).status_code == 200


def test_a_changed_file_counts_a_second_later_without_a_restart(tmp_path, clock):
    client = app_behind(doors_with(clock, web_config=(file := write_users(tmp_path))))
    assert enters(client, basic("alice", PASSWORD))
    write_users(tmp_path, bob=HASH)
    clock.now = 0.9
    assert enters(client, basic("alice", PASSWORD))
    clock.now = 1.0
    assert not enters(client, basic("alice", PASSWORD))
    assert enters(client, basic("bob", PASSWORD))
    new = tmp_path / "new.yml"
    new.write_text(f"basic_auth_users: {{eve: '{HASH}'}}")
    os.replace(new, file)
    clock.now = 2.0
    assert enters(client, basic("eve", PASSWORD))


def test_a_new_token_in_its_file_counts_as_well(tmp_path, clock):
    client = app_behind(doors_with(clock, tokens=write_tokens(tmp_path)))
    assert enters(client, bearer(token_of("reader")))
    (tmp_path / "reader.token").write_text("another-token-0123456789")
    clock.now = 1.0
    assert not enters(client, bearer(token_of("reader")))
    assert enters(client, bearer("another-token-0123456789"))


def test_a_file_that_turns_wrong_changes_nothing_is_said_once_and_counted(tmp_path, clock, caplog):
    write_certificates(tmp_path)
    doors = doors_with(clock, web_config=write_users(tmp_path, tls=True))
    client, before = app_behind(doors), doors.tls()
    key = (tmp_path / "server.key").read_text()
    for wrong in (lambda: (tmp_path / "server.key").write_text("no key"), lambda: (tmp_path / "server.key").unlink()):
        caplog.clear()
        wrong()
        for _ in range(3):
            clock.now += 1
            assert enters(client, basic("alice", PASSWORD))
        assert doors.tls() is before
        [line] = [record.message for record in caplog.records if record.levelno == logging.ERROR]
        assert "what was read before stays in use" in line
        assert states(doors) == {"web.config.file": (0, 1000), "web.tokens.file": (1, 1000)}
    (tmp_path / "server.key").write_text(key)
    clock.now += 1
    doors.tls()  # read anew in a thread, as an event loop asks
    await_true(lambda: doors.tls() not in (before, None), 10, "the files are read anew")
    assert states(doors) == {"web.config.file": (1, 1000 + clock.now), "web.tokens.file": (1, 1000)}


def test_a_token_that_is_removed_is_refused_while_the_file_of_users_is_wrong(tmp_path, clock):
    users = write_users(tmp_path)
    doors = doors_with(clock, web_config=users, tokens=write_tokens(tmp_path))
    client = app_behind(doors)
    users.write_text("basic_auth_users: {alice: no hash}")
    write_tokens(tmp_path, {"writer": ("read",)})
    clock.now = 1.0
    assert not enters(client, bearer(token_of("reader")))
    assert enters(client, bearer(token_of("writer"))), "its scopes are the new ones"
    assert enters(client, basic("alice", PASSWORD)), "as before the file was wrong"
    assert states(doors) == {"web.config.file": (0, 1000), "web.tokens.file": (1, 1001)}


def test_a_user_that_is_removed_is_refused_while_the_file_of_tokens_is_wrong(tmp_path, clock):
    tokens = write_tokens(tmp_path)
    doors = doors_with(clock, web_config=write_users(tmp_path, alice=HASH, bob=HASH), tokens=tokens)
    client = app_behind(doors)
    assert enters(client, basic("bob", PASSWORD))
    tokens.write_text("tokens: {}")
    write_users(tmp_path, alice=HASH)
    clock.now = 1.0
    assert not enters(client, basic("bob", PASSWORD))
    assert enters(client, basic("alice", PASSWORD)) and enters(client, bearer(token_of("reader")))
    assert states(doors) == {"web.config.file": (1, 1001), "web.tokens.file": (0, 1000)}


def test_logins_that_fail_are_counted_by_reason(files, monkeypatch):
    doors = Doors("example", *files)
    client = app_behind(doors)
    for login in (basic("alice", PASSWORD), bearer(token_of("reader"))):
        assert enters(client, login)
    assert failures(doors) == {}
    for login in ({}, basic("alice", WRONG), basic("mallory", PASSWORD), bearer("x" * 30), bearer(token_of("writer")),
                  {"Authorization": "Digest a=b"}, {"Authorization": "X" * 1000}):
        client.get("/", headers=login)
    assert failures(doors) == {"missing": 1, "password": 2, "token": 1, "scope": 1, "scheme": 2}
    monkeypatch.setattr("serving.doors.logins._WAITING", 0)
    doors = Doors("example", *files)
    app_behind(doors).get("/", headers=basic("alice", PASSWORD))
    assert failures(doors) == {"busy": 1}


def test_the_end_of_the_certificate_is_on_the_metrics_and_changes_with_it(tmp_path, clock):
    def ends() -> list[float]:
        return [sample.value for family in doors.collect() for sample in family.samples
                if sample.name == "fleetcast_web_certificate_expiry_timestamp_seconds"]

    for days in (10, 20):
        make(tmp_path, days=days, now=datetime(2026, 1, 1, 1, tzinfo=UTC))
        if days == 10:
            doors = doors_with(clock, web_config=write_users(tmp_path, tls=True))
        clock.now += 1
        assert ends() == [datetime(2026, 1, 1 + days, tzinfo=UTC).timestamp()]
    doors = doors_with(clock, web_config=write_users(tmp_path))
    assert ends() == []


def test_too_many_passwords_at_once_are_refused(files, monkeypatch):
    monkeypatch.setattr("serving.doors.logins._WAITING", 0)
    answer = app_behind(Doors("example", *files)).get("/", headers=basic("alice", PASSWORD))
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1"


def test_the_audit_log_has_who_changed_what_when_and_nothing_else(files, tmp_path):
    log = tmp_path / "audit.jsonl"
    client = app_behind(Doors("example", *files, str(log)))
    client.get("/", headers=basic("alice", PASSWORD))
    client.post("/change", headers=basic("mallory", PASSWORD))
    client.post("/bring", headers=basic("alice", PASSWORD))
    client.post("/change", headers=basic("alice", PASSWORD), data='{"scenario":"critical"}')
    client.post("/-/reload", headers=bearer(token_of("reader")))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["who"], line["method"], line["path"], line["status"], line["body"]) for line in lines] == [
        ("user alice", "POST", "/change", 200, '{"scenario":"critical"}'),
        ("token reader", "POST", "/-/reload", 403, "")]
    assert {line["service"] for line in lines} == {"example"}
    assert all(datetime.fromisoformat(line["time"]).tzinfo == UTC for line in lines)


def test_the_audit_log_escapes_and_cuts_what_a_client_chooses(tmp_path):
    log = tmp_path / "audit.jsonl"
    client = app_behind(Doors("example", audit_log=str(log)))
    client.post("/change", data="\x1b[2J\x7f\n\u202e" + "x" * 1000)
    [line] = log.read_bytes().splitlines()
    assert line.isascii()
    assert not {*line} & {*range(0x20), 0x7F}
    assert json.loads(line)["body"] == "\x1b[2J\x7f\n\u202e" + "x" * 193
    client.post("/change", data="x" * (1 << 21))  # more than a request may have
    assert json.loads(log.read_text().splitlines()[1])["status"] == 413


def test_an_audit_log_that_cannot_be_written_is_said_and_the_answer_goes_out(tmp_path, caplog):
    client = app_behind(Doors("example", audit_log=str(tmp_path / "none/audit.jsonl")))
    assert client.post("/change").status_code == 200
    assert "cannot be written" in caplog.text


def test_the_audit_log_may_be_standard_output(capsys, clock):
    app_behind(doors_with(clock, audit_log="-")).post("/change")
    assert json.loads(capsys.readouterr().out)["time"] == "1970-01-01T00:16:40.000+00:00"
