"""deploy/kubernetes: manifests that are valid, fit together, and start the forecaster that is in the image."""

import json
import re
import runpy
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from werkzeug.test import Client

from forecaster.__main__ import _parser
from forecaster.commands.flags import read_config
from forecaster.sources.shard import Shard
from serving.net.options import WebOptions
from serving.net.origin import Guard
from serving.net.runner import parse_address
from serving.web import Service, create_app
from tests.tools import tool

ROOT = Path(__file__).resolve().parents[2]
FOLDER, SCHEMAS = ROOT / "deploy" / "kubernetes", ROOT / "tests" / "fixtures" / "kubernetes"
VERSION = "1.31"  # of Kubernetes, whose schemas the core kinds are held against


def manifest(name: str) -> dict:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


@pytest.fixture(scope="module")
def pod() -> dict:
    return manifest("statefulset")["spec"]["template"]


@pytest.mark.parametrize("name", ["statefulset", "service", "poddisruptionbudget", "networkpolicy"])
def test_a_core_manifest_is_valid(name):
    kubernetes_validate.validate(manifest(name), VERSION, strict=True)


def test_the_schemas_notice_a_misspelt_field():
    broken = manifest("statefulset")
    broken["spec"]["replcas"] = 2
    with pytest.raises(kubernetes_validate.ValidationError, match="replcas"):
        kubernetes_validate.validate(broken, VERSION, strict=True)


@pytest.mark.parametrize("name", ["servicemonitor", "prometheusrule"])
def test_a_manifest_of_the_prometheus_operator_is_valid(name):
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(manifest(name), schema)


def test_kustomize_takes_every_manifest_and_nothing_else():
    resources = manifest("kustomization")["resources"]
    assert sorted(resources) == sorted(path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")


def test_the_rules_are_those_of_prometheus_and_promtool_takes_them(tmp_path):
    made = runpy.run_path(str(FOLDER / "rules.py"))["manifest"]()
    assert (FOLDER / "prometheusrule.yaml").read_text() == made, "run: python deploy/kubernetes/rules.py"
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump(yaml.safe_load(made)["spec"]))
    done = subprocess.run([tool("promtool"), "check", "rules", rules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(re.search(r"(\d+) rules found", done.stdout)[1]) > 20


def test_every_pod_is_a_shard_of_its_own_and_all_of_them_are_the_fleet(pod):
    count = manifest("statefulset")["spec"]["replicas"]
    shards = []
    for ordinal in range(count):
        arguments = [a.replace("$(POD_NAME)", f"forecaster-{ordinal}") for a in pod["spec"]["containers"][0]["args"]]
        assert arguments[0] == "fleet-forecaster"
        config = read_config(_parser().parse_args(arguments[1:]))
        shards.append(config.share)
        assert config.listen.endswith(":8000") and config.storage == Path("/data")
        (endpoint,) = manifest("servicemonitor")["spec"]["endpoints"]
        assert {"targetLabel": "fleet", "replacement": config.alertmanager.fleet} in endpoint["relabelings"]
        assert config.alertmanager.url == "http://alertmanager-operated:9093"
    assert shards == [Shard(ordinal, count) for ordinal in range(count)]


def test_every_forecaster_is_taken_by_the_name_that_its_service_gives_it(pod):
    arguments = _parser().parse_args(pod["spec"]["containers"][0]["args"][1:])
    options, (listen, _) = WebOptions.of(arguments), parse_address(arguments.listen)
    answered = Client(Guard(create_app(Service("example", "An example.")), listen, options))
    name = f"forecaster-0.{manifest('service')['metadata']['name']}"
    for host in (name, f"{name}.monitoring.svc", f"{name}.monitoring.svc.cluster.local", "10.1.2.3"):
        assert answered.get("/-/healthy", headers={"Host": f"{host}:8000"}).status_code == 200


def test_names_ports_and_labels_fit_together(pod):
    labels, service = pod["metadata"]["labels"], manifest("service")
    container = pod["spec"]["containers"][0]
    wanted = {"app.kubernetes.io/name": "forecaster"}
    assert wanted.items() <= labels.items() and wanted.items() <= service["metadata"]["labels"].items()
    for selector in (manifest("statefulset")["spec"]["selector"]["matchLabels"], service["spec"]["selector"],
                     manifest("poddisruptionbudget")["spec"]["selector"]["matchLabels"],
                     manifest("servicemonitor")["spec"]["selector"]["matchLabels"]):
        assert selector == wanted
    assert manifest("statefulset")["spec"]["serviceName"] == service["metadata"]["name"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports == {"http"}
    assert {e["port"] for e in manifest("servicemonitor")["spec"]["endpoints"]} == {
        p["name"] for p in service["spec"]["ports"]
    }
    assert {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")} == {"/-/healthy"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/-/ready"
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    claims = {claim["metadata"]["name"] for claim in manifest("statefulset")["spec"]["volumeClaimTemplates"]}
    assert mounts == claims | {volume["name"] for volume in pod["spec"]["volumes"]}


def test_only_prometheus_reaches_a_forecaster_and_it_reaches_only_what_its_arguments_name(pod):
    policy, container = manifest("networkpolicy")["spec"], pod["spec"]["containers"][0]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    (ingress,) = policy["ingress"]
    assert {port["port"] for port in ingress["ports"]} == {port["name"] for port in container["ports"]}
    assert all("podSelector" in source for source in ingress["from"])
    reached = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    named = {int(port) for port in re.findall(r"=http://[a-z-]+:(\d+)", " ".join(container["args"]))}
    assert reached == named | {53}


def test_a_pod_cannot_take_more_of_its_node_than_it_needs(pod):
    container = pod["spec"]["containers"][0]
    assert {"cpu", "memory"} == set(container["resources"]["limits"])
    assert all("sizeLimit" in volume["emptyDir"] for volume in pod["spec"]["volumes"])


def test_scrapes_carry_what_rules_and_dashboards_know_a_fleet_by():
    (endpoint,) = manifest("servicemonitor")["spec"]["endpoints"]
    given = {one["targetLabel"]: one["replacement"] for one in endpoint["relabelings"]}
    assert given["job"] == "forecaster" and given["fleet"]


def test_the_container_is_the_image_of_this_version_and_has_no_more_rights_than_it_needs(pod):
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    (image,) = manifest("kustomization")["images"]
    assert (image["name"], image["newTag"]) == ("fleetcast", version)
    container, user = (
        pod["spec"]["containers"][0],
        re.search(r"^USER (\d+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[1],
    )
    assert container["image"] == image["name"] and pod["spec"]["securityContext"]["runAsUser"] == int(user)
    assert container["securityContext"]["readOnlyRootFilesystem"] and pod["spec"]["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
