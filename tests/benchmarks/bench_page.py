"""The Fleet page: bytes, time to render, updates and the first view in Chromium, with 20 and 1,000 servers."""

import re
import statistics
from collections.abc import Iterator

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from tests.benchmarks.measure import Line, seconds
from tests.browser.conftest import FLAGS
from tests.results import ISSUED, incidents_of, make_result
from tests.stage import Stage
from tests.tools import tool

VIEWS = 5


def result_of(servers: int, turn: int):
    """A fleet whose chances all differ by up to 3% from those a cycle before; every hundredth has something ahead."""
    pairs = [(s, i) for s in range(servers) for i in range(3)]
    base, rng = np.random.default_rng(1).beta(0.6, 14, len(pairs)), np.random.default_rng(turn)
    later = np.minimum(base * rng.normal(1, 0.03, len(pairs)), 0.99)
    chance = {pair: (value / 3, value) for pair, value in zip(pairs, later, strict=True)}
    ahead = {(s, 0): 900.0 + 60 * s for s in range(0, servers, 100)}
    names = tuple(f"node-{n:04}.rack{n % 40}.example.test" for n in range(servers))
    return make_result(names, ("database", "web_api") * (servers // 2), by="chance", issued=ISSUED + 15 * turn,
                       incidents=incidents_of(servers, chance=chance | dict.fromkeys(ahead, (0.6, 0.8)), begins=ahead))


def lines() -> Iterator[Line]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=tool("chromium"), args=FLAGS)
        for servers, most in ((20, 100.0), (1000, None)):
            yield from _of(servers, most, browser)
        browser.close()


def _of(servers: int, most: float | None, browser: Browser) -> Iterator[Line]:
    stage, turn = Stage(), iter(range(1, 10**6))
    client = stage.app.test_client()
    stage.put(result_of(servers, 0))
    html = client.get("/").text
    files = {path: len(client.get(path).data) for path in re.findall('(?:href|src)="(/ui/static/[^"]+)"', html)}
    small = len(client.get("/", headers={"Accept-Encoding": "gzip"}).data)
    yield Line(f"HTML, CSS and JS of Fleet, {servers:,} servers", (len(html) + sum(files.values())) / 1000, "kB",
               f"{len(html) / 1000:.0f} of it HTML, {small / 1000:.0f} with gzip", most)
    stage.put(result_of(servers, next(turn)))
    yield Line(f"an update, {servers:,} servers, all chances changed", len(stage.update(html)) / 1000, "kB", "", 60)
    results = [result_of(servers, number) for number in (2, 3)]

    def render() -> None:
        stage.put(results[next(turn) % 2])
        client.get("/")

    yield Line(f"rendered, {servers:,} servers", 1000 * seconds(render), "ms", "once a cycle")
    with stage.served:
        took = []
        for _ in range(VIEWS + 1):
            page = browser.new_page(base_url=stage.address)
            page.goto("/", wait_until="load")
            took.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
            page.close()
        stage.site.close()
    yield Line(f"first view in Chromium, {servers:,} servers", statistics.median(took[1:]) / 1000, "s",
               f"slowest of {VIEWS} {max(took[1:]) / 1000:.2f}", 1)
