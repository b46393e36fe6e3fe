"""The dashboards' queries about incidents, answered by promtool for hosts of each kind."""

import subprocess
from pathlib import Path

import pytest
import yaml

from grafana import incidents
from tests.grafana_stack import interpolate
from tests.tools import tool

WHO = {"fleet": "hosts", "profile": ".*", "server": "web"}
# server -> priority, and of each incident (chance in 30 minutes, in 8 hours, on, expected at in s)
SERVERS = {
    "web": ("P1", {"memory_exhausted": (0.83, 0.97, False, 3900), "swap_storm": (0.0, 0.02, False, None)}),
    "batch": ("P3", {"cpu_saturated": (0.9, 0.95, True, None)}),
    "old": ("P2", {"memory_exhausted": (None, None, True, None)}),  # by the trend
    "calm": ("P3", {"memory_exhausted": (0.001, 0.02, False, None)}),
    "points": ("P2", {"memory_exhausted": (0.01, 0.03, False, None)}),  # by its score
    "young": ("P3", {}),
}


def series(servers: dict, fleet: str = "hosts") -> dict[str, float]:
    """The forecaster's series of these servers; a replica says the same."""
    made = {}
    for instance in ("a", "b"):
        for server, (priority, found) in servers.items():
            of = f'job="forecaster",fleet="{fleet}",instance="{instance}",server="{server}",profile="generic"'
            for rank in ("P1", "P2", "P3"):
                made[f'forecast_priority{{{of},priority="{rank}"}}'] = float(rank == priority)
            made[f"forecast_risk_score{{{of}}}"] = 45.0 if server == "points" else 0.0
            for name, (soon, later, on, expected) in found.items():
                one = f'{of},incident="{name}"'
                more = {f'forecast_incident_chance{{{one},window="30m"}}': soon,
                        f'forecast_incident_chance{{{one},window="8h"}}': later,
                        f"forecast_incident_active{{{one}}}": 1.0 if on else None,
                        f"forecast_incident_expected_timestamp_seconds{{{one}}}": expected}
                made |= {text: value for text, value in more.items() if value is not None}
                if later is not None and name == next(iter(found)):
                    made[f'forecast_severe_probability{{{of},window="8h"}}'] = later
    made[f'fleet:forecast_servers:count{{job="forecaster",fleet="{fleet}"}}'] = float(len(servers))
    return made


@pytest.fixture
def answers(tmp_path: Path):
    """Asks promtool: whether each expression gives these samples (labels -> value) 5 minutes after 0."""
    def ask(given: dict[str, float], expected: dict[str, dict[str, float]]) -> str:
        group = {"interval": "1m", "input_series": [{"series": of, "values": f"{value:g}x10"}
                                                    for of, value in given.items()],
                 "promql_expr_test": [
                     {"expr": interpolate(expression, WHO), "eval_time": "5m",
                      "exp_samples": [{"labels": labels, "value": value} for labels, value in samples.items()]}
                     for expression, samples in expected.items()]}
        (tmp_path / "test.yml").write_text(yaml.safe_dump({"tests": [group]}))
        done = subprocess.run([tool("promtool"), "test", "rules", tmp_path / "test.yml"],
                              capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr if done.returncode else ""
    return ask


def rows(**of: float) -> dict[str, float]:
    """Samples of the table: server__incident -> value."""
    return {f'{{server="{server}",profile="generic",incident="{incident.replace("0", " ")}"}}': value
            for (server, incident), value in ((name.split("__"), value) for name, value in of.items())}


def test_the_table_lists_what_is_on_or_possible_and_every_other_p1_and_p2(answers):
    assert answers(series(SERVERS), {
        incidents.ROW_PRIORITY: rows(web__memory_exhausted=1, batch__cpu_saturated=3, old__memory_exhausted=2,
                                     points__risk0score=2),
        incidents.ROW_CHANCES["30m"]: rows(web__memory_exhausted=0.83, batch__cpu_saturated=0.9),
        incidents.ROW_CHANCES["8h"]: rows(web__memory_exhausted=0.97, batch__cpu_saturated=0.95),
        incidents.ROW_EXPECTED: rows(web__memory_exhausted=3_900_000),
        incidents.ROW_ON: rows(batch__cpu_saturated=1, old__memory_exhausted=1),
        incidents.ROW_RISK: rows(web__memory_exhausted=0, batch__cpu_saturated=0, old__memory_exhausted=0,
                                 points__risk0score=45),
    }) == ""


def test_what_is_said_of_a_fleet_agrees_with_its_priorities(answers):
    assert answers(series(SERVERS), {
        incidents.FLEET_VERDICT: {"{}": 3},
        incidents.FLEET_FIRST: {"{}": 0},
        incidents.RISKIEST: {'{server="web"}': 4.97, '{server="old"}': 3, '{server="points"}': 2.03},
        incidents.MAP: {f'{{server="{server}",profile="generic"}}': value for server, value in {
            "web": 0.97, "batch": 1, "old": 1, "calm": 0.02, "points": 0.03, "young": -1}.items()},
        incidents.WHY: {'{incident="memory_exhausted"}': 2, '{incident="cpu_saturated"}': 1,
                        '{incident="swap_storm"}': 0},
    }) == ""


@pytest.mark.parametrize(("servers", "verdict", "first"), [
    ({"calm": SERVERS["calm"]}, 0, -1),
    ({"calm": SERVERS["calm"], "web": ("P3", {"swap_storm": (0.05, 0.2, False, None)})}, 1, -1),
    ({"web": ("P3", {"swap_storm": (0.1, 0.6, False, 7500)})}, 2, 7200),
    ({"points": SERVERS["points"]}, 2, -2),
    ({"old": SERVERS["old"]}, 2, 0),
    ({"young": SERVERS["young"]}, -1, -3),
    ({"young": ("P1", {})}, 3, -3),
    ({"young": SERVERS["young"], "calm": SERVERS["calm"]}, 0, -1),
], ids=["calm", "possible", "likely", "by its score", "on, by the trend", "no chance known", "P1 by its score alone",
        "one chance known"])
def test_the_verdict_and_the_first_incident_of_a_fleet(answers, servers, verdict, first):
    assert answers(series(servers), {incidents.FLEET_VERDICT: {"{}": verdict},
                                     incidents.FLEET_FIRST: {"{}": first}}) == ""


def test_a_quiet_fleet_says_so_and_one_without_forecasts_says_nothing(answers):
    none = {'{server="no server at risk"}': 0.0}
    assert answers(series({"calm": SERVERS["calm"]}), {incidents.RISKIEST: none, incidents.ROW_PRIORITY: none}) == ""
    nothing: dict[str, float] = {}
    assert answers(series(SERVERS, fleet="other"), {
        incidents.FLEET_VERDICT: nothing, incidents.FLEET_FIRST: nothing, incidents.RISKIEST: nothing,
        incidents.MAP: nothing, incidents.WHY: nothing, incidents.ROW_PRIORITY: nothing}) == ""


def test_one_server_shows_its_own_incidents(answers):
    assert answers(series(SERVERS), {
        incidents.SERVER_VERDICT: {"{}": 3}, incidents.SERVER_FIRST: {"{}": 3600}, incidents.SERVER_PRIORITY: {"{}": 1},
        incidents.SERVER_WHY: {'{incident="memory_exhausted"}': 0.97, '{incident="swap_storm"}': 0.02},
        incidents.SERVER_ON: {'{incident="memory_exhausted"}': 0, '{incident="swap_storm"}': 0},
        incidents.server_chance("8h"): {"{}": 0.97},
        incidents.server_chances("30m"): {'{incident="memory_exhausted"}': 0.83, '{incident="swap_storm"}': 0},
    }) == ""
