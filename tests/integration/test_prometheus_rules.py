"""prometheus.yml, rules and their promtool tests, held against promtool and against each other."""

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.tools import tool

PROMETHEUS = Path(__file__).resolve().parents[2] / "prometheus"
SEVERITY_OF = {"P1": "critical", "P2": "warning", "P3": "info", None: "none"}
WATCHDOG = "FleetcastWatchdog"


def promtool(*arguments: str | Path, cwd: Path = PROMETHEUS) -> subprocess.CompletedProcess:
    command = [tool("promtool"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def rules_of(folder: Path) -> list[dict]:
    files = sorted((folder / "rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules_of(PROMETHEUS) if "alert" in rule}
RECORDS = {rule["record"]: rule for rule in rules_of(PROMETHEUS) if "record" in rule}
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.yml"))
TEST_GROUPS = [group for file in TEST_FILES for group in yaml.safe_load(file.read_text())["tests"]]
ALERT_TESTS = [check for group in TEST_GROUPS for check in group.get("alert_rule_test", [])]


def failing_alerts(folder: Path) -> dict[str, set[bool]]:
    """Alerts whose promtool tests fail in `folder`: name -> {True: fires where silence is expected,
    False: does not fire as expected}."""
    result = promtool("test", "rules", *sorted((folder / "tests").glob("*.yml")), cwd=folder)
    failures = re.findall(r"alertname: (\w+), time: \w+, *\n\s*exp:(\[\])?", result.stdout + result.stderr)
    broken: dict[str, set[bool]] = {}
    for name, empty in failures:
        broken.setdefault(name, set()).add(bool(empty))
    return broken


def with_changed_alerts(tmp_path: Path, change) -> Path:
    """A copy of prometheus/ in which `change(rule)` was applied to every alert rule."""
    folder = tmp_path / "prometheus"
    shutil.copytree(PROMETHEUS, folder)
    for file in (folder / "rules").glob("*.yml"):
        content = yaml.safe_load(file.read_text())
        for group in content["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    change(rule)
        file.write_text(yaml.safe_dump(content))
    return folder


# promtool

def test_promtool_accepts_the_configuration_without_optional_targets():
    result = promtool("check", "config", "prometheus.yml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_promtool_accepts_the_configuration_with_optional_targets(tmp_path):
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    targets = tmp_path / "prometheus" / "targets"
    (targets / "node.yml").write_text('- targets: ["127.0.0.1:9100"]\n')
    (targets / "forecaster.yml").write_text('- targets: ["127.0.0.1:8002"]\n')
    result = promtool("check", "config", "prometheus.yml", cwd=tmp_path / "prometheus")
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    assert "does not exist" not in output, "prometheus.yml does not read the targets"


def test_promtool_accepts_every_rule_file():
    files = sorted((PROMETHEUS / "rules").glob("*.yml"))
    result = promtool("check", "rules", "--lint=all", "--lint-fatal", *files)
    assert files
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.timeout(300)  # promtool plays days of alerts
def test_every_promtool_test_passes():
    assert ALERT_TESTS, "promtool also passes on no tests at all"
    result = promtool("test", "rules", *TEST_FILES)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("SUCCESS") == len(TEST_FILES) > 0


# the tests cover the rules

@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_has_a_test_where_it_fires_and_one_where_it_stays_silent(name):
    checks = [check for check in ALERT_TESTS if check["alertname"] == name]
    assert [check for check in checks if check["exp_alerts"]], f"{name}: no test where it fires"
    silent = [group for group in TEST_GROUPS if group["input_series"]
              if (mine := [check for check in group.get("alert_rule_test", []) if check["alertname"] == name])
              if not any(check["exp_alerts"] for check in mine)]
    assert silent, f"{name}: no test group in which it stays silent from beginning to end"


def test_the_tests_name_only_alerts_and_records_that_exist():
    assert {check["alertname"] for check in ALERT_TESTS} == set(ALERTS), "a misspelt alert is always silent"
    queries = [check["expr"] for group in TEST_GROUPS for check in group.get("promql_expr_test", [])]
    assert {name for query in queries for name in re.findall(r"\w+:\w+:\w+", query)} == set(RECORDS)
    assert {name for query in queries for name in re.findall(r'alertname="(\w+)"', query)} <= set(ALERTS)


@pytest.mark.timeout(300)
def test_every_duration_is_held_by_a_test_that_turns_red_without_it(tmp_path):
    def hasty(rule):
        rule.pop("for", None)
        rule.pop("keep_firing_for", None)

    broken = failing_alerts(with_changed_alerts(tmp_path, hasty))
    too_early = {name for name, kinds in broken.items() if True in kinds}
    too_short = {name for name, kinds in broken.items() if False in kinds}
    assert too_early == {name for name, rule in ALERTS.items() if "for" in rule}
    assert too_short == {name for name, rule in ALERTS.items() if "keep_firing_for" in rule}


# conventions

@pytest.mark.parametrize("name", ALERTS)
def test_severity_stands_beside_its_priority(name):
    labels = ALERTS[name]["labels"]
    assert labels["severity"] == SEVERITY_OF[labels.get("priority")]
    assert ("priority" not in labels) == (name == WATCHDOG)


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_is_annotated_and_leads_to_its_runbook_entry(name):
    annotations = ALERTS[name]["annotations"]
    more = {"time"} if name == WATCHDOG else set()
    assert set(annotations) == {"summary", "description", "dashboard_url", "runbook_url"} | more
    assert annotations["runbook_url"] == f"http://127.0.0.1:8000/runbook#{name.lower()}"
    assert "127.0.0.1:8000" in annotations["dashboard_url"], "the page of a forecaster that runs"


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_which_program_it_is_about(name):
    labels = [alert["exp_labels"] for check in ALERT_TESTS if check["alertname"] == name
              for alert in check["exp_alerts"]]
    if name != WATCHDOG:
        assert any("job" in found and {"fleet", "instance"} & set(found) for found in labels), "two would be mixed"


def test_recording_rules_are_named_level_metric_operation():
    assert RECORDS
    for name in RECORDS:
        assert re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", name), name


@pytest.mark.parametrize("file", sorted((PROMETHEUS / "rules").glob("*.yml")), ids=lambda file: file.stem)
def test_every_duration_has_its_reason_above_it(file):
    lines = file.read_text().splitlines()
    for above, line in itertools.pairwise(lines):
        if re.match(r" +(for|keep_firing_for):", line):
            assert above.lstrip().startswith("#"), f"{file.name}: no reason given for {line.strip()!r}"


@pytest.mark.parametrize("name", ALERTS)
def test_a_restart_of_prometheus_never_reads_as_the_end_of_an_alert(name):
    # It begins a `for` of up to 10 minutes anew, and Alertmanager ends an alert 4 minutes after its last sending.
    number, unit = re.fullmatch(r"(\d+)([smh])", ALERTS[name].get("for", "0s")).groups()
    assert not 4 * 60 < int(number) * {"s": 1, "m": 60, "h": 3600}[unit] <= 10 * 60


# prometheus.yml

CONFIG = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
JOBS = {job["job_name"]: job for job in CONFIG["scrape_configs"]}


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


def static_targets(job: str) -> list[str]:
    return [target for group in JOBS[job].get("static_configs", []) for target in group["targets"]]


def test_scrapes_and_evaluations_follow_the_fleets_ticks():
    timing = CONFIG["global"]
    assert (timing["scrape_interval"], timing["evaluation_interval"]) == ("5s", "15s")
    assert seconds(timing["scrape_timeout"]) < seconds(timing["scrape_interval"])


def test_no_external_label_becomes_a_matcher_of_the_curves():
    assert "external_labels" not in CONFIG["global"]


def test_only_what_every_installation_has_is_a_fixed_target():
    fixed = {job: static_targets(job) for job in JOBS}
    assert fixed == {
        "fleet-exporter": ["127.0.0.1:8001"], "forecaster": ["127.0.0.1:8000"], "node": [],
        "prometheus": ["127.0.0.1:9090"], "alertmanager": ["127.0.0.1:9093"], "pager": ["127.0.0.1:8003"],
    }
    optional = {name: job["file_sd_configs"][0]["files"]
                for name, job in JOBS.items() if "file_sd_configs" in job}
    assert optional == {"forecaster": ["targets/forecaster*.yml"], "node": ["targets/node*.yml"]}


def test_optional_targets_have_a_folder_whose_files_stay_out_of_git():
    assert (PROMETHEUS / "targets" / ".gitignore").read_text().split() == ["*", "!.gitignore"], \
        "the folder must exist for Prometheus to watch it, and its files belong to one machine only"


def test_curves_are_read_from_both_forecasters_and_only_on_demand():
    urls = [remote["url"] for remote in CONFIG["remote_read"]]
    assert urls == ["http://127.0.0.1:8000/api/v1/read", "http://127.0.0.1:8002/api/v1/read"]
    for remote in CONFIG["remote_read"]:
        assert remote["read_recent"] is True
        assert remote["required_matchers"] == {"source": "curve"}
        assert seconds(remote["remote_timeout"]) <= 10


def test_a_page_is_out_well_within_ten_minutes():
    alertmanager = yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text())
    pager = next(route for route in alertmanager["route"]["routes"] if route["receiver"] == "pager")
    assert ALERTS["FleetcastServerP1"]["for"] == "1m"
    assert seconds(pager["group_wait"]) + 60 + seconds(CONFIG["global"]["evaluation_interval"]) < 120
