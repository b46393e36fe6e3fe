"""docker-compose.yml and the Dockerfile, as far as they can be checked without a container engine.

`make containers` starts them (tests/containers). The programs in the images are the ones the stack runs natively, so
the real programs judge the flags.
"""

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from stack.layout import PORTS, ROOT
from tests.tools import tool

pytestmark = pytest.mark.slow

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
SCHEMA = ROOT / "tests" / "fixtures" / "compose" / "compose_spec.json"
ONE_SHOT = {"history"}
LONG_RUNNING = sorted(set(SERVICES) - ONE_SHOT)
PROGRAMS = {
    "prometheus": ["prometheus"],
    "alertmanager": ["alertmanager"],
    "node-exporter": ["node_exporter"],
}


def mounts(service: str) -> dict[str, tuple[Path | str, str]]:
    """(file or folder here or name of the volume, mode) by path in the container."""
    found = {}
    for text in SERVICES[service].get("volumes", []):
        source, target, *mode = text.split(":")
        found[target] = (ROOT / source if source.startswith(".") else source, mode[0] if mode else "rw")
    return found


def help_text(service: str) -> tuple[str, list[str]]:
    """What the service's program says of its flags, and the words of the service's command that follow it."""
    command = [str(word) for word in SERVICES[service]["command"]]
    if service in PROGRAMS:
        start, rest = [tool(PROGRAMS[service][0])], command
    elif command[0] == "python":
        start, rest = [sys.executable, *command[1:3]], command[3:]
    else:
        module = {"fleet-exporter": "exporter", "fleet-forecaster": "forecaster"}[command[0]]
        start, rest = [sys.executable, "-m", module, command[1]], command[2:]
    done = subprocess.run(
        [*start, "--help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout + done.stderr, rest


def test_the_file_follows_the_compose_specification():
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(
        {key: value for key, value in COMPOSE.items() if key != "name"}
    )  # newer than this schema
    assert re.fullmatch("[a-z0-9][a-z0-9_-]*", COMPOSE["name"])


def test_the_services_of_the_stack_are_there():
    assert set(PORTS) | {"history"} == set(SERVICES)


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_images_are_pinned_by_digest_and_named_in_full_as_podman_wants_them(service: str):
    image = SERVICES[service]["image"]
    own = r"fleetcast:\d+(\.\d+)+"
    others = r"docker\.io/[a-z]+/[a-z-]+:v?\d+(\.\d+)+@sha256:[0-9a-f]{64}"
    assert re.fullmatch(own if "build" in SERVICES[service] else others, image), f"{image} is no exact image"


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_no_service_runs_as_root_or_may_become_it(service: str):
    settings = SERVICES[service]
    assert settings["user"].split(":")[0] not in ("0", "root")
    assert settings["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in settings["security_opt"]
    assert not settings.get("privileged")


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_service_can_neither_write_to_its_root_nor_take_the_machine(service: str):
    settings = SERVICES[service]
    assert settings["read_only"] is True
    assert re.fullmatch(r"\d+[mg]", settings["mem_limit"])
    assert settings["pids_limit"] and 0 < settings["cpus"] <= 1, "Docker refuses more CPUs than the machine has"
    assert all("size=" in text for text in settings.get("tmpfs", []))


@pytest.mark.parametrize("service", LONG_RUNNING)
def test_every_lasting_service_is_checked_on_its_own_port_and_restarted(service: str):
    check = SERVICES[service]["healthcheck"]
    assert f"127.0.0.1:{PORTS[service]}/" in " ".join(check["test"])
    assert SERVICES[service]["restart"] == "unless-stopped"


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_what_is_mounted_exists_and_configuration_is_read_only(service: str):
    for target, (source, mode) in mounts(service).items():
        if isinstance(source, Path):
            assert source.exists(), f"{source}, mounted at {target}, does not exist"
            assert mode == "ro", f"{target} can be written"
        elif not source.startswith("/"):
            assert source in COMPOSE["volumes"], f"volume {source} is not declared"


@pytest.mark.parametrize("service", sorted(set(LONG_RUNNING) - {"grafana"} | ONE_SHOT))
def test_the_real_programs_know_the_flags(service: str):
    text, words = help_text(service)
    flags = [word.partition("=")[0] for word in words if word.startswith("--")]
    assert flags
    for flag in flags:
        assert re.search(rf"{re.escape(flag)}\b", text), f"{service} does not know {flag}"


@pytest.mark.parametrize("service", sorted(set(LONG_RUNNING) - {"grafana"}))
def test_the_containers_listen_where_the_native_stack_does(service: str):
    words = " ".join(str(word) for word in SERVICES[service]["command"])
    assert f":{PORTS[service]}" in words


def test_containers_and_native_stack_share_flags_and_configuration():
    native = dict(
        line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line[0] != "#"
    )

    def flags(words: list[str]) -> set[str]:
        return {word.partition("=")[0] for word in words if word.startswith("--")}

    for service in ("exporter", "forecaster", "forecaster-node", "pager", "prometheus", "alertmanager"):
        # the source is in the preset, links come from stack/parts.py
        own = flags([str(word) for word in SERVICES[service]["command"]]) - {"--source.url", "--web.link"}
        assert own == flags(shlex.split(native[service])), service


def test_the_pages_link_to_those_of_the_other_services_where_they_are_published():
    for service in ("exporter", "forecaster", "forecaster-node", "pager"):
        words = [str(word) for word in SERVICES[service]["command"]]
        links = [words[at + 1].partition("=")[2] for at, word in enumerate(words) if word == "--web.link"]
        published = {f"http://{':'.join(port.split(':')[:2])}/" for name, of in SERVICES.items() if name != service
                     for port in of.get("ports", ())}
        assert set(links) == published and len(links) == 6


def test_nobody_can_stop_or_reload_prometheus_over_the_network():
    assert not any("lifecycle" in str(word) for word in SERVICES["prometheus"]["command"])
    assert "lifecycle" not in (ROOT / "Procfile").read_text()


def test_prometheus_accepts_its_configuration_as_it_is_mounted(tmp_path: Path):
    for target, (source, _) in mounts("prometheus").items():
        if isinstance(source, Path):
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            copy(source, tmp_path / Path(target).name)
    done = subprocess.run(
        [tool("promtool"), "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "SUCCESS" in done.stdout
    targets = [yaml.safe_load(path.read_text()) for path in (tmp_path / "targets").glob("*.yml")]
    assert sorted(entry["targets"][0] for (entry,) in targets) == ["forecaster-node:8002", "node-exporter:9100"]


def test_the_configuration_is_that_of_make_up_with_names_for_addresses():
    folder = ROOT / "deploy" / "compose"
    made = runpy.run_path(str(folder / "addresses.py"))["files"]()
    for name, text in made.items():
        assert (folder / name).read_text() == text, "run: python deploy/compose/addresses.py"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.yml")} == {*made, "secure.yml"}


def test_whoever_reads_an_address_shares_a_network_with_the_service_it_names():
    folder = ROOT / "deploy" / "compose"
    texts = [(name, " ".join(map(str, SERVICES[name].get("command", [])))) for name in LONG_RUNNING]
    for reader, pattern in (("prometheus", "prometheus.yml"), ("prometheus", "targets/*.yml"),
                            ("alertmanager", "alertmanager.yml"), ("grafana", "datasources/*.yml")):
        texts += [(reader, path.read_text()) for path in folder.glob(pattern)]
    asked = {(reader, other) for reader, text in texts for other in re.findall(r"\b([a-z-]+):\d+\b", text)
             if other in SERVICES and other != reader}
    assert {("prometheus", "node-exporter"), ("alertmanager", "pager"), ("forecaster", "prometheus"),
            ("forecaster-node", "alertmanager"), ("grafana", "alertmanager")} <= asked
    for reader, other in asked:
        assert set(SERVICES[reader]["networks"]) & set(SERVICES[other]["networks"]), f"{reader} cannot reach {other}"


def test_only_who_must_shares_a_network():
    def reach(service: str) -> set[str]:
        mine = set(SERVICES[service]["networks"])
        return {name for name in LONG_RUNNING if name != service and mine & set(SERVICES[name]["networks"])}

    assert reach("exporter") == reach("node-exporter") == {"prometheus"}
    assert reach("pager") == {"alertmanager", "prometheus"}
    assert reach("grafana") == {"prometheus", "alertmanager"}
    assert COMPOSE["networks"]["machine"]["internal"] and SERVICES["node-exporter"]["networks"] == ["machine"]
    assert SERVICES["history"]["network_mode"] == "none"
    assert all(one["driver_opts"] == {"isolate": "true"} for one in COMPOSE["networks"].values())


def test_ports_are_published_on_loopback_only():
    for name in LONG_RUNNING:
        expected = [] if name == "node-exporter" else [f"127.0.0.1:{PORTS[name]}:{PORTS[name]}"]
        assert SERVICES[name].get("ports", []) == expected


def test_a_service_waits_for_services_that_can_satisfy_it():
    for name, settings in SERVICES.items():
        for other, need in settings.get("depends_on", {}).items():
            assert other in SERVICES, f"{name} waits for {other}, which is not there"
            if need["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
            if need["condition"] == "service_completed_successfully":
                assert SERVICES[other]["restart"] == "no"


def test_history_and_prometheus_share_folder_and_user():
    storage = SERVICES["history"]["command"][SERVICES["history"]["command"].index("--storage") + 1]
    assert f"--storage.tsdb.path={storage}" in SERVICES["prometheus"]["command"]
    assert mounts("history")["/prometheus"] == mounts("prometheus")["/prometheus"]
    assert SERVICES["history"]["user"] == SERVICES["prometheus"]["user"]
    assert f"-o {SERVICES['prometheus']['user'].split(':')[0]}" in (ROOT / "Dockerfile").read_text()


def test_grafana_shows_without_login_and_has_no_default_password():
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GRAFANA_ADMIN_PASSWORD:?")
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


def test_grafana_finds_its_data_sources_and_dashboards():
    folder = "/etc/grafana/provisioning"
    datasources, providers = (mounts("grafana")[f"{folder}/{name}"][0] for name in ("datasources", "dashboards"))
    sources = yaml.safe_load((datasources / "fleetcast.yml").read_text())["datasources"]
    assert {source["uid"]: source["url"] for source in sources} == {
        "fleetcast-prometheus": f"http://prometheus:{PORTS['prometheus']}",
        "fleetcast-alertmanager": f"http://alertmanager:{PORTS['alertmanager']}",
    }
    provider = yaml.safe_load((providers / "fleetcast.yml").read_text())["providers"][0]
    assert provider["options"]["path"] == "$FLEETCAST_DASHBOARDS"
    dashboards = SERVICES["grafana"]["environment"]["FLEETCAST_DASHBOARDS"]
    assert mounts("grafana")[dashboards][0] == ROOT / "grafana" / "dashboards"


def test_the_image_is_built_from_pinned_images_and_files_that_reach_the_build():
    text = (ROOT / "Dockerfile").read_text()
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    images = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    prometheus, python = images
    assert prometheus == SERVICES["prometheus"]["image"]
    assert re.fullmatch(r"docker\.io/library/python:3\.11-slim-bookworm@sha256:[0-9a-f]{64}", python)
    for words in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for source in words.split()[:-1]:
            assert (ROOT / source).exists(), f"{source} does not exist"
            assert source.rstrip("/") in kept, f".dockerignore keeps {source} out"
    assert text.rindex("USER 10001") > text.rindex("RUN ")
