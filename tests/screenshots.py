"""Screenshots of the pages for the docs, in real Chromium, of a critical fleet of 20 servers.

    python -m tests.screenshots                  writes docs/fleet.png and the others
    python -m tests.screenshots --every FOLDER   each page in light and dark, 1280 and 400 px wide, to look at
"""

import argparse
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from playwright.sync_api import expect, sync_playwright

from exporter.profiles import load_fleet
from forecaster.publish.firing import Alert
from forecaster.risk.state import State, watched
from tests import fleets
from tests.browser.conftest import FLAGS
from tests.browser.test_exporter import ExporterStage
from tests.browser.test_pager import PagerStage
from tests.outlooks import DAY, entity
from tests.pagers import alert, watchdog
from tests.results import ISSUED, incidents_of, make_result
from tests.stage import Stage
from tests.tools import tool

DOCS = Path(__file__).parents[1] / "docs"
WIDTH, HEIGHT, PHONE = 1280, 900, 400
FLEET = load_fleet()
PROFILES = tuple(name for name, count in sorted(FLEET.servers.items(), key=lambda of: of[0] != "database")
                 for _ in range(count))
SERVERS = tuple(f"{FLEET.profiles[name].prefix}{PROFILES[:row].count(name) + 1:03}"
                for row, name in enumerate(PROFILES))
WORST = SERVERS[0]
CHANCES = {(0, 0): (0.93, 0.98), (5, 0): (0.12, 0.83), (9, 2): (0.06, 0.46), (13, 1): (0.02, 0.18)}
BEGINS = {(0, 0): 1500, (5, 0): 9900, (9, 2): 20400}
LIMITS = {(0, 0): (0, 95.0), (5, 0): (0, 95.0), (9, 2): (3, 200.0)}  # (signal, limit) of these
FULL, BLIND = SERVERS[2], SERVERS[-2]


def forecaster() -> Stage:
    """What the forecaster's pages show: two servers at risk, one to watch, one that is silent."""
    stage = Stage()
    blind, count = SERVERS.index(BLIND), len(SERVERS)
    chances = CHANCES | {(blind, one): (np.nan, np.nan) for one in range(3)}
    measured, ahead = fleets.at(np.array([ISSUED]), count)[0], fleets.forecast(ISSUED, servers=count)
    for place, seconds in BEGINS.items():  # the curve reaches the limit when the incident begins
        signal, limit = LIMITS[place]
        middle, now = ahead[place[0], signal, :, 1], measured[place[0], signal]
        rise = np.minimum(now + (limit - now) * np.arange(1, 97) * fleets.STEP / seconds, 1.02 * limit)
        spread = (ahead[place[0], signal, :, 2] - middle) / middle
        made = np.stack([rise * (1 - spread), rise, rise * (1 + spread)], -1)
        ahead[place[0], signal] = np.minimum(made, 100) if signal < 2 else made
    incidents = incidents_of(count, chance=chances, begins=BEGINS, recurring=(1, 7))
    result = make_result(SERVERS, PROFILES, forecast=ahead, by="chance", observed=measured, incidents=incidents,
                         any_server={"30m": 0.94, "8h": 0.99}, stale=(BLIND,),
                         last_seen=[ISSUED - (340 if row == blind else 5) for row in range(count)])
    states = np.where(np.arange(count) == blind, State.BLIND, watched(result.state, SERVERS, {FULL}))
    result = replace(result, state=states)
    sent = [("FleetcastServerP1", WORST, "P1", 240), ("FleetcastServerP2", SERVERS[5], "P2", 1500)]
    firing = [Alert({"alertname": name, "server": server, "priority": priority},
                    {"summary": f"{server}: {result.message(SERVERS.index(server))}"}, ISSUED - since, "firing")
              for name, server, priority, since in sent]
    watch = Alert({"alertname": "FleetcastWatchdog", "severity": "none"}, {"summary": "The pipeline works"},
                  ISSUED - 3 * DAY, "firing")
    stage.more = fleets.more(firing=fleets.firing(None, *firing, watch), filled=ISSUED, servers=SERVERS,
                             profiles=PROFILES)
    mounts = [entity(WORST, "/"), entity(WORST, "/data"), entity(FULL, "/var/log"), entity(SERVERS[7], "/data")]
    stage.put(result, fleets.filling(mounts=mounts))
    return stage


def exporter() -> ExporterStage:
    """The simulated fleet, critical for half an hour."""
    stage = ExporterStage()
    stage.app.test_client().post("/scenario/set", json={"scenario": "critical"})
    stage.now += 1800
    return stage


def pager() -> PagerStage:
    """One page and one ticket open, one page over."""
    stage = PagerStage()
    links = {"runbook_url": "http://127.0.0.1:8000/runbook#fleetcastserverp1", "dashboard_url":
             f"http://127.0.0.1:8000/#{WORST}"}

    def one(name: str, server: str, priority: str, said: str, starts: str, status: str = "firing", **more: str) -> dict:
        sent = alert(status, f"{server}: {said}", f"2025-10-13T{starts}Z", alertname=name, server=server,
                     priority=priority)
        return sent | {"annotations": sent["annotations"] | links, "generatorURL": "http://127.0.0.1:9090/graph"} | more

    stage.post("/heartbeat", watchdog("1"))
    stage.post("/page", one("FleetcastServerP1", SERVERS[11], "P1", "memory exhausted is on now", "10:30:00"))
    stage.ticks += 540
    stage.post("/heartbeat", watchdog("2"))
    stage.post("/page", one("FleetcastServerP1", SERVERS[11], "P1", "memory exhausted is on now", "10:30:00",
                            "resolved", endsAt="2025-10-13T10:39:00Z"))
    stage.post("/ticket", one("FleetcastServerP2", SERVERS[5], "P2", "cpu saturated expected at 13:15 UTC, chance 83%",
                              "10:39:00"))
    stage.ticks += 240
    stage.post("/page", one("FleetcastServerP1", WORST, "P1", "cpu saturated expected at 11:10 UTC, chance 91%",
                            "10:43:00"))
    stage.ticks += 120
    stage.post("/page", one("FleetcastServerP1", WORST, "P1", "cpu saturated expected at 11:05 UTC, chance 98%",
                            "10:43:00"))
    stage.post("/heartbeat", watchdog("3"))
    return stage


PAGES = {
    "fleet": (forecaster, "/"),
    "server": (forecaster, f"/ui/server?{urlencode({'name': WORST})}"),
    "capacity": (forecaster, f"/ui/capacity?{urlencode({'server': WORST, 'of': 'filesystem', 'entity': '/data'})}"),
    "record": (forecaster, "/ui/record"),
    "alerts": (forecaster, "/ui/alerts"),
    "pager": (pager, "/"),
    "exporter": (exporter, "/"),
}


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=Path, metavar="FOLDER", help="each page in every look, whole, into a folder")
    every = parser.parse_args().every
    looks = [(dark, width) for dark in (False, True) for width in (WIDTH, PHONE)] if every else [(False, WIDTH)]
    with sync_playwright() as playwright, ExitStack() as open_ones:
        browser = playwright.chromium.launch(executable_path=tool("chromium"), args=FLAGS)
        stages = {make: make() for make in (forecaster, exporter, pager)}
        for stage in stages.values():
            open_ones.enter_context(stage.served)
        for name, (make, path) in PAGES.items():
            for dark, width in looks:
                page = browser.new_page(base_url=stages[make].address, color_scheme="dark" if dark else "light",
                                        viewport={"width": width, "height": HEIGHT})
                page.goto(path, wait_until="domcontentloaded")
                expect(page.locator("#live")).to_have_text("Live")
                look = f"-{'dark' if dark else 'light'}-{width}" if every else ""
                page.screenshot(path=(every or DOCS) / f"{name}{look}.png", full_page=bool(every))
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
