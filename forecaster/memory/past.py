"""The days before the sliding window, one column per model step, for models that read a week.

These models compare with the values of yesterday and last week. The past is kept at the model's step, not at refresh
resolution: a week of 5 minutes is 2,016 columns, 8 KB a series. Columns are at whole steps. A context takes its newest
steps from the sliding window, at refresh resolution, and the older ones from the nearest column.

Not thread-safe, like every window.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from forecaster.memory.ring import Values
from forecaster.memory.window import Window
from forecaster.readings import Reading

PIECE_SECONDS = 86400.0  # of one range query


class Past(Window):
    """``steps`` columns of ``step`` seconds; `every`: time between two readings; `origin`, `most` as in Window."""

    def __init__(self, signals: Sequence[str], step: float, every: float, steps: int, origin: str = "",
                 most: int = sys.maxsize):
        super().__init__(signals, step, step, steps, sample_interval=step, origin=origin, most=most)
        self._every = every

    def append(self, reading: Reading) -> str | None:
        """Adds a live reading at the beginning of a step; others are ignored."""
        return super().append(reading) if reading.instant % self.step < self._every else None

    def piece(self, now: float) -> tuple[float, float] | None:
        """The newest stretch to read, (first, last) instants, at most PIECE_SECONDS; None if there is none. Holes are
        looked for once a step."""
        stretches = self.gaps(now) or (self.holes(now) if now % self.step < self._every else [])
        if not stretches:
            return None
        first, last = stretches[-1]
        return max(first, last - PIECE_SECONDS + self.step), last

    def context(self, now: float, servers: Sequence[str], encoder: Values) -> Values:
        """float32 (S, C, steps) of these servers: the newest steps are ``encoder`` (S, C, T), the older ones the past;
        NaN where nothing is known."""
        nearest = round(now / self.step) * self.step
        place = {name: i for i, name in enumerate(self.servers)}
        older = np.full((*encoder.shape[:2], self.encoder_steps - encoder.shape[2]), np.nan, np.float32)
        rows = [i for i, name in enumerate(servers) if name in place]
        if rows:
            held = self.encoder(nearest)[[place[servers[i]] for i in rows]]
            older[rows] = held[..., : older.shape[2]]
        return np.concatenate([older, encoder], 2)
