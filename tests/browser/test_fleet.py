"""The Fleet page in Chromium."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import accessible
from tests.results import ISSUED, make_result

pytestmark = pytest.mark.slow


def test_an_update_arrives_by_itself(stage, visit):
    stage.put(make_result())
    page = visit("/")
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#ppweb002")).to_have_count(0)
    stage.put(make_result(("ppdb001", "ppdb002", "ppweb001", "ppweb002"), ("database",) * 2 + ("web_api",) * 2,
                          issued=ISSUED + 15))
    expect(page.locator("#ppweb002")).to_be_visible()
    accessible(page)
