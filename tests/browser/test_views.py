"""The pages Server, Capacity, Record and Alerts in Chromium: a quiet, a critical and a stale fleet."""

import json
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from tests import fleets
from tests.browser.conftest import accessible
from tests.outlooks import board_of, entity, make_outlook
from tests.results import ISSUED

pytestmark = pytest.mark.slow

DB, POD, WEB = fleets.SERVERS
SERVER = f"/ui/server?{urlencode({'name': DB})}"
CAPACITY = f"/ui/capacity?{urlencode({'server': DB, 'of': 'filesystem', 'entity': '/data'})}"
VIEWS = {"server": SERVER, "capacity": CAPACITY, "record": "/ui/record", "alerts": "/ui/alerts"}


@pytest.fixture
def stage(stage):
    stage.more = fleets.more(firing=fleets.firing(), filled=ISSUED)
    stage.put(fleets.critical(), fleets.filling())
    return stage


def drawn(page: Page, kind: str) -> list[float]:
    """The values of a curve of the first chart, read back from what is drawn, by the scale 0 to 100."""
    path = page.locator(f"#draw-0 path.{kind}").get_attribute("d")
    points = page.evaluate("""d => {
        const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
        path.setAttribute("d", d);
        const count = (d.match(/l([^M]*)/)?.[1].match(/-?[0-9]+/g) ?? []).length / 2;
        let x = Number(d.match(/^M([0-9]+)/)[1]), y = Number(d.match(/^M[0-9]+ ([0-9]+)/)[1]);
        const found = [y], steps = d.match(/l([^M]*)/)[1].match(/-?[0-9]+/g).map(Number);
        for (let k = 0; k < count; k++) found.push(y += steps[2 * k + 1]);
        return found;
    }""", path)
    return [100 * (1 - y / 400) for y in points]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_of_a_critical_fleet_is_accessible_in_light_and_dark_and_fits_a_phone(stage, visit, view):
    page = visit(VIEWS[view])
    expect(page.locator("#live")).to_have_text("Live")
    accessible(page)
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 400, "height": 800})
    accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_of_a_quiet_and_of_a_stale_fleet_is_whole(stage, visit, view):
    stage.put(fleets.quiet())
    page = visit(VIEWS[view])
    expect(page.locator("h1")).to_have_count(1)
    stage.clock.now += 2000 if view == "capacity" else 600
    expect(page.locator("#live")).to_contain_text("Stale since", timeout=10_000)
    if view == "server":
        expect(page.locator("#server-notes")).to_contain_text("no longer shown")
        expect(page.locator("#draw-0 path.median")).to_have_count(0)
        expect(page.locator("#draw-0 path.measured")).to_have_count(1)
    if view == "alerts":
        expect(page.locator("h1")).to_have_text("There is no current forecast")
    if view == "capacity":
        expect(page.locator("h1")).to_have_text("There is no current forecast of what fills up.")


@pytest.mark.parametrize("view", ["/", *VIEWS.values()])
def test_on_paper_a_view_has_no_navigation_no_filter_and_the_colours_of_a_light_page(stage, visit, view):
    page = visit(view, dark=True)
    expect(page.locator("#live")).to_have_text("Live")
    page.emulate_media(media="print")
    for hidden in (".bar nav", "#live", "form", "details:not([open])", ".foot"):
        assert not [one for one in page.locator(hidden).all() if one.is_visible()], hidden
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    strokes = page.evaluate("[...document.querySelectorAll('path.median')].map(e => getComputedStyle(e).stroke)")
    assert set(strokes) <= {"rgb(26, 86, 176)"} and (strokes or view not in (SERVER, CAPACITY))
    page.set_viewport_size({"width": 700, "height": 1000})  # as wide as a sheet: nothing is cut
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.locator("h1")).to_be_visible()


def test_on_a_phone_how_pages_turned_out_is_in_sight(stage, visit):
    for view in (SERVER, VIEWS["record"]):
        page = visit(view, phone=True)
        box = page.locator(".turned").first.bounding_box()
        assert box["x"] + box["width"] < 390


def test_a_moment_of_a_page_that_was_sent_is_a_click_away(stage, visit):
    page = visit(VIEWS["record"])
    page.locator(".sent").get_by_role("link", name=DB).first.click()
    expect(page.locator("h1")).to_have_text(DB)
    expect(page.locator("#server-at")).to_contain_text("At Thu 09 Oct 08:35 UTC")


def test_a_chart_draws_the_numbers_of_the_forecast_in_colours_that_can_be_seen(stage, visit):
    page = visit(SERVER)
    result = stage.board.last
    assert drawn(page, "median") == pytest.approx(result.forecast[0, 0, :, 1].tolist(), abs=0.3)
    assert drawn(page, "measured")[-1] == pytest.approx(float(result.observed[0, 0]), abs=0.3)
    box = page.locator("#draw-0 path.median").bounding_box()
    assert box["width"] > 200 and box["height"] > 20
    stroke = "e => getComputedStyle(document.querySelector(e)).stroke"
    assert page.evaluate(stroke, "#draw-0 path.median") == "rgb(26, 86, 176)"
    assert visit(SERVER, dark=True).evaluate(stroke, "#draw-0 path.median") == "rgb(138, 184, 255)"


def test_the_arrow_keys_move_a_cursor_whose_values_are_read_out_and_stay_after_an_update(stage, visit):
    page = visit(SERVER)
    page.locator("#plot-0").focus()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    read = page.locator("#read-0")
    median = stage.board.last.forecast[0, 0, 11, 1]
    expect(read).to_contain_text(f"09:53: forecast {median:.1f}%, p10 to p90")
    expect(page.locator("#plot-0 .cursor")).to_be_visible()
    page.keyboard.press("Home")
    expect(read).to_contain_text("measured")
    stage.put(fleets.critical(ISSUED + 15))
    expect(page.locator("#draw-0")).to_be_visible()
    expect(page.locator("#plot-0")).to_be_focused()
    assert page.locator("#plot-0").get_attribute("role") == "slider"
    page.keyboard.press("End")
    expect(read).to_contain_text("16:53: forecast 97%")
    page.keyboard.press("Enter")
    expect(page.locator("#server-at")).to_contain_text("At Thu 09 Oct 16:53 UTC")


def test_an_update_of_a_server_arrives_by_itself_and_is_drawn(stage, visit):
    stage.put(fleets.quiet())
    page = visit(SERVER)
    expect(page.locator("#server-chances")).to_contain_text("4%")
    before = page.locator("#draw-0 path.median").get_attribute("d")
    stage.put(fleets.critical(ISSUED + 15))
    expect(page.locator("#server-chances")).to_contain_text("97%")
    assert page.locator("#draw-0 path.median").get_attribute("d") != before
    assert drawn(page, "median")[-1] == pytest.approx(97, abs=0.3)


def test_a_course_that_comes_after_the_page_is_drawn_and_can_be_read_by_the_arrow_keys(stage, visit):
    stage.filling = board_of(None)
    page = visit(CAPACITY)
    expect(page.locator("#draw-0")).to_contain_text("no current forecast of it")
    accessible(page)
    stage.put(outlook=fleets.filling())
    expect(page.locator("#draw-0 path.median")).to_have_count(1)
    page.locator("#plot-0").focus()
    page.keyboard.press("End")
    expect(page.locator("#read-0")).to_contain_text("forecast 100%")


def test_without_javascript_charts_figures_and_filters_are_there(stage, visit):
    page = visit(SERVER, scripts=False)
    expect(page.locator("#draw-0 path.median")).to_have_count(1)
    page.locator("#table-0 summary").click()
    expect(page.locator("#table-0")).to_contain_text("+8 h")
    page = visit("/ui/capacity", scripts=False)
    page.get_by_label("Server or entity").fill("swap")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#cap-rows tr")).to_have_count(1)
    page.locator("#cap-rows a").first.click()
    expect(page.locator("#h-one")).to_have_text(f"swap of {WEB}")


def test_one_long_name_hides_no_column_of_what_fills_up(stage, visit):
    long = "host" + "x" * 180
    stage.put(fleets.critical(), make_outlook([entity(long), entity("web1", "/" + "y" * 180), entity("a-short-name")],
                                              used=0.9, priority=3))
    page = visit("/ui/capacity")
    expect(page.locator("#cap-rows tr")).to_have_count(3)
    assert page.evaluate("document.querySelector('#cap-rows').closest('.scroll').scrollWidth <= innerWidth")
    assert page.get_by_role("link", name="a-short-name").bounding_box()["height"] < 30


def test_any_name_leads_from_alerts_to_its_server_and_an_unknown_one_to_a_page_that_says_so(stage, visit):
    page = visit("/ui/alerts")
    page.locator("#al-own").get_by_role("link", name=POD).click()
    expect(page.locator("h1")).to_have_text(POD)
    assert json.loads(page.locator("#chart-data").text_content())["chart-0"]["title"] == "CPU"
    answer = stage.app.test_client().get("/ui/server?name=nobody")
    assert answer.status_code == 404 and "there is no server" in answer.text and 'href="/"' in answer.text
