"""The pager keeps what somebody on call needs, in bounded memory, whatever is posted."""

import json

import pytest

from stack import open_alerts, pager, webhook
from stack.webhook import LARGEST
from tests.bounded import measured
from tests.pagers import NOW, Asked, alert, servers

LOOK = "\x1b[2J\x1b]0;x\x07\u202e\x9b2J\r"


@pytest.fixture
def asked() -> Asked:
    return Asked()


def largest(one: dict) -> bytes:
    """A notification of nearly LARGEST bytes: the alert, again and again, each time about another server."""
    text = json.dumps(one)
    again = (text.replace("ppdb001", f"s{n}") for n in range((LARGEST - 100) // len(text)))
    return f'{{"alerts": [{",".join(again)}]}}'.encode()


def test_the_largest_notifications_leave_the_memory_within_a_bound():
    """60 posts took 872 MB for good: keys of groups, summaries and links were kept as long as they came."""
    took = measured("""
        import gc
        from tests.stack.test_pager_bounds import *
        asked = Asked()
        asked.post("/page", alert())
    """, r"""
        wide = {f"l{n}": "\U0001f525" * 4000 for n in range(64)}
        links = {name: "http://x/" + "y" * 980 for name in ("runbook_url", "dashboard_url")}
        group = {"alerts": [alert()], "truncatedAlerts": 1}
        said = []
        for body in (
            lambda: largest(alert(**wide)), lambda: largest(alert(summary="\U0001f525" * 300) | {"annotations": links}),
            lambda: b'{"alerts": [%s]}' % b",".join(
                b'{"status":"firing","labels":{"a":"%d"}}' % n for n in range(30_000)),
            lambda: b'{"alerts": [{"status": "firing", "labels": {%s}}]}' % b",".join(
                b'"%x":1' % n for n in range(490_000)),
            lambda: json.dumps({"alerts": [alert(summary="\U0001f525" + "a" * (LARGEST - 1000))]}).encode(),
            *[lambda key=key: json.dumps(group | {"groupKey": key * (LARGEST - 1000)}).encode() for key in "abcde"],
            lambda: b"[" * LARGEST, lambda: b"[" + b'"",' * (LARGEST // 3) + b"1]", lambda: b"[" + b" " * LARGEST):
            said.append(asked.send("/page", body()).status_code)
            gc.collect()  # the client of the tests keeps bodies in circles
        asked.page(), asked.received()
    """, timeout=110)
    assert took.said == [200, 200, 200, 400, *[200] * 6, 400, 413, 413]
    assert took.mebibytes < 450


def test_what_somebody_on_call_needs_is_kept_of_an_alert_with_too_many_labels(asked):
    many = {f"a{n:03}": "x" for n in range(500)}
    asked.post("/page", alert(**many))
    [entry] = asked.received()
    assert len(entry["labels"]) == 64
    assert {"alertname": "FleetcastServerP1", "server": "ppdb001", "fleet": "web"}.items() <= entry["labels"].items()
    assert asked.new() == ["PAGE 10:30:05 firing FleetcastServerP1 ppdb001: ppdb001 is about to fail"]


def test_beyond_the_bound_of_texts_alerts_are_kept_by_name_place_and_time(asked, monkeypatch):
    monkeypatch.setattr(open_alerts, "_CHARACTERS", 100)
    asked.post("/page", *servers(20))
    kept = [*asked.pager._open]
    assert len(kept) == 20 and sum(one.size for one in kept) <= 100
    assert {(one.name, one.began) for one in kept} == {("FleetcastServerP1", NOW.timestamp() - 5)}
    asked.post("/page", *servers(20, "resolved"))
    assert asked.pager._open._size == 0


def test_an_alert_without_its_summary_still_ends_as_no_longer_watched(asked, monkeypatch):
    monkeypatch.setattr(open_alerts, "_CHARACTERS", 10)
    asked.post("/page", alert(summary="ppdb001: lost sight of at 03:12 UTC"))
    asked.post("/page", alert("resolved", summary=""))
    assert asked.new()[-1].endswith(": no longer watched")


def test_received_holds_the_newest_within_its_bound_and_counts_the_others(monkeypatch):
    monkeypatch.setattr(pager, "_CHARACTERS", 5000)
    asked = Asked()
    for n in range(5):
        asked.post("/page", alert(server=f"s{n}", summary="x" * 2000))
    answer = asked.client.get("/received").json
    assert [one["labels"]["server"] for one in answer["received"]] == ["s3", "s4"] and answer["dropped"] == 3


@pytest.mark.parametrize(("bound", "what"), [("ALERTS", "10 alerts"), ("VALUES", "10 values")])
def test_a_notification_with_too_much_in_it_is_refused_and_that_is_said(asked, monkeypatch, bound, what):
    if bound == "VALUES":
        monkeypatch.setattr(webhook, bound, 10)
        refused = asked.post("/page", *servers(20))
    else:
        refused = asked.send("/ticket", b'{"alerts": [%s]}' % b",".join([b'{"status":"firing","labels":{}}'] * 50_001))
        what = "50,000 alerts"
    assert refused.status_code == 413 and what in refused.json["error"]
    [line] = asked.new()
    assert f"a notification of more than {what} was refused: see Alertmanager" in line


@pytest.mark.parametrize("body", [
    b"[" * 100_000, b'{"alerts":' * 100_000, b'{"alerts": NaN}', b'{"alerts": [{"status": NaN}]}',
    b'{"alerts": [{"status": "firing", "labels": {}}], "truncatedAlerts": %s}' % (b"9" * 100_000),
    b'{"alerts": [{"status": "firing", "labels": {}}], "truncatedAlerts": 1e400}',
    b'{"alerts": [{"status": "firing", "labels": {"a": "\\ud800"}}]}',
    b'{"alerts": [{"status": "firing", "labels": {"%s": 1}}]}' % (b"n" * 100_000)])
@pytest.mark.parametrize("path", ["/page", "/ticket", "/heartbeat"])
def test_json_made_to_break_a_parser_is_a_400_that_quotes_little(asked, path, body):
    refused = asked.send(path, body)
    assert refused.status_code == 400 and len(refused.text) < 1000
    assert (asked.new(), asked.received()) == ([], [])


def test_control_characters_of_an_alert_are_shown_escaped_everywhere(asked):
    summary = f"a\nPAGE 10:30:05 {LOOK}"
    asked.post("/page", alert(server=f"{LOOK}web", summary=summary, alertname=f"{LOOK}N", fleet=LOOK))
    asked.post("/heartbeat", alert(fleet=LOOK, job=LOOK, **{LOOK: "x"}))
    [line] = asked.new()
    assert line.isprintable() and r"\x1b[2J" in line and r"\u202e" in line
    shown = asked.page()
    assert not set(LOOK) - {"[", "2", "J", "]", "0", ";", "x"} & set(shown) and r"\x1b[2J" in shown
    assert not set("\x1b\u202e\x9b\r") & set("".join(asked.received()[0]["labels"].values()))
