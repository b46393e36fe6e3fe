"""The days before the sliding window, one column per model step, for models that read a week.

These models compare with the values of yesterday and last week. The past is kept at the model's step, not at refresh
resolution: a week of 5 minutes is 2,016 columns, 8 KB a series. Columns are at whole steps. A context takes its newest
steps from the sliding window, at refresh resolution, and the older ones from the nearest column.

Not thread-safe, like the window it is made of.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np

from forecaster.memory.ring import Values
from forecaster.memory.window import Window
from forecaster.readings import Reading, Readings

PIECE_SECONDS = 86400.0  # of one range query


class Past:
    """``steps`` columns of ``step`` seconds; `refresh` is the distance of readings, `origin` as in Window."""

    def __init__(self, signals: Sequence[str], step: float, refresh: float, steps: int, origin: str = ""):
        self.step, self.refresh, self.steps = float(step), float(refresh), int(steps)
        self._window = Window(signals, step, step, steps, sample_interval=step, origin=origin)

    def append(self, reading: Reading) -> None:
        """Adds a live reading at the beginning of a step; others are ignored."""
        if reading.instant % self.step < self.refresh:
            self._window.append(reading)

    def piece(self, now: float) -> tuple[float, float] | None:
        """The newest stretch that was not read, (first, last) instants, at most PIECE_SECONDS; None without gaps."""
        gaps = self._window.gaps(now)
        if not gaps:
            return None
        first, last = gaps[-1]
        return max(first, last - PIECE_SECONDS + self.step), last

    def fill(self, readings: Readings) -> None:
        """Merges a range answer at step resolution into empty cells."""
        self._window.fill(readings)

    def drop(self, servers: Iterable[str]) -> None:
        """Forgets these servers."""
        self._window.drop(servers)

    def context(self, now: float, servers: Sequence[str], encoder: Values) -> Values:
        """float32 (S, C, steps) of these servers: the newest steps are ``encoder`` (S, C, T), the older ones the past;
        NaN where nothing is known."""
        nearest = round(now / self.step) * self.step
        place = {name: i for i, name in enumerate(self._window.servers)}
        older = np.full((*encoder.shape[:2], self.steps - encoder.shape[2]), np.nan, np.float32)
        rows = [i for i, name in enumerate(servers) if name in place]
        if rows:
            held = self._window.encoder(nearest)[[place[servers[i]] for i in rows]]
            older[rows] = held[..., : older.shape[2]]
        return np.concatenate([older, encoder], 2)

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Writes everything, atomically; OSError if that fails."""
        self._window.snapshot(path)

    def restore(self, path: str | os.PathLike[str], now: float) -> str | None:
        """Restores a snapshot; None, or the reason why it was ignored."""
        return self._window.restore(path, now)
