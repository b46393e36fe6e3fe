"""Scrapes /metrics pages, all targets at once. For fleets without Prometheus. S servers, C signals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests

from forecaster.readings import Labels, Reading, SourceNonsense, SourceRefused, named
from forecaster.sources.crew import gather
from forecaster.sources.exposition_text import page_reading
from forecaster.sources.shard import WHOLE, Shard
from forecaster.sources.transport import fetch, http_session

_WORKERS = 16
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
                "failures": self.failures, "error": self.error}


class Targets:
    """Scrapes the addresses `urls`; a page has at most `max_body` bytes and `max_servers` servers.

    `signals` (by name, or objects with .name) have .metric, the metric to read, and .scale, the factor to signal units.
    All targets together are given `timeout` seconds.
    """

    def __init__(self, urls: Sequence[str], signals: Mapping[str, Any] | Sequence[Any], labels: Labels, *,
                 session: requests.Session | None = None, timeout: float = 5.0, max_body: int = 16 << 20,
                 max_servers: int = 10_000, shard: Shard = WHOLE):
        if not urls:
            raise ValueError("source scrape needs at least one target: give addresses of /metrics pages")
        found = named(signals)
        for name, signal in found.items():
            if not signal.metric:
                raise ValueError(f"signal {name} has no metric for source scrape: add its metric, or read "
                                 "from Prometheus")
        self.metrics = [(signal.metric, float(signal.scale)) for signal in found.values()]
        self.signals, self.labels, self.shard = tuple(found), labels, shard
        self.all = [Target(url) for url in dict.fromkeys(urls)]
        self._session = session or http_session(retries=0)  # the next scrape is the next attempt
        self._timeout, self._max_body, self._max_servers = timeout, max_body, max_servers

    def ask(self, instant: float) -> list[Reading | Exception]:
        """Scrapes every target once: its reading float32 (S, C), or the error."""
        return gather([partial(self._page, target.url, instant) for target in self.all], _WORKERS, self._timeout)

    def note(self, answers: Sequence[Reading | Exception], instant: float) -> list[Reading]:
        """Keeps success and failure of every target; returns the readings."""
        for target, answer in zip(self.all, answers, strict=True):
            if isinstance(answer, Reading):
                target.servers, target.last_success = frozenset(answer.servers), instant
                target.first_failure, target.error = None, None
            else:
                target.failures += 1
                target.error = f"{target.url}: {answer}"
                if target.first_failure is None:
                    target.first_failure = instant
        return [answer for answer in answers if isinstance(answer, Reading)]

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def _page(self, url: str, instant: float) -> Reading:
        answer = fetch(self._session, "GET", url, self._timeout, self._max_body, headers=_ACCEPT)
        if answer.status != 200:
            raise SourceRefused(f"HTTP {answer.status}, expected 200 and a page of metrics", answer.status)
        page = page_reading(answer.body, instant, self.metrics, self.signals, self.labels)
        reading = self.shard.share(page)
        if len(reading.servers) > self._max_servers:
            raise SourceNonsense(f"{len(reading.servers)} servers, allowed are {self._max_servers}: raise "
                                 "max_servers if that is meant")
        return reading
