"""The pager's page in Chromium: what is open, what is over, and what arrives while somebody looks."""

import re

import pytest
from playwright.sync_api import Locator, expect

from serving.net.options import WebOptions
from serving.net.origin import Guard
from tests.browser.conftest import accessible
from tests.pagers import Asked, alert, servers, watchdog
from tests.served import Served

pytestmark = pytest.mark.slow
LINKS = {"runbook_url": "http://127.0.0.1:8000/runbook#p1", "dashboard_url": "http://127.0.0.1:8000/#ppdb001"}


class PagerStage(Asked):
    """A pager that is served."""

    def __init__(self):
        super().__init__()
        self.served = Served(Guard(self.client.application, "127.0.0.1", WebOptions()))

    @property
    def address(self) -> str:
        return "http://{}:{}".format(*self.served.address)


@pytest.fixture
def stage():
    made = PagerStage()
    with made.served:
        yield made


def one(status: str = "firing", summary: str = "ppdb001: cpu in 2 h", **more: str) -> dict:
    sent = alert(status, summary, priority="P1")
    return sent | {"annotations": {"summary": summary, **LINKS}, "generatorURL": "http://vm:9090/graph", **more}


def headline(page) -> Locator:
    return page.locator("#headline h1")


def test_a_quiet_fleet_is_good_news_only_while_its_heartbeat_is_heard(stage, visit):
    page = visit("/")
    expect(headline(page)).to_have_text("Nothing is open, and no heartbeat has been received")
    stage.post("/heartbeat", watchdog("1"))
    expect(headline(page)).to_have_text("Nothing is open, and every heartbeat is heard")
    expect(page.locator("#beats")).to_contain_text("ALIVE")
    expect(page).to_have_title("Nothing is open, and every heartbeat is heard")
    stage.passes(91)
    expect(headline(page)).to_have_text("1 page open")
    expect(page.locator("#open h3")).to_have_text("PAGE FleetcastHeartbeatLost, fleet web")
    expect(page.locator("#beats")).to_contain_text("LOST")


def test_a_conversation_arrives_changes_and_ends_by_itself(stage, visit):
    page = visit("/")
    expect(page.locator("#live")).to_have_text("Live")
    stage.post("/page", one())
    talk = page.locator("#open article")
    expect(talk).to_contain_text("ppdb001: cpu in 2 h", timeout=2000)
    expect(talk.get_by_role("link", name="Runbook")).to_have_attribute("href", LINKS["runbook_url"])
    expect(talk.get_by_role("link", name="ppdb001")).to_have_attribute("href", LINKS["dashboard_url"])
    stage.ticks += 60
    stage.post("/page", one(summary="ppdb001: cpu in 1 h"))
    expect(talk).to_contain_text("fired 10:30:05, changed 10:31:05, sent 2 times")
    expect(talk.locator("ol li")).to_have_text([re.compile("fired: ppdb001: cpu in 2 h"), re.compile("cpu in 1 h")])
    stage.ticks += 600
    stage.post("/page", one("resolved", endsAt="2025-10-13T10:40:30Z"))
    expect(page.locator("#open article")).to_have_count(0)
    over = page.locator("#over article")
    expect(over).to_contain_text("10:30:00 to 10:40:30, lasted 10 min")
    over.locator("summary").click()
    expect(over.locator("ol")).to_contain_text("10:41:05 over")
    expect(page.locator("#lines li")).to_have_count(2)
    stage.post("/page", one())
    expect(page.locator("#open article")).to_have_count(1)
    expect(over.locator("ol")).to_be_visible()  # what somebody reads stays open


@pytest.mark.parametrize(("dark", "phone"), [(False, True), (True, False)])
def test_pages_and_tickets_are_found_without_a_barrier(stage, visit, dark, phone):
    stage.post("/heartbeat", watchdog("1"), watchdog("1", "resolved", "db"))
    stage.post("/page", *servers(12), one(), alert(server="<b>"))
    stage.post("/ticket", alert(alertname="Disk"))
    stage.post("/page", one("resolved", "ppdb001: lost sight of"))
    page = visit("/", dark=dark, phone=phone)
    expect(headline(page)).to_have_text("13 pages and 1 ticket open")
    expect(page.locator("#live")).to_have_text("Live")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    accessible(page)


def test_without_scripts_the_page_is_whole_and_its_filters_work(stage, visit):
    stage.post("/page", one())
    stage.post("/ticket", alert(alertname="Disk", server="web1", summary="full"))
    page = visit("/", scripts=False)
    expect(page.locator("#open article")).to_have_count(2)
    page.get_by_label("Kind").select_option("tickets")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#open article")).to_have_count(1)
    expect(page.locator("#open article")).to_contain_text("web1: full")
    page.get_by_role("link", name="Show all").click()
    expect(page.locator("#open article")).to_have_count(2)


def test_a_filter_holds_for_what_arrives(stage, visit):
    page = visit("/?kind=page")
    expect(page.locator("#live")).to_have_text("Live")
    stage.post("/ticket", alert(alertname="Disk"))
    expect(headline(page)).to_have_text("1 ticket open")
    stage.post("/page", one())
    expect(page.locator("#open article")).to_have_count(1)
    expect(page.locator("#open h3")).to_contain_text("FleetcastServerP1")
