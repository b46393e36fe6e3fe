"""The memory of a cycle: the sliding window, the days before it, and the record of its own forecasts.

S servers, C signals, T encoder steps.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forecaster.memory.keeping import Keeper, Kept
from forecaster.memory.outcomes import Outcomes
from forecaster.memory.pages import Pages
from forecaster.memory.past import Past
from forecaster.memory.record import Record
from forecaster.memory.ring import Flags, Values
from forecaster.memory.scores import Figures
from forecaster.memory.window import Window
from forecaster.readings import Reading

SNAPSHOT_FILE, PAST_FILE, RECORD_FILE = "window.npz", "past.npz", "record.npz"
KEPT_FILE, PAGES_FILE, SERVERS_FILE = "chances.npz", "pages.npz", "servers.npz"

# s for which a server is missing from the source's list before it counts as removed: a list that is made anew, as after
# a restart of Prometheus, lacks some for a moment
REMOVED_AFTER = 300.0
SHOWN = 10  # names in a line of the log

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Present:
    """What is known of the servers at one instant, in Unix seconds."""

    instant: float
    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    encoder: Values  # float32 (S, C, T), newest step last, NaN where unobserved
    observed: Values  # float32 (S, C), the latest means
    samples: npt.NDArray[np.int64]  # int64 (S,), at most the number a warm server needs
    last_seen: npt.NDArray[np.float64]  # float64 (S,), Unix seconds
    stale: Flags  # bool (S,): silent for too long to be forecast
    warm: Flags  # bool (S,): not stale, and enough samples for the model


class Memory:
    """``past`` is None where the window holds all that the model reads, ``record`` where it is off. Snapshots go to
    ``folder`` (None: nowhere); what fails there goes into ``errors`` under "snapshot".

    Its parts are the cycle's. Who reads them in another thread, and the cycle while it changes them, holds ``lock``.
    """

    def __init__(self, window: Window, past: Past | None, record: Record | None, folder: Path | None,
                 errors: dict[str, str | None], outcomes: Outcomes | None = None,
                 pages: Pages | None = None):
        self.window, self.past, self.record, self.outcomes, self.pages = window, past, record, outcomes, pages
        self.lock = threading.RLock()
        self._keeper = Keeper(folder, errors)
        self.refused = 0  # servers of the latest reading for which there is no room
        self._unlisted: dict[str, float] = {}  # s, of servers that the source has listed

    def take(self, reading: Reading, drop_after: float, stale_after: float) -> None:
        """Adds the latest reading and forgets servers that sent nothing for ``drop_after`` seconds, or for
        ``stale_after`` where the source no longer lists them."""
        with self.lock:
            self._take(reading, drop_after, stale_after)

    def _take(self, reading: Reading, drop_after: float, stale_after: float) -> None:
        window, past = self.window, self.past
        if reason := window.append(reading):
            log.warning(reason)
        if past is not None:
            past.drop(window.forgotten)
            past.append(reading)
        was, self.refused = self.refused, reading.refused + window.refused
        if self.refused and not was:
            log.warning("%d new servers are not taken up: %d are held (limits.servers); raise the limit, divide the "
                        "fleet into shards, or find out who invents names", self.refused, len(window.servers))
        _say_forgotten(window.forgotten, "silent the longest, and others need the room (limits.servers)")
        silent = reading.instant - self.window.last_seen
        removed = self._removed(reading) & (silent > stale_after)
        self._forget(removed, "taken out of what the source watches")
        self._forget((silent > drop_after)[~removed], f"not seen for {drop_after:g} s")

    def _forget(self, which: Flags, reason: str) -> None:
        """Forgets servers: bool (S,)."""
        names = [self.window.servers[row] for row in np.flatnonzero(which)]
        if names:
            _say_forgotten(names, reason)
            self.window.drop(names)
            if self.past is not None:
                self.past.drop(names)

    def _removed(self, reading: Reading) -> Flags:
        """bool (S,): servers that the source listed once and has not for REMOVED_AFTER, while it lists others. One that
        it never listed may have another name there, and is not called removed."""
        if listed := set(reading.listed or ()):
            self._unlisted = {
                name: 0.0 if name in listed else self._unlisted[name] + self.window.refresh
                for name in self.window.servers if name in listed or name in self._unlisted}
        return np.array([self._unlisted.get(name, 0.0) >= REMOVED_AFTER for name in self.window.servers], bool)

    def measured(self, server: str, start: float, end: float) -> tuple[npt.NDArray[np.float64], Values]:
        """(instants (N,), float32 (N, C)) of one server from start to end, Unix s: at refresh resolution what the
        window holds, at steps what only the past does."""
        with self.lock:
            instants, values = self.window.of(server, start, end)
            if self.past is None:
                return instants, values
            older, before = self.past.of(server, start, end)
        kept = older < (instants[0] if instants.size else np.inf)
        return np.concatenate([older[kept], instants]), np.concatenate([before[kept], values])

    def said(self, server: str) -> tuple[float, npt.NDArray[np.float64], Values] | None:
        """(lead in s, instants (N,), float32 (N, C, 3)) of ``Record.said``; None without a record."""
        with self.lock:
            return (self.record.lead, *self.record.said(server)) if self.record is not None else None

    def scored(self, server: str) -> tuple[float, Figures] | None:
        """(lead in s, float64 (C, EACH) of ``ByServer.of``); None without a record."""
        with self.lock:
            return (self.record.lead, self.record.by_server.of(server)) if self.record is not None else None

    def present(self, now: float, required: int, stale_after: float) -> Present:
        """The servers now; warm from ``required`` samples on, stale after ``stale_after`` seconds of silence."""
        window = self.window
        samples, last_seen = np.minimum(window.samples(now), required).astype(np.int64), window.last_seen
        stale = ~(now - last_seen <= stale_after)
        return Present(now, window.servers, window.profiles, window.encoder(now), window.latest(now), samples,
                       last_seen, stale, ~stale & (samples >= required))

    def context(self, present: Present) -> Values:
        """float32 (S, C, steps): the encoder, with the days before it where they are kept."""
        if self.past is None:
            return present.encoder
        return self.past.context(present.instant, present.servers, present.encoder)

    def earlier(self, now: float, back: float) -> Values | None:
        """The encoder ``back`` seconds earlier; None where no refresh is at that time, or where there is a past."""
        if self.past is not None or abs(back / self.window.refresh - round(back / self.window.refresh)) > 1e-9:
            return None
        return self.window.encoder(now - back)

    def restore(self, now: float) -> None:
        """Restores the snapshots that exist and fit, into an empty memory."""
        if not self.window.servers:
            self._keeper.restore(self._parts(), now)

    def save(self, only_if_due: bool = False) -> None:
        """Writes snapshots, unless no server is known."""
        if (not only_if_due or self._keeper.due()) and self.window.servers:
            self._keeper.save(self._parts())

    def _parts(self) -> dict[str, Kept]:
        named = {SNAPSHOT_FILE: self.window, PAST_FILE: self.past, RECORD_FILE: self.record, KEPT_FILE: self.outcomes,
                 PAGES_FILE: self.pages,
                 SERVERS_FILE: self.record.by_server if self.record is not None else None}
        return {name: part for name, part in named.items() if part is not None}


def _say_forgotten(names: Sequence[str], reason: str) -> None:
    """Logs the first few names."""
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        log.info("forgetting %s%s: %s", ", ".join(names[:SHOWN]), more, reason)
