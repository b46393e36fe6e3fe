"""What the documents say of alerts, accuracy, files and versions, held against the tree."""

import json
import re

import numpy as np
import pytest
import yaml

from forecaster.limit import CORE
from serving import __version__
from stack.layout import ROOT
from tests.documents import DOCUMENTS, anchors, by_name, sentences

FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
ALERTS = {rule["alert"]: rule for file in (ROOT / "prometheus/rules").glob("*.yml")
          for group in yaml.safe_load(file.read_text())["groups"]
          for rule in group["rules"] if "alert" in rule}
REPORT = json.loads((ROOT / "forecaster/models/default/report.json").read_text())


def test_every_alert_is_listed_with_its_priority_and_leads_to_its_runbook_entry():
    assert ALERTS
    assert {name: cells[:3] for name, cells in by_name("Alerts").items()} == {
        f"[{name}](prometheus/runbook.md#{name.lower()})":
        (rule["labels"].get("priority", "–"), rule["labels"]["severity"], rule.get("for", "0s"))
        for name, rule in ALERTS.items()}


def test_the_accuracy_is_that_of_the_models_report():
    figures = ("wql_30m", "wql_8h", "coverage80_30m", "coverage80_8h")
    assert by_name("Accuracy") == {
        name: tuple(f"{of[figure]:g}" for figure in figures) for name, of in REPORT["signals"].items()}
    for said in (f"{REPORT['windows']} windows", f"in {REPORT['seconds']} s",
                 f"{REPORT['parameters']} parameters", f"{REPORT['epochs']} epochs",
                 f"is {REPORT['cpu_accuracy_30m']} at 30 minutes",
                 f"and {REPORT['cpu_accuracy_8h']} at 8 hours"):
        assert said in sentences("Accuracy"), said


MEASURED = {path.stem: json.loads(path.read_text()) for path in (ROOT / "docs/accuracy").glob("*.json")}


def test_the_distance_from_the_limit_is_that_of_the_last_measurement():
    """docs/accuracy holds the reports of `make accuracy`; the README's tables are theirs."""
    report = MEASURED["oracle"]
    expected = {}
    for name in ("oracle", "default", "heuristic", "persistence", "seasonal-naive"):
        row = report[name]
        ratio, cpu = row.get("ratio", {"30m": 1, "8h": 1}), row["signals"]["cpu_pct"]
        inside = [f"{np.mean([row['signals'][c][f'coverage80_{span}'] for c in CORE]):.3f}" for span in ("30m", "8h")]
        right = [f"{x:.1f}" if (x := cpu[f"accuracy_{span}"]) > 0 else "below 0" for span in ("30m", "8h")]
        figures = ("1", "1") if name == "oracle" else (f"{ratio['30m']:.3f}", f"{ratio['8h']:.3f}")
        expected[name] = (*figures, *inside, *right)
    for steps, ratio in report["default"]["encoder"].items():
        expected[f"default, {steps} steps of history"] = (f"{ratio['30m']:.3f}", f"{ratio['8h']:.3f}", *"––––")
    assert by_name("Against the limit") == expected
    assert f"{report['default']['windows']:,} windows" in sentences("Against the limit")


def test_the_figures_of_incidents_are_those_of_the_last_measurement():
    figures = ("base_rate", "brier", "skill", "auroc", "ece")
    chances = {f"{name}, {label.replace('m', ' min').replace('8h', '8 h')}": row for name in ("oracle", "default")
               for label, row in MEASURED["oracle"][name]["chances"].items()}
    assert by_name("Chances of incidents") == {
        name: tuple(f"{row[f]:.{3 if f in ('skill', 'auroc') else 4}f}" for f in figures) for name, row in chances.items()}
    expected = {}
    for name in ("default", "heuristic"):
        for priority, title in (("P1", "P1"), ("P2", "P2 or worse")):
            row = MEASURED["fleet"]["models"][name]["incidents"][f"{priority}_30m"]
            expected[f"{name}, {title}"] = (str(row["alarms"]), str(row["incidents"]), f"{row['precision']:.3f}",
                                            f"{row['recall']:.3f}", f"{row['lead_minutes']:.0f}")
    assert by_name("Priorities against incidents") == expected


def test_the_figures_of_real_servers_are_those_of_the_last_measurement():
    models = MEASURED["servers"]["models"]
    assert by_name("Real servers") == {
        name: (f"{row['wql_mean']:.3f}", f"{row['sql_geo']:.4f}", f"{row['inside80']:.3f}",
               f"{row['cpu_wql_30m']:.3f}", f"{row['cpu_wql_8h']:.3f}") for name, row in models.items()}
    mine, other = models["servers"], models["last-day"]
    below = [f"{100 * (1 - mine[figure] / other[figure]):.0f} %" for figure in ("wql_mean", "sql_geo")]
    assert f"That is {below[0]} and {below[1]} below the better yardstick" in sentences("Real servers")
    assert f"{MEASURED['servers']['windows']:,} windows" in sentences("Real servers")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_of_a_document_leads_to_a_file_and_heading(document):
    for target in re.findall(r"\]\(([^)]+)\)", DOCUMENTS[document]):
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert path.startswith("https://") or file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_and_folder_a_document_names_is_there(document):
    for path in re.findall(r"`([\w.-]+/[\w./-]*)`", DOCUMENTS[document]):
        assert path.split("/")[0] not in FOLDERS or (ROOT / path).exists(), path
    for name in re.findall(r"`(\w+\.(?:py|yml|md|toml|txt))`", DOCUMENTS[document]):
        assert (ROOT / name).exists() or (ROOT / document).with_name(name).exists(), name


def test_the_changelog_begins_with_the_version_that_runs():
    text = DOCUMENTS["CHANGELOG.md"]
    versions = re.findall(r"^## \[(.*?)\] - (?:unreleased|\d{4}-\d\d-\d\d)$", text, flags=re.MULTILINE)
    assert versions[0] == __version__
    kinds = set(re.findall(r"^### (.*)$", text, flags=re.MULTILINE))
    assert kinds
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
