"""deploy/kubernetes-tls: what it changes of deploy/kubernetes is valid, fits together, and its probes log in."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from serving.doors.entry import Doors
from serving.web import Service, create_app
from tests.doors import HASH, PASSWORD, WRONG, write_certificates, write_users
from tests.served import Served

ROOT = Path(__file__).resolve().parents[2]
PLAIN, FOLDER = ROOT / "deploy" / "kubernetes", ROOT / "deploy" / "kubernetes-tls"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def container() -> dict:
    return patched()["spec"]["template"]["spec"]["containers"][0]


def patched() -> dict:
    """The StatefulSet as kustomize makes it. Only the operations that the patch has are known: append and replace."""
    made = copy.deepcopy(read(PLAIN / "statefulset.yaml"))
    for one in read(FOLDER / "statefulset.yaml"):
        *way, last = [int(part) if part.isdigit() else part for part in one["path"].split("/")[1:]]
        place = made
        for part in way:
            place = place[part]
        if last == "-":
            assert one["op"] == "add"
            place.append(one["value"])
        else:
            assert one["op"] == "replace" and last in place
            place[last] = one["value"]
    return made


def test_the_manifests_are_valid():
    kubernetes_validate.validate(patched(), "1.31", strict=True)
    schema = json.loads((ROOT / "tests/fixtures/kubernetes/podmonitor.schema.json").read_text())
    jsonschema.validate(read(FOLDER / "podmonitor.yaml"), schema)


def test_the_pod_monitor_takes_the_place_of_the_service_monitor_and_gives_the_same_labels():
    (mine,) = read(FOLDER / "podmonitor.yaml")["spec"]["podMetricsEndpoints"]
    (plain,) = read(PLAIN / "servicemonitor.yaml")["spec"]["endpoints"]
    assert {key: mine[key] for key in plain} == plain
    removed = read(FOLDER / "no-servicemonitor.yaml")
    assert removed["$patch"] == "delete" and removed["metadata"]["name"] == "forecaster"
    made = read(FOLDER / "kustomization.yaml")
    assert {*made["resources"], *(patch["path"] for patch in made["patches"])} == {
        "../kubernetes", *(path.name for path in FOLDER.iterdir() if path.name != "kustomization.yaml")}


def test_prometheus_and_the_probes_use_the_secrets_that_the_forecaster_mounts(container):
    (endpoint,) = read(FOLDER / "podmonitor.yaml")["spec"]["podMetricsEndpoints"]
    secrets = {one["name"]: one["secret"]["secretName"] for one in patched()["spec"]["template"]["spec"]["volumes"]
               if "secret" in one}
    mounted = {secrets.get(one["name"]): one["mountPath"] for one in container["volumeMounts"]}
    assert endpoint["tlsConfig"]["ca"]["secret"] == {"name": "forecaster-web", "key": "ca.crt"}
    assert {one["name"] for one in endpoint["basicAuth"].values()} == {"forecaster-login"}
    assert f"--web.config.file={mounted['forecaster-web']}/web.yml" in container["args"]
    assert mounted["forecaster-login"] == "/etc/fleetcast/login"


@pytest.mark.parametrize("password, code", [(PASSWORD, 0), (WRONG, 1)])
def test_a_probe_succeeds_with_the_login_only(container, tmp_path, password, code):
    (tmp_path / "web").mkdir()
    (tmp_path / "login").mkdir()
    write_certificates(tmp_path / "web")
    (tmp_path / "login" / "username").write_text("prometheus")
    (tmp_path / "login" / "password").write_text(password)
    doors = Doors("example", web_config=write_users(tmp_path / "web", tls=True, prometheus=HASH))
    (text,) = (one["value"] for one in container["env"] if one["name"] == "PROBE")
    with Served(create_app(Service("example", "An example."), doors=doors), tls=doors.tls) as served:
        program = text.replace("/etc/fleetcast", str(tmp_path)).replace(":8000", f":{served.address[1]}")
        command = [word.replace("python", sys.executable) for word in container["livenessProbe"]["exec"]["command"]]
        done = subprocess.run(command, env={"PROBE": program}, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == code, done.stderr
    assert ("401" in done.stderr) == bool(code)
