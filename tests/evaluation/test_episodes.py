"""Pages and incidents are counted as a person counts them."""

import numpy as np
import pytest

from forecaster.config import load_config
from forecaster.evaluation import episodes
from forecaster.evaluation.backtest import Forecaster
from forecaster.training.dataset import DatasetError, History

SPAN = (0.0, 10080.0)  # a week


def test_a_page_ends_after_two_instants_without():
    at = np.arange(9) * 15.0
    raised = np.array([0, 1, 0, 1, 0, 0, 1, 1, 0], bool)
    assert episodes.stretches(raised, at, 1) == [(15, 45), (90, 105)]
    assert episodes.stretches(raised, at, 0) == [(15, 15), (45, 45), (90, 105)]
    assert episodes.stretches(np.zeros(9, bool), at, 1) == []


def test_a_page_is_true_where_an_incident_is_on_during_it_or_soon_after_it_begins():
    found = episodes.judge([[(100, 100), (300, 300), (600, 700)]], [[(130, 140), (331, 340), (690, 900)]], 30, SPAN)
    assert found["pages"] == 3 and found["true"] == pytest.approx(2 / 3) and found["pages_per_server_week"] == 3


def test_a_page_within_an_incident_is_true_and_notices_it_without_announcing_it():
    found = episodes.judge([[(120, 130)]], [[(100, 200)]], 30, SPAN)
    assert (found["true"], found["announced"], found["noticed"]) == (1, 0, 1) and np.isnan(found["lead_minutes"])


def test_an_incident_is_announced_by_a_page_before_it_and_the_lead_is_the_median():
    pages, came = [[(100, 100), (480, 600)], []], [[(110, 120), (590, 700)], [(50, 60)]]
    found = episodes.judge(pages, came, 30, SPAN)
    assert found["incidents"] == 3 and found["announced"] == pytest.approx(2 / 3)
    assert found["lead_minutes"] == pytest.approx((10 + 110) / 2) and found["pages_per_server_week"] == 1


def test_what_is_on_when_the_weeks_begin_is_not_counted():
    found = episodes.judge([[(0, 30)]], [[(-20, 30)]], 30, SPAN)
    assert found["pages"] == found["incidents"] == 0 and np.isnan(found["true"]) and np.isnan(found["announced"])


def history() -> History:
    """Two servers for three days; the first is full for an hour on the last, after rising for as long."""
    values = np.full((3 * 288, 2, 1), 10, np.float32)
    values[600:612, 0, 0], values[612:624, 0, 0] = np.linspace(10, 94, 12), 99
    return History(0.0, 300.0, ("cpu_pct",), ("a", "b"), ("x", "x"), values)


def test_rules_and_priorities_are_counted_on_every_server_and_instant():
    config = load_config("node_exporter")
    forecaster = Forecaster("persistence", {"cpu_pct": config.signals["cpu_pct"]}, "persistence", config)
    found = episodes.measure(forecaster, [history()], 300.0, None, 15)
    assert found["servers"] == 2 and found["weeks"] == pytest.approx((3 * 288 - 288 - 96) / 2016, rel=0.02)
    rules = found["rules"]
    assert set(rules) == {"P1", "P2 or worse", "alert on the condition", "predict_linear 30m", "predict_linear 8h"}
    assert {row["incidents"] for row in rules.values()} == {1}
    late = rules["alert on the condition"]
    assert (late["pages"], late["true"], late["announced"], late["noticed"]) == (1, 1, 0, 1)
    line = rules["predict_linear 30m"]
    assert line["announced"] == 1 and line["lead_minutes"] == pytest.approx(25, abs=10)


@pytest.mark.parametrize(("lasting", "minutes"), [("5m", 15), ("30m", 5)])
def test_an_alert_on_the_condition_rings_as_soon_as_it_is_on(lasting, minutes):
    incidents = {"full": {"signal": "cpu_pct", "above": 95, "for": lasting}}
    config = load_config("node_exporter", {"risk.incidents": incidents})
    forecaster = Forecaster("persistence", {"cpu_pct": config.signals["cpu_pct"]}, "persistence", config)
    windows = episodes.grid(history(), 300.0, None, minutes)
    rung = episodes._rules(np.full(len(windows), "P3"), windows, forecaster.conditions)["alert on the condition"].raised
    first = 612 + forecaster.conditions["full"].steps - 1
    on = (windows.place[:, 0] == 0) & (windows.place[:, 1] >= first) & (windows.place[:, 1] < 624)
    np.testing.assert_array_equal(rung, on)


def test_instants_without_a_forecast_are_no_part_of_the_weeks():
    given = history()
    given.values[300:, 1] = np.nan
    config = load_config("node_exporter")
    forecaster = Forecaster("heuristic", {"cpu_pct": config.signals["cpu_pct"]}, "heuristic", config)
    whole, half = (episodes.measure(forecaster, [one], 300.0, None, 60) for one in (history(), given))
    assert half["weeks"] < 0.9 * whole["weeks"]


def test_too_short_a_history_is_refused():
    config = load_config("node_exporter")
    forecaster = Forecaster("persistence", {"cpu_pct": config.signals["cpu_pct"]}, "persistence", config)
    with pytest.raises(DatasetError, match="24.0 h of history; expected at least 32 h"):
        episodes.measure(forecaster, [history().between(0, 288)], 300.0, None, 15)
