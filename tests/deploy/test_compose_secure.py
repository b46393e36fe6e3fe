"""deploy/compose/secure.yml and what stack.compose makes for it, as far as they can be checked without an engine."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cryptography import x509

from serving.doors.entry import Doors
from serving.web import Service, create_app
from stack import compose
from stack.layout import PORTS, ROOT
from stack.secure import USER
from tests import compose_files
from tests.served import Served
from tests.tools import tool

pytestmark = pytest.mark.slow

PLAIN, COMPOSE = compose_files.read(compose_files.PLAIN)["services"], compose_files.read(compose_files.SECURE)
SERVICES = COMPOSE["services"]
WEB = "/secure/server/web.yml"
ADDED = {"--web.config.file", WEB, f"--web.config.file={WEB}"}
NATIVE = sorted(set(PORTS) - {"grafana"})


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """What `keys` makes, in place of /secure."""
    folder = tmp_path_factory.mktemp("secure")
    compose.make(folder)
    return folder


def words(service: str) -> list[str]:
    return [str(word) for word in SERVICES[service]["command"]]


def mounted(service: str) -> dict[str, str]:
    """Mode by path of what a service has below /secure."""
    found = [text.split(":")[1:] for text in SERVICES[service].get("volumes", []) if ":/secure/" in text]
    return {target: (mode or ["rw"])[0] for target, *mode in found}


def run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_both_files_together_follow_the_compose_specification():
    schema = json.loads((ROOT / "tests/fixtures/compose/compose_spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate({key: value for key, value in COMPOSE.items() if key != "name"})
    assert set(SERVICES) == set(PLAIN) | {"keys"}


@pytest.mark.parametrize("service", NATIVE)
def test_a_service_runs_as_without_it_but_for_scheme_configuration_and_login(service: str):
    rest = [word for word in words(service) if word not in ADDED and not word.startswith("--web.external-url=")]
    assert len(words(service)) - len(rest) >= 1, "it has no web configuration"
    text = " ".join(rest).replace("https://", "http://").replace("/secure/config/forecaster/", "forecaster/")
    plain = " ".join(map(str, PLAIN[service]["command"]))
    assert text.replace("/secure/config/prometheus/", "/etc/fleetcast/") == plain


@pytest.mark.parametrize("service", NATIVE)
def test_the_real_programs_know_the_flags_of_the_login(service: str):
    start = {"prometheus": [tool("prometheus")], "alertmanager": [tool("alertmanager")],
             "node-exporter": [tool("node_exporter")], "pager": [sys.executable, "-m", "stack.pager"],
             "exporter": [sys.executable, "-m", "exporter", "serve"]}
    done = subprocess.run([*start.get(service, [sys.executable, "-m", "forecaster", "serve"]), "--help"], cwd=ROOT,
                          capture_output=True, text=True, check=True, timeout=60)
    for flag in {word.partition("=")[0] for word in words(service) if word.startswith("--web.")}:
        assert flag in done.stdout + done.stderr


def test_no_address_is_left_that_speaks_plain_http(made):
    assert "http://" not in json.dumps(SERVICES)
    for file in (made / "config").rglob("*.yml"):
        assert "http://" not in file.read_text(), file
    jobs = yaml.safe_load((made / "config/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert {job["scheme"] for job in jobs} == {"https"}
    grafana = SERVICES["grafana"]["environment"]
    assert (grafana["GF_SERVER_PROTOCOL"], grafana["GF_AUTH_ANONYMOUS_ENABLED"]) == ("https", "false")


def test_the_real_programs_accept_what_is_made(made):
    run(tool("promtool"), "check", "web-config", made / "server/web.yml")
    run(tool("promtool"), "check", "config", made / "config/prometheus/prometheus.yml")
    run(tool("amtool"), "check-config", made / "config/prometheus/alertmanager.yml")
    for service in ("forecaster", "forecaster-node"):
        given = words(service)
        flags = ("--config.file", "--web.config.file")
        files = [word for flag in flags for word in (flag, place(made, given[given.index(flag) + 1]))]
        run(sys.executable, "-m", "forecaster", "check-config", *files)


def place(made: Path, path: str) -> Path:
    """A path below /secure, where it was made."""
    found = made / Path(path).relative_to("/secure")
    assert found.is_file(), path
    return found


@pytest.mark.parametrize("service", sorted(PORTS))
def test_whatever_a_service_names_below_secure_is_made_and_mounted_there(service: str, made):
    settings = [word.rpartition("=")[2] for word in words_of(SERVICES[service]) if "/secure/" in word]
    assert settings
    for path in settings:
        assert path == "/secure/config/grafana" or place(made, path)
        assert any(path.startswith(f"{folder}/") for folder in mounted(service)), path


def words_of(settings: dict[str, Any]) -> list[str]:
    """Command, health check and variables of a service."""
    said = (*settings.get("command", ()), *settings["healthcheck"]["test"], *settings.get("environment", {}).values())
    return [str(word) for word in said]


def test_each_service_can_read_what_it_needs_and_write_nothing_of_it():
    login = {"/secure/server": "ro", "/secure/client": "ro"}
    configured = {**login, "/secure/config": "ro"}
    assert {name: mounted(name) for name in PORTS} == {
        "exporter": login, "pager": login, "node-exporter": {"/secure/server": "ro"},
        **dict.fromkeys(("forecaster", "forecaster-node", "prometheus", "alertmanager", "grafana"), configured)}
    keys = SERVICES["keys"]
    assert mounted("keys") == dict.fromkeys(configured, "rw")
    for name in PORTS:
        assert SERVICES[name]["group_add"] == [keys["user"].split(":")[1]]
        assert SERVICES[name]["depends_on"]["keys"] == {"condition": "service_completed_successfully"}
    assert (keys["network_mode"], keys["restart"], keys["cap_drop"], keys["read_only"]) == ("none", "no", ["ALL"], True)
    assert keys["image"] == SERVICES["exporter"]["image"] and keys["user"] == SERVICES["exporter"]["user"]


def test_nobody_but_owner_and_group_reads_the_login_and_no_configuration_holds_it(made):
    for file in made.rglob("*"):
        secret = file.is_relative_to(made / "server") or file.is_relative_to(made / "client")
        expected = (0o750 if secret else 0o755) if file.is_dir() else (0o440 if secret else 0o444)
        assert file.stat().st_mode & 0o777 == expected, file
    password = (made / "client/password").read_text()
    assert len(password) >= 32
    holders = {file.name for file in made.rglob("*") if file.is_file() and password in file.read_text()}
    assert holders == {"password"}


def test_the_certificate_has_the_name_of_every_service_and_its_address_on_this_machine(made):
    certificate = x509.load_pem_x509_certificate((made / "server/server.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {*names.get_values_for_type(x509.DNSName)} == {*PORTS, "localhost"}
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_a_second_start_keeps_the_login_and_touches_no_configuration_that_is_the_same(made):
    def state() -> dict[Path, tuple[bytes, int]]:
        return {file: (file.read_bytes(), file.stat().st_ino) for file in made.rglob("*")
                if file.is_file() and file.name not in ("web.yml", "client.yml", "ca.crt")}

    before = state()
    (made / "config/prometheus/rules/old.yml").write_text("groups: []")
    compose.make(made)
    assert state() == before


def test_what_is_made_is_made_of_what_docker_compose_mounts():
    given = {text.split(":")[0]: text.split(":")[1] for text in SERVICES["keys"]["volumes"] if text.startswith("./")}
    for source in compose.SOURCES.values():
        assert any(f"./{source}/".startswith(f"{folder}/") for folder in given), f"{source} is not mounted"
    assert all(target == f"/app/{source[2:]}" and (ROOT / source).is_dir() for source, target in given.items())


def test_grafana_logs_in_at_its_data_sources(made):
    sources = yaml.safe_load((made / "config/grafana/datasources/fleetcast.yml").read_text())["datasources"]
    assert [source["url"] for source in sources] == ["https://prometheus:9090", "https://alertmanager:9093"]
    for source in sources:
        assert (source["basicAuth"], source["basicAuthUser"]) == (True, USER)
        assert source["jsonData"]["tlsAuthWithCACert"] is True
        files = {text.removeprefix("$__file{").removesuffix("}") for text in source["secureJsonData"].values()}
        assert files == {str(made / "client/password"), str(made / "client/ca.crt")}


@pytest.mark.parametrize("right", [True, False])
def test_a_health_check_succeeds_with_the_login_only(made, tmp_path, right: bool):
    client = tmp_path / "client"
    client.mkdir()
    for name in ("ca.crt", "password"):
        (client / name).write_bytes((made / "client" / name).read_bytes() if right or name == "ca.crt" else b"guessed")
    doors = Doors("example", web_config=made / "server/web.yml")
    with Served(create_app(Service("example", "An example."), doors=doors), tls=doors.tls) as served:
        url = f"https://127.0.0.1:{served.address[1]}/-/healthy"
        done = subprocess.run([sys.executable, "-m", "stack.compose", "--folder", tmp_path, "ask", url], cwd=ROOT,
                              capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode == 0) == right, done.stderr
    assert ("401" in done.stderr) == (not right)


@pytest.mark.parametrize("service", sorted(PORTS))
def test_every_service_is_checked_over_tls_on_its_own_port(service: str):
    assert f"https://127.0.0.1:{PORTS[service]}" in " ".join(SERVICES[service]["healthcheck"]["test"])
    assert SERVICES[service]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
