"""The Fleet page in Chromium: quiet, critical and stale fleets, as people, phones and screen readers have them."""

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import accessible
from tests.outlooks import entity, make_outlook
from tests.results import ISSUED, incidents_of, make_result

pytestmark = pytest.mark.slow

NAMES = ("ppdb001", "ppdb002", "ppweb001")
UNKNOWN = {(1, i): (np.nan, np.nan) for i in range(3)}


def quiet(issued=ISSUED):
    return make_result(incidents=incidents_of(), any_server=0.04, by="chance", issued=issued)


def critical(issued=ISSUED, names=NAMES):
    """The first server has an incident, the second is not seen, the third has one in 15 minutes."""
    found = incidents_of(on=[(0, 0)], chance={(0, 0): (0.9, 0.95), (2, 0): (0.72, 0.86)} | UNKNOWN,
                         begins={(2, 0): 900}, recurring=(6, 7))
    return make_result(names, incidents=found, any_server=0.97, by="chance", issued=issued, stale=names[1:2],
                       state=[4, -1, 3])


def test_a_quiet_fleet_is_called_so_with_its_chances(stage, visit):
    stage.put(quiet(), make_outlook((entity("ppdb001"),), used=0.93, priority=2, full_at=ISSUED + 9 * 3600))
    page = visit("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Quiet: no incident is on or expected within 8 hours.")
    expect(page.locator("#ui-figures")).to_contain_text("4% chance of an incident on any server within 8 hours")
    expect(page.locator("#ui-line svg")).to_contain_text("No incident is on or expected")
    expect(page.locator("#ui-filling")).to_contain_text("File systems /data, 93% used Thu 09 Oct 17:53 UTC, P2")
    expect(page.locator("#live")).to_have_text("Live")
    accessible(page)


def test_of_a_critical_fleet_the_page_says_what_is_on_what_comes_first_and_where_in_the_next_8_hours(stage, visit):
    stage.put(critical())
    page = visit("/", dark=True)
    expect(page.locator("#ui-headline")).to_contain_text("Act now: 1 server at P1")
    expect(page.locator("#ui-headline")).to_contain_text("1 server cannot be judged (BLIND)")
    rows = page.locator("#ui-rows tr")
    assert [row.get_attribute("id") for row in rows.all()] == ["ppdb001", "ppweb001", "ppdb002"]
    assert rows.nth(1).locator("td").all_inner_texts()[:3] == ["LIKELY P2", "72%", "86%"]
    assert rows.nth(2).locator("td").all_inner_texts()[:3] == ["BLIND stale", "-", "-"]
    expect(page.locator("#ui-line li")).to_have_text([
        "ppdb001: cpu_pct above 95 now, chance 95%", "ppweb001: cpu_pct above 95 at 09:08 UTC, chance 86%"])
    line, mark = page.locator("#ui-line svg").first.bounding_box(), page.locator("#ui-line circle").bounding_box()
    at = (mark["x"] + mark["width"] / 2 - line["x"]) / line["width"]
    assert at == pytest.approx(15 / 480, abs=0.003)
    accessible(page)


def test_a_stale_fleet_never_looks_well_and_recovers_by_itself(stage, visit):
    stage.put(quiet())
    page = visit("/")
    expect(page.locator("#live")).to_have_text("Live")
    stage.clock.now += 121
    expect(page.get_by_role("heading", level=1)).to_have_text("Blind: forecasts are stale since 08:55 UTC.")
    expect(page.locator("#live")).to_contain_text("Stale since")
    expect(page.locator("#ui-figures b").first).to_have_text("unknown")
    expect(page.locator("#ui-rows tr")).to_have_count(0)
    assert "Quiet" not in page.content() and page.locator("[data-state=SAFE]").count() == 0
    accessible(page)
    stage.put(quiet(ISSUED + 150))
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#ui-rows tr")).to_have_count(3)


def test_without_any_forecast_the_page_says_why(stage, visit):
    stage.problem = "There is no current forecast. The first cycle is under way."
    page = visit("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("No forecast yet: nothing can be said of servers.")
    expect(page.locator("#live")).to_have_text("No forecast yet")
    assert "The first cycle is under way" in page.locator("main").inner_text()
    accessible(page)


def test_an_update_comes_by_itself_and_keeps_focus_filter_and_open_parts(stage, visit):
    stage.put(critical())
    page = visit("/?text=pp")
    page.locator("summary").click()
    page.locator("#ppweb001 a").focus()
    stage.put(quiet(ISSUED + 15))
    expect(page.get_by_role("heading", level=1)).to_contain_text("Quiet")
    expect(page.locator("#ppweb001")).to_contain_text("SAFE")
    assert page.evaluate("document.activeElement.textContent") == "ppweb001"
    page.get_by_role("searchbox").fill("db")
    stage.put(critical(ISSUED + 30, ("ppdb001", "ppdb002", "ppweb003")))
    expect(page.locator("#ppweb003")).to_have_count(1)
    expect(page.locator("#ppweb003")).to_be_hidden()
    expect(page.locator("#ppweb001")).to_have_count(0)
    expect(page.locator("#ui-shown")).to_have_text("2 of 3")


def test_a_lost_connection_is_said(stage, visit):
    stage.put(quiet())
    page = visit("/")
    expect(page.locator("#live")).to_have_text("Live")
    page.context.set_offline(True)
    stage.site.close()
    expect(page.locator("#live")).to_contain_text("Disconnected since", timeout=10_000)
    page.problems.clear()  # the browser itself tells of it


def test_a_page_beyond_those_that_can_follow_says_how_often_it_is_read_anew_and_is(stage, visit, monkeypatch):
    monkeypatch.setattr("serving.net.streams.Places.free", lambda places, viewer: not places.taken)
    stage.put(quiet())
    expect(visit("/").locator("#live")).to_have_text("Live")
    stage.site._pages.globals["refresh"] = 2
    page = visit("/")
    expect(page.locator("#live")).to_have_text("Updates every 2 s")
    assert page.evaluate("document.documentElement.dataset.live") == "polled"
    stage.put(critical(ISSUED + 15))
    expect(page.locator("#ui-headline")).to_contain_text("Act now", timeout=10_000)
    page.problems.clear()  # the browser itself tells of a stream that is refused


def test_filters_stand_in_the_address_and_are_restored_from_it(stage, visit):
    stage.put(critical())
    page = visit("/")
    page.keyboard.press("/")
    page.keyboard.type("WEB")
    expect(page.locator("#ui-rows tr:visible")).to_have_count(1)
    page.get_by_label("Profile").select_option("web_api")
    assert page.url.endswith("/?text=WEB&profile=web_api")
    page.reload()
    expect(page.locator("#ui-rows tr:visible")).to_have_count(1)
    expect(page.get_by_label("Profile")).to_have_value("web_api")
    page.get_by_role("searchbox").press("Escape")
    assert page.url.endswith("/?profile=web_api")
    page.get_by_label("Profile").select_option("")
    page.get_by_label("Priority").select_option("P1")
    expect(page.locator("#ui-rows tr:visible")).to_have_count(1)


def test_without_javascript_everything_is_there_and_the_form_filters(stage, visit):
    stage.put(critical())
    page = visit("/#ppweb001", scripts=False)
    expect(page.locator("#ui-rows tr")).to_have_count(3)
    expect(page.locator("#ppweb001")).to_be_in_viewport()
    page.get_by_role("searchbox").fill("web")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#ui-rows tr:visible")).to_have_count(1)
    expect(page.locator("#ui-shown")).to_have_text("1 of 3")


def test_a_phone_scrolls_in_one_direction_only(stage, visit):
    stage.put(critical(names=("a-server-of-a-name-that-does-not-end.rack17.example.test", "ppdb002", "ppweb001")),
              make_outlook((entity("ppdb001", "/var/lib/a/mount/of/a/long/path"),), full=True))
    page = visit("/", phone=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    expect(page.locator("#ui-line li").first).to_be_visible()
    accessible(page)


def test_names_from_outside_are_shown_as_text(stage, visit):
    stage.put(critical(names=("<img src=x onerror=alert(1)>", 'a"b', "ppweb001")))
    page = visit("/")
    expect(page.locator("#ui-rows th").first).to_have_text("<img src=x onerror=alert(1)>")
    assert page.locator("img").count() == 0


def test_1000_servers_are_rows_and_tiles(stage, visit):
    names = tuple(f"node-{n:04}" for n in range(1000))
    stage.put(make_result(names, ("database", "web_api") * 500, incidents=incidents_of(1000), by="chance"))
    page = visit("/")
    expect(page.locator("#ui-rows tr")).to_have_count(80)
    expect(page.locator("#ui-tiles li")).to_have_count(920)
    page.get_by_role("searchbox").fill("0999")
    expect(page.locator("#ui-shown")).to_have_text("1 of 1000")
