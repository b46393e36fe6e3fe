"""prometheus/runbook.md, held against the alert rules."""

import re
import shlex
import subprocess

import pytest
import yaml

from forecaster.capacity.priority import GUARDS
from grafana.active_alerts import WORDS
from stack.layout import ROOT
from tests.real_prometheus import stored
from tests.tools import tool

PROMETHEUS, PRESETS = ROOT / "prometheus", ROOT / "forecaster" / "presets"
RUNBOOK = (PROMETHEUS / "runbook.md").read_text()
RULES = [rule for file in sorted((PROMETHEUS / "rules").glob("*.yml"))
         for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
ALERTS = [*(rule["alert"] for rule in RULES if "alert" in rule), "FleetcastPrometheusDown"]  # a forecaster sends it
INCIDENTS = dict(re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", RUNBOOK, flags=re.MULTILINE | re.DOTALL))
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", RUNBOOK, flags=re.MULTILINE | re.DOTALL))
STEPS = {name: block.splitlines() for name, text in SECTIONS.items()
         for block in re.findall(r"^```sh\n(.*?)\n```$", text, flags=re.MULTILINE | re.DOTALL)[:1]}
QUERY = "promtool query instant http://127.0.0.1:9090 "
QUERIES = [shlex.split(step)[-1] for steps in STEPS.values() for step in steps if step.startswith(QUERY)]


def test_every_alert_has_its_heading_and_there_is_no_other():
    first, *headings = re.findall(r"^##? (.*)$", RUNBOOK, flags=re.MULTILINE)
    assert first == "Runbook"
    assert ALERTS
    assert sorted(headings) == sorted([*ALERTS, "Incidents"])


def test_every_incident_of_hosts_has_three_commands_and_there_is_no_other():
    configured = yaml.safe_load((PRESETS / "node_exporter.yml").read_text())["risk"].get("incidents", {})
    assert set(INCIDENTS) >= {"cpu_saturated", "memory_exhausted", *configured}
    assert set(INCIDENTS) <= set(WORDS)
    for name, text in INCIDENTS.items():
        [commands] = re.findall(r"^```sh\n(.*?)\n```$", text, flags=re.MULTILINE | re.DOTALL)
        assert len(commands.splitlines()) == 3, name
        checked = subprocess.run(["bash", "-n", "-c", commands], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{name}: {checked.stderr}"


@pytest.mark.parametrize("name", ALERTS)
def test_every_entry_says_what_it_means_what_to_check_how_to_silence_and_when_it_is_false(name):
    section = SECTIONS[name]
    parts = re.findall(r"^\*\*(Means\.|Check first|Silence\.|False alarm)", section, flags=re.MULTILINE)
    assert parts == ["Means.", "Check first", "Silence.", "False alarm"]
    command = re.search(rf"`amtool [^`]*silence add alertname={name} [^`]*--duration=[^`]*--comment=", section)
    assert bool(command) == (name != "FleetcastWatchdog")  # a silenced heartbeat is a lost one


@pytest.mark.parametrize(("priority", "window"), [("P1", "4 hours"), ("P2", "24 hours"), ("P3", "7 days")])
def test_what_fills_up_has_the_chance_from_which_on_it_has_its_priority(priority, window):
    chance, documented = GUARDS[priority].chance, (ROOT / "docs" / "alerts.md").read_text()
    assert f"full within {window} with a chance of {chance:g} or more" in SECTIONS[f"FleetcastCapacity{priority}"]
    assert f"| full within {window}, chance {chance:g}, for" in documented


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    with stored(tmp_path_factory.mktemp("prometheus"), ["up 1 1"]) as url:
        yield url


@pytest.mark.parametrize("name", ALERTS)
def test_the_first_three_steps_are_commands_that_work_as_written(name, prometheus):
    assert 3 <= len(STEPS[name]) <= 4
    for step in STEPS[name]:
        line = step.replace("http://127.0.0.1:9090", prometheus)
        program, *rest = shlex.split(line)
        if program in ("promtool", "amtool"):
            done = subprocess.run([tool(program), *rest], cwd=ROOT, capture_output=True, text=True, timeout=20,
                                  check=False)
            assert done.returncode == 0, f"{step}: {done.stdout}{done.stderr}"
        else:  # what curl asks for, tests/docs holds against the programs
            assert program in ("curl", "date", "timedatectl"), step


@pytest.mark.parametrize("name", ALERTS)
def test_an_entry_is_short_enough_for_the_middle_of_the_night(name):
    assert len(SECTIONS[name].split()) < 200


def test_every_query_is_valid_promql(tmp_path):
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(QUERIES)]
    assert len(rules) >= len(ALERTS)
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "runbook", "rules": rules}]}))
    result = subprocess.run([tool("promtool"), "check", "rules", str(tmp_path / "queries.yml")],
                            capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_recorded_series_it_quotes_is_recorded():
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    quoted = {name for query in QUERIES for name in re.findall(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", query)}
    assert quoted
    assert quoted <= recorded
