"""The JSON endpoints: forecasts, alerts and status, and what they answer when there is nothing to show."""

import json
from dataclasses import replace

import numpy as np
import pytest

from forecaster.publish.api import api_blueprint
from forecaster.publish.values import numbers
from forecaster.risk.conditions import Condition
from forecaster.risk.state import State
from forecaster.risk.thresholds import Roles
from tests.results import ISSUED, SIGNALS, Clock, app_of, board_with, curves, incidents_of, make_result

MORE = {"model": {"name": "default", "loaded": True}, "source": {"kind": "prometheus"},
        "errors": {"query": "Prometheus answered 503"}}


def client_of(result, clock=None, ttl=120.0, more=None):
    return app_of(api_blueprint(board_with(result, ttl), Roles(), lambda: MORE if more is None else more,
                                clock or Clock())).test_client()


def get(client, path: str, status: int = 200):
    """The answer's JSON, which must be valid: no NaN, no Infinity."""
    response = client.get(path)
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.mimetype == "application/json"

    def refuse(token):
        raise AssertionError(f"{token} is no JSON")

    return json.loads(response.data, parse_constant=refuse)


@pytest.fixture
def at_risk():
    """ppweb001: cpu and memory and latency at their most; ppdb001: warm memory; ppdb002: nothing."""
    forecast = curves(3)
    forecast[2, 0, :, 2], forecast[2, 1, :, 2], forecast[2, 3, :, 2] = 99, 99, 600
    forecast[0, 1, :, 2] = 92.25
    forecast[0, 1, 2, 2], forecast[0, 1, 5, 2] = 94.5, 93.5
    return make_result(forecast=forecast)


def test_every_server_and_signal_has_three_curves_of_96_steps_its_current_value_and_its_trend():
    result = make_result()
    body = get(client_of(result), "/predictions/current")
    assert set(body["predictions"]) == set(result.servers)
    for s, server in enumerate(result.servers):
        assert list(body["predictions"][server]) == list(SIGNALS)
        for c, signal in enumerate(SIGNALS):
            shown = body["predictions"][server][signal]
            for q, percentile in enumerate(("p10", "p50", "p90")):
                assert shown[percentile] == result.forecast[s, c, :, q].tolist()
                assert len(shown[percentile]) == 96
            assert shown["current"] == result.observed[s, c]
            assert shown["trend"] == 0.125


def test_metadata_says_when_and_how_the_forecast_was_made():
    metadata = get(client_of(make_result(method=["tft", "heuristic", "tft"]), Clock(ISSUED + 12.5)),
                   "/predictions/current")["metadata"]
    assert metadata["issued"] == "2025-10-09T08:53:20.000+00:00"
    assert metadata["issued_unix"] == ISSUED
    assert metadata["age_seconds"] == 12.5
    assert metadata["ttl_seconds"] == 120
    assert metadata["step_seconds"] == 300
    assert metadata["steps"] == 96
    assert metadata["method"] == {"ppdb001": "tft", "ppdb002": "heuristic", "ppweb001": "tft"}
    assert metadata["model"] == MORE["model"]
    assert metadata["stale"] == {}


def test_the_age_is_that_of_the_moment_although_the_curves_are_kept():
    clock = Clock()
    client = client_of(make_result(), clock)
    first = get(client, "/predictions/current")
    clock.now += 30
    second = get(client, "/predictions/current")
    assert (first["metadata"]["age_seconds"], second["metadata"]["age_seconds"]) == (0, 30)
    assert first["predictions"] == second["predictions"]


def test_a_new_result_replaces_the_curves():
    board = board_with(make_result())
    client = app_of(api_blueprint(board, Roles(), dict, Clock())).test_client()
    get(client, "/predictions/current")
    board.publish(make_result(forecast=curves(3, base=50.0)))
    body = get(client, "/predictions/current?server=ppdb001")
    assert body["predictions"]["ppdb001"]["cpu_pct"]["p10"][0] == 50.125


def test_the_environment_is_the_fleets_risk(at_risk):
    assert get(client_of(at_risk), "/predictions/current")["environment"] == {
        "prob_30m": 0.3333, "prob_8h": 0.2833, "chance_30m": 0.5, "chance_8h": 0.5, "high_risk_servers": 1,
        "high_risk_pending": 0, "total_servers": 3, "fleet_health": "warning", "state": "ACT NOW"}, "a server is P1"


def test_the_fleets_chance_is_null_where_it_is_unknown():
    environment = get(client_of(make_result(any_server=float("nan"))), "/predictions/current")["environment"]
    assert environment["chance_30m"] is None and environment["chance_8h"] is None


def test_a_fleet_in_trouble_is_not_called_healthy():
    forecast = curves(3)
    forecast[:, :2, :6, 2] = 99
    environment = get(client_of(make_result(forecast=forecast)), "/predictions/current")["environment"]
    assert (environment["prob_30m"], environment["fleet_health"]) == (0.7, "warning")


def test_asking_for_servers_answers_with_them_and_their_alerts_alone(at_risk):
    client = client_of(at_risk)
    one = get(client, "/predictions/current?server=ppdb002")
    assert list(one["predictions"]) == ["ppdb002"]
    assert one["alerts"] == []
    path = "/predictions/current?server=ppweb001&server=ppdb002&server=ppweb001"
    two = get(client, path)
    assert list(two["predictions"]) == ["ppweb001", "ppdb002"]
    assert client.get(path).data.count(b'"ppweb001":{') == 1
    assert [alert["server_name"] for alert in two["alerts"]] == ["ppweb001"]


def test_an_unknown_server_is_a_404_that_names_it_and_a_known_one():
    body = get(client_of(make_result()), "/predictions/current?server=ppdb001&server=ppdb999", 404)
    assert "'ppdb999'" in body["error"]
    assert "ppdb001" not in body["error"]
    assert body["field"] == "server"
    assert "'ppdb001'" in body["expected"]
    assert "''" in get(client_of(make_result()), "/predictions/current?server=", 404)["error"]


def test_a_stale_server_is_left_out_and_listed_with_its_last_seen_time():
    result = make_result(stale=["ppdb002"], last_seen=[ISSUED, ISSUED - 2000, ISSUED])
    client = client_of(result, Clock(ISSUED + 10))
    body = get(client, "/predictions/current")
    assert set(body["predictions"]) == {"ppdb001", "ppweb001"}
    assert set(body["metadata"]["method"]) == {"ppdb001", "ppweb001"}
    assert body["metadata"]["stale"] == {
        "ppdb002": {"last_seen": "2025-10-09T08:20:00.000+00:00", "last_seen_seconds_ago": 2010}}
    assert body["environment"]["total_servers"] == 2
    refused = get(client, "/predictions/current?server=ppdb002", 503)
    assert "stale" in refused["error"]
    assert refused["last_seen_seconds_ago"] == 2010


def test_what_is_not_known_is_null():
    forecast = curves(3)
    forecast[0, 2] = np.nan
    forecast[0, 0, 4, 1] = np.inf
    observed = curves(3)[:, :, 0, 1]
    observed[1, 0] = np.nan
    client = client_of(make_result(forecast=forecast, observed=observed))
    predictions = get(client, "/predictions/current")["predictions"]
    assert predictions["ppdb001"]["disk_io_mb_s"]["p50"] == [None] * 96
    assert predictions["ppdb001"]["cpu_pct"]["p50"][3:6:2] == [11.5, 11.75]
    assert predictions["ppdb001"]["cpu_pct"]["p50"][4] is None
    assert predictions["ppdb002"]["cpu_pct"]["current"] is None


def test_numbers_keep_four_decimals_and_below_one_four_digits():
    given = np.array([48.123456, 1234.56789, 0.0021349, -0.0021349, 0.5, 0.0, 1e-15], np.float32)
    assert numbers(given) == [48.1235, 1234.5679, 0.002135, -0.002135, 0.5, 0.0, 0.0]


def test_alerts_list_servers_at_risk_highest_first_with_what_drives_it(at_risk):
    body = get(client_of(at_risk), "/alerts")
    first, second = body["alerts"]
    assert first == {
        "server_name": "ppweb001", "profile": "web_api", "state": "ACT NOW", "priority": "P1", "risk_score": 100,
        "component": "cpu", "method": "tft", "pending": None,
        "message": "CPU predicted to reach 99.0% in 5 minutes (p90), risk score 100; chance of an incident within 30 "
                   "minutes 25%",
        "cpu_risk": 40, "mem_risk": 35, "latency_risk": 25,
        "cpu_now": 24.125, "cpu_30m": 99, "cpu_delta": 74.875,
        "mem_now": 27.125, "mem_30m": 99, "mem_delta": 71.875,
        "latency_now": 33.125, "latency_30m": 600, "latency_delta": 566.875, "incidents": [], "capacity": None}
    assert second["server_name"] == "ppdb001"
    assert (second["priority"], second["risk_score"], second["mem_risk"]) == ("P3", 12, 12)
    assert second["message"] == "Memory predicted to reach 94.5% in 15 minutes"
    assert second["mem_30m"] == 93.5, "the value 30 minutes ahead, not the largest before"
    assert body["metadata"]["age_seconds"] == 0
    assert get(client_of(at_risk), "/predictions/current")["alerts"] == body["alerts"]


def test_a_priority_that_has_only_begun_says_since_when_and_until_when_it_has_to_last(at_risk):
    result = make_result(forecast=at_risk.forecast, incidents=incidents_of(chance={(0, 0): (0.1, 0.6)}),
                         pending={"ppweb001": (-15, 30)})
    first, second = get(client_of(result), "/alerts")["alerts"]
    assert (first["state"], first["priority"], second["pending"]) == ("ACT NOW", "P1", None)
    assert first["pending"] == {"since": "2025-10-09T08:53:05.000+00:00", "until": "2025-10-09T08:53:50.000+00:00"}
    assert first["message"].startswith("P1 since 08:53:05 UTC, its alert fires soon after 08:53:50 if that lasts; CPU")
    environment = get(client_of(result), "/predictions/current")["environment"]
    assert (environment["high_risk_servers"], environment["high_risk_pending"]) == (1, 1)
    assert get(client_of(result), "/status")["state"]["pending"] == {"P1": 1, "P2": 0}
    assert get(client_of(result.only({"ppdb001"})), "/status")["state"]["pending"] == {"P1": 0, "P2": 0}


def test_servers_of_equal_risk_are_listed_by_name():
    forecast = curves(3)
    forecast[:, 0, :6, 2] = 97
    listed = get(client_of(make_result(servers=("c", "a", "b"), forecast=forecast)), "/alerts")["alerts"]
    assert [alert["server_name"] for alert in listed] == ["a", "b", "c"]


def test_a_stale_server_raises_no_alert_and_a_missing_signal_no_column(at_risk):
    result = make_result(signals=SIGNALS[:2], forecast=at_risk.forecast[:, :2])
    result = replace(result, stale=np.array([False, False, True]))
    alert, = get(client_of(result), "/alerts")["alerts"]
    assert alert["server_name"] == "ppdb001"
    assert "latency_now" not in alert
    assert alert["latency_risk"] == 0


@pytest.mark.parametrize("path", ["/predictions/current", "/alerts"])
def test_without_a_forecast_the_answer_is_503_and_says_so(path):
    body = get(client_of(None), path, 503)
    assert body["error"] == "there is no forecast yet"
    assert body["field"] == "forecast"
    assert "/status" in body["expected"]


@pytest.mark.parametrize("path", ["/predictions/current", "/alerts"])
def test_a_forecast_past_its_time_to_live_is_not_shown_but_its_age_is(path):
    clock = Clock(ISSUED + 120)
    client = client_of(make_result(), clock)
    get(client, path)
    clock.now += 180
    body = get(client, path, 503)
    assert "300 s old" in body["error"]
    assert "120 s" in body["expected"]
    assert body["age_seconds"] == 300
    assert "predictions" not in body
    assert "alerts" not in body


def test_status_tells_warm_up_model_source_and_errors():
    body = get(client_of(make_result(samples=[150, 200, 151]), Clock(ISSUED + 7)), "/status")
    assert body["warmup"] == {
        "is_warmed_up": True, "progress_percent": 100, "current_size": 150, "required_size": 150,
        "message": "Model ready for predictions",
        "servers": {"ppdb001": 150, "ppdb002": 200, "ppweb001": 151}}
    assert body["forecast"]["current"] is True
    assert body["forecast"]["age_seconds"] == 7
    assert body["servers"] == {"total": 3, "stale": 0, "stale_servers": {}, "seen": 3, "unforecast": {},
                               "missing_signals": {}}
    assert {key: body[key] for key in MORE} == MORE


def test_warm_up_is_as_far_as_its_least_warm_live_server():
    result = make_result(samples=[150, 3, 75], stale=["ppdb002"], method=["tft", "heuristic", "heuristic"])
    warmup = get(client_of(result), "/status")["warmup"]
    assert (warmup["is_warmed_up"], warmup["progress_percent"], warmup["current_size"]) == (False, 50, 75)
    assert warmup["message"] == "Model warming up: 75/150 samples, 1 of 2 servers not ready"
    assert warmup["servers"]["ppdb002"] == 3


def test_a_warm_fleet_on_the_heuristic_is_not_called_ready():
    warmup = get(client_of(make_result(method=["heuristic"] * 3)), "/status")["warmup"]
    assert warmup["is_warmed_up"] is True
    assert warmup["message"] == "Warm; the trend heuristic forecasts 3 of 3 servers"


def test_status_answers_before_the_first_forecast():
    body = get(client_of(None), "/status")
    assert body["forecast"] == {"current": False, "reason": "no cycle has succeeded yet"}
    assert body["warmup"]["is_warmed_up"] is False
    assert body["errors"] == MORE["errors"]


def test_status_says_that_the_forecast_is_too_old_and_which_servers_are_gone():
    result = make_result(stale=["ppdb002"], last_seen=[ISSUED, float("nan"), ISSUED])
    body = get(client_of(result, Clock(ISSUED + 500)), "/status")
    assert body["forecast"]["current"] is False
    assert body["forecast"]["age_seconds"] == 500
    assert "older than ttl_seconds" in body["forecast"]["reason"]
    gone = {"ppdb002": {"last_seen": None, "last_seen_seconds_ago": None}}
    assert (body["servers"]["total"], body["servers"]["stale"], body["servers"]["stale_servers"]) == (3, 1, gone)


def test_status_names_at_most_fifty_servers_of_a_reason_and_then_how_many_more():
    unforecast = {f"win{number:03}": "no_values" for number in range(300)}
    servers = get(client_of(make_result(stale=["ppdb002"], unforecast=unforecast)), "/status")["servers"]
    assert (servers["total"], servers["seen"]) == (3, 303)
    assert servers["unforecast"]["stale"] == {"servers": 1, "names": ["ppdb002"]}
    assert servers["unforecast"]["no_values"] == {"servers": 300, "names": [*list(unforecast)[:50], "and 250 more"]}


def test_signals_without_a_forecast_are_named_by_server_and_by_signal():
    forecast = curves(3)
    forecast[1, [1, 3]] = np.nan
    forecast[2, 1] = np.nan
    client = client_of(make_result(forecast=forecast))
    missing = get(client, "/predictions/current")["metadata"]["missing_signals"]
    assert missing == {"ppdb002": ["mem_pct", "latency_ms"], "ppweb001": ["mem_pct"]}
    assert get(client, "/status")["servers"]["missing_signals"] == {
        "latency_ms": {"servers": 1, "names": ["ppdb002"]}, "mem_pct": {"servers": 2, "names": ["ppdb002", "ppweb001"]}}


def test_an_optional_signal_without_a_forecast_is_not_missing():
    forecast = curves(3)
    forecast[1, [1, 3]] = np.nan
    forecast[2, 1] = np.nan
    result = make_result(forecast=forecast, optional=["mem_pct", "error_rate"])
    assert get(client_of(result), "/predictions/current")["metadata"]["missing_signals"] == {"ppdb002": ["latency_ms"]}
    assert get(client_of(result), "/status")["servers"]["missing_signals"] == {
        "latency_ms": {"servers": 1, "names": ["ppdb002"]}}


def test_a_server_that_is_up_without_values_is_listed_and_not_answered_with_forecasts():
    client = client_of(make_result(unforecast={"win01": "no_values"}))
    body = get(client, "/predictions/current")
    assert body["metadata"]["unforecast"] == {"win01": "no_values"} and "win01" not in body["predictions"]
    refused = get(client, "/predictions/current?server=win01", 503)
    assert refused["error"].startswith("win01 is not forecast: no_values, ")


def test_an_alert_has_what_is_known_of_each_incident_of_its_server_most_urgent_first(at_risk):
    incidents = incidents_of(on=[(2, 0)], chance={(2, 0): (np.nan, np.nan), (2, 1): (0.61234, 0.7)},
                             begins={(2, 1): 2100}, recurring=(3, 7))
    result = replace(at_risk, risk=replace(at_risk.risk, incidents=incidents))
    assert get(client_of(result), "/alerts")["alerts"][0]["incidents"] == [
        {"incident": "cpu_saturated", "signal": "cpu_pct", "limit": "above 95", "on": True, "chance_30m": None,
         "chance_8h": None, "begin_chance_30m": None, "begin_chance_8h": None, "expected": None, "recurring": None,
         "priority": "P1"},
        {"incident": "memory_exhausted", "signal": "mem_pct", "limit": "above 95", "on": False, "chance_30m": 0.6123,
         "chance_8h": 0.7, "begin_chance_30m": 0.6123, "begin_chance_8h": 0.7,
         "expected": "2025-10-09T09:28:20.000+00:00", "recurring": {"on": 3, "held": 7}, "priority": "P2"},
        {"incident": "latency_high", "signal": "latency_ms", "limit": "above 200", "on": False, "chance_30m": 0.01,
         "chance_8h": 0.04, "begin_chance_30m": 0.01, "begin_chance_8h": 0.04, "expected": None, "recurring": None,
         "priority": "P3"}]


def test_an_incident_that_is_on_has_a_chance_and_none_of_beginning():
    incidents = incidents_of(on=[(0, 0)], chance={(0, 0): (0.97, 0.98)})
    [alert] = get(client_of(make_result(incidents=incidents)), "/alerts")["alerts"]
    first = alert["incidents"][0]
    assert (first["chance_30m"], first["chance_8h"]) == (0.97, 0.98)
    assert (first["begin_chance_30m"], first["begin_chance_8h"]) == (None, None)


def test_an_incident_that_a_server_is_not_meant_for_or_has_no_value_of_is_not_listed():
    incidents = incidents_of(on=[(0, 0)])
    incidents.known[0, 1] = False
    [alert] = get(client_of(make_result(incidents=incidents)), "/alerts")["alerts"]
    assert [one["incident"] for one in alert["incidents"]] == ["cpu_saturated", "latency_high"]


def test_an_unknown_chance_gives_no_priority_and_comes_last():
    incidents = incidents_of(on=[(0, 2)], chance={(0, 0): (np.nan, np.nan)})
    [alert] = get(client_of(make_result(incidents=incidents)), "/alerts")["alerts"]
    assert [(one["incident"], one["priority"]) for one in alert["incidents"]] == [
        ("latency_high", "P1"), ("memory_exhausted", "P3"), ("cpu_saturated", None)]


def test_servers_without_points_are_listed_where_chances_give_them_a_priority_or_name_an_incident():
    chance = {(0, 0): (0.01, 0.06), (1, 0): (0.9, 0.95), (2, 0): (0.2, 0.6), (3, 0): (0.01, 0.049)}
    result = make_result(("a", "b", "c", "d", "e"), ("x",) * 5, incidents=incidents_of(5, on=[(4, 0)], chance=chance),
                         stale=["e"], by="chance")
    listed = get(client_of(result), "/alerts")["alerts"]
    assert [(alert["server_name"], alert["priority"]) for alert in listed] == [("b", "P1"), ("c", "P2"), ("a", "P3")]


def test_alerts_are_ordered_by_priority_then_score_then_chance(at_risk):
    incidents = incidents_of(chance={(1, 0): (0.1, 0.3), (0, 0): (0.1, 0.2)})
    result = make_result(forecast=at_risk.forecast, incidents=incidents)
    assert [alert["server_name"] for alert in get(client_of(result), "/alerts")["alerts"]] == [
        "ppweb001", "ppdb001", "ppdb002"], "P1, 12 points, none"
    result = make_result(incidents=incidents_of(chance={(1, 0): (0.1, 0.3), (0, 0): (0.1, 0.2)}))
    assert [alert["server_name"] for alert in get(client_of(result), "/alerts")["alerts"]] == ["ppdb002", "ppdb001"]
    result = make_result(forecast=at_risk.forecast, incidents=incidents_of(on=[(1, 0)]), by="chance")
    assert [alert["server_name"] for alert in get(client_of(result), "/alerts")["alerts"]] == [
        "ppdb002"], "by chance, points put no server on the list"


def test_status_names_the_configured_incidents_and_where_their_chances_are_known():
    conditions = {"cpu_saturated": Condition(signal="cpu_pct", above=95, **{"for": "15m"}),
                  "errors_low": Condition(signal="error_rate", below=0.5, severity="P3")}
    unknown = np.nan, np.nan
    incidents = incidents_of(on=[(1, 1)], chance={(0, 0): unknown, (2, 1): unknown}, conditions=conditions)
    incidents.known[2, 1] = False
    body = get(client_of(make_result(incidents=incidents, by="chance")), "/status")
    assert body["priorities"] == {"by": "chance"}
    assert body["incidents"] == {
        "cpu_saturated": {"signal": "cpu_pct", "limit": "above 95", "for_seconds": 900, "severity": "P1",
                          "servers": 3, "chance_known": 2, "on": 0},
        "errors_low": {"signal": "error_rate", "limit": "below 0.5", "for_seconds": 300, "severity": "P3",
                       "servers": 2, "chance_known": 2, "on": 1}}
    before = get(client_of(None), "/status")
    assert (before["incidents"], before["priorities"]) == ({}, {"by": None})


def test_a_fleet_of_stale_servers_is_not_warm():
    warmup = get(client_of(make_result(stale=["ppdb001", "ppdb002", "ppweb001"])), "/status")["warmup"]
    assert warmup["is_warmed_up"] is False
    assert warmup["message"] == "No server sends samples"


def test_states_are_said_in_the_same_words_for_fleet_servers_and_alerts():
    state = [State.ACT_NOW, State.BLIND, State.CLEARING]
    board = board_with(make_result(state=state, forecast=curves(3, base=90.0)))
    client = app_of(api_blueprint(board, Roles(), dict, clock := Clock())).test_client()
    body = get(client, "/alerts")
    assert {alert["server_name"]: alert["state"] for alert in body["alerts"]} == body["metadata"]["state"] == {
        "ppdb001": "ACT NOW", "ppdb002": "BLIND", "ppweb001": "CLEARING"}
    assert get(client, "/predictions/current")["environment"]["state"] == "ACT NOW"
    said = get(client, "/status")["state"]
    assert said["fleet"] == "ACT NOW" and said["servers"]["BLIND"] == 1
    clock.now += 1000
    assert get(client, "/status")["state"]["servers"] == dict.fromkeys(said["servers"], 0) | {"BLIND": 3}


def test_a_fleet_with_a_server_that_is_blind_is_not_called_healthy():
    environment = get(client_of(make_result(stale=["ppdb001"])), "/predictions/current")["environment"]
    assert (environment["fleet_health"], environment["state"]) == ("unknown", "WATCH")
