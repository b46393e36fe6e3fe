"""The forecaster's pages in real Chromium: a fleet that a test puts on the board, and pages that watch themselves.

    stage     a forecaster's site over boards and a clock that a test sets: stage.put(result); it is served on loopback
    browser   Chromium, one for all of these tests
    visit     opens an address of the stage as a page; visit("/", dark=True, phone=True, scripts=False)

After a test, each page it has opened must have had no error in its console, and no request elsewhere.
"""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.stage import Stage
from tests.tools import tool

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]


@pytest.fixture
def stage():
    made = Stage()
    with made.served:
        yield made
        made.site.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Updates come ten times as soon."""
    monkeypatch.setattr("serving.net.http.PAUSE", 0.1)


@pytest.fixture(scope="package")  # not the session: its event loop must end before tests that run one of their own
def browser():
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=tool("chromium"), args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser, stage: Stage) -> Callable[..., Page]:
    contexts, problems = [], []

    def visit(path: str, dark: bool = False, phone: bool = False, scripts: bool = True, width: int = 1280) -> Page:
        context = browser.new_context(
            base_url=stage.address, java_script_enabled=scripts, color_scheme="dark" if dark else "light",
            viewport={"width": 400 if phone else width, "height": 800})
        contexts.append(context)
        page = context.new_page()
        page.problems = problems  # for a test that makes one
        page.on("console", lambda said: said.type in ("error", "warning") and problems.append(said.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda asked: urlsplit(asked.url).netloc == urlsplit(stage.address).netloc
                or urlsplit(asked.url).scheme == "data" or problems.append(f"a request to {asked.url}"))
        page.goto(path, wait_until="domcontentloaded")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert problems == []


def accessible(page: Page) -> None:
    """Asserts that axe finds nothing."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
