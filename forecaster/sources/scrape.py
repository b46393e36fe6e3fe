"""The source for a fleet without Prometheus: reads the /metrics pages itself and keeps the last hours.

Every `scrape_interval` one round reads all targets at once and appends one reading to a Window at that
resolution. What the source answers are means over the trailing step of what the window holds.

S servers, C signals, N instants. Memory: S x C x retention / scrape_interval float32.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import requests

from forecaster.memory.window import Window
from forecaster.readings import (
    Labels,
    NoData,
    Reading,
    Readings,
    SourceError,
    SourceNonsense,
    SourceRefused,
    SourceUnreachable,
    grid,
    milliseconds,
    named,
    numbers32,
)
from forecaster.sources.crew import Crew
from forecaster.sources.exposition_text import bootstrap_readings, page_reading
from forecaster.sources.shard import WHOLE, Shard
from forecaster.sources.transport import fetch, http_session

_WORKERS = 16
_RECENT = 2  # scrape intervals: who was not observed within them is not there; one round may fail
_ACCEPT = {"Accept": "text/plain; version=0.0.4"}


@dataclass
class _Target:
    """What is known of one /metrics address."""

    url: str
    servers: frozenset[str] | None = None  # of the last good page; None before the first
    last_success: float | None = None
    first_failure: float | None = None  # since the last success
    failures: int = 0
    error: str | None = None  # of the last attempt

    @property
    def good_since(self) -> float | None:
        """When it was last good, or known to be bad where it never was; None if it was not asked yet."""
        return self.first_failure if self.last_success is None else self.last_success


class ScrapeSource:
    """Reads `targets`, addresses of /metrics pages, and answers like Prometheus would.

    `signals` (by name, or objects with .name) have .metric, the metric to read, and .scale, the factor to
    signal units. A page may hold `max_body` bytes and is given `timeout` seconds (by default and at most the
    scrape interval). start() begins a thread, in the process that is to scrape; close() ends it; scrape()
    makes one round for callers with a rhythm of their own.
    """

    def __init__(self, targets: Sequence[str], signals: Mapping[str, Any] | Sequence[Any], step: float, *,
                 scrape_interval: float = 5.0, clock: Callable[[], float] = time.time,
                 session: requests.Session | None = None, timeout: float | None = None,
                 retention: float = 3 * 3600.0, server_label: str = "server",
                 profile_label: str | None = "profile", default_profile: str = "generic",
                 max_body: int = 16 << 20, max_servers: int = 10_000, shard: Shard = WHOLE):
        if not targets:
            raise ValueError("source scrape needs at least one target: give addresses of /metrics pages")
        if retention < step:
            raise ValueError(f"retention {retention:g}s is shorter than the step of {step:g}s: raise it")
        found = named(signals)
        for name, signal in found.items():
            if not signal.metric:
                raise ValueError(f"signal {name} has no metric for source scrape: add its metric, or read "
                                 "from Prometheus")
        self._metrics = [(signal.metric, float(signal.scale)) for signal in found.values()]
        self._labels = Labels(server_label, profile_label, default_profile)
        self._shard = shard
        self._interval, self._step, self._retention = scrape_interval, step, retention
        self._reach = -(-milliseconds("step", step) // milliseconds("scrape_interval", scrape_interval))
        self._window = Window(list(found), refresh=scrape_interval, step=scrape_interval, encoder_steps=1,
                              span=retention + step, sample_interval=scrape_interval,
                              origin=_origin(targets, self._metrics, self._labels, shard))
        self._session = session or http_session(retries=0)  # the next round is the next attempt
        self._crew = Crew(_WORKERS)
        self._clock, self._timeout = clock, min(timeout or scrape_interval, scrape_interval)
        self._max_body, self._max_servers = max_body, max_servers
        self._targets = [_Target(url) for url in dict.fromkeys(targets)]
        self._events: dict[str, str | None] = {"bootstrap": None, "snapshot": None, "clock": None}
        self._lock = threading.Lock()  # around the window, the targets and the events
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # -- reading the targets ------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to scrape in a thread of its own; harmless if it runs already."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="scrape", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ends the thread and closes the connections; a target that hangs only loses its last sample."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(0.5)
            self._thread = None
        self._crew.close()
        self._session.close()

    def scrape(self) -> None:
        """One round: every target at once, one reading into the window. Failures are counted, not raised."""
        instant = self._clock()
        calls = [partial(self._page, target.url, instant) for target in self._targets]
        answers = self._crew.gather(calls, self._timeout)
        with self._lock:
            for target, answer in zip(self._targets, answers, strict=True):
                reading = self._noted(target, answer, instant)
                if reading is not None and (reason := self._window.append(reading)):
                    self._events["clock"] = reason
            old = self._window.last_seen < instant - self._retention
            self._window.drop([self._window.servers[row] for row in np.flatnonzero(old)])

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self.scrape()
            due = max(due + self._interval, time.monotonic())
            self._stop.wait(due - time.monotonic())

    def _page(self, url: str, instant: float) -> Reading:
        answer = fetch(self._session, "GET", url, self._timeout, self._max_body, headers=_ACCEPT)
        if answer.status != 200:
            raise SourceRefused(f"HTTP {answer.status}, expected 200 and a page of metrics", answer.status)
        page = page_reading(answer.body, instant, self._metrics, self._window.signals, self._labels)
        reading = self._shard.share(page)
        if len(reading.servers) > self._max_servers:
            raise SourceNonsense(f"{len(reading.servers)} servers, allowed are {self._max_servers}: raise "
                                 "max_servers if that is meant")
        return reading

    def _noted(self, target: _Target, answer: Reading | Exception, instant: float) -> Reading | None:
        if isinstance(answer, Reading):
            target.servers, target.last_success = frozenset(answer.servers), instant
            target.first_failure, target.error = None, None
            return answer
        target.failures += 1
        target.error = f"{target.url}: {answer}"
        if target.first_failure is None:
            target.first_failure = instant
        return None

    # -- answering ----------------------------------------------------------------------------------

    def latest(self, instant: float) -> Reading:
        """Means over the step up to `instant`, float32 (S, C), of servers observed within two scrape intervals.

        A server that a good page no longer lists is gone at once. Before the first round there is only what
        bootstrap and snapshot brought: then every server with a value in the step counts.
        """
        with self._lock:
            errors = [target.error for target in self._targets if target.error]
            answered = [target.good_since for target in self._targets]
            if len(errors) == len(self._targets) and instant - max(answered) > self._step:
                raise SourceUnreachable(f"no target answered for {self._step:g}s: {'; '.join(errors)}")
            present = frozenset().union(*(target.servers or () for target in self._targets))
            answering = any(target.servers is not None and target.error is None for target in self._targets)
            back = max(self._reach - 1, _RECENT) * self._interval
            held = self._window.readings(instant - back, instant)
        values = _means(held.values, np.array([len(held.instants)]), self._reach)[0]
        if answered.count(None) == len(answered):  # no round was made yet
            what, rows = f"{self._step:g}s", np.flatnonzero(np.isfinite(values).any(axis=1))
        else:
            what = f"{_RECENT} scrape intervals"
            recent = np.isfinite(held.values[-_RECENT - 1:]).any(axis=(0, 2))
            rows = [row for row in np.flatnonzero(recent) if held.servers[row] in present]
        if not len(rows) and (present or not answering):  # else all servers are other shards'
            raise NoData(f"nothing was read in the {what} up to {instant:.3f}: "
                         + ("; ".join(errors) or ("the targets were not asked then" if any(answered)
                                                  else "no target was asked yet")))
        return Reading(instant, tuple(held.servers[row] for row in rows),
                       tuple(held.profiles[row] for row in rows), values[rows])

    def range(self, start: float, end: float, step: float) -> Readings:
        """Trailing means at every multiple of `step` in start..end, float32 (N, S, C), of what is held."""
        instants = grid(start, end, step)
        lead = (self._reach - 1) * self._interval
        with self._lock:
            oldest = (self._window.newest or 0.0) - self._retention - self._step
            wanted = instants[instants >= oldest]  # before that there is nothing, so nothing to add up
            if not wanted.size or self._window.newest is None:
                nothing = np.empty((len(instants), 0, len(self._metrics)), np.float32)
                return Readings(instants, (), (), nothing)
            held = self._window.readings(wanted[0] - lead, wanted[-1])
        ends = np.searchsorted(held.instants, wanted, side="right")
        values = np.full((len(instants), len(held.servers), len(self._metrics)), np.nan, np.float32)
        values[len(instants) - len(wanted):] = _means(held.values, ends, self._reach)
        rows = np.flatnonzero(np.isfinite(values).any(axis=(0, 2)))
        return Readings(instants, tuple(held.servers[row] for row in rows),
                        tuple(held.profiles[row] for row in rows), values[:, rows])

    def describe(self) -> dict[str, Any]:
        """Targets with their last success, failures and errors; what bootstrap and snapshot brought."""
        with self._lock:
            targets = [{"url": target.url, "up": target.servers is not None and target.error is None,
                        "servers": len(target.servers or ()), "last_success": target.last_success,
                        "failures": target.failures, "error": target.error}
                       for target in self._targets]
            return {"kind": "scrape", "scrape_interval": self._interval, "retention": self._retention,
                    "targets": targets, "servers": len(self._window.servers), **self._events}

    # -- what is there before the first round -------------------------------------------------------

    def bootstrap(self, path: str | os.PathLike) -> int:
        """Takes over an OpenMetrics file's recent samples; returns how many. SourceError if it is bad."""
        now = self._clock()
        oldest = now - self._retention - self._step
        try:
            found, samples = bootstrap_readings(path, oldest, now, self._interval, self._metrics, self._labels)
        except (SourceError, OSError) as error:
            with self._lock:
                self._events["bootstrap"] = str(error)
            raise error if isinstance(error, SourceError) else SourceUnreachable(str(error)) from error
        readings = self._shard.share(found)
        with self._lock:
            self._window.fill(readings)
            self._events["bootstrap"] = f"{samples} samples of {len(readings.servers)} servers from {path}"
        return samples

    def snapshot(self, path: str | os.PathLike) -> None:
        """Writes what is held to `path`, atomically; OSError if that fails."""
        with self._lock:
            self._window.snapshot(path)

    def restore(self, path: str | os.PathLike) -> bool:
        """Takes over a snapshot; False, the reason in describe(), if it is missing, damaged or too old."""
        with self._lock:
            reason = self._window.restore(path, self._clock())
            self._events["snapshot"] = reason or f"restored from {path}"
        return reason is None


def _origin(targets: Sequence[str], metrics: Sequence[tuple[str, float]], labels: Labels, shard: Shard) -> str:
    """A fingerprint of where values come from; addresses stay out of it, because it is kept on disk."""
    parts = [sorted(set(targets)), metrics, [labels.server, labels.profile]]
    if shard.total > 1:
        parts.append([shard.ordinal, shard.total])
    return "scrape " + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _means(values: np.ndarray, ends: np.ndarray, reach: int) -> np.ndarray:
    """Means (N, S, C), NaN left out, of the `reach` rows of values (K, S, C) before each of ends (N,)."""
    means = np.full((len(ends), *values.shape[1:]), np.nan, np.float32)
    starts = np.maximum(ends - reach, 0)
    for c in range(values.shape[2]):  # one signal at a time bounds the memory of the sums
        observed = np.isfinite(values[:, :, c])
        sums = np.zeros((len(values) + 1, values.shape[1]))
        np.cumsum(np.where(observed, values[:, :, c], 0), axis=0, dtype=np.float64, out=sums[1:])
        counts = np.zeros((len(values) + 1, values.shape[1]), np.int64)
        np.cumsum(observed, axis=0, out=counts[1:])
        count = counts[ends] - counts[starts]
        with np.errstate(invalid="ignore"):
            means[:, :, c] = numbers32(np.where(count > 0, (sums[ends] - sums[starts]) / count, np.nan))
    return means
