"""The pager in a storm: how long one notification of 10,000 alerts takes it, and the memory that it needs and keeps."""

import json
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime

from stack.open_alerts import MOST
from stack.pager import Pager, create_app
from tests.benchmarks.measure import Line, resident_mib

STORM, AGAIN = 10_000, 20


def lines() -> Iterator[Line]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield from pool.submit(storm).result()


def storm() -> list[Line]:
    """Notifications of 10,000 alerts, sent again and ended, then as many open alerts as are kept."""
    said: list[str] = []
    client = create_app(Pager(said.append, lambda: datetime.now(UTC), time.monotonic)).test_client()
    before = resident_mib()
    taken, held, body = [], [], notification(0, STORM)
    for _ in range(AGAIN):
        started = time.perf_counter()
        assert client.post("/page", data=body, content_type="application/json").status_code == 200
        taken.append(time.perf_counter() - started)
        held.append(resident_mib())
    assert len(said) == 6
    for first in range(STORM, MOST + STORM, STORM):
        client.post("/page", data=notification(first, STORM), content_type="application/json")
    started = time.perf_counter()
    page = client.get("/").data
    shown = time.perf_counter() - started
    return [Line(f"a notification of {STORM:,} alerts", taken[0], "s", f"{len(body) / 2**20:.1f} MiB", 5),
            Line("resident after it", held[0], "MiB", f"{before:.0f} before it"),
            Line(f"growth by {AGAIN - 1} repetitions", held[-1] - held[0], "MiB", "nothing is news", 50),
            Line(f"resident with {MOST:,} open alerts, the most kept", resident_mib(), "MiB", f"{before:.0f} before"),
            Line("the page of them", shown, "s", f"{len(page) / 2**20:.1f} MiB", 2)]


def notification(first: int, number: int) -> bytes:
    """A webhook with the texts and links of alerts about servers."""
    servers = (f"node-{n:05}.rack{n % 40}.example.test" for n in range(first, first + number))
    alerts = [{"status": "firing", "startsAt": "2026-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
               "labels": {"alertname": "FleetcastServerP1", "priority": "P1", "severity": "critical", "fleet": "storm",
                          "job": "forecaster", "profile": "generic", "server": server},
               "annotations": {"summary": f"{server} (generic): cpu saturated is on now",
                               "description": "cpu 99.5 % " * 20,
                               "dashboard_url": f"http://127.0.0.1:8000/#{server}",
                               "runbook_url": "http://127.0.0.1:8000/runbook#fleetcastserverp1"},
               "generatorURL": "http://127.0.0.1:9090/graph?g0.expr=" + "x" * 200} for server in servers]
    return json.dumps({"version": "4", "groupKey": "storm", "truncatedAlerts": 0, "alerts": alerts}).encode()
