"""The pager's page for people."""

import re
from html.parser import HTMLParser

import pytest

from tests.pagers import Asked, alert, servers, watchdog


@pytest.fixture
def pager() -> Asked:
    return Asked()


def headline(pager: Asked) -> tuple[str, str]:
    """The state and its words."""
    return re.search(r'data-state="([A-Z ]+)" aria-label="State">\s*<h1>(.*?)</h1>', pager.page()).groups()


def words(html: str) -> str:
    """The text of a piece of HTML."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_the_headline_says_what_is_open_and_is_good_news_only_while_heartbeats_are_heard(pager):
    assert headline(pager) == ("BLIND", "Nothing is open, and no heartbeat has been received")
    pager.post("/heartbeat", watchdog("1"))
    assert headline(pager) == ("SAFE", "Nothing is open, and every heartbeat is heard")
    pager.post("/heartbeat", watchdog("2", "resolved"))
    assert headline(pager) == ("BLIND", "Nothing is open, and the heartbeat of web is awaited")
    pager.post("/ticket", alert(server="a"), alert(server="b"))
    assert headline(pager) == ("LIKELY", "2 tickets open")
    pager.post("/page", alert())
    assert headline(pager) == ("ACT NOW", "1 page and 2 tickets open")
    pager.passes(91)
    assert headline(pager) == ("ACT NOW", "2 pages and 2 tickets open")


def part(pager: Asked, name: str) -> str:
    """The HTML of a list of the page: open, over, beats or lines."""
    text = pager.page()
    begin = re.search(rf'id="{name}"[^>]*>', text).end()
    return text[begin:min(at for at in (text.find("<h2", begin), len(text)) if at > 0)]


def test_what_is_open_is_grouped_by_alert_and_fleet_with_all_names_and_since_when(pager):
    pager.post("/ticket", alert(alertname="FleetcastServerP2", fleet="db"))
    pager.post("/page", alert(starts="2025-10-13T08:29:05.123456789Z"), *servers(10_000))
    text = words(part(pager, "open"))
    assert text.startswith("PAGE FleetcastServerP1, fleet web 10,001 alerts since 08:29:05 (2 h 0 min)")
    assert "TICKET FleetcastServerP2, fleet db 1 alert since 10:30:00 (0 min)" in text
    assert "web00000 fails since 10:30:00 (0 min), fired 10:30:05" in text
    assert "and 9,991 more: all names" in text and all(f"web{n:05}" in text for n in range(10_000))


def test_a_lost_heartbeat_stands_first_then_pages_then_tickets_the_newest_before_the_others(pager):
    pager.post("/heartbeat", watchdog("1"))
    pager.post("/ticket", *servers(9))
    pager.post("/page", *(alert(alertname="Old", server=name) for name in "abc"))
    pager.passes(91)
    pager.post("/page", alert(alertname="New"))
    order = re.findall(r"</b> (\w+), fleet web", part(pager, "open"))
    assert order == ["FleetcastHeartbeatLost", "New", "Old", "FleetcastServerP1"]


def test_a_conversation_has_what_was_said_from_fired_to_over_and_its_links(pager):
    links = {"dashboard_url": "http://127.0.0.1:8000/#ppdb001", "runbook_url": "http://127.0.0.1:8000/runbook#p1"}

    def sent(status: str, summary: str, **more: str) -> dict:
        one = alert(status, summary, priority="P1")
        return one | {"annotations": {"summary": summary, **links}, "generatorURL": "http://vm:9090/graph", **more}

    pager.post("/page", sent("firing", "ppdb001: cpu in 2 h"))
    pager.ticks += 60
    pager.post("/page", sent("firing", "ppdb001: cpu in 1 h"))
    pager.post("/page", sent("firing", "ppdb001: cpu in 1 h"))
    shown = part(pager, "open")
    assert words(shown) == (
        "PAGE FleetcastServerP1, fleet web P1, 1 alert since 10:30:00 (1 min) ppdb001 : cpu in 1 h "
        "fired 10:30:05 , changed 10:31:05 , sent 3 times "
        "10:30:05 fired : ppdb001: cpu in 2 h 10:31:05 changed : ppdb001: cpu in 1 h Runbook Rule in Prometheus")
    pager.ticks += 600
    pager.post("/page", sent("resolved", "ppdb001: cpu in 1 h", endsAt="2025-10-13T10:40:30Z"))
    assert "No alert is open" in pager.page() and "ppdb001" not in part(pager, "open")
    over = part(pager, "over")
    assert words(over).startswith(
        "over PAGE FleetcastServerP1, fleet web P1, 10:30:00 to 10:40:30 , lasted 10 min ppdb001 : cpu in 1 h fired")
    assert words(over).endswith("10:41:05 over Runbook Rule in Prometheus")
    for address in (*links.values(), "http://vm:9090/graph"):
        assert f'href="{address}"' in shown and f'href="{address}"' in over


def test_what_is_over_is_listed_newest_first_with_how_it_ended(pager):
    pager.post("/page", alert(), alert(server="ppdb002"), alert(server="ppdb003"))
    pager.post("/page", alert("resolved"))
    pager.post("/page", alert("resolved", "ppdb002: lost sight of at 10:30 UTC", server="ppdb002"))
    over = part(pager, "over")
    assert re.findall(r'data-state="(\w+)">\s*<h3><b class="state">(.*?)</b>', over) == [
        ("BLIND", "no longer watched"), ("SAFE", "over")]
    assert over.index("ppdb002") < over.index("ppdb001") and "ppdb003" not in over


def test_conversations_are_filtered_by_text_and_kind_while_the_headline_counts_all(pager):
    pager.post("/page", alert(), alert(server="web1", fleet="shop", summary="web1 fails"))
    pager.post("/ticket", alert(alertname="Disk", server="ppdb002"))

    def shown(query: str) -> set[str]:
        text = pager.client.get(f"/?{query}").text
        assert "2 pages and 1 ticket open" in text and "of 3 open alerts match the filter" in text
        return {name for name in ("ppdb001", "web1", "ppdb002") if f"<b>{name}</b>" in text}

    assert shown("kind=ticket") == {"ppdb002"} and shown("text=PPDB") == {"ppdb001", "ppdb002"}
    assert shown("text=shop+p1&kind=page") == {"web1"} and shown("text=nothing") == set()
    assert 'value="shop &lt;b&gt;"' in pager.client.get("/?text=shop+<b>").text


@pytest.mark.parametrize(("query", "field"), [("kind=odd", "page or ticket"), (f"text={'x' * 101}", "100 characters")])
def test_a_filter_that_there_is_not_is_refused(pager, query, field):
    answer = pager.client.get(f"/?{query}")
    assert answer.status_code == 400 and field in answer.text


def test_heartbeats_have_their_age_and_what_is_wrong(pager):
    pager.post("/heartbeat", watchdog("1"), watchdog("1", fleet="db"))
    pager.passes(45)
    pager.post("/heartbeat", watchdog("2", fleet="db"))
    pager.passes(46)
    assert words(part(pager, "beats")).startswith("web LOST no heartbeat for 91 s 91 s ago db ALIVE 46 s ago")


def test_of_many_heartbeats_those_that_are_late_are_shown_first(pager):
    pager.post("/heartbeat", *(watchdog("1", fleet=f"f{n:02}") for n in range(60)), watchdog("1", "resolved", "late"))
    text = words(part(pager, "beats"))
    assert text.startswith("late AWAITED") and "f48 ALIVE" in text and "f49" not in text
    assert "50 of 61 fleets" in pager.page()


def test_the_last_lines_are_shown_newest_first(pager):
    for number in range(3):
        pager.post("/page", alert(server=f"web{number}"))
    assert re.findall(r"firing FleetcastServerP1 (\w+):", part(pager, "lines")) == ["web2", "web1", "web0"]


def test_what_others_wrote_is_escaped_and_only_web_addresses_are_links(pager):
    links = {"dashboard_url": "javascript:alert(1)", "runbook_url": 'https://example.org/?a="b'}
    one = alert(summary="<script>x", server="<i>", fleet="<i>", alertname="<i>", priority="<i>")
    for status in ("firing", "resolved"):
        pager.post("/page", one | {"annotations": one["annotations"] | links, "generatorURL": "data:x",
                                   "status": status})
        text = pager.page()
        assert "<script>x" not in text and "<i>" not in text and "javascript" not in text and "data:x" not in text
        assert 'href="https://example.org/?a=&#34;b"' in text


def test_times_that_are_none_are_those_of_the_arrival(pager):
    pager.post("/page", alert(starts="soon"), alert(server="b", starts="0001-01-01T00:00:00Z"),
               alert(server="c", starts="9999-12-31T23:59:59-14:00"))
    assert "3 alerts since 10:30:05 (0 min)" in words(part(pager, "open"))
    pager.post("/page", alert("resolved") | {"endsAt": "0001-01-01T00:00:00Z"})
    assert "10:30:05 to 10:30:05 , lasted 0 min" in words(part(pager, "over"))


def test_the_page_is_well_formed_says_when_it_was_made_and_is_read_anew_without_scripts(pager):
    pager.post("/page", *servers(30))
    pager.post("/page", *servers(3, "resolved"))
    pager.post("/heartbeat", watchdog("1"))
    answer = pager.client.get("/")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert '<noscript><meta http-equiv="refresh" content="30"></noscript>' in answer.text
    assert "As of 13 Oct 2025 10:30:05 (UTC)" in answer.text
    Balanced().feed(answer.text)


class Balanced(HTMLParser):
    """Fails on an element that is not closed or closed twice."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()
