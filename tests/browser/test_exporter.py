"""The exporter's page in Chromium: the simulated fleet, and the buttons that set a scenario."""

import pytest
from playwright.sync_api import expect

from exporter.app import create_app
from exporter.profiles import load_fleet
from serving.doors.entry import Doors
from serving.net.options import WebOptions
from serving.net.origin import Guard
from tests.browser.conftest import accessible
from tests.doors import bearer, token_of, write_tokens
from tests.served import Served

pytestmark = pytest.mark.slow
NOW = 1_760_000_000.0


class ExporterStage:
    """An exporter that is served, whose clock a test sets."""

    def __init__(self, doors: Doors | None = None):
        self.now = NOW
        self.app = create_app(load_fleet(), lambda: self.now, doors=doors)
        self.served = Served(Guard(self.app, "127.0.0.1", WebOptions()))

    @property
    def address(self) -> str:
        return "http://{}:{}".format(*self.served.address)


@pytest.fixture
def stage(request, tmp_path):
    tokens = getattr(request, "param", None)
    made = ExporterStage(Doors("exporter", tokens=write_tokens(tmp_path)) if tokens else None)
    with made.served:
        yield made


def test_a_button_sets_the_scenario_and_the_page_shows_it_by_itself(stage, visit):
    page = visit("/")
    headline, buttons = page.locator("#fleet"), page.locator("#scenarios button")
    expect(headline).to_contain_text("20 simulated servers, scenario healthy")
    expect(page.locator("#live")).to_have_text("Live")
    page.get_by_role("button", name="critical").click()
    expect(headline).to_contain_text("scenario critical")
    expect(headline).to_contain_text("It affects 5 servers: ")
    expect(headline).to_contain_text("Begins at")
    expect(page.locator("#said")).to_have_text("critical is set")
    expect(buttons.and_(page.locator("[aria-pressed=true]"))).to_contain_text("critical")
    assert stage.app.test_client().get("/status").json["scenario"] == "critical"
    stage.now += 900
    expect(headline).to_contain_text("In force since")
    expect(page.locator("#servers tr").first).to_contain_text("affected")


@pytest.mark.parametrize("stage", [True], indirect=True)
def test_a_scenario_that_is_refused_is_said_not_to_be_set(stage, browser):
    page = browser.new_page(base_url=stage.address, extra_http_headers=bearer(token_of("reader")))
    page.goto("/", wait_until="domcontentloaded")
    page.get_by_role("button", name="critical").click()
    expect(page.locator("#said")).to_contain_text("critical was not set: token reader lacks the scope control")
    expect(page.locator("#fleet")).to_contain_text("scenario healthy")
    page.close()


@pytest.mark.parametrize(("dark", "phone"), [(False, True), (True, False)])
def test_the_fleet_is_shown_without_a_barrier(stage, visit, dark, phone):
    stage.app.test_client().post("/scenario/set", json={"scenario": "critical"})
    stage.now += 1800
    page = visit("/", dark=dark, phone=phone)
    expect(page.locator("#profiles tr")).to_have_count(7)
    expect(page.locator("#live")).to_have_text("Live")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    accessible(page)


def test_without_scripts_the_tables_are_there_and_a_command_in_place_of_the_buttons(stage, visit):
    page = visit("/", scripts=False)
    expect(page.locator("#servers tr")).to_have_count(20)
    expect(page.locator("#mounts tr")).to_have_count(3)
    expect(page.locator("#scenarios")).to_be_hidden()
    expect(page.locator("#terminal")).to_be_visible()
    assert f"curl -X POST {stage.address}/scenario/set" in page.locator("#terminal").text_content()
