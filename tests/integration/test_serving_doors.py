"""A running service behind --web.config.file: TLS, client certificates, and files that change while it runs."""

import http.client
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forecaster.sources.transport import TLSError, fetch, http_session
from stack import certificates
from tests.doors import (
    HASH,
    PASSWORD,
    basic,
    certificate_of,
    served_certificate,
    trusting,
    write_certificates,
    write_users,
)
from tests.stack_rehearsal import await_true

COMMANDS = {"fleet-exporter": ("exporter", "serve"), "fleet-forecaster": ("forecaster", "serve", "--model", "none"),
            "pager": ("stack.pager",)}
READ = 'fleetcast_web_config_last_reload_successful{file="web.config.file"}'
TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key"


def start(command: tuple[str, ...], *flags: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", *command, "--web.listen-address", "127.0.0.1:0", *flags]
    return subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


class Running:
    """An exporter behind a web configuration in `folder`."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]):
        self.folder, self.process = folder, process
        self.port = int(re.search(r"listening on https://127.0.0.1:(\d+)", process.stderr.readline())[1])

    def get(self, context: ssl.SSLContext | None = None, path: str = "/metrics", **login: str) -> str | int:
        """The body of a page, or the status where it is not 200."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10,
                                                 context=context or trusting(self.folder))
        try:
            connection.request("GET", path, headers=login or basic("alice", PASSWORD))
            answer = connection.getresponse()
            body = answer.read().decode()
            return body if answer.status == 200 else answer.status
        finally:
            connection.close()

    def write(self, text: str) -> None:
        (self.folder / "web.yml").write_text(f"{text}}}\nbasic_auth_users: {{alice: '{HASH}'}}\n")


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("doors")
    write_certificates(folder)
    file = write_users(folder, tls=True)
    process = start(COMMANDS["fleet-exporter"], "--web.config.file", str(file))
    try:
        yield Running(folder, process)
    finally:
        process.terminate()
        process.communicate(timeout=10)


def refused(call: Callable[[], object]) -> bool:
    """Whether TLS or the service ends the connection; TLS 1.3 says so with the first answer only."""
    try:
        call()
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return True
    return False


def test_pages_are_served_over_tls_to_who_logs_in(running):
    assert "server_cpu_utilization_ratio" in running.get()
    assert running.get(Authorization="Basic YTpi") == 401


def test_a_renewed_certificate_counts_without_a_restart(running):
    before = trusting(running.folder)
    certificates.make(running.folder)
    await_true(lambda: served_certificate(running.port, trusting(running.folder)) == certificate_of(running.folder), 10,
               "the new certificate is served")
    with pytest.raises(ssl.SSLCertVerificationError):
        running.get(before)


def test_a_file_that_turns_wrong_changes_nothing_and_metrics_say_so(running):
    good = (running.folder / "web.yml").read_text()
    (running.folder / "web.yml").write_text("basic_auth_users: [")
    await_true(lambda: f"{READ} 0.0" in running.get(), 10, "the metric says so")
    (running.folder / "web.yml").write_text(good)
    await_true(lambda: f"{READ} 1.0" in running.get(), 10, "the metric says so")


def test_a_client_and_the_forecaster_as_one_need_a_certificate_where_the_file_says_so(running):
    running.write(f"{TLS}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt")
    await_true(lambda: refused(running.get), 10, "a client without a certificate is refused")
    known, stranger = trusting(running.folder), trusting(running.folder)
    known.load_cert_chain(running.folder / "server.crt", running.folder / "server.key")
    assert "server_cpu_utilization_ratio" in running.get(known)
    other = running.folder / "other"
    other.mkdir()
    certificates.make(other)
    stranger.load_cert_chain(other / "server.crt", other / "server.key")
    assert refused(lambda: running.get(stranger))
    (running.folder / "password").write_text(PASSWORD)
    given = {"ca_file": running.folder / "ca.crt", "basic_auth": ("alice", running.folder / "password")}
    pair = running.folder / "server.crt", running.folder / "server.key"
    url = f"https://127.0.0.1:{running.port}/metrics"
    assert fetch(http_session(certificate=pair, **given), "GET", url, 10, 1 << 20).status == 200
    with pytest.raises(OSError):
        fetch(http_session(retries=0, **given), "GET", url, 10, 1 << 20)
    with pytest.raises(TLSError, match=r"none\.crt"):
        fetch(http_session(certificate=(running.folder / "none.crt", pair[1]), **given), "GET", url, 10, 1000)


def test_a_client_that_speaks_only_an_older_version_or_other_ciphers_is_refused(running):
    running.write(f"{TLS}, min_version: TLS13")
    older = trusting(running.folder)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    await_true(lambda: not refused(running.get), 10, "no certificate is asked for any longer")
    assert refused(lambda: running.get(older))
    suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    running.write(f"{TLS}, cipher_suites: [{suite}], curve_preferences: [CurveP384]")
    await_true(lambda: not refused(lambda: running.get(older)), 10, "TLS 1.2 is spoken again")
    older.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    assert refused(lambda: running.get(older))


@pytest.mark.parametrize(("name", "flag", "content", "problem"), [
    ("fleet-exporter", "--web.config.file", "unknown: 1", "unknown: unknown key"),
    ("fleet-forecaster", "--web.tokens.file", "tokens: {}", "tokens: "),
    ("pager", "--web.config.file", "basic_auth_users: {alice: secret}", "basic_auth_users.alice: is no bcrypt hash")])
def test_a_wrong_file_at_the_start_ends_with_one_line(name, flag, content, problem, tmp_path):
    file = tmp_path / "wrong.yml"
    file.write_text(content)
    process = start(COMMANDS[name], flag, str(file))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    [line] = said.splitlines()
    assert line.startswith(f"{name}: {file}: {problem}")
