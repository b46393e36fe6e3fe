"""The file of TLS, headers and users: read as Prometheus' toolkit reads it, or refused with one clear line."""

import re
import shutil
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from serving.doors.web_config import read
from serving.settings import SettingsError
from stack.certificates import make
from tests.doors import write_certificates
from tests.tools import tool

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")  # the files that ask for it
FILES = sorted((Path(__file__).parents[2] / "fixtures/web_config").glob("*.yml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("web_config")
    write_certificates(folder)
    key = serialization.load_pem_private_key((folder / "server.key").read_bytes(), None)
    encrypted = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                  serialization.BestAvailableEncryption(b"secret"))
    (folder / "encrypted.key").write_bytes(encrypted)
    for file in FILES:
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module")
def promtool(folder) -> dict[str, bool]:
    """Whether promtool accepts each file."""
    command = [tool("promtool"), "check", "web-config", *(folder / file.name for file in FILES)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = re.findall(r"^.*/(\S+\.yml) (SUCCESS|FAILED)", said.stdout + said.stderr, re.MULTILINE)
    assert len(found) == len(FILES)
    return {name: word == "SUCCESS" for name, word in found}


def test_the_fixtures_have_good_files_bad_ones_and_some_that_only_we_refuse():
    kinds = [file.name.split(".")[1] for file in FILES]
    assert min(map(kinds.count, ("good", "bad", "stricter"))) >= 10
    assert {*kinds} == {"good", "bad", "stricter"}


@pytest.mark.parametrize("name", [file.name for file in FILES])
def test_what_is_accepted_here_promtool_accepts_too(name, folder, promtool):
    kind = name.split(".")[1]
    assert promtool[name] is (kind != "bad")
    if kind == "good":
        read(folder / name)
        return
    with pytest.raises(SettingsError) as refused:
        read(folder / name)
    [line] = str(refused.value).splitlines()
    assert line.startswith(str(folder / name))


@pytest.mark.parametrize("name", ["password_in_plain_text", "password_is_a_number", "users_are_a_list", "hash_of_sha"])
def test_a_password_is_never_shown(name, folder):
    with pytest.raises(SettingsError) as refused:
        read(folder / f"{name}.bad.yml")
    assert not re.search("hunter2|123456789|W6ph5|'alice'", str(refused.value))


def test_an_encrypted_key_is_refused_and_no_password_asked_for(folder):
    with pytest.raises(SettingsError, match="key_file: is encrypted"):
        read(folder / "key_is_encrypted.bad.yml")


def test_what_the_file_says_of_tls_is_what_openssl_is_told(folder):
    tls = read(folder / "everything.good.yml").tls
    assert tls.verify_mode == ssl.CERT_REQUIRED
    assert (tls.minimum_version, tls.maximum_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    assert not tls.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    assert {one["name"] for one in tls.get_ciphers() if one["protocol"] == "TLSv1.2"} == {
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"}
    plain = read(folder / "tls.good.yml").tls
    assert plain.verify_mode == ssl.CERT_NONE
    assert plain.minimum_version == ssl.TLSVersion.TLSv1_2
    assert plain.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    assert read(folder / "client_auth_VerifyClientCertIfGiven.good.yml").tls.verify_mode == ssl.CERT_OPTIONAL
    assert read(folder / "min_TLS13.good.yml").tls.minimum_version == ssl.TLSVersion.TLSv1_3


def test_with_cipher_suites_of_tls_1_3_alone_nothing_older_is_spoken(folder):
    assert read(folder / "ciphers_of_tls13_only.good.yml").tls.minimum_version == ssl.TLSVersion.TLSv1_3


def test_a_file_without_a_certificate_is_plain_http(folder):
    assert read(folder / "users.good.yml").tls is None
    assert [*read(folder / "users.good.yml").users] == ["alice", "bob"]


def test_a_certificate_larger_than_any_is_refused_unread(folder, tmp_path):
    write_certificates(tmp_path)
    (tmp_path / "web.yml").write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}")
    with (tmp_path / "server.crt").open("r+b") as certificate:
        certificate.truncate(1 << 40)
    with pytest.raises(SettingsError, match=r"cert_file: .*server\.crt is larger than 1 MiB"):
        read(tmp_path / "web.yml")


def test_paths_are_relative_to_the_file(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    noted = []
    read(folder / "everything.good.yml", noted.append)
    assert noted == [folder / name for name in ("everything.good.yml", "server.crt", "server.key", "ca.crt")]


def test_the_end_of_the_certificate_that_ends_first_is_told(folder, tmp_path):
    assert read(folder / "users.good.yml").expiry is None
    for name, days in (("first", 20), ("second", 10)):
        (tmp_path / name).mkdir()
        make(tmp_path / name, days=days, now=datetime(2026, 1, 1, 1, tzinfo=UTC))
    chain = [(tmp_path / name / "server.crt").read_text() for name in ("first", "second")]
    (tmp_path / "server.key").write_bytes((tmp_path / "first/server.key").read_bytes())
    (tmp_path / "web.yml").write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}")
    for certificates, day in ((chain[:1], 21), (chain, 11)):
        (tmp_path / "server.crt").write_text("".join(certificates))
        assert read(tmp_path / "web.yml").expiry == datetime(2026, 1, day, tzinfo=UTC).timestamp()


def test_client_certificates_of_every_authority_are_taken_as_go_does_and_warned_about(folder, caplog):
    tls = read(folder / "client_auth_without_ca.good.yml").tls
    assert tls.verify_mode == ssl.CERT_REQUIRED
    system = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    system.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    assert tls.cert_store_stats() == system.cert_store_stats()
    [line] = [record.getMessage() for record in caplog.records]
    assert "without a client_ca_file" in line and "every authority" in line


def test_headers_are_text_where_yaml_makes_numbers_of_them(folder):
    assert read(folder / "everything.good.yml").headers["X-XSS-Protection"] == "0"
