"""`fleet-forecaster export`: the files that ship, with own values, as the programs they are for take them."""

import json
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from forecaster.__main__ import main
from stack.layout import ROOT
from tests.tools import tool

pytestmark = pytest.mark.slow

OWN = ("--job=fleet/ahead", "--fleet=production", "--grafana-url=https://grafana.example.org/ops/",
       "--runbook-url=https://wiki.example.org/fleetcast", "--datasource=mimir",
       "--pager-url=https://on-call.example.org/p1", "--ticket-url=https://tickets.example.org/new",
       "--heartbeat-url=https://switch.example.org/beat")
KINDS = ("rules", "dashboards", "alertmanager", "kubernetes")
SHIPPED = [rule for path in (ROOT / "prometheus" / "rules").glob("*.yml")
           for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def export(kind: str, folder: Path, *flags: str) -> dict[str, str]:
    """What the command writes, by file name."""
    assert main(["export", kind, "--out", str(folder), *flags]) == 0
    return {path.name: path.read_text() for path in folder.iterdir()}


def rules_in(texts: dict[str, str]) -> list[dict]:
    return [rule for name, text in sorted(texts.items()) if name.endswith(".yml")
            for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def checked(program: str, *words: str) -> str:
    done = subprocess.run([tool(program), *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rules_are_taken_by_promtool_and_name_the_installation(tmp_path):
    made = export("rules", tmp_path, *OWN)
    checked("promtool", "check", "rules", *(str(tmp_path / name) for name in made if name.endswith(".yml")))
    text = "".join(text for name, text in made.items() if name.endswith(".yml"))
    assert 'up{job="fleet/ahead",fleet="production"}' in text and '"forecaster"' not in "".join(
        rule["expr"] for rule in rules_in(made))
    assert "127.0.0.1" not in text
    for alert in (rule for rule in rules_in(made) if "alert" in rule):
        assert alert["annotations"]["dashboard_url"].startswith("https://grafana.example.org/ops/d/fleetcast-")
        assert alert["annotations"]["runbook_url"] == f"https://wiki.example.org/fleetcast#{alert['alert'].lower()}"
    links = {rule["alert"]: rule["annotations"]["dashboard_url"] for rule in rules_in(made) if "alert" in rule}
    assert "/d/fleetcast-server?" in links["FleetcastServerP1"] and "var-server={{" in links["FleetcastServerP1"]
    assert "/d/fleetcast-overview?" in links["FleetcastFleetBlind"]
    assert "/d/fleetcast-quality?" in links["FleetcastCoverageLow"]
    assert "/d/fleetcast-operations?" in links["FleetcastForecasterDown"]


def test_without_a_grafana_alerts_link_to_the_page_and_the_runbook_of_the_forecaster(tmp_path, capsys):
    made = rules_in(export("rules", tmp_path, "--forecaster-url=https://ahead.example.org/"))
    links = {rule["alert"]: rule["annotations"] for rule in made if "alert" in rule}
    assert links["FleetcastServerP1"]["dashboard_url"] == "https://ahead.example.org/#{{ $labels.server }}"
    assert links["FleetcastFleetCritical"]["dashboard_url"] == "https://ahead.example.org/"
    assert links["FleetcastServerP1"]["runbook_url"] == "https://ahead.example.org/runbook#fleetcastserverp1"
    assert not capsys.readouterr().err


def test_without_values_rules_say_what_the_files_that_ship_say(tmp_path, capsys):
    made = {rule.get("alert") or repr(rule): rule for rule in rules_in(export("rules", tmp_path))}
    shipped = {rule.get("alert") or repr(rule): rule for rule in SHIPPED}
    assert {*shipped} - {*made} == {"FleetcastTargetDown"}  # nobody else has what it watches
    assert all(shipped[name] == rule for name, rule in made.items())
    told = capsys.readouterr().err
    assert "set --forecaster-url" in told and "--grafana-url" not in told and "--pager-url" not in told


@pytest.mark.parametrize(("kind", "folder"), [("alertmanager", "prometheus"), ("kubernetes", "deploy/kubernetes")])
def test_without_values_other_files_are_those_that_ship(kind, folder, tmp_path):
    for name, text in export(kind, tmp_path).items():
        assert yaml.safe_load(text) == yaml.safe_load((ROOT / folder / name).read_text()), name


def test_an_address_that_begins_like_the_demonstrations_is_no_reason_to_warn(tmp_path, capsys):
    export("rules", tmp_path, "--forecaster-url=http://127.0.0.1:8000/ahead")
    assert "--forecaster-url" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lowest", "left_out"), [("info", set()), ("warning", {"info"}), ("critical", {"info", "warning"})]
)
@pytest.mark.parametrize("kind", ["rules", "kubernetes"])
def test_alerts_below_the_lowest_severity_are_left_out_and_all_else_is_kept(kind, lowest, left_out, tmp_path):
    made = export(kind, tmp_path, f"--min-severity={lowest}")
    rules = rules_in(made) if kind == "rules" else [
        rule for group in yaml.safe_load(made["prometheusrule.yaml"])["spec"]["groups"] for rule in group["rules"]]
    kept = {rule["labels"]["severity"] for rule in rules if "alert" in rule}
    assert kept == {"none", "info", "warning", "critical"} - left_out
    assert sum("record" in rule for rule in rules) == sum("record" in rule for rule in SHIPPED)


def test_dashboards_ask_the_chosen_source_about_the_chosen_fleet_and_link_only_to_their_own_grafana(tmp_path):
    made = export("dashboards", tmp_path, *OWN)
    for name, text in made.items():
        board = json.loads(text)
        assert name == f"{board['uid']}.json"
        chosen = {one["name"]: one.get("current") for one in board["templating"]["list"]}
        assert chosen["datasource"] == {"text": "mimir", "value": "mimir"} and chosen["fleet"]["value"] == "production"
        assert 'job="forecaster"' not in text.replace('\\"', '"') and 'job=\\"fleet/ahead\\"' in text
        assert "fleetcast-prometheus" not in text and "fleetcast-alertmanager" not in text
        assert all(link["url"].startswith("/") for link in board["links"]) and "alertmanager=" not in text
    asked = json.loads(made["fleetcast-operations.json"])["panels"]
    assert any("job=\"fleet/ahead\"" in target["expr"] for panel in asked for target in panel.get("targets", ()))


def test_without_a_source_dashboards_take_grafanas_default(tmp_path):
    for text in export("dashboards", tmp_path).values():
        sources = [one for one in json.loads(text)["templating"]["list"] if one["name"] == "datasource"]
        assert [one.get("current") for one in sources] == [None]


@pytest.mark.parametrize(("lowest", "ticket"), [("warning", "ticket"), ("critical", "null")])
def test_routes_are_taken_by_amtool_and_lead_where_they_should(lowest, ticket, tmp_path):
    made = yaml.safe_load(export("alertmanager", tmp_path, *OWN, f"--min-severity={lowest}")["alertmanager.yml"])
    file = str(tmp_path / "alertmanager.yml")
    checked("amtool", "check-config", file)
    for priority, receiver in (("P1", "pager"), ("P2", ticket), ("P3", "null")):
        reached = checked("amtool", "config", "routes", "test", f"--config.file={file}", f"priority={priority}")
        assert reached.split() == [receiver]
    reached = checked("amtool", "config", "routes", "test", f"--config.file={file}", "alertname=FleetcastWatchdog")
    assert reached.split() == ["heartbeat"]
    urls = {one["name"]: hook["url"] for one in made["receivers"] for hook in one.get("webhook_configs", ())}
    assert urls["pager"] == "https://on-call.example.org/p1"
    assert urls["heartbeat"] == "https://switch.example.org/beat"
    assert urls.get("ticket") == ("https://tickets.example.org/new" if ticket == "ticket" else None)


def test_manifests_are_valid_and_scrape_under_the_names_that_the_rules_ask_for(tmp_path):
    made = export("kubernetes", tmp_path, *OWN)
    for name in ("servicemonitor", "prometheusrule"):
        schema = json.loads((ROOT / "tests" / "fixtures" / "kubernetes" / f"{name}.schema.json").read_text())
        jsonschema.validate(yaml.safe_load(made[f"{name}.yaml"]), schema)
    (endpoint,) = yaml.safe_load(made["servicemonitor.yaml"])["spec"]["endpoints"]
    given = {one["targetLabel"]: one["replacement"] for one in endpoint["relabelings"]}
    assert given == {"job": "fleet/ahead", "fleet": "production"}
    (container,) = yaml.safe_load(made["statefulset.yaml"])["spec"]["template"]["spec"]["containers"]
    assert "--alertmanager.fleet=production" in container["args"]
    other = export("kubernetes", tmp_path / "other", "--fleet=web")
    assert "--alertmanager.fleet=web " in other["statefulset.yaml"]
    assert 'up{job="fleet/ahead",fleet="production"}' in made["prometheusrule.yaml"]
    listed = yaml.safe_load(made["kustomization.yaml"])["resources"]
    assert {*listed} == {*made} - {"kustomization.yaml"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_says_how_it_was_made_and_is_the_same_the_next_time(kind, tmp_path):
    made = export(kind, tmp_path, "--job=fleet/ahead", "--min-severity=warning")
    for name, text in made.items():
        said = "fleet-forecaster export " + kind + " --job=fleet/ahead --min-severity=warning"
        assert name.endswith(".json") or said in text.splitlines()[0]  # JSON has no comments
    assert export(kind, tmp_path, "--job=fleet/ahead", "--min-severity=warning") == made


@pytest.mark.parametrize(("flag", "told"), [
    ("--job=", "job: got ''; expected a name of letters"),
    ('--job=a"b', "job: got 'a\"b'; expected a name of letters"),
    ("--fleet=$x", "fleet: got '$x'; expected a name of letters"),
    ("--datasource=my source", "datasource: got 'my source'; expected a name of letters"),
    ("--grafana-url=grafana.example.org", "grafana_url: got 'grafana.example.org'; expected an address"),
    ("--runbook-url=https://wiki.example.org/#top", "expected an address such as https://example.org without"),
    ("--pager-url=https://x/{{ . }}", "expected an address such as https://example.org without"),
    ("--min-severity=none", "min_severity: got 'none'; expected 'info', 'warning' or 'critical'"),
])
def test_a_value_that_cannot_be_used_is_named_and_nothing_is_written(flag, told, tmp_path, capsys):
    assert main(["export", "rules", "--out", str(tmp_path / "new"), flag]) == 1
    assert told in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_a_file_with_other_content_is_kept_unless_forced_and_then_nothing_at_all_is_written(tmp_path, capsys):
    (tmp_path / "fleetcast-servers.yml").write_text("groups: []  # mine\n")
    assert main(["export", "rules", "--out", str(tmp_path)]) == 1
    assert "fleetcast-servers.yml: exists with other content" in capsys.readouterr().err
    [kept] = tmp_path.iterdir()
    assert kept.read_text() == "groups: []  # mine\n"
    assert "mine" not in export("rules", tmp_path, "--force")["fleetcast-servers.yml"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["export", "rules", "--out", str(tmp_path / "file")]) == 1
    assert f"export: {tmp_path / 'file'}: cannot be written (File exists)" in capsys.readouterr().err


def test_a_failure_half_way_leaves_the_old_files_and_no_others(tmp_path, monkeypatch, capsys):
    made = export("rules", tmp_path)

    def full(path: Path, text: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["export", "rules", "--out", str(tmp_path), "--job=other", "--force"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == made
