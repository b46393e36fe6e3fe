"""Scrapes /metrics pages, all targets at once. For fleets without Prometheus. S servers, C signals."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import requests

from forecaster.limits import Limits
from forecaster.readings import Labels, Reading, SourceRefused, named
from forecaster.sources.bounds import Bounds
from forecaster.sources.crew import gather
from forecaster.sources.exposition_text import page_reading
from forecaster.sources.notes import LENGTH, LoggedOnce, Notes
from forecaster.sources.shard import WHOLE, Shard
from forecaster.sources.transport import fetch, http_session

WORKERS = 16
_ACCEPT = {"Accept": "text/plain; version=0.0.4"}


@dataclass
class Target:
    """State of one /metrics address."""

    url: str
    servers: frozenset[str] | None = None  # of the last successful scrape; None before it
    last_success: float | None = None
    first_failure: float | None = None  # since the last success
    failures: int = 0
    error: str | None = None  # of the last attempt
    notes: Notes = field(default_factory=Notes)  # what of the last page is left out

    @property
    def good_since(self) -> float | None:
        """Time of the last success, of the first failure where there was none, None before the first scrape."""
        return self.first_failure if self.last_success is None else self.last_success

    @property
    def up(self) -> bool:
        """Whether the last scrape succeeded."""
        return self.servers is not None and self.error is None

    def describe(self) -> dict[str, Any]:
        """Address, state and errors, for people."""
        return {"url": self.url, "up": self.up, "servers": len(self.servers or ()), "last_success": self.last_success,
                "failures": self.failures, "error": self.error, "warnings": [*self.notes.texts().values()]}


class Targets:
    """Scrapes the addresses `urls`, WORKERS at once. `limits` bound the bytes of these pages together, and the series
    of each metric of a page.

    `signals` (by name, or objects with .name) have .metric, the metric to read, and .scale, the factor to signal units;
    they may have .min and .max. A line that cannot be used costs only itself, and describe() of its target says so.
    All targets together are given `timeout` seconds.
    """

    def __init__(self, urls: Sequence[str], signals: Mapping[str, Any] | Sequence[Any], labels: Labels, *,
                 session: requests.Session | None = None, timeout: float = 5.0, shard: Shard = WHOLE,
                 limits: Limits | None = None):
        if not urls:
            raise ValueError("source scrape needs at least one target: give addresses of /metrics pages")
        found = named(signals)
        for name, signal in found.items():
            if not signal.metric:
                raise ValueError(f"signal {name} has no metric for source scrape: add its metric, or read "
                                 "from Prometheus")
        self.metrics = [(signal.metric, float(signal.scale)) for signal in found.values()]
        self.bounds = {name: Bounds.of(signal) for name, signal in found.items()}
        self.signals, self.labels, self.shard = tuple(found), labels, shard
        self.notes, self._once = Notes(), LoggedOnce()  # on servers that several targets give
        self.all = [Target(url) for url in dict.fromkeys(urls)]
        self._session = session or http_session(retries=0)  # the next scrape is the next attempt
        self._timeout, self._limits = timeout, limits or Limits()

    def ask(self, instant: float) -> list[tuple[Reading, Notes] | Exception]:
        """Scrapes every target once: its reading float32 (S, C) and notes on what is left out, or the error."""
        return gather([partial(self._page, target.url, instant) for target in self.all], WORKERS, self._timeout)

    def note(self, answers: Sequence[tuple[Reading, Notes] | Exception], instant: float) -> Reading | None:
        """Keeps success and failure of every target; all readings in one, None where no target answered."""
        readings = []
        for target, answer in zip(self.all, answers, strict=True):
            if isinstance(answer, Exception):
                target.failures += 1
                target.error, target.notes = f"{target.url}: {answer}", Notes()
                if target.first_failure is None:
                    target.first_failure = instant
            else:
                reading, target.notes = answer
                target.servers, target.last_success = frozenset(reading.servers), instant
                target.first_failure, target.error = None, None
                self._once.warn(target.url, target.notes.texts(), instant)
                readings.append(reading)
        self.notes = Notes()
        both = together(readings, self.labels, self.notes) if len(readings) > 1 else next(iter(readings), None)
        self._once.warn("all targets together", self.notes.texts(), instant)
        return both

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def _page(self, url: str, instant: float) -> tuple[Reading, Notes]:
        answer = fetch(self._session, "GET", url, self._timeout, self._limits.bytes // WORKERS, headers=_ACCEPT)
        if answer.status != 200:
            location = answer.headers.get("Location")
            raise SourceRefused(f"HTTP {answer.status}, expected 200 and a page of metrics"
                                + (f": redirected to {location[:LENGTH]}, put the final address into source.targets"
                                   if location else ""), answer.status)
        page, notes = page_reading(answer.body, instant, self.metrics, self.bounds, self.labels, self._limits.series)
        return self.shard.share(page), notes


def together(readings: Sequence[Reading], labels: Labels, notes: Notes) -> Reading:
    """One reading (S, C) of several of the same instant; where two have a value, the larger counts, and `notes` say so.
    """
    servers = tuple(sorted(frozenset().union(*(reading.servers for reading in readings))))
    row = {server: number for number, server in enumerate(servers)}
    profiles: dict[str, str] = {}
    for reading in reversed(readings):
        profiles |= zip(reading.servers, reading.profiles, strict=True)
    values = np.full((len(servers), readings[0].values.shape[1]), np.nan, np.float32)
    doubled: set[str] = set()
    for reading in readings:
        rows = [row[server] for server in reading.servers]
        twice = np.isfinite(values[rows]) & np.isfinite(reading.values)
        doubled.update(reading.servers[n] for n in np.flatnonzero(twice.any(axis=1)))
        values[rows] = np.fmax(values[rows], reading.values)
    if doubled:
        notes.add("servers that several targets give the same metric of; the largest value counts", sorted(doubled),
                  len(doubled), left_out=False)
    left_out = Counter[str]()
    for reading in readings:
        left_out.update(reading.left_out)
    return Reading(readings[0].instant, servers, labels.profiles(servers, profiles), values, left_out=left_out)
