"""The tables of the landing page."""

import numpy as np

from forecaster.publish.page import fleet_tables
from forecaster.risk.recurring import Recurring
from forecaster.risk.thresholds import Roles
from tests.results import curves, make_result


def tables(result) -> dict[str, list[dict]]:
    """caption -> rows, each by its columns."""
    return {table.caption: [dict(zip(table.columns, row, strict=True)) for row in table.rows]
            for table in fleet_tables(result, Roles())}


def test_servers_that_are_seen_and_not_forecast_are_listed_with_the_reason_in_words():
    rows = tables(make_result(stale=["ppdb002"], unforecast={"win01": "no_values"}))["Seen, not forecast"]
    assert [row["Server"] for row in rows] == ["ppdb002", "win01"]
    assert rows[0]["Reason"] == "no value for stale_after"
    assert rows[1]["Reason"] == "up or known, and no signal has a value to forecast from"


def test_of_three_hundred_such_servers_fifty_are_listed_and_then_how_many_more():
    rows = tables(make_result(unforecast={f"win{n:03}": "no_values" for n in range(300)}))["Seen, not forecast"]
    assert len(rows) == 51 and rows[49]["Server"] == "win049" and rows[50]["Server"] == "and 250 more"


def test_a_server_at_risk_has_its_message_and_on_how_many_days_it_was_so_before():
    forecast = curves(3)
    forecast[0, 0, 2:, 2] = 98.5
    days = np.full((3, 3), 7)
    found = Recurring(np.full((3, 3), 3), days - 1, days, ("95%", "95%", "200 ms"))
    rows = tables(make_result(forecast=forecast, recurring=found))["Fleet"]
    assert rows[0]["Message"] == (
        "CPU predicted to reach 98.5% in 15 minutes; above 95% at this time of day on 6 of the last 7 days")
    assert {row["Message"] for row in rows[1:]} == {"-"}


def test_without_a_current_forecast_there_is_no_table():
    assert fleet_tables(None, Roles()) == ()


def test_a_live_server_of_which_no_role_is_forecast_is_not_called_stale():
    forecast = curves(3)
    forecast[0, [0, 1, 3]] = np.nan  # disk and errors alone
    table = fleet_tables(make_result(forecast=forecast, stale=("ppdb002",)), Roles())[0]
    shown = {row[0]: row[2:5] for row in table.rows}
    assert shown["ppdb001"] == ["-", "-", "tft"] and shown["ppdb002"] == ["stale", "-", "none"]
