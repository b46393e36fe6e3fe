"""The figures in the documents, held against the reports they come from."""

import json
import re

import numpy as np
import pytest

from forecaster.evaluation.limit import CORE
from stack.layout import ROOT
from tests.documents import DOCUMENTS, by_name, sentences

ACCURACY = "docs/accuracy.md"
REPORT = json.loads((ROOT / "forecaster/artifacts/default/report.json").read_text())
CHANCES = {name: json.loads(str(np.load(ROOT / f"forecaster/artifacts/{name}/chances.npz")["facts"]))["report"]
           for name in ("default", "servers")}
MEASURED = {path.stem: json.loads(path.read_text()) for path in (ROOT / "docs/accuracy").glob("*.json")}


def test_the_accuracy_is_that_of_the_models_report():
    figures = ("wql_30m", "wql_8h", "coverage80_30m", "coverage80_8h")
    assert by_name("Default model", ACCURACY) == {
        name: tuple(f"{of[figure]:g}" for figure in figures) for name, of in REPORT["signals"].items()}
    for said in (f"{REPORT['windows']} windows", f"in {REPORT['seconds']} s",
                 f"{REPORT['parameters']} parameters", f"{REPORT['epochs']} epochs",
                 f"is {REPORT['cpu_accuracy_30m']} at 30 minutes",
                 f"and {REPORT['cpu_accuracy_8h']} at 8 hours"):
        assert said in sentences(ACCURACY) + sentences("docs/training.md"), said


def test_the_distance_from_the_limit_is_that_of_the_last_measurement():
    """docs/accuracy holds the reports of `make accuracy`; the tables are theirs."""
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
    assert by_name("Against the limit", ACCURACY) == expected
    assert f"{report['default']['windows']:,} windows" in sentences(ACCURACY)


def test_the_figures_of_incidents_are_those_of_the_last_measurement():
    figures = ("base_rate", "brier", "skill", "auroc", "ece")
    chances = {f"{name}, {label.replace('m', ' min').replace('8h', '8 h')}": row for name in ("oracle", "default")
               for label, row in MEASURED["oracle"][name]["chances"].items()}
    assert by_name("Chances of incidents", ACCURACY) == {
        name: tuple(f"{row[f]:.{3 if f in ('skill', 'auroc') else 4}f}" for f in figures)
        for name, row in chances.items()
    }
    expected = {}
    for name in ("default", "heuristic"):
        for priority, title in (("P1", "P1"), ("P2", "P2 or worse")):
            row = MEASURED["fleet"]["models"][name]["incidents"][f"{priority}_30m"]
            expected[f"{name}, {title}"] = (str(row["alarms"]), str(row["incidents"]), f"{row['precision']:.3f}",
                                            f"{row['recall']:.3f}", f"{row['lead_minutes']:.0f}")
    assert by_name("Priorities against incidents", ACCURACY) == expected


def test_the_figures_of_real_servers_are_those_of_the_last_measurement():
    models = MEASURED["servers"]["models"]
    assert by_name("Real servers", ACCURACY) == {
        name: (f"{row['wql_mean']:.3f}", f"{row['sql_geo']:.4f}", f"{row['inside80']:.3f}",
               f"{row['cpu_wql_30m']:.3f}", f"{row['cpu_wql_8h']:.3f}") for name, row in models.items()}
    mine, other = models["servers"], models["last-day"]
    below = [f"{100 * (1 - mine[figure] / other[figure]):.0f} %" for figure in ("wql_mean", "sql_geo")]
    assert f"That is {below[0]} and {below[1]} below the better yardstick" in sentences(ACCURACY)
    assert f"{MEASURED['servers']['windows']:,} windows" in sentences(ACCURACY)


def test_the_chances_of_real_servers_are_those_of_the_last_measurement():
    report, expected = MEASURED["incidents"], {}
    for window, span in (("30m", "30 min"), ("8h", "8 h")):
        for name in ("servers", "gbm", "now", "predict-linear", "yesterday", "last-day", "seasonal-naive"):
            figures = [report["draws"]["spread"][name][window]["any"][figure]
                       for figure in ("skill", "begin", "auroc", "recall", "ece")]
            expected[f"{name}, {span}"] = tuple(
                f"{mean:.3f}" + f" ({least:.3f} to {most:.3f})" * (name == "servers") for mean, least, most in figures)
    assert by_name("Incidents of real servers", ACCURACY) == expected


@pytest.mark.parametrize(("model", "title", "fleet"), [
    ("default", "How well they are calibrated", "any of 20 servers"),
    ("servers", "Chances of hosts", "any of 160 hosts")])
def test_the_chances_are_those_of_the_models_reports(model, title, fleet):
    titles = {"server": "incident of a server, {}", "begin": "begins within {}", "any": f"{fleet}, {{}}"}
    figures = ("said", "base_rate", "ece", "skill", "auroc")
    assert by_name(title, "docs/how-it-works.md") == {
        titles[kind].format(span): tuple(f"{row[f]:.{3 if f in ('skill', 'auroc') else 4}f}" for f in figures)
        for window, span in (("30m", "30 minutes"), ("8h", "8 hours"))
        for kind, row in CHANCES[model]["windows"][window].items()
    }


def test_every_figure_of_the_readme_stands_in_the_page_it_links_to():
    pages = " ".join(DOCUMENTS[name] for name in (ACCURACY, "docs/performance.md"))
    rows = by_name("How accurate, how fast", "README.md")
    figures = {found for what, (figure,) in rows.items() for found in re.findall(r"\d[\d,.]*\d", f"{figure} {what}")}
    assert len(figures) >= 10
    assert {figure for figure in figures if not re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d])", pages)} == set()
