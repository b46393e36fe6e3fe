"""The record of each server at one horizon, over DAYS: what of its forecasts was covered, and their loss.

Memory: 16 B a server, signal and day: 0.9 MB for 1,000 servers x 8 signals. A server that is no more is forgotten.
Letters: S servers, C signals.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from forecaster.memory.scores import EACH, Figures
from forecaster.memory.snapshot import load, save, unusable

VERSION = 1
DAYS, DAY = 7, 86400.0


class ByServer:
    """Sums of ``scores.each``, by day. identity names what is scored."""

    def __init__(self, signals: int, identity: str = ""):
        self.identity, self._signals = identity, signals
        self._names: tuple[str, ...] = ()
        self._day = 0  # the newest
        self._sums = self._empty(0)  # (DAYS, S, C, EACH); a day's place is its remainder

    def _empty(self, servers: int) -> npt.NDArray[np.float32]:
        return np.zeros((DAYS, servers, self._signals, EACH), np.float32)

    def add(self, now: float, names: tuple[str, ...], rows: npt.NDArray[np.int64], scored: Figures) -> None:
        """What was scored at `now`, Unix s: (N, C, EACH) of the servers at these rows (N,) of `names`."""
        day = int(now // DAY)
        first, last = sorted((self._day, day))  # the clock may be set back
        for other in range(max(first + 1, last - DAYS + 1), last + 1):
            self._sums[other % DAYS] = 0
        self._day = day
        if names != self._names:
            place = {name: row for row, name in enumerate(self._names)}
            old = np.array([place.get(name, -1) for name in names], np.int64)
            self._sums = np.concatenate([self._sums, self._empty(1)], axis=1)[:, old]
            self._names = names
        self._sums[day % DAYS, rows] += scored

    def of(self, server: str) -> Figures:
        """float64 (C, EACH): the sums of one server, 0 where nothing is known."""
        if server not in self._names:
            return np.zeros((self._signals, EACH))
        found: Figures = self._sums[:, self._names.index(server)].sum(0, dtype=np.float64)
        return found

    # -- snapshots ----------------------------------------------------------------------------------

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Writes everything, atomically; OSError if that fails."""
        save(path, version=VERSION, identity=np.array(self.identity), names=np.array(self._names, np.str_),
             day=self._day, sums=self._sums)

    def restore(self, path: str | os.PathLike[str], now: float) -> str | None:
        """Restores a snapshot; None, or why it does not fit. SnapshotError if it is damaged."""
        head = load(path, {"version": ("int64", ()), "identity": ("str", ())})
        if (version := head["version"].tolist()) != VERSION:
            return f"{path} has version {version}, expected {VERSION}"
        if str(head["identity"]) != self.identity:
            return f"{path} holds the record of another model, source, signals or horizons"
        held = load(path, {"names": ("str", "S"), "day": ("int64", ()),
                           "sums": ("float32", (DAYS, "S", self._signals, EACH))})
        if not (held["sums"] >= 0).all() or held["day"] < 0:
            raise unusable(path, "a sum is below 0, or no number")
        if held["day"] * DAY > now:
            return f"{path} is of a time that has not come yet"
        self._names, self._day, self._sums = tuple(held["names"].tolist()), int(held["day"]), held["sums"]
        return None


def figures(sums: Figures) -> Sequence[tuple[float, float, int]]:
    """(coverage, loss over that of the trend heuristic, outcomes) of each signal, NaN where nothing was scored."""
    found = []
    for counted, covered, loss, base in sums.tolist():
        found.append((covered / counted if counted else np.nan, loss / base if base > 0 else np.nan, round(counted)))
    return found
