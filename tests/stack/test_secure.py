"""The files of `make up SECURE=1`."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bcrypt
import pytest
import yaml
from cryptography import x509

from serving.doors.web_config import read
from stack import certificates
from stack.layout import PORTS, ROOT, Layout
from stack.parts import plan
from stack.ready import Row, render
from stack.secure import PASSWORD, USER, Renewal, protect
from tests.doors import trusting
from tests.tools import tool


@pytest.fixture(scope="module")
def layout(tmp_path_factory) -> Layout:
    layout = Layout.elsewhere(tmp_path_factory.mktemp("stack"), PORTS).secured()
    protect(layout)
    return layout


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_and_alertmanager_accept_what_is_written(layout):
    run(tool("promtool"), "check", "web-config", str(layout.secure / "web.yml"))
    run(tool("promtool"), "check", "config", str(layout.config / "prometheus/prometheus.yml"))
    run(tool("amtool"), "check-config", str(layout.config / "prometheus/alertmanager.yml"))


def test_no_address_is_left_that_speaks_plain_http(layout):
    used = [Path(word.rpartition("=")[2]) for part in plan(layout).parts for word in part.command
            if word.endswith(".yml")]
    assert {"fleet.yml", "node_exporter.yml", "web.yml", "prometheus.yml"} <= {file.name for file in used}
    for file in (*(layout.config / "prometheus").rglob("*.yml"), *used):
        assert "http://" not in file.read_text(), file
    jobs = yaml.safe_load((layout.config / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert {job["scheme"] for job in jobs} == {"https"}
    assert layout.url("pager", "/") == "https://127.0.0.1:8003/"


def test_the_owner_alone_reads_what_is_secret_and_no_configuration_holds_it(layout):
    assert layout.secure.stat().st_mode & 0o777 == 0o700
    for file in layout.secure.glob("*.*"):
        assert file.stat().st_mode & 0o777 == 0o600, file
    password = (layout.secure / PASSWORD).read_text()
    assert len(password) >= 32
    assert not [file for file in layout.config.rglob("*") if file.is_file() and password in file.read_text()]
    assert password not in " ".join(word for part in plan(layout).parts for word in part.command)


def test_password_and_certificate_stay_the_same_until_the_certificate_is_about_to_end(layout):
    def state() -> list[bytes]:
        return [(layout.secure / name).read_bytes() for name in (PASSWORD, "ca.crt", "server.crt", "server.key")]

    before = state()
    protect(layout)
    assert state() == before
    assert certificates.current(layout.secure, datetime.now(UTC) + timedelta(days=330))
    assert not certificates.current(layout.secure, datetime.now(UTC) + timedelta(days=340))
    users = read(layout.secure / "web.yml").users
    assert [*users] == [USER]
    assert bcrypt.checkpw(before[0], users[USER].encode())


def test_a_renewal_keeps_the_key_and_the_trust_in_what_is_served_until_it_is_whole(tmp_path, monkeypatch):
    certificates.make(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in ("ca.crt", "server.crt", "server.key")}
    written, write = [], certificates.private
    monkeypatch.setattr(certificates, "private", lambda path, *rest: written.append(path.name) or write(path, *rest))
    for _ in range(2):
        old = authorities(tmp_path)[0]
        certificates.make(tmp_path)
        assert written[0] == "ca.crt" and written[-1] == "server.crt"
        assert authorities(tmp_path)[1:] == [old], "the one before is trusted still"
    assert (tmp_path / "server.key").read_bytes() == before["server.key"]
    assert (tmp_path / "server.crt").read_bytes() != before["server.crt"]


def test_renewals_that_are_cut_short_leave_the_trust_in_the_certificate_that_is_served(tmp_path, monkeypatch):
    certificates.make(tmp_path)
    [old], write = authorities(tmp_path), certificates.private

    def full(path: Path, *rest) -> None:
        if path.name == "server.crt":
            raise OSError("no space left")
        write(path, *rest)

    monkeypatch.setattr(certificates, "private", full)
    for _ in range(2):
        with pytest.raises(OSError, match="no space"):
            certificates.make(tmp_path)
        assert old in authorities(tmp_path)
    monkeypatch.undo()
    certificates.make(tmp_path)
    assert authorities(tmp_path)[1:] == [old], "those of what was never served are gone"


def test_a_key_that_is_not_the_one_of_the_certificate_is_noticed(tmp_path):
    certificates.make(tmp_path)
    (tmp_path / "other").mkdir()
    certificates.make(tmp_path / "other")
    (tmp_path / "server.key").write_bytes((tmp_path / "other/server.key").read_bytes())
    assert not certificates.current(tmp_path, datetime.now(UTC))


def authorities(folder: Path) -> list[x509.Certificate]:
    """Those that clients trust, the latest first."""
    return x509.load_pem_x509_certificates((folder / "ca.crt").read_bytes())


def test_a_certificate_is_made_anew_for_an_address_that_it_lacks(tmp_path):
    certificates.make(tmp_path, ("127.0.0.1", "pager"))
    assert certificates.current(tmp_path, datetime.now(UTC), ("pager", "127.0.0.1"))
    assert not certificates.current(tmp_path, datetime.now(UTC), ("pager", "grafana"))


def test_a_damaged_key_is_replaced(tmp_path):
    certificates.make(tmp_path)
    (tmp_path / "server.key").write_text("no key")
    assert not certificates.current(tmp_path, datetime.now(UTC)), "so that a start makes it"
    certificates.make(tmp_path)
    assert certificates.current(tmp_path, datetime.now(UTC))
    trusting(tmp_path).load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")


def test_the_certificate_is_looked_at_every_hour_and_renewed_within_its_last_month(tmp_path):
    layout, now = Layout.elsewhere(tmp_path, PORTS).secured(), [0.0]
    layout.secure.mkdir()
    certificates.make(layout.secure, days=31)
    renewal = Renewal(layout, lambda: now[0])

    def news(hours: float) -> list[str]:
        now[0] = hours * 3600
        return [*renewal.news()]

    assert news(1) == []
    certificates.make(layout.secure, days=29)
    ending = (layout.secure / "server.crt").read_bytes()
    assert news(1.9) == [] and (layout.secure / "server.crt").read_bytes() == ending, "within the hour"
    [said] = news(2)
    assert "is renewed" in said and certificates.current(layout.secure, datetime.now(UTC) + timedelta(days=330))
    assert news(3) == []


def test_a_certificate_that_cannot_be_renewed_is_said_and_the_stack_goes_on(tmp_path, monkeypatch):
    layout, now = Layout.elsewhere(tmp_path, PORTS).secured(), [0.0]
    layout.secure.mkdir()
    certificates.make(layout.secure, days=20)
    renewal = Renewal(layout, lambda: now[0])
    (layout.secure / "ca.crt.new").mkdir()  # nothing can be written there
    now[0] = 3600.0
    [said] = renewal.news()
    assert "cannot be renewed" in said


def test_what_the_plain_configuration_has_no_longer_is_gone(layout):
    old = layout.config / "prometheus/rules/old.yml"
    old.write_text("groups: []")
    protect(layout)
    assert not old.exists()


def test_a_damaged_certificate_is_made_anew(tmp_path):
    certificates.make(tmp_path)
    assert certificates.current(tmp_path, datetime.now(UTC))
    (tmp_path / "server.crt").write_text("no certificate")
    assert not certificates.current(tmp_path, datetime.now(UTC))


def test_the_certificate_is_for_this_machine_and_its_authority_signs_nothing_more(tmp_path):
    certificates.make(tmp_path)
    context = trusting(tmp_path)
    [authority] = context.get_ca_certs()
    assert authority["subject"] == authority["issuer"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.crt", "server.crt", "server.key"]


def test_every_part_takes_the_file_and_grafana_does_not_run(layout):
    chosen = plan(layout)
    assert {"exporter", "forecaster", "forecaster-node", "pager", "prometheus", "alertmanager",
            "node-exporter"} == chosen.names()
    for part in chosen.parts:
        at = part.command.index("--web.config.file")
        assert part.command[at + 1] == str(layout.secure / "web.yml")
    assert "http://127.0.0.1" not in " ".join(word for part in chosen.parts for word in part.command)
    assert "grafana does not run with SECURE=1." in chosen.notes


def test_how_to_log_in_is_printed_and_the_password_is_not(layout):
    text = render(layout, plan(layout), [Row("Fleet", layout.url("exporter"), "servers")], "20 servers.")
    assert f"Log in as {USER} with the password in {layout.secure / PASSWORD}." in text
    assert f"curl -K {layout.secure / 'curlrc'} -X POST https://127.0.0.1:8001/scenario/set" in text
    assert (layout.secure / PASSWORD).read_text() not in text


def test_the_layout_of_make_up_is_left_as_it_is():
    plain = Layout.here()
    assert plain.secure is None
    assert plain.secured().secure == Path(ROOT, ".data/secure")
    assert plain.secured().plain == ROOT
