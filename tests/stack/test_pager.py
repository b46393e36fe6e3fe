"""What the pager says of the notifications of Alertmanager, and what it keeps of them."""

import json
from datetime import timedelta

import pytest

from stack import open_alerts
from stack.pager import KEPT
from stack.webhook import LARGEST
from tests.pagers import NOW, Asked, alert, servers


@pytest.fixture
def pager() -> Asked:
    return Asked()


def test_an_alert_is_a_line_with_kind_time_status_name_server_and_summary(pager):
    assert pager.post("/page", alert()).json == {"alerts": 1}
    assert pager.new() == ["PAGE 10:30:05 firing FleetcastServerP1 ppdb001: ppdb001 is about to fail"]
    assert pager.received() == [{
        "received": NOW.isoformat(), "kind": "PAGE", "status": "firing", "ended": None, "labels": alert()["labels"],
        "annotations": alert()["annotations"], "starts_at": alert()["startsAt"], "ends_at": None}]


def test_tickets_and_resolved_alerts_say_so(pager):
    pager.post("/ticket", alert())
    pager.post("/ticket", alert("resolved"))
    assert pager.new() == ["TICKET 10:30:05 firing FleetcastServerP1 ppdb001: ppdb001 is about to fail",
                           "TICKET 10:30:05 resolved FleetcastServerP1 ppdb001: over"]


def test_a_group_that_is_sent_again_prints_only_what_is_new(pager):
    one, other = alert(), alert(server="ppdb002")
    ended = alert("resolved")
    for group in ([one], [one, other], [ended, other], [ended, other], [one], [ended]):
        pager.post("/page", *group)
    assert [line.split()[2:5:2] for line in pager.new()] == [
        ["firing", "ppdb001:"], ["firing", "ppdb002:"], ["resolved", "ppdb001:"], ["firing", "ppdb001:"],
        ["resolved", "ppdb001:"]]
    assert len(pager.received()) == 9


def test_the_end_of_an_alert_whose_server_is_lost_is_no_recovery(pager):
    pager.post("/page", alert())
    pager.post("/page", alert(summary="ppdb001 (db): lost sight of at 03:12 UTC, was critical"))
    pager.post("/page", alert("resolved", summary=""))
    assert [line.partition("ppdb001: ")[2] for line in pager.new()] == [
        "ppdb001 is about to fail", "ppdb001 (db): lost sight of at 03:12 UTC, was critical", "no longer watched"]
    pager.post("/page", alert("resolved"))  # sent again
    assert [one["ended"] for one in pager.received()] == [None, None, *["no longer watched"] * 2]


def test_an_alert_that_was_lost_and_is_forecast_again_ends_as_a_recovery(pager):
    pager.post("/page", alert(summary="ppdb001: lost sight of at 03:12 UTC"))
    pager.post("/page", alert())
    pager.post("/page", alert("resolved"))
    assert pager.new()[-1].endswith(": over")


def test_the_last_summary_is_that_of_the_end(pager):
    """Alertmanager sends no group because of a changed text alone."""
    pager.post("/page", alert())
    pager.post("/page", alert("resolved", summary="ppdb001: lost sight of at 03:12 UTC"))
    assert pager.new()[-1].endswith(": no longer watched")


def test_of_many_alerts_five_have_a_line_and_the_others_are_counted_and_named(pager):
    pager.post("/page", *servers(10_000))
    *single, more = pager.new()
    assert [line.split()[4] for line in single] == [f"web{n:05}:" for n in range(5)]
    assert more == ("PAGE 10:30:05 firing FleetcastServerP1 ... and 9,995 more: "
                    + ", ".join(f"web{n:05}" for n in range(5, 15)) + ", ...")
    pager.post("/page", *servers(10_000))
    assert pager.new() == []
    pager.post("/page", *servers(9_999, "resolved"), *servers(1, first=9_999), alert(server="new"))
    firing, *single, more = pager.new()
    assert firing.split()[2:5] == ["firing", "FleetcastServerP1", "new:"]
    assert len(single) == 5 and all(line.endswith(": over") for line in single)
    assert "resolved FleetcastServerP1 ... and 9,994 more, over: web00005, " in more


def test_recovered_and_lost_servers_are_counted_apart(pager):
    lost = [one | {"annotations": {"summary": "lost sight of"}} for one in servers(7, "resolved", first=7)]
    pager.post("/page", *servers(7, "resolved"), *lost)
    counted = [line.partition("more, ")[2] for line in pager.new() if "more" in line]
    assert counted == ["no longer watched: web00012, web00013", "over: web00005, web00006"]


def test_alerts_that_alertmanager_left_out_are_told_once(pager):
    for left_out in (11, 11, 12):
        pager.post("/page", alert(), truncatedAlerts=left_out, groupKey="a")
    pager.post("/page", alert(server="ppdb002"), truncatedAlerts=0, groupKey="b")
    told = [line for line in pager.new() if "left out" in line]
    assert told == [f"PAGE 10:30:05 firing FleetcastServerP1 ... and {number} more that Alertmanager left out"
                    for number in (11, 12)]
    assert "left 12 more alerts out" in pager.page()
    pager.post("/page", alert("resolved"), groupKey="a")
    assert "more alerts out" not in pager.page()


def test_an_alert_without_server_or_summary_is_still_one_line(pager):
    pager.send("/page", b'{"alerts": [{"status": "firing", "labels": {"alertname": "Watchdog"}}]}')
    pager.post("/page", alert(summary="two\nlines"))
    first, second = pager.new()
    assert first == "PAGE 10:30:05 firing Watchdog the fleet"
    assert second.endswith("ppdb001: two lines")


def test_a_long_line_is_cut(pager):
    pager.post("/page", alert(summary="x" * 10_000, server="y" * 10_000))
    assert len(pager.new()[0]) < 600


@pytest.mark.parametrize(("body", "field"), [
    (b"not json", "body"),
    (b"[]", "body"),
    (b'{"alerts": []}', "alerts"),
    (b'{"alerts": [{"status": "firing", "labels": {}}, {"status": "odd", "labels": {}}]}', "alerts.1.status"),
    (b'{"alerts": [{"status": "firing"}]}', "alerts.0.labels"),
    (b'{"alerts": [{"status": "firing", "labels": {}, "annotations": 3}]}', "alerts.0.annotations"),
    (b'{"alerts": [{"status": "firing", "labels": {"a": 1}}]}', "alerts.0.labels.a"),
    (b'{"alerts": [{"status": "firing", "labels": {}}], "truncatedAlerts": -1}', "truncatedAlerts"),
    (b"\xff\xfe", "body"),
])
@pytest.mark.parametrize("path", ["/page", "/heartbeat"])
def test_a_body_that_is_no_webhook_is_refused_with_the_field_and_nothing_is_kept(pager, path, body, field):
    answer = pager.send(path, body)
    assert (answer.status_code, answer.json["field"]) == (400, field)
    assert answer.json["error"].startswith(f"{field}: ") and "webhook of Alertmanager" in answer.json["expected"]
    assert (pager.received(), pager.new()) == ([], [])


@pytest.mark.parametrize("given", ["text/plain", "application/x-www-form-urlencoded", None])
@pytest.mark.parametrize("path", ["/page", "/ticket", "/heartbeat"])
def test_another_content_type_is_refused_by_name_and_nothing_is_kept(pager, path, given):
    answer = pager.send(path, json.dumps({"alerts": [alert()]}).encode(), given)
    assert answer.status_code == 415
    assert answer.json["error"] == f"Content-Type: expected application/json, found {given or 'none'}"
    assert (pager.received(), pager.new()) == ([], [])


def test_a_content_type_with_a_character_set_is_taken(pager):
    body = json.dumps({"alerts": [alert()]}).encode()
    assert pager.send("/page", body, "Application/JSON; charset=utf-8").status_code == 200


def test_a_body_above_the_limit_is_refused_and_that_is_said(pager):
    assert pager.client.application.config["MAX_CONTENT_LENGTH"] == LARGEST == 32 << 20
    pager.client.application.config["MAX_CONTENT_LENGTH"] = 100
    assert pager.send("/page", b"x" * 101).status_code == 413
    [line] = pager.new()
    assert line.startswith("PAGE 10:30:05 a notification of more than 32 MiB was refused: see Alertmanager")


def test_only_the_newest_are_kept(pager):
    for number in range(KEPT // 50 + 1):
        pager.post("/page", *[alert(alertname=f"a{number}")] * 50)
    assert len(pager.received()) == KEPT
    assert pager.received()[0]["labels"]["alertname"] == "a1"


def test_what_is_kept_of_open_and_ended_alerts_has_a_limit(pager, monkeypatch):
    monkeypatch.setattr(open_alerts, "MOST", 10)
    monkeypatch.setattr(open_alerts, "_ENDED", 10)
    kept = pager.pager._open
    pager.post("/page", *servers(20))
    *_, counted, dropped = pager.new()
    assert len(kept) == 10 and "and 15 more" in counted
    assert "10 alerts that fire had to leave the page" in dropped and "10 alerts that fired" in pager.page()
    assert {one.where for one in kept} == {f"web{n:05}" for n in range(10, 20)}, "the newest"
    pager.post("/page", *servers(20, "resolved"))
    assert len(kept) == 0 and len(kept._ended) == 10


def test_a_text_without_end_is_cut_before_it_is_kept(pager):
    pager.post("/page", alert(summary="x" * 100_000, server="y" * 100_000, **{f"l{n}": "z" for n in range(100)}))
    [entry] = pager.received()
    assert len(json.dumps(entry)) < 10_000 and len(entry["labels"]) == 64


def test_an_open_alert_that_is_not_repeated_for_two_days_is_forgotten_without_a_word(pager):
    """Alertmanager sends no end of an alert that ended while it was inhibited."""
    pager.post("/ticket", alert())
    pager.ticks += timedelta(hours=47).total_seconds()
    pager.pager.check()
    assert len(pager.pager._open) == 1
    pager.ticks += timedelta(hours=2).total_seconds()
    pager.pager.check()
    assert len(pager.pager._open) == 0 and len(pager.new()) == 1


def test_an_unknown_address_names_the_known_ones(pager):
    answer = pager.post("/pages", alert())
    assert answer.status_code == 404
    assert {"/page", "/ticket", "/heartbeat", "/received"} <= set(answer.json["expected"].replace(",", "").split())
