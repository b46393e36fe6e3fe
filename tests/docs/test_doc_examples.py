"""The files in examples/, held against the programs that read such files."""

import json
import math
import subprocess
import urllib.parse
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from forecaster.__main__ import main
from forecaster.config import load_config
from forecaster.publish.gauges import METRICS
from stack.layout import ROOT
from stack.webhook import parse
from tests.documents import DOCUMENTS
from tests.tools import tool

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples"
PAGE = json.loads((EXAMPLES / "page.json").read_text())
REPORT = json.loads((EXAMPLES / "backtest.json").read_text())


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir() if path.suffix not in (".md", ".py")))
def test_every_example_stands_in_the_list_with_its_command(name):
    part = next(part for part in DOCUMENTS["examples/README.md"].split("\n## ") if f"[{name}]({name})" in part)
    assert f"examples/{name}" in part.partition("```sh")[2]


def test_the_configuration_is_good_and_its_queries_are_promql(tmp_path, capsys):
    assert main(["check-config", "--config.file", str(EXAMPLES / "own-fleet.yml")]) == 0, capsys.readouterr().err
    config = load_config(EXAMPLES / "own-fleet.yml")
    rules = [{"record": name, "expr": signal.query.replace("$step", "5m")} for name, signal in config.signals.items()]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "signals", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "queries.yml")
    for rule in rules:
        assert "by (" not in rule["expr"], "the labels of server and profile stay"


def test_the_model_of_the_configuration_can_be_loaded():
    from forecaster.service.assembly import load_model

    assert load_model(load_config(EXAMPLES / "own-fleet.yml"))


def test_the_scrape_is_a_page_as_prometheus_takes_it_of_series_that_exist():
    text = (EXAMPLES / "metrics.txt").read_text()
    promtool("check", "metrics", text=text)
    exposed = {name.replace("<signal>", signal): {*labels} for name, labels, _, _ in METRICS
               for signal in load_config("fleet").signals}
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert len(samples) > 25
    for sample in samples:
        assert {*sample.labels} == exposed[sample.name], sample


def test_the_page_is_a_webhook_of_alertmanager_for_alerts_of_ours():
    assert PAGE["version"] == "4"
    assert {
        "receiver",
        "status",
        "alerts",
        "groupLabels",
        "commonLabels",
        "commonAnnotations",
        "externalURL",
        "version",
        "groupKey",
        "truncatedAlerts",
    } == {*PAGE}
    alerts = parse((EXAMPLES / "page.json").read_bytes()).alerts
    assert alerts
    rules = [rule for file in (ROOT / "prometheus/rules").glob("*.yml")
             for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
    for alert, sent in zip(alerts, PAGE["alerts"], strict=True):
        [rule] = [rule for rule in rules if rule.get("alert") == alert.labels["alertname"]]
        assert rule["labels"].items() <= alert.labels.items()
        assert {*(alert.annotations or {})} == {*rule["annotations"]}
        [expression] = urllib.parse.parse_qs(urllib.parse.urlsplit(sent["generatorURL"]).query)["g0.expr"]
        assert "".join(expression.split()) == "".join(rule["expr"].split())


def test_the_report_has_every_figure_of_every_signal():
    [(name, model)] = REPORT["models"].items()
    assert name == "default" and model["windows"] == REPORT["windows"] == 80
    assert list(model["signals"]) == list(load_config("fleet").signals)
    for figures in model["signals"].values():
        assert {"wql_30m", "wql_8h", "coverage80_30m", "coverage80_8h", "sql"} <= {*figures}
        assert all(math.isfinite(figure) for figure in figures.values())


def promtool(*arguments: str | Path, text: str | None = None) -> None:
    """Runs promtool, which must find nothing to complain about."""
    result = subprocess.run(
        [tool("promtool"), *map(str, arguments)], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
