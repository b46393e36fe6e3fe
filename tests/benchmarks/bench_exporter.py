"""The exporter at 1,000 servers: a scrape, and the generation of past days."""

import io
from collections.abc import Iterator

from exporter.app import create_app
from exporter.fleet import Fleet
from exporter.history import write_history
from tests.benchmarks.fleet import fleet_of
from tests.benchmarks.measure import Line, seconds

FEW, MANY, START = 20, 1000, 1.79e9


class Clock:
    now = START

    def __call__(self) -> float:
        self.now += 5.0  # every scrape sees a tick of its own
        return self.now


def lines() -> Iterator[Line]:
    client = create_app(fleet_of(MANY), Clock()).test_client()
    size = len(client.get("/metrics").data)
    for name, headers in (("plain", {}), ("gzip", {"Accept-Encoding": "gzip"})):
        yield Line(f"a scrape of {MANY} servers, {name}",
                   1000 * seconds(lambda headers=headers: client.get("/metrics", headers=headers).data, 9), "ms",
                   f"{size / 2**20:.2f} MiB", 100)
    for servers, days, least in ((FEW, 8.0, None), (MANY, 1.0, 2.0)):
        samples, took = _history(Fleet(fleet_of(servers)), days)
        yield Line(f"history of {servers} servers, {days:g} days", samples / took / 1e6, "M samples/s",
                   f"{samples:,} samples", least, more=True)


def _history(fleet: Fleet, days: float) -> tuple[int, float]:
    """(samples, seconds)."""
    written = []
    took = seconds(lambda: written.append(write_history(fleet, START - days * 86400, START, 60.0, io.BytesIO())), 1, 0)
    return written[0], took
