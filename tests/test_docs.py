"""What the documents say of alerts, accuracy, files and versions, held against the tree."""

import json
import re

import pytest
import yaml

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
