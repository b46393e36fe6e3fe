"""The dashboards' queries about incidents, answered by promtool for hosts of each kind."""

import subprocess
from pathlib import Path

import pytest
import yaml

from grafana import incidents, queries, render
from stack.layout import ROOT
from tests.grafana_stack import interpolate, load, panels
from tests.tools import tool

WHO = {"fleet": "hosts", "fleet:regex": "hosts", "profile": ".*", "server": "web", "signal": "cpu_pct",
       "horizon": "30m", "resource": "disk", "entity": "/data", "__range": "14h"}
# server -> state, priority, and of each incident (chance in 30 minutes, in 8 hours, on, expected at in s)
SERVERS = {
    "web": (4, "P1", {"memory_exhausted": (0.83, 0.97, False, 3900), "swap_storm": (0.0, 0.02, False, None)}),
    "batch": (3, "P3", {"cpu_saturated": (0.9, 0.95, True, None)}),
    "old": (3, "P2", {"memory_exhausted": (None, None, True, None)}),  # by the trend
    "calm": (0, "P3", {"memory_exhausted": (0.001, 0.02, False, None)}),
    "points": (3, "P2", {"memory_exhausted": (0.01, 0.03, False, None)}),  # by its score
    "young": (1, "P3", {}),
    "silent": (-1, "P3", {}),
}


def series(servers: dict, fleet: str = "hosts") -> dict[str, float]:
    """The forecaster's series of these servers; a replica says the same."""
    made = {}
    for instance in ("a", "b"):
        for server, (_, priority, found) in servers.items():
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
        made[f'up{{job="forecaster",fleet="{fleet}",instance="{instance}"}}'] = 1
        made[f'forecaster_forecast_ttl_seconds{{job="forecaster",fleet="{fleet}",instance="{instance}"}}'] = 120
    of = f'job="forecaster",fleet="{fleet}"'
    for server, (state, _, _) in servers.items():
        made[f'server:forecast_state:max{{{of},server="{server}",profile="generic"}}'] = state
    silent = sum(state == -1 for state, _, _ in servers.values())
    made |= {f"fleet:forecast_servers:count{{{of}}}": len(servers),
             f"fleet:forecast_state:max{{{of}}}": max((state for state, _, _ in servers.values()), default=-1),
             f"fleet:forecast_blind_servers:count{{{of}}}": silent, f"fleet:forecast_complete:bool{{{of}}}": 1,
             f"job_instance:forecaster_forecast_age_seconds:max{{{of}}}": 12}
    return made


@pytest.fixture
def answers(tmp_path: Path):
    """Asks promtool: whether each expression gives these samples (labels -> value) 5 minutes after 0.

    A string in place of a value is promtool's notation of a course, a sample a minute. rules: files that it evaluates.
    """
    def ask(given: dict[str, float | str], expected: dict[str, dict[str, float]], at: str = "5m",
            rules: tuple[str, ...] = ()) -> str:
        courses = {of: value if isinstance(value, str) else f"{value:g}x10" for of, value in given.items()}
        checks = [{"expr": interpolate(expression, WHO), "eval_time": at,
                   "exp_samples": [{"labels": labels, "value": value} for labels, value in samples.items()]}
                  for expression, samples in expected.items()]
        future = {"expr": "vector(1)", "eval_time": "9h", "exp_samples": [{"labels": "{}", "value": 1}]}
        group = {"interval": "1m", "promql_expr_test": [*checks, future],  # it loads what is before the last
                 "input_series": [{"series": of, "values": course} for of, course in courses.items()]}
        (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": [*rules], "tests": [group]}))
        done = subprocess.run([tool("promtool"), "test", "rules", tmp_path / "test.yml"],
                              capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr if done.returncode else ""
    return ask


def rows(**of: float) -> dict[str, float]:
    """Samples of the table: server__incident -> value."""
    return {f'{{server="{server}",profile="generic",incident="{incident.replace("0", " ")}"}}': value
            for (server, incident), value in ((name.split("__"), value) for name, value in of.items())}


def test_the_table_lists_what_is_on_or_possible_and_servers_in_trouble_or_blind(answers):
    others = {"points__state": 3, "silent__state": 2.5}
    assert answers(series(SERVERS), {
        incidents.ROW_STATE: rows(web__memory_exhausted=4, batch__cpu_saturated=3, old__memory_exhausted=3, **others),
        incidents.ROW_CHANCES["30m"]: rows(web__memory_exhausted=0.83, batch__cpu_saturated=0.9),
        incidents.ROW_CHANCES["8h"]: rows(web__memory_exhausted=0.97, batch__cpu_saturated=0.95),
        incidents.ROW_FROM: rows(web__memory_exhausted=3_900_000, batch__cpu_saturated=0, old__memory_exhausted=0),
    }) == ""


def test_the_table_says_why_in_words(answers):
    given = series(SERVERS)
    for server, signal, now, soon in (("web", "mem_pct", 92.4, 99.6), ("web", "cpu_pct", 1, 1),
                                      ("old", "cpu_pct", 1, 1)):
        of = f'job="forecaster",fleet="hosts",instance="a",server="{server}",profile="generic"'
        given |= {f"observed_{signal}{{{of}}}": now, f'forecast_{signal}{{{of},percentile="p90",horizon="30m"}}': soon}
    said = {"web": ("memory_exhausted", "memory 92% → 100%"), "batch": ("cpu_saturated", "cpu_saturated"),
            "old": ("memory_exhausted", "memory_exhausted"), "points": ("state", "risk score 45"),
            "silent": ("state", "no current data")}
    expected = {f'{{server="{server}",profile="generic",incident="{incident}",why="{why}"}}': 1.0
                for server, (incident, why) in said.items()}
    assert answers(given, {f"({incidents.ROW_WHY}) * 0 + 1": expected}) == ""


def test_the_table_says_until_when_p50_stays_above_the_limit(answers):
    curve = 'forecast_mem_pct{source="curve",server="web",profile="generic",percentile="p50"}'
    other = 'forecast_mem_pct{source="curve",server="calm",profile="generic",percentile="p50"}'
    given = series(SERVERS)
    assert answers(given | {curve: "_x4 97x96 40x400", other: "_x4 97x500"},
                   {incidents.ROW_UNTIL: rows(web__memory_exhausted=6_000_000)}) == ""


def test_what_is_said_of_a_fleet_agrees_with_its_states(answers):
    assert answers(series(SERVERS), {
        incidents.FLEET_FIRST: {"{}": 0},
        incidents.MAP: {f'{{server="{server}",profile="generic"}}': value for server, value in {
            "web": 0.97, "batch": 1, "old": 1, "calm": 0.02, "points": 0.03, "young": -2, "silent": -1}.items()},
        incidents.with_state(3): {"{}": 3},
        incidents.with_state(2): {"{}": 0},
        incidents.with_state(-1): {"{}": 1},
    }) == ""


def test_the_riskiest_server_is_chosen_first_also_where_the_range_ends_8_hours_ahead(answers):
    ranked = {"web": 4.97, "batch": 3.95, "old": 3, "points": 3.03, "calm": 0.02, "young": 1, "silent": 2.5}
    ask = queries.SERVERS.removeprefix("query_result(").removesuffix(")")
    ask = ask.replace("sort_desc", "")  # promtool compares without an order
    expected = {f'{{server="{server}"}}': value for server, value in ranked.items()}
    assert answers(series(SERVERS), {ask: expected}) == ""
    assert answers(series(SERVERS), {ask: expected}, at="8h5m") == ""


@pytest.mark.parametrize(("servers", "first"), [
    ({"calm": SERVERS["calm"]}, -1),
    ({"calm": SERVERS["calm"], "web": (1, "P3", {"swap_storm": (0.05, 0.2, False, None)})}, -1),
    ({"web": (3, "P3", {"swap_storm": (0.1, 0.6, False, 7500)})}, 7200),
    ({"points": SERVERS["points"]}, -2),
    ({"old": SERVERS["old"]}, 0),
    ({"young": SERVERS["young"]}, -3),
    ({"young": (4, "P1", {})}, -3),
    ({"young": SERVERS["young"], "calm": SERVERS["calm"]}, -1),
    ({"calm": (-1, *SERVERS["calm"][1:])}, -3),
], ids=["calm", "possible", "likely", "by its score", "on, by the trend", "no chance known", "P1 by its score alone",
        "one chance known", "blind"])
def test_the_first_incident_of_a_fleet(answers, servers, first):
    assert answers(series(servers), {incidents.FLEET_FIRST: {"{}": first}}) == ""


OF = '{job="forecaster",fleet="hosts"}'
ALL = '2 of 2 servers report'


@pytest.mark.parametrize(("change", "state", "why"), [
    ({}, 1, ALL),
    ({f"fleet:forecast_blind_servers:count{OF}": 1}, 1, "1 of 2 servers silent"),
    ({f"fleet:forecast_complete:bool{OF}": 0, f"fleet:forecast_state:max{OF}": -1}, -1, "a shard is missing"),
    ({f"fleet:forecast_state:max{OF}": None}, -1, "rules not evaluated"),
    ({f"job_instance:forecaster_forecast_age_seconds:max{OF}": 500}, 1, "forecasts stale"),
    ({"up": 0, f"fleet:forecast_state:max{OF}": -1}, -1, "forecaster down"),
    ({"up": None, f"fleet:forecast_state:max{OF}": None}, -1, "no forecaster is scraped"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_the_state_of_the_fleet_says_what_it_rests_on(answers, change, state, why):
    given = series({"calm": SERVERS["calm"], "young": SERVERS["young"]})
    given |= {name: value for prefix, value in change.items() for name in [*given] if name.startswith(prefix)}
    given = {name: value for name, value in given.items() if value is not None}
    assert answers(given, {incidents.FLEET_STATE: {f'{{why="{why}"}}': state}}) == ""


@pytest.mark.parametrize(("waits", "fires", "fleet", "servers"), [
    ("", "", 4, {"web": 4, "batch": 4}), ("web", "", 4, {"web": 3.5, "batch": 4}),
    ("web batch", "", 3.5, {"web": 3.5, "batch": 3.5}), ("web", "batch", 4, {"web": 3.5, "batch": 4}),
    ("", "web batch", 4, {"web": 4, "batch": 4}), ("calm", "", 4, {"web": 4, "batch": 4}),
])
def test_a_p1_whose_alert_still_waits_is_pending_wherever_a_state_is_shown(answers, waits, fires, fleet, servers):
    given = series({name: (SERVERS[name][0] if name == "calm" else 4, *SERVERS[name][1:])
                    for name in ("web", "batch", "calm")})
    given |= {f'ALERTS{{alertname="FleetcastServerP1",alertstate="{state}",job="forecaster",fleet="{whose}",'
              f'server="{server}",profile="generic",priority="P1",severity="critical"}}': 1
              for state, names in (("pending", waits), ("firing", fires)) for server in names.split()
              for whose in ("hosts", "other")}
    pending = sum(value == 3.5 for value in servers.values())
    assert answers(given, {
        incidents.FLEET_STATE: {'{why="3 of 3 servers report"}': fleet},
        incidents.SERVER_STATE: {"{}": servers["web"]}, incidents.SERVER_STATES: {"{}": servers["web"]},
        incidents.ROW_STATE: rows(web__memory_exhausted=servers["web"], batch__cpu_saturated=servers["batch"]),
        incidents.with_state(4): {"{}": 2 - pending}, incidents.with_state(3.5): {"{}": pending},
        incidents.with_state(0): {"{}": 1}}) == ""


@pytest.mark.parametrize(("at", "state"), [("3m", 0), ("4m", 3.5), ("5m", 4), ("6m", 2), ("7m", 4)])
def test_by_the_shipped_rules_a_p1_is_pending_for_a_minute_and_not_again_while_its_page_goes_on(answers, at, state):
    of = 'job="forecaster",fleet="hosts",instance="a"'
    who = f'{of},server="web",profile="generic"'
    given = {f"forecast_state{{{who}}}": "0x3 4 4 2 4x9", f"forecast_last_seen_timestamp_seconds{{{who}}}": "0+60x20",
             f"forecaster_last_success_timestamp_seconds{{{of}}}": "0+60x20", f"up{{{of}}}": "1x20",
             f"forecaster_forecast_ttl_seconds{{{of}}}": "120x20", f"forecaster_total_shards{{{of}}}": "1x20",
             f'forecaster_shard_ordinal{{{of},shard_ordinal="0"}}': "0x20"}
    assert answers(given, {
        incidents.FLEET_STATE: {'{why="1 of 1 servers report"}': state}, incidents.SERVER_STATE: {"{}": state},
        incidents.with_state(state): {"{}": 1}}, at=at, rules=(str(ROOT / "prometheus/rules/servers.yml"),)) == ""


@pytest.mark.parametrize(("state", "said"), [(0, True), (-1, False)], ids=["SAFE", "BLIND"])
def test_what_is_blind_has_no_chance_and_no_risk_however_small_it_was(answers, state, said):
    given = series({"web": (state, *SERVERS["calm"][1:])}) | {
        'fleet:forecast_severe_probability:any{job="forecaster",fleet="hosts",window="8h"}': 0.02}
    assert answers(given, {incidents.fleet_chance("8h"): {"{}": 0.02} if said else {},
                           incidents.server_chance("8h"): {"{}": 0.02} if said else {},
                           queries.SERVER_RISK: {"{}": 0} if said else {}}) == ""


def test_a_quiet_fleet_says_so_and_one_without_forecasts_does_not(answers):
    none = {'{server="no server at risk"}': 0.0}
    quiet = series({"calm": SERVERS["calm"]})
    assert answers(quiet, {incidents.ROW_STATE: none}) == ""
    young = series({"calm": SERVERS["calm"], "young": SERVERS["young"]})  # WATCH
    assert answers(young, {incidents.ROW_STATE: {'{server="nothing to list"}': 1.0}}) == ""
    nothing: dict[str, float] = {}
    assert answers(quiet | {f"fleet:forecast_complete:bool{OF}": 0}, {incidents.ROW_STATE: nothing}) == ""
    assert answers(series(SERVERS, fleet="other"), {
        incidents.FLEET_STATE: {'{why="no forecaster is scraped"}': -1}, incidents.SERVER_STATE: {"{}": -1},
        incidents.FLEET_FIRST: nothing, incidents.MAP: nothing, incidents.with_state(4): nothing,
        incidents.ROW_STATE: nothing, incidents.ROW_WHY: nothing}) == ""


def test_where_nothing_is_known_no_panel_has_a_figure_and_states_are_blind(answers):
    asked = {target["expr"] for name in render.DASHBOARDS for panel in panels(load(name))
             for target in panel.get("targets", ())}
    known = {incidents.FLEET_STATE: {'{why="no forecaster is scraped"}': -1}, incidents.SERVER_STATE: {"{}": -1}}
    assert known.keys() < asked
    assert answers({}, {expression: {} for expression in asked} | known) == ""


def test_no_alert_is_said_to_fire_only_while_rules_are_evaluated(answers):
    watchdog = 'job="forecaster",fleet="hosts",alertname="FleetcastWatchdog",alertstate="firing",severity="none"'
    given = {f"ALERTS{{{watchdog}}}": 1, f"fleet:forecast_complete:bool{OF}": 0}
    none = {'{alertname="no alert is firing"}': 0.0}
    assert answers({}, {queries.FIRING: {}, queries.FIRING_COUNT: {}}) == ""
    assert answers(given, {queries.FIRING: none, queries.FIRING_COUNT: {"{}": 0}}) == ""


def test_firing_alerts_have_their_begin_and_are_of_this_fleet(answers):
    given = {}
    for alert, fleet, priority in (("FleetcastServerP1", "hosts", "P1"), ("FleetcastServerP1", "other", "P1"),
                                   ("FleetcastAlertmanagerFailing", "", "P2"), ("Unrelated", "", "P1")):
        job = 'job="forecaster",' if fleet else ""
        of = f'alertname="{alert}",{job}fleet="{fleet}",priority="{priority}",severity="x",server="{fleet and "web"}"'
        given |= {f'ALERTS{{{of},alertstate="firing"}}': 1.0, f"ALERTS_FOR_STATE{{{of}}}": 60.0}
    assert answers(given, {queries.FIRING: {
        '{alertname="FleetcastServerP1",priority="P1",server="web"}': 60_000,
        '{alertname="FleetcastAlertmanagerFailing",priority="P2"}': 60_000}, queries.FIRING_COUNT: {"{}": 2}}) == ""


def test_the_age_of_a_forecast_goes_on_when_the_forecaster_is_gone(answers):
    name = 'forecaster_last_success_timestamp_seconds{fleet="hosts"}'
    assert answers({name: "60x2 stale _x20"}, {queries.FORECAST_AGE: {"{}": 1140}}, at="20m") == ""
    assert answers(series(SERVERS), {queries.FORECAST_AGE: {"{}": 12}}) == ""


def test_one_server_shows_its_own_incidents(answers):
    assert answers(series(SERVERS), {
        incidents.SERVER_STATE: {"{}": 4}, incidents.SERVER_FIRST: {"{}": 3600},
        incidents.SERVER_WHY: {'{incident="memory_exhausted"}': 0.97, '{incident="swap_storm"}': 0.02},
        incidents.SERVER_ON: {'{incident="memory_exhausted"}': 0, '{incident="swap_storm"}': 0},
        incidents.server_chance("8h"): {"{}": 0.97},
        incidents.server_chances("30m"): {'{incident="memory_exhausted"}': 0.83, '{incident="swap_storm"}': 0},
    }) == ""
