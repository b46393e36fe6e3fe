"""Hundreds of entities that fill up at once: the texts of their alerts, by promtool."""

import subprocess
from pathlib import Path

import yaml

from stack.layout import ROOT
from tests.tools import tool

RULES = [ROOT / "prometheus" / "rules" / f"{name}.yml" for name in ("servers", "capacity")]


def fires(folder: Path, entities: int, summary: str, description: str) -> str:
    """What promtool complains of where so many entities that are full do not fire, each with this summary after its
    name and this description."""
    given, expected = [], []
    for number in range(entities):
        about = {"job": "forecaster", "fleet": "hosts", "server": f"web{number:03}", "profile": "web",
                 "resource": "disk_space", "entity": "/data"}
        of = ",".join(f'{label}="{value}"' for label, value in about.items()) + ',instance="a"'
        given += [{"series": f'observed_capacity_full{{{of},priority="P1"}}', "values": "1x2"},
                  {"series": f"observed_capacity_used_ratio{{{of}}}", "values": "1x2"}]
        expected.append({
            "exp_labels": {**about, "priority": "P1", "severity": "critical"},
            "exp_annotations": {
                "summary": f"{about['server']} (web): disk space /data{summary}", "description": description,
                "dashboard_url": f"http://127.0.0.1:8000/#{about['server']}",
                "runbook_url": "http://127.0.0.1:8000/runbook#fleetcastcapacityfull"}})
    check = {"alertname": "FleetcastCapacityFull", "eval_time": "1m", "exp_alerts": expected}
    content = {"rule_files": [*map(str, RULES)], "evaluation_interval": "1m",
               "tests": [{"interval": "1m", "input_series": given, "alert_rule_test": [check]}]}
    (folder / "storm.yml").write_text(yaml.safe_dump(content))
    done = subprocess.run([tool("promtool"), "test", "rules", str(folder / "storm.yml")], capture_output=True,
                          text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_up_to_100_entities_have_each_its_own_text_and_of_more_the_number_is_said(tmp_path: Path):
    assert fires(tmp_path, 100, " is full", "100% are used.") == ""
    assert fires(tmp_path, 300, ", one of 300 that are full or will be within 7 days",
                 "Look for a common cause. The dashboard Capacity and GET /capacity list all of them by date.") == ""
