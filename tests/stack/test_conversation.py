"""What the pager keeps of an alert as a conversation."""

from datetime import timedelta

import pytest

from stack import open_alerts
from stack.conversation import Conversation
from stack.open_alerts import OVER
from tests.pagers import Asked, alert, servers


@pytest.fixture
def pager() -> Asked:
    return Asked()


def over(pager: Asked) -> list[Conversation]:
    return [*pager.pager._open.over]


def said(one: Conversation) -> list[tuple[str, str]]:
    return [(event.what, event.text) for event in one.events]


def test_an_alert_is_one_conversation_whatever_is_said_of_it_until_it_ends(pager):
    for summary in ("a", "b", "b", "a"):
        pager.post("/page", alert(summary=summary))
    pager.post("/page", alert("resolved", "a"))
    [one] = over(pager)
    assert said(one) == [("fired", "a"), ("changed", "b"), ("changed", "a"), ("over", "")] and one.sent == 4
    assert (one.end, one.summary) == ("over", "a")


def test_an_alert_that_fires_anew_is_another_conversation(pager):
    for status in ("firing", "resolved", "resolved", "firing", "resolved"):
        pager.post("/page", alert(status))
    assert [said(one)[0][0] for one in over(pager)] == ["fired", "fired"]


def test_of_many_changes_the_first_and_the_newest_are_kept_and_the_others_counted(pager):
    for number in range(20):
        pager.post("/page", alert(summary=f"text {number}"))
    [one] = pager.pager._open
    assert [text for _, text in said(one)] == ["text 0", *(f"text {n}" for n in range(13, 20))] and one.left_out == 12
    assert "12 changes that are not kept" in pager.page() and "19 changes, the last" in pager.page()


def test_an_end_whose_beginning_was_missed_is_a_conversation_too(pager):
    pager.post("/page", alert("resolved"))
    [one] = over(pager)
    assert said(one) == [("over", "ppdb001 is about to fail")] and one.sent == 0
    assert '<p class="course">over <time datetime="2025-10-13T10:30:05+00:00">10:30:05</time></p>' in pager.page()


def test_an_end_that_was_missed_is_said_to_be_unknown(pager):
    pager.post("/ticket", alert())
    pager.ticks += timedelta(hours=49).total_seconds()
    pager.pager.check()
    [one] = over(pager)
    assert one.end == "no longer heard of" and one.end in pager.page()


def test_the_newest_conversations_that_ended_are_kept_within_bounds_and_the_others_counted(pager, monkeypatch):
    pager.post("/page", *servers(OVER + 20))
    pager.post("/page", *servers(OVER + 20, "resolved"))
    assert [one.where for one in over(pager)] == [f"web{n:05}" for n in range(20, OVER + 20)]
    assert "20 that ended before are not kept" in pager.page()
    monkeypatch.setattr(open_alerts, "_OVER_CHARACTERS", 500)
    narrow = Asked()
    for status in ("firing", "resolved"):
        narrow.post("/page", *(alert(status, "x" * 200, server=f"s{n}") for n in range(10)))
    assert [one.where for one in over(narrow)] == ["s8", "s9"]


def test_beyond_the_bound_of_texts_a_text_that_is_not_kept_is_no_change(pager, monkeypatch):
    monkeypatch.setattr(open_alerts, "_CHARACTERS", 10)
    for _ in range(3):
        pager.post("/page", alert())
    [one] = pager.pager._open
    assert said(one) == [("fired", "")] and one.links == {}
    monkeypatch.setattr(open_alerts, "_CHARACTERS", 1000)
    pager.post("/page", alert())
    assert said(*pager.pager._open) == [("fired", "ppdb001 is about to fail")]
