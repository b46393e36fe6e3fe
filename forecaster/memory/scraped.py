"""Scraped samples of the last hours: the source for fleets without Prometheus.

Every `scrape_interval` all targets are scraped at once, and one reading is appended to a Window of that resolution.
The source answers with means of the window over the trailing step.

S servers, C signals, N instants. Memory: S x C x retention / scrape_interval float32.
"""

import hashlib
import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from forecaster.limits import Limits
from forecaster.memory.snapshot import SnapshotError
from forecaster.memory.window import Window
from forecaster.readings import (
    Labels,
    NoData,
    Reading,
    Readings,
    SourceError,
    SourceUnreachable,
    grid,
    milliseconds,
    numbers32,
)
from forecaster.sources.exposition_text import bootstrap_readings
from forecaster.sources.scrape import Targets

log = logging.getLogger(__name__)

_RECENT = 2  # scrape intervals without a sample after which a server is gone; one scrape may fail


class ScrapeSource:
    """Scrapes `targets`, addresses of /metrics pages, and answers as Prometheus would.

    A page is given `timeout` seconds (by default and at most the scrape interval); for `signals` and further `options`
    see `Targets`. At most `limits.servers` are held: newcomers beyond them take the place of servers that have been
    silent for `idle` seconds, or are refused. start() starts a thread in the process that is to scrape, close() ends
    it; scrape() scrapes all targets once, for callers without the thread.
    """

    def __init__(self, targets: Sequence[str], signals: Mapping[str, Any] | Sequence[Any], step: float, *,
                 scrape_interval: float = 5.0, clock: Callable[[], float] = time.time,
                 timeout: float | None = None, retention: float = 3 * 3600.0, server_label: str = "server",
                 profile_label: str | None = "profile", default_profile: str = "generic",
                 limits: Limits | None = None, idle: float = math.inf, **options: Any):
        if retention < step:
            raise ValueError(f"retention {retention:g}s is shorter than the step of {step:g}s: raise it")
        limits = limits or Limits()
        labels = Labels(server_label, profile_label, default_profile, limits.name_length, limits.labels_length)
        timeout = min(timeout or scrape_interval, scrape_interval)
        self._targets = Targets(targets, signals, labels, timeout=timeout, limits=limits, **options)
        self._most_series = limits.series
        self._interval, self._step, self._retention = scrape_interval, step, retention
        self._reach = -(-milliseconds("step", step) // milliseconds("scrape_interval", scrape_interval))
        self._window = Window(self._targets.signals, refresh=scrape_interval, step=scrape_interval, encoder_steps=1,
                              span=retention + step, sample_interval=scrape_interval, origin=_origin(self._targets),
                              most=limits.servers, idle=idle)
        self._clock = clock
        self._left_out: Mapping[str, int] = {}  # of the last scrape, by signal
        self._events: dict[str, str | None] = {"bootstrap": None, "snapshot": None, "clock": None, "scrape": None}
        self._lock = threading.Lock()  # around the window, the targets and the events
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # -- reading the targets ------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the thread that scrapes, unless it runs already."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="scrape", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ends the thread and closes the connections; a target that hangs loses its last sample."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(0.5)
            self._thread = None
        self._targets.close()

    def scrape(self) -> None:
        """Scrapes every target once, at the same time, into the window. Failures are counted, not raised."""
        instant = self._clock()
        answers = self._targets.ask(instant)
        with self._lock:
            reading = self._targets.note(answers, instant)
            self._left_out = reading.left_out if reading is not None else {}
            if reading is not None and (reason := self._window.append(reading)):
                self._events["clock"] = reason
            old = self._window.last_seen < instant - self._retention
            self._window.drop([self._window.servers[row] for row in np.flatnonzero(old)])

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            try:
                self.scrape()
                self._events["scrape"] = None
            except Exception as error:  # the thread must go on: the next scrape is the next attempt
                log.exception("scrape failed")
                self._events["scrape"] = str(error) or type(error).__name__
            due = max(due + self._interval, time.monotonic())
            self._stop.wait(due - time.monotonic())

    # -- answering ----------------------------------------------------------------------------------

    def latest(self, instant: float) -> Reading:
        """Means over the step up to `instant`, float32 (S, C), of servers observed within two scrape intervals.

        A server that its target's page no longer lists is gone at once. Before the first scrape the window has only
        bootstrap and snapshot: then every server with a value in the step is present.
        """
        with self._lock:
            targets = self._targets.all
            errors = [target.error for target in targets if target.error]
            scraped = [target.good_since for target in targets if target.good_since is not None]
            if len(errors) == len(targets) and instant - max(scraped) > self._step:
                raise SourceUnreachable(f"no target answered for {self._step:g}s: {'; '.join(errors)}")
            present = frozenset().union(*(target.servers or () for target in targets))
            answering = any(target.up for target in targets)
            back = max(self._reach - 1, _RECENT) * self._interval
            held, left_out = self._window.readings(instant - back, instant), self._left_out
            refused = self._window.refused
        values = _means(held.values, np.array([len(held.instants)]), self._reach)[0]
        if scraped:
            what = f"{_RECENT} scrape intervals"
            recent = np.isfinite(held.values[-_RECENT - 1:]).any(axis=(0, 2))
            rows = np.flatnonzero(recent & np.array([server in present for server in held.servers], bool))
        else:
            what, rows = f"{self._step:g}s", np.flatnonzero(np.isfinite(values).any(axis=1))
        if not len(rows) and (present or not answering):  # else all servers are other shards'
            raise NoData(f"nothing was read in the {what} up to {instant:.3f}: "
                         + ("; ".join(errors) or ("the targets were not asked then" if scraped
                                                  else "no target was asked yet")))
        return Reading(instant, tuple(held.servers[row] for row in rows),
                       tuple(held.profiles[row] for row in rows), values[rows], left_out=left_out,
                       refused=refused)

    def range(self, start: float, end: float, step: float, offset: float = 0.0) -> Readings:
        """Trailing means at every multiple of `step`, plus `offset`, in start..end, float32 (N, S, C), of the retained
        samples."""
        instants = grid(start, end, step, offset)
        lead = (self._reach - 1) * self._interval
        with self._lock:
            oldest = (self._window.newest or 0.0) - self._retention - self._step
            wanted = instants[instants >= oldest]  # before that there is nothing, so nothing to add up
            if not wanted.size or self._window.newest is None:
                nothing = np.empty((len(instants), 0, len(self._targets.metrics)), np.float32)
                return Readings(instants, (), (), nothing)
            held = self._window.readings(wanted[0] - lead, wanted[-1])
        ends = np.searchsorted(held.instants, wanted, side="right")
        values = np.full((len(instants), len(held.servers), len(self._targets.metrics)), np.nan, np.float32)
        values[len(instants) - len(wanted):] = _means(held.values, ends, self._reach)
        rows = np.flatnonzero(np.isfinite(values).any(axis=(0, 2)))
        return Readings(instants, tuple(held.servers[row] for row in rows),
                        tuple(held.profiles[row] for row in rows), values[:, rows])

    def describe(self) -> dict[str, Any]:
        """Targets with last success, failures, errors and warnings; results of bootstrap and snapshot."""
        with self._lock:
            return {"kind": "scrape", "scrape_interval": self._interval, "retention": self._retention,
                    "targets": [target.describe() for target in self._targets.all],
                    "servers": len(self._window.servers), "refused": self._window.refused,
                    "warnings": [*self._targets.notes.texts().values()], **self._events}

    # -- samples from before the first scrape -------------------------------------------------------

    def bootstrap(self, path: str | os.PathLike[str]) -> int:
        """Reads an OpenMetrics file's recent samples; returns their number. SourceError if it cannot be used."""
        now = self._clock()
        oldest = now - self._retention - self._step
        try:
            found, samples, notes = bootstrap_readings(path, oldest, now, self._interval, self._targets.metrics,
                                                       self._targets.bounds, self._targets.labels, self._most_series)
        except (SourceError, OSError) as error:
            with self._lock:
                self._events["bootstrap"] = str(error)
            raise error if isinstance(error, SourceError) else SourceUnreachable(str(error)) from error
        readings = self._targets.shard.share(found)
        with self._lock:
            self._window.fill(readings)
            told = f"{samples} samples of {len(readings.servers)} servers from {path}"
            self._events["bootstrap"] = "; ".join([told, *notes.texts().values()])
        return samples

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Writes the retained samples to `path`, atomically; OSError if that fails."""
        with self._lock:
            self._window.snapshot(path)

    def restore(self, path: str | os.PathLike[str], now: float) -> str | None:
        """Restores a snapshot; None, or why it does not fit. SnapshotError if it is damaged. In describe() either
        way."""
        with self._lock:
            try:
                reason = self._window.restore(path, now)
            except SnapshotError as error:
                self._events["snapshot"] = str(error)
                raise
            self._events["snapshot"] = reason or f"restored from {path}"
        return reason


def _origin(targets: Targets) -> str:
    """A fingerprint of targets, metrics, labels and shard for snapshots. A hash, as addresses stay off the disk."""
    labels, shard = targets.labels, targets.shard
    parts: list[Any] = [sorted(target.url for target in targets.all), targets.metrics, [labels.server, labels.profile]]
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
