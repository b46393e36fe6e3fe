"""The tables of the landing page."""

import numpy as np

from forecaster.publish.page import filling_table, fleet_tables, glance
from forecaster.risk.state import State
from forecaster.risk.thresholds import Roles
from tests.outlooks import INSTANT, entity, make_outlook
from tests.results import ISSUED, curves, incidents_of, make_result


def tables(result) -> dict[str, list[dict]]:
    """caption -> rows, each by its columns."""
    return {table.caption: [dict(zip(table.columns, row, strict=True)) for row in table.rows]
            for table in fleet_tables(result, Roles())}


def test_a_phone_shows_server_state_and_chances_of_the_fleet_first():
    assert fleet_tables(make_result(), Roles())[0].columns[:4] == ("Server", "State", "Chance 30 minutes",
                                                                   "Chance 8 hours")


def test_servers_that_are_seen_and_not_forecast_are_listed_with_the_reason_in_words():
    rows = tables(make_result(stale=["ppdb002"], unforecast={"win01": "no_values"}))["Seen, not forecast"]
    assert [row["Server"] for row in rows] == ["ppdb002", "win01"]
    assert rows[0]["Reason"] == "no value for stale_after"
    assert rows[1]["Reason"] == "up or known, and no signal has a value to forecast from"


def test_of_three_hundred_such_servers_fifty_are_listed_and_then_how_many_more():
    rows = tables(make_result(unforecast={f"win{n:03}": "no_values" for n in range(300)}))["Seen, not forecast"]
    assert len(rows) == 51 and rows[49]["Server"] == "win049" and rows[50]["Server"] == "and 250 more"


def test_a_server_at_risk_has_its_message_and_its_incident_and_on_how_many_days_it_was_so_before():
    forecast = curves(3)
    forecast[0, 0, 2:, 2] = 98.5
    incidents = incidents_of(chance={(0, 0): (0.72, 0.86)}, begins={(0, 0): 900}, recurring=(6, 7))
    rows = tables(make_result(forecast=forecast, incidents=incidents))["Fleet"]
    assert rows[0]["Message"] == (
        "CPU predicted to reach 98.5% in 15 minutes; cpu_pct above 95 expected at 09:08 UTC, chance 72% within 30 "
        "minutes, 86% within 8 hours; above 95 at this time of day on 6 of the last 7 days")
    assert {row["Message"] for row in rows[1:]} == {"-"}


def test_a_server_without_risk_points_has_the_message_of_an_incident_that_is_possible():
    rows = tables(make_result(incidents=incidents_of(chance={(1, 0): (0.01, 0.3)})))["Fleet"]
    assert rows[0]["Server"] == "ppdb002" and rows[0]["Message"].startswith("cpu_pct above 95 possible, chance 1%")


def test_a_server_has_its_chances_of_any_incident_and_never_a_certain_one():
    incidents = incidents_of(chance={(0, 0): (0.999, 1.0), (1, 0): (0.4, 0.6), (2, 0): (np.nan, np.nan),
                                     (2, 1): (np.nan, np.nan), (2, 2): (np.nan, np.nan)} | {
                                 (s, i): (0.0, 0.0) for s in (0, 1) for i in (1, 2)})
    rows = {row["Server"]: row for row in tables(make_result(incidents=incidents))["Fleet"]}
    chances = {name: (row["Chance 30 minutes"], row["Chance 8 hours"]) for name, row in rows.items()}
    assert chances == {"ppdb001": (">99%", ">99%"), "ppdb002": ("40%", "60%"), "ppweb001": ("-", "-")}


def test_servers_are_listed_by_priority_then_risk_then_chance():
    forecast = curves(4)
    forecast[3, 0, :6, 2] = 97  # points, and P3
    incidents = incidents_of(4, chance={(1, 0): (0.01, 0.3), (2, 0): (0.9, 0.95)})
    names = ("a", "b", "c", "d")
    for by, listed in (("score", "dcba"), ("chance", "cbda")):
        result = make_result(names, ("x",) * 4, forecast=forecast, incidents=incidents, by=by)
        assert "".join(row["Server"] for row in tables(result)["Fleet"]) == listed


def headline(result) -> dict[str, object]:
    return glance(result, result, {"model": "default", "problem": None}, "prometheus", None, ISSUED)


def test_the_headline_is_the_calibrated_chance_of_an_incident_on_any_server_and_unknown_where_it_is():
    for chance, shown in ((0.29, "29%"), (0.001, "<1%"), (np.nan, "unknown")):
        said = headline(make_result(any_server=chance))
        for words in ("30 minutes", "8 hours"):
            assert said[f"Chance of an incident on any server within {words}"] == shown
        assert not any("probability" in item for item in said)


def test_a_fleet_with_a_server_of_p1_is_not_called_healthy():
    incidents = incidents_of(on=[(0, 0)])
    assert headline(make_result(incidents=incidents, by="chance"))["Fleet health"] == "warning"
    assert headline(make_result(incidents=incidents_of(), by="chance"))["Fleet health"] == "healthy"


def test_the_fleets_table_alone_has_anchors_as_a_name_leads_to_one_row():
    shown = fleet_tables(make_result(stale=["ppdb002"]), Roles())
    assert [table.caption for table in shown if table.anchors] == ["Fleet"]


def test_without_a_current_forecast_there_is_no_table():
    assert fleet_tables(None, Roles()) == ()


def test_a_live_server_of_which_no_role_is_forecast_is_not_called_stale():
    forecast = curves(3)
    forecast[0, [0, 1, 3]] = np.nan  # disk and errors alone
    shown = {row["Server"]: [row[name] for name in ("State", "Priority", "Risk", "Method")]
             for row in tables(make_result(forecast=forecast, stale=("ppdb002",)))["Fleet"]}
    assert shown["ppdb001"] == ["BLIND", "-", "-", "tft"] and shown["ppdb002"] == ["BLIND", "stale", "-", "none"]


def test_what_is_blind_has_no_chance_that_would_read_as_now():
    result = make_result(state=[State.BLIND, State.BLIND, State.SAFE])
    assert headline(result)["Chance of an incident on any server within 8 hours"] == "unknown"
    assert [row["Chance 8 hours"] for row in tables(result)["Fleet"] if row["State"] == "BLIND"] == ["-", "-"]
    assert headline(make_result(state=[State.BLIND, State.SAFE, State.SAFE]))[
        "Chance of an incident on any server within 8 hours"] == "50%"


def test_without_chances_the_headline_says_why():
    model = {"model": "default", "problem": None, "chances_problem": "default has no chances.npz: run calibrate"}
    said = glance(make_result(), make_result(), model, "prometheus", None, ISSUED)
    assert said["No chances of incidents"].endswith("run calibrate")


def test_the_page_begins_with_the_fleets_state_and_says_since_when_a_server_is_not_seen():
    result = make_result(state=[State.ACT_NOW, State.BLIND, State.SAFE], forecast=curves(3, base=90.0))
    assert next(iter(headline(result).items())) == ("State", "ACT NOW: 1 ACT NOW, 1 SAFE, 1 BLIND")
    rows = {row["Server"]: row for row in tables(result)["Fleet"]}
    assert rows["ppdb001"]["State"] == "ACT NOW" and rows["ppdb002"]["State"] == "BLIND"
    assert rows["ppdb002"]["Message"].startswith("Not seen since 08:53:15 UTC; before that: ")
    said = glance(result, None, {"model": "default", "problem": None}, "prometheus", None, ISSUED)
    assert said["State"] == "BLIND: there is no current forecast"


def test_what_fills_up_is_listed_by_date_with_its_chances_and_what_has_room_is_not():
    entities = (entity("web1", "/"), entity("web1"), entity("db1"))
    [table] = filling_table(make_outlook(entities, used=(0.4, 0.91, 1.0), priority=(0, 2, 0), full=(False, False, True),
                                         full_at=(np.nan, INSTANT + 3600, np.nan), chance=(0.02, 0.7, 0.9, 0.999)))
    assert [dict(zip(table.columns, row, strict=True)) for row in table.rows] == [
        {"Server": "db1", "Resource": "File systems", "Entity": "/data", "Used": "100%", "Full at": "now",
         "Priority": "-", "Chance 4h": "-", "Chance 24h": "-", "Chance 7d": "-", "Chance 14d": "-"},
        {"Server": "web1", "Resource": "File systems", "Entity": "/data", "Used": "91%",
         "Full at": "Thu 09 Oct 10:00 UTC", "Priority": "P2", "Chance 4h": "2%", "Chance 24h": "70%",
         "Chance 7d": "90%", "Chance 14d": ">99%"}]
    many = [entity(f"web{n}") for n in range(60)]
    assert filling_table(make_outlook(many, full=True))[0].rows[-1][0] == "and 10 more"
    assert filling_table(None) == filling_table(make_outlook()) == ()
