"""The committed dashboards, as far as they can be judged without Grafana and Prometheus."""

import itertools
import json
import re
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from forecaster.models.unforecast import REASONS
from forecaster.risk.thresholds import Priorities, RiskConfig
from forecaster.shipped import files
from forecaster.shipped.installation import Installation
from grafana import incidents, queries, render, states
from grafana import panels as looks
from stack.layout import ROOT
from tests.grafana_stack import DASHBOARDS, load, panels

NAMES = sorted(render.DASHBOARDS)
PANELS = [pytest.param(name, panel, id=f"{name}: {panel['title']}") for name in NAMES for panel in panels(load(name))]
TYPES = {"timeseries", "stat", "table", "gauge", "bargauge", "heatmap", "text", "state-timeline", "status-history"}
OLD = TYPES - {"state-timeline", "status-history"}  # what Grafana 7.5 shows
TRANSFORMATIONS = {"merge", "organize", "filterFieldsByName"}  # what Grafana 7.5 knows
LINES = {states.BLUE, states.SKY, states.GREEN, states.ORANGE, states.VERMILLION, states.PURPLE, states.GREY}
GROUNDS = {states.QUIET, states.FAINT, states.LIGHT, states.UNKNOWN, states.CRITICAL, states.WARNING, states.NOTICE,
           states.ENDING, states.GOOD}
RISK = yaml.safe_load((ROOT / "forecaster" / "presets" / "fleet.yml").read_text())["risk"]


def every(value: object, key: str) -> list:
    """All values under `key` at any depth."""
    if isinstance(value, dict):
        return [found for name, one in value.items() for found in ([one] if name == key else []) + every(one, key)]
    return [found for one in value for found in every(one, key)] if isinstance(value, list) else []


# the files


def test_the_committed_files_are_what_the_code_makes():
    assert render.main(["--check"]) == 0


def test_a_file_that_differs_is_missing_or_is_nobodys_is_named(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert render.main(["--folder", str(tmp_path)]) == 0
    (tmp_path / "server.json").write_text("{}")
    (tmp_path / "overview.json").unlink()
    (tmp_path / "old.json").write_text("{}")
    assert render.main(["--check", "--folder", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "server.json is not what the code makes" in said
    assert "overview.json is missing" in said
    assert "old.json is made by no module" in said


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_passes_through_the_classes_of_the_sdk_unchanged(name: str):
    register_default_plugins()
    text = (DASHBOARDS / name).read_text()
    again = json.loads(json.dumps(Dashboard.from_json(json.loads(text)), cls=JSONEncoder))
    known = json.loads(text)
    for annotation in known["annotations"]["list"]:  # fields that the SDK's class does not have
        for field in ("step", "titleFormat", "textFormat", "tagKeys", "useValueForTime"):
            del annotation[field]
    assert again == known


def test_uids_are_unique_and_stay_as_they_are():
    assert {load(name)["uid"]: name for name in NAMES} == {
        "fleetcast-overview": "overview.json",
        "fleetcast-server": "server.json",
        "fleetcast-capacity": "capacity.json",
        "fleetcast-quality": "quality.json",
        "fleetcast-operations": "operations.json",
    }


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_their_own_ids_and_do_not_overlap(name: str):
    members = load(name)["panels"]
    ids = [panel["id"] for panel in members]
    assert len(set(ids)) == len(ids)
    taken: dict[tuple[int, int], str] = {}
    for panel in members:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for cell in itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]


# panels


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_a_panel_is_titled_described_and_of_a_kind_that_needs_no_plugin(name: str, panel: dict):
    assert panel["type"] in TYPES
    assert panel["title"] and 20 < len(panel["description"]) < 200 and "\n" not in panel["description"]
    assert {one["id"] for one in panel.get("transformations", ())} <= TRANSFORMATIONS


@pytest.mark.parametrize(("name", "panel"), [one for one in PANELS if one.values[1]["type"] != "text"])
def test_a_panel_has_a_unit_and_asks_the_chosen_data_source(name: str, panel: dict):
    assert panel["fieldConfig"]["defaults"]["unit"]
    sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert {source["uid"] for source in sources} == {"${datasource}"}
    refs = [target["refId"] for target in panel["targets"]]
    assert len(set(refs)) == len(refs) > 0


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_what_is_asked_of_one_instant_is_asked_of_now(name: str, panel: dict):
    if any(target.get("instant") for target in panel.get("targets", ())):
        assert panel["timeFrom"], "it would be asked of the end of the range, which may lie 8 h ahead"


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_colours_are_of_the_palette_and_states_have_words(name: str, panel: dict):
    config = panel.get("fieldConfig", {})
    colours = [*every(config, "color"), *every(config, "fixedColor")]
    assert {colour for colour in colours if isinstance(colour, str)} <= LINES | GROUNDS
    for mapping in every(config, "mappings"):
        for result in [one for options in mapping for one in options["options"].values() if isinstance(one, dict)]:
            assert result.get("text"), "a colour alone"


@pytest.mark.parametrize(("name", "panel"), [one for one in PANELS if one.values[1]["type"] == "table"])
def test_a_table_shows_columns_that_its_queries_have(name: str, panel: dict):
    refs = [target["refId"] for target in panel["targets"]]
    values = {f"Value #{ref}" for ref in refs} if len(refs) > 1 else {"Value"}
    shown = set(panel["transformations"][1]["options"]["include"]["names"])
    assert shown == set(panel["transformations"][2]["options"]["renameByName"])
    for field in shown:
        if field.startswith("Value"):
            assert field in values
        else:
            assert any(re.search(rf"\b{field}\b", target["expr"]) for target in panel["targets"]), field
    headings = set(panel["transformations"][2]["options"]["renameByName"].values())
    assert {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]} <= headings


@pytest.mark.parametrize(
    ("name", "panel"),
    [one for one in PANELS if every(one.values[1], "fieldConfig") and one.values[1]["type"] != "table"],
)
def test_overrides_meet_series_of_the_panel(name: str, panel: dict):
    legends = {target["legendFormat"] for target in panel.get("targets", ())}
    fixed = {legend for legend in legends if "{{" not in legend}
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["id"] == "byName" and fixed == legends:
            assert override["matcher"]["options"] in legends
        for one in override["properties"]:
            if one["id"] == "custom.fillBelowTo":
                assert one["value"] in legends


@pytest.mark.parametrize("name", NAMES)
def test_beside_what_old_versions_lack_stands_something_that_they_show(name: str):
    sections, current = [], []
    for panel in load(name)["panels"]:
        if panel["type"] == "row":
            sections.append(current := [])
        else:
            current.append(panel["type"])
    for section in sections:
        assert not set(section) - OLD or set(section) & OLD


# the server's fans


@pytest.mark.parametrize("signal", queries.SIGNALS)
def test_every_signal_has_a_fan_of_measured_and_three_percentiles(signal: str):
    title, unit = looks.SIGNALS[signal]
    (fan,) = (panel for panel in panels(load("server.json")) if panel["title"] == title)
    assert fan["fieldConfig"]["defaults"]["unit"] == unit
    assert [re.findall(r'source="curve".*percentile="(p\d+)"', target["expr"]) for target in fan["targets"]] == [
        [],
        ["p90"],
        ["p50"],
        ["p10"],
    ]
    assert all(f"_{signal}{{" in target["expr"] for target in fan["targets"])
    drawn = [step["value"] for step in fan["fieldConfig"]["defaults"]["thresholds"]["steps"]][1:]
    assert drawn == list(looks.RISK_LIMITS.get(signal, ()))


def test_overview_and_server_open_from_six_hours_ago_to_eight_hours_ahead():
    for name in ("overview.json", "server.json"):
        assert load(name)["time"] == {"from": "now-6h", "to": "now+8h"}


# what is written twice agrees


def test_limits_and_points_are_those_of_the_forecaster():
    for component, bands in queries.RISK_POINTS.items():
        configured = [(band["above"], band["points"]) for band in reversed(RISK["points"][component])]
        assert list(bands) == configured
        signal = queries.RISK_SIGNALS[component]
        assert RISK["roles"][component] == signal
        assert looks.RISK_LIMITS[signal] == tuple(limit for limit, _ in configured)
        assert queries.TROUBLE[signal] == configured[1][0]
    assert set(looks.RISK_LIMITS) == set(queries.RISK_SIGNALS.values())
    assert (
        [step for step, _ in states.RISK_STEPS[1:]] == [RISK["priorities"]["p2"], RISK["priorities"]["p1"]] == [40, 70]
    )
    assert [limit for limit, _ in states.HEALTH_LIMITS] == [RISK["health"]["warning"], RISK["health"]["critical"]]
    default = Priorities()
    assert [step for step, _ in states.CHANCE_STEPS[1:]] == [incidents.POSSIBLE, default.p2_chance, default.p1_chance]


def test_signals_and_horizons_are_those_of_the_forecaster():
    preset = yaml.safe_load((ROOT / "forecaster" / "presets" / "fleet.yml").read_text())
    assert set(preset["signals"]) == set(looks.SIGNALS) == set(queries.SIGNALS)
    assert tuple(preset["horizons"]) == queries.HORIZONS


def test_incidents_of_the_presets_are_shown_in_words_with_their_signals_and_limits():
    hosts = yaml.safe_load((ROOT / "forecaster" / "presets" / "node_exporter.yml").read_text())["risk"]
    known = {name: (one.signal, one.above) for name, one in RiskConfig(**RISK).conditions(queries.SIGNALS).items()}
    known |= {name: (one["signal"], one["above"]) for name, one in hosts["incidents"].items()}
    assert {name: signal for name, (signal, _) in known.items()} == {
        name: one.signal for name, one in incidents.NAMED.items()}
    assert {name: known[name][1] for name in incidents.LIMITS} == incidents.LIMITS


@pytest.mark.parametrize("name", ["overview.json", "server.json"])
def test_weighted_sums_are_on_one_panel_and_headlines_are_calibrated(name: str):
    shown = {panel["title"]: json.dumps(panel["targets"]) for panel in panels(load(name)) if panel["type"] != "text"}
    assert [title for title, of in shown.items() if "incident_probability" in of] == ["Weighted probability"]
    assert all("forecast_severe_probability" in shown[f"Incident within {window}"] for window in ("30 min", "8 h"))


def test_the_table_of_servers_that_are_not_forecast_explains_every_reason():
    (table,) = (panel for panel in panels(load("overview.json")) if panel["title"] == "Servers without a forecast")
    assert set(re.findall(r"(\w+): ", table["description"])) == set(REASONS)


# variables, links, annotations


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_that_is_used_is_offered(name: str):
    dashboard = load(name)
    offered = {one["name"] for one in dashboard["templating"]["list"]}
    text = json.dumps([dashboard["panels"], dashboard["annotations"]])
    used = {one or other for one, other in re.findall(r"\$\{(\w+)[}:.]|\$([A-Za-z_]\w*)", text)}
    assert used - {"__range", "__data", "__field", "__value"} <= offered
    assert offered >= {"datasource", "fleet"}
    assert ("profile" in offered) == (name == "overview.json")


@pytest.mark.parametrize("name", NAMES)
def test_dashboards_are_linked_with_variables_and_with_the_time_range_where_both_have_the_same(name: str):
    spans = {load(other)["uid"]: load(other)["time"] for other in NAMES}
    own = load(name)["uid"]
    linked = {link["url"].removeprefix("/d/"): link for link in load(name)["links"] if "?" not in link["url"]}
    assert set(linked) == set(spans) - {own}
    for uid, link in linked.items():
        assert link["includeVars"] and link["keepTime"] == (spans[uid] == spans[own])


@pytest.mark.parametrize("title", ["Active alerts", "Firing alerts", "Risk map", "Servers without a forecast"])
def test_a_server_is_one_click_away(title: str):
    (panel,) = (panel for panel in panels(load("overview.json")) if panel["title"] == title)
    (url,) = every(panel["fieldConfig"], "url")
    assert url.startswith("/d/fleetcast-server?${datasource:queryparam}&${fleet:queryparam}&var-server=${")


@pytest.mark.parametrize("name", NAMES)
def test_scenarios_models_and_reloads_are_marked(name: str):
    made = {one["name"]: one for one in load(name)["annotations"]["list"]}
    assert set(made) == {"Scenario", "Model", "Config reload", "Now"}
    assert all(one["enable"] and one["step"] == "60s" and one["titleFormat"] for one in made.values())


@pytest.mark.parametrize("window", ["last hour", "last day"])
def test_a_window_of_the_record_says_when_it_has_no_figure_yet_and_draws_no_zero(window: str):
    shown = [panel for panel in panels(load("quality.json")) if window in panel["title"]]
    assert [panel["type"] for panel in shown] == ["table"] * 3 + ["timeseries"] * 2
    for panel in shown:
        assert panel["fieldConfig"]["defaults"]["noValue"].startswith("Nothing scored yet: ")
        series = "forecast_live_recent_" if window == "last hour" else "forecast_live_(?!recent_)"
        assert all(re.search(series, target["expr"]) for target in panel["targets"])
        assert not any("vector(" in target["expr"] for target in panel["targets"])


# alerts

ALERTS = [
    rule
    for name, text in files.rules(Installation.model_validate({"grafana_url": "https://grafana.example.org"})).items()
    if name.endswith(".yml")
    for group in yaml.safe_load(text)["groups"]
    for rule in group["rules"]
    if "alert" in rule
]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_links_to_the_dashboard_that_shows_its_subject_where_a_grafana_is_named(rule: dict):
    url = rule["annotations"]["dashboard_url"]
    uid, _, query = url.removeprefix("https://grafana.example.org/d/").partition("?")
    (dashboard,) = (made for made in map(load, NAMES) if made["uid"] == uid)
    offered = {one["name"] for one in dashboard["templating"]["list"]}
    chosen = set(re.findall(r"var-(\w+)=", query))
    assert chosen <= offered
    span = {bound: text.replace("+", "%2B") for bound, text in dashboard["time"].items()}
    assert query.endswith(f"from={span['from']}&to={span['to']}")
    about_a_server = "$labels.server" in rule["annotations"]["summary"]
    assert (uid in ("fleetcast-server", "fleetcast-capacity")) == about_a_server == ("server" in chosen)
    assert (uid == "fleetcast-capacity") == ({"resource", "entity"} <= chosen)


def test_grafana_lists_the_alerts_of_prometheus_and_alertmanager():
    folder = ROOT / "grafana" / "provisioning" / "datasources"
    sources = {one["type"]: one for one in yaml.safe_load((folder / "fleetcast.yml").read_text())["datasources"]}
    assert sources["prometheus"]["jsonData"]["manageAlerts"] is True
    assert sources["prometheus"]["jsonData"]["alertmanagerUid"] == sources["alertmanager"]["uid"]
    assert sources["alertmanager"]["jsonData"]["implementation"] == "prometheus"
