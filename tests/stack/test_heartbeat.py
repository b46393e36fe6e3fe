"""Heartbeats of the fleets: when the pager says that it hears nothing, and when it does not."""

import pytest

from stack import heartbeat
from stack.heartbeat import TIMEOUT
from tests.pagers import Asked, alert, watchdog

LONG = int(TIMEOUT) + 1


@pytest.fixture
def pager() -> Asked:
    return Asked()


def beats(pager: Asked, seconds: int, every: int = 30, time_moves: bool = True, fleet: str = "web") -> None:
    """That many seconds with a heartbeat each `every` seconds."""
    for _ in range(seconds // every):
        pager.post("/heartbeat", watchdog(str(pager.ticks) if time_moves else "0", fleet=fleet))
        pager.passes(every)


def test_a_fleet_that_beats_is_not_spoken_of(pager):
    beats(pager, 600)
    beats(pager, 300, every=90)
    assert (pager.new(), pager.received()) == ([], [])


def test_a_heartbeat_that_is_missing_for_90_s_is_one_page_and_its_return_ends_it(pager):
    beats(pager, 30)
    pager.passes(int(TIMEOUT) - 30)
    assert pager.new() == []
    pager.passes(600)
    [line] = pager.new()
    assert line == ("PAGE 10:31:36 firing FleetcastHeartbeatLost web: web is not watched: no heartbeat for 91 s. "
                    "Check Prometheus, Alertmanager and the forecaster")
    beats(pager, 60)
    assert [line[14:] for line in pager.new()] == ["resolved FleetcastHeartbeatLost web: over"]
    first, last = pager.received()
    assert (first["status"], last["status"]) == ("firing", "resolved") and first["labels"] == last["labels"]
    assert last["annotations"]["summary"] == "web is watched again: its heartbeat is back"
    assert first["labels"]["priority"] == "P1" and first["labels"]["job"] == "forecaster"
    assert first["annotations"]["runbook_url"].endswith("/runbook#fleetcastwatchdog")


def test_a_heartbeat_that_alertmanager_repeats_after_prometheus_has_died_is_no_proof(pager):
    beats(pager, 60)
    beats(pager, 90, time_moves=False)
    assert pager.new() == []
    beats(pager, 240, time_moves=False)
    [line] = pager.new()
    assert "the same heartbeat for 121 s: Prometheus evaluates no rules" in line
    assert "the same heartbeat" in pager.page()


def test_without_the_annotation_time_every_heartbeat_counts(pager):
    for _ in range(20):
        pager.post("/heartbeat", watchdog(None))
        pager.passes(30)
    assert pager.new() == []


def test_a_clock_of_prometheus_that_is_set_back_is_no_loss(pager):
    beats(pager, 120)
    for minute in range(10):
        pager.post("/heartbeat", watchdog(str(minute)))
        pager.passes(30)
    assert pager.new() == []


def test_each_fleet_is_watched_by_itself(pager):
    for _ in range(5):
        pager.post("/heartbeat", watchdog(str(pager.ticks)), watchdog(str(pager.ticks), fleet="db"))
        pager.passes(30)
    beats(pager, 300, fleet="db")
    [line] = pager.new()
    assert "FleetcastHeartbeatLost web:" in line


def test_a_fleet_that_never_sent_a_heartbeat_is_not_missed(pager):
    pager.passes(600)
    assert pager.new() == []


@pytest.mark.parametrize("name", ["FleetcastForecasterDown", "FleetcastForecastsStale", "FleetcastPrometheusDown"])
def test_no_second_page_where_one_says_why_the_heartbeat_has_ended(pager, name):
    beats(pager, 60)
    pager.post("/page", alert(alertname=name, server=None))
    pager.post("/heartbeat", watchdog(str(pager.ticks), "resolved"))
    pager.passes(1200)
    assert len(pager.new()) == 1
    pager.post("/page", alert("resolved", alertname=name, server=None))
    pager.passes(20)
    beats(pager, 300)
    assert [line.partition(" web: ")[2] for line in pager.new()] == ["over, to be proved by a heartbeat"]


def test_an_old_page_about_a_replica_does_not_explain_why_the_heartbeat_of_the_others_is_lost(pager):
    beats(pager, 60)
    pager.post("/page", alert(alertname="FleetcastForecasterDown", server=None, instance="web:8000"))
    beats(pager, 600)
    pager.passes(LONG)
    assert [line.split()[3] for line in pager.new()] == ["FleetcastForecasterDown", "FleetcastHeartbeatLost"]


def test_a_missing_shard_does_not_explain_why_the_heartbeat_of_its_fleet_is_lost(pager):
    beats(pager, 60)
    pager.post("/page", alert(alertname="FleetcastShardMissing", server=None))
    pager.passes(100)
    assert [line.split()[3] for line in pager.new()] == ["FleetcastShardMissing", "FleetcastHeartbeatLost"]


def test_a_page_that_ends_without_a_heartbeat_is_followed_by_one(pager):
    """Alertmanager ends an alert of a Prometheus that has died."""
    beats(pager, 60)
    pager.post("/page", alert(alertname="FleetcastForecasterDown", server=None))
    pager.passes(600)
    pager.post("/page", alert("resolved", alertname="FleetcastForecasterDown", server=None))
    pager.passes(LONG)
    assert [line.split()[2:4] for line in pager.new()] == [
        ["firing", "FleetcastForecasterDown"], ["resolved", "FleetcastForecasterDown"],
        ["firing", "FleetcastHeartbeatLost"]]


def test_a_heartbeat_that_ends_and_is_not_explained_is_paged_about(pager):
    beats(pager, 60)
    pager.post("/heartbeat", watchdog(str(pager.ticks), "resolved"))
    pager.post("/page", alert(alertname="FleetcastFleetCritical", server=None))
    pager.passes(LONG)
    assert "its heartbeat ended: no current forecast" in pager.new()[-1]


def test_a_heartbeat_that_alertmanager_ends_is_not_one(pager):
    """Minutes after Prometheus has died, Alertmanager sends the last one as resolved."""
    beats(pager, 60)
    pager.passes(LONG)
    assert len(pager.new()) == 1
    pager.post("/heartbeat", watchdog(str(pager.ticks), "resolved"))
    pager.passes(300)
    assert pager.new() == []


def test_a_heartbeat_that_ends_leaves_the_whole_time_for_the_page_that_says_why(pager):
    beats(pager, 30)
    pager.passes(50)
    pager.post("/heartbeat", watchdog("1", "resolved"))
    pager.passes(int(TIMEOUT) - 10)
    pager.post("/heartbeat", watchdog("1", "resolved"))
    assert pager.new() == []
    pager.passes(11)
    assert len(pager.new()) == 1


def test_the_page_of_another_fleet_explains_nothing(pager):
    beats(pager, 60)
    pager.post("/page", alert(alertname="FleetcastForecasterDown", fleet="db", server=None))
    pager.passes(LONG)
    assert "FleetcastHeartbeatLost web" in pager.new()[-1]


@pytest.mark.parametrize("fleet", ["web", None])
def test_an_alert_that_ends_while_its_fleet_is_not_heard_has_not_recovered(pager, fleet):
    beats(pager, 60)
    pager.post("/page", alert(fleet=fleet))
    pager.passes(LONG)
    pager.post("/page", alert("resolved", fleet=fleet))
    assert pager.new()[-1].endswith("ppdb001: no longer watched")


def test_an_alert_that_ends_while_its_fleet_is_heard_is_over_whatever_other_fleets_do(pager):
    beats(pager, 60, fleet="db")
    pager.passes(LONG)
    beats(pager, 30)
    for fleet in ("web", None):
        pager.post("/page", alert("resolved", fleet=fleet))
        assert pager.new()[-1].endswith("ppdb001: over")


def test_the_number_of_fleets_has_a_limit_and_the_one_too_many_is_refused(pager, monkeypatch):
    monkeypatch.setattr(heartbeat, "_MOST", 2)
    assert pager.post("/heartbeat", watchdog("1"), watchdog("1", fleet="db")).status_code == 200
    answer = pager.post("/heartbeat", watchdog("1", fleet="third"))
    assert answer.status_code == 400 and answer.json["error"] == "more than 2 fleets send heartbeats"
