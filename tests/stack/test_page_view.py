"""The pager's page for people."""

import re
from html.parser import HTMLParser

import pytest

from stack.page_view import COLOURS
from tests.grafana.panel_checks import luminance
from tests.pagers import Asked, alert, servers, watchdog


@pytest.fixture
def pager() -> Asked:
    return Asked()


def headline(pager: Asked) -> tuple[str, str]:
    """The state and its words."""
    return re.search(r'<p class="state (\w+)">(.*?)</p>', pager.page()).groups()


def test_the_headline_says_what_is_open_and_is_good_news_only_while_heartbeats_are_heard(pager):
    assert headline(pager) == ("blind", "Nothing is open, and no heartbeat has been received")
    pager.post("/heartbeat", watchdog("1"))
    assert headline(pager) == ("quiet", "Nothing is open, and every heartbeat is heard")
    pager.post("/heartbeat", watchdog("2", "resolved"))
    assert headline(pager) == ("blind", "Nothing is open, and the heartbeat of web is awaited")
    pager.post("/ticket", alert(server="a"), alert(server="b"))
    assert headline(pager) == ("ticket", "2 tickets open")
    pager.post("/page", alert())
    assert headline(pager) == ("page", "1 page and 2 tickets open")
    pager.passes(91)
    assert headline(pager) == ("page", "2 pages and 2 tickets open")


def test_what_is_open_is_grouped_by_alert_and_fleet_with_all_names_and_since_when(pager):
    pager.post("/ticket", alert(alertname="FleetcastServerP2", fleet="db"))
    pager.post("/page", alert(starts="2025-10-13T08:29:05.123456789Z"), *servers(10_000))
    text = " ".join(pager.page().split())
    first, second = re.findall(r"<h3><span class=\"tag \w+\">(\w+)</span> (.*?)</h3>", text)
    assert first == ("PAGE", "FleetcastServerP1, fleet web") and second == ("TICKET", "FleetcastServerP2, fleet db")
    assert "10,001 alerts since 08:29 (2 h 0 min)" in text and "1 alert since 10:30 (0 min)" in text
    assert "<li>web00000 fails. Since 10:30 (0 min)</li>" in text
    assert "and 9,991 more: all names" in text and all(f"web{n:05}" in text for n in range(10_000))


def test_a_lost_heartbeat_stands_first_then_pages_then_tickets_large_groups_before_small(pager):
    pager.post("/heartbeat", watchdog("1"))
    pager.post("/ticket", *servers(9))
    pager.post("/page", alert(alertname="Small"), *(alert(alertname="Large", server=name) for name in "abc"))
    pager.passes(91)
    order = re.findall(r"</span> (\w+), fleet web", pager.page())
    assert order == ["FleetcastHeartbeatLost", "Large", "Small", "FleetcastServerP1"]


def test_alerts_that_are_over_are_no_longer_open(pager):
    pager.post("/page", alert(), alert(server="ppdb002"))
    pager.post("/page", alert("resolved"), alert(server="ppdb002"))
    text = pager.page().partition("Heartbeats")[0]
    assert "ppdb002" in text and "<li>ppdb001" not in text


def test_heartbeats_have_their_age_and_what_is_wrong(pager):
    pager.post("/heartbeat", watchdog("1"), watchdog("1", fleet="db"))
    pager.passes(45)
    pager.post("/heartbeat", watchdog("2", fleet="db"))
    pager.passes(46)
    rows = re.findall(r"<th scope=\"row\">(\w+)</th>\s*<td><span class=\"tag (\w+)\">(\w+)</span>(.*?)</td>\s*"
                      r"<td>(.*?)</td>", pager.page())
    assert rows == [("web", "page", "LOST", " no heartbeat for 91 s", "91 s ago"),
                    ("db", "quiet", "ALIVE", "", "46 s ago")]


def test_the_last_lines_are_shown_newest_first(pager):
    for number in range(3):
        pager.post("/page", alert(server=f"web{number}"))
    text = pager.page().partition("Last notifications")[2]
    assert re.findall(r"firing FleetcastServerP1 (\w+):", text) == ["web2", "web1", "web0"]


def test_what_others_wrote_is_escaped_and_only_web_addresses_are_links(pager):
    links = {"dashboard_url": "javascript:alert(1)", "runbook_url": 'https://example.org/?a="b'}
    one = alert(summary="<script>", server="<b>")
    pager.post("/page", one | {"annotations": one["annotations"] | links})
    text = pager.page()
    assert "<script>" not in text and "<b>" not in text and "javascript" not in text
    assert 'href="https://example.org/?a=&#34;b"' in text


def test_the_page_is_well_formed_says_when_it_was_made_and_is_read_anew(pager):
    pager.post("/page", *servers(30))
    pager.post("/heartbeat", watchdog("1"))
    answer = pager.client.get("/")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert '<meta http-equiv="refresh" content="30">' in answer.text
    assert "As of 13 Oct 2025 10:30:05 (UTC)" in answer.text
    Balanced().feed(answer.text)


class Balanced(HTMLParser):
    """Fails on an element that is not closed or closed twice."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()


@pytest.mark.parametrize("name", COLOURS)
def test_text_on_colour_has_a_contrast_of_at_least_4_5(name):
    """The contrast ratio of WCAG 2: (lighter + 0.05) / (darker + 0.05) of the relative luminances."""
    text, ground = sorted(map(luminance, COLOURS[name]), reverse=True)
    assert (text + 0.05) / (ground + 0.05) >= 4.5
