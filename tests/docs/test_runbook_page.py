"""The runbook as the forecaster serves it, held against the runbook and the rules that link to it."""

import re

import yaml

from docs import generate
from stack.layout import ROOT
from tests.documents import anchors

RUNBOOK = (ROOT / "prometheus/runbook.md").read_text()
PAGE = (ROOT / "forecaster/shipped/runbook.html").read_text()
IDS = re.findall(r' id="([^"]+)"', PAGE)


def test_every_heading_has_an_anchor_of_its_own():
    assert len(IDS) == len({*IDS}) and {*IDS} == anchors(RUNBOOK)


def test_every_alert_links_to_an_entry_that_is_there():
    rules = [rule for file in (ROOT / "prometheus/rules").glob("*.yml")
             for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
    linked = [rule["annotations"]["runbook_url"].partition("#")[2] for rule in rules if "alert" in rule]
    assert linked and {*linked} <= {*IDS}


def test_the_list_at_the_top_leads_to_every_entry_and_every_link_to_one():
    listed = re.findall(r'<a href="#(\w+)">', PAGE.partition("</nav>")[0])
    assert listed == re.findall(r'<h2 id="(\w+)">', PAGE)
    assert {target.removeprefix("#") for target in re.findall(r'href="([^"]+)"', PAGE)} <= {*IDS}


def test_commands_and_queries_are_shown_as_they_are_written(monkeypatch, tmp_path):
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    (tmp_path / "prometheus").mkdir()
    (tmp_path / "prometheus/runbook.md").write_text(
        '# Runbook\n\nFirst.\n\n## Fleet Gone\n\n```promql\nup{job="a"} < 1\n```\n')
    text = generate.runbook()
    assert '<a href="#fleet-gone">Fleet Gone</a>' in text and '<h2 id="fleet-gone">Fleet Gone</h2>' in text
    assert 'up{job=&quot;a&quot;} &lt; 1\n</code></pre>' in text
