"""The days before the sliding window, one column per model step: for models that read a week.

A forecast of hosts of any kind leans on yesterday's and last week's values. They are kept at the model's step, not at refresh
resolution: a week of 5 minutes is 2,016 columns, 8 KB a series. Columns stand at whole steps; the newest steps of a context
come from the sliding window, which knows them to the refresh, the older ones from the nearest column.

Not thread-safe, like the window it is made of.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np

from forecaster.memory.window import Window
from forecaster.readings import Reading, Readings

PIECE_SECONDS = 86400.0  # asked of the source at once


class Past:
    """``steps`` columns of ``step`` seconds; `refresh` is the distance of readings, `origin` as in Window."""

    def __init__(self, signals: Sequence[str], step: float, refresh: float, steps: int, origin: str = ""):
        self.step, self.refresh, self.steps = float(step), float(refresh), int(steps)
        self._window = Window(signals, step, step, steps, sample_interval=step, origin=origin)

    def append(self, reading: Reading) -> None:
        """Takes a live reading at the beginning of a step; others belong to no column."""
        if reading.instant % self.step < self.refresh:
            self._window.append(reading)

    def piece(self, now: float) -> tuple[float, float] | None:
        """The newest stretch nobody has asked for, (first, last) column's instants, at most PIECE_SECONDS; None: all known."""
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

    def context(self, now: float, servers: Sequence[str], encoder: np.ndarray) -> np.ndarray:
        """float32 (S, C, steps): older steps from here, the newest from ``encoder`` (S, C, T), for servers in that order;
        NaN where nothing is known."""
        nearest = round(now / self.step) * self.step
        place = {name: i for i, name in enumerate(self._window.servers)}
        older = np.full((*encoder.shape[:2], self.steps - encoder.shape[2]), np.nan, np.float32)
        rows = [i for i, name in enumerate(servers) if name in place]
        if rows:
            held = self._window.encoder(nearest)[[place[servers[i]] for i in rows]]
            older[rows] = held[..., : older.shape[2]]
        return np.concatenate([older, encoder], 2)

    def snapshot(self, path: str | os.PathLike) -> None:
        """Writes everything, atomically; OSError if that fails."""
        self._window.snapshot(path)

    def restore(self, path: str | os.PathLike, now: float) -> str | None:
        """Takes over a snapshot; None, or the reason why it was ignored."""
        return self._window.restore(path, now)
