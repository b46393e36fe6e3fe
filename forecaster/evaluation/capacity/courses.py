"""What entities used over weeks, in steps of 5 minutes: what a forecaster knew at an instant, and what came after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.mounts import Mounts
from forecaster.capacity.past import Past
from forecaster.evaluation.scoring import Bools, Floats

STEP = 300.0  # seconds
HOUR = 12  # steps
HISTORY = 672  # hours known at an instant
HORIZON = 336  # hours
RECENT = 72  # steps
WEEK_STEPS = 168 * HOUR
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Courses:
    """Used share of the size at that time, and the size, of N entities, float32 (N, T), NaN where unknown.

    start: Unix seconds of the first step, a whole hour. limit: (N,) used share that counts as full. patterns: of
    simulated mounts, else "". mounts: the simulator that made them, for the best possible forecast.
    """

    start: float
    used: Floats
    size: Floats
    limit: Floats
    entities: Sequence[tuple[str, ...]]
    patterns: Sequence[str] = ()
    mounts: Mounts | None = field(default=None, repr=False)

    def instants(self, every: int = 1) -> Ints:
        """Rows of the whole hours, ``every`` so many, with a full history before and a step after."""
        return np.arange(HISTORY * HOUR, self.used.shape[1] - 1, every * HOUR)

    def unix(self, rows: Ints) -> npt.NDArray[np.float64]:
        """Unix seconds of rows."""
        return np.asarray(self.start + rows * STEP, np.float64)

    def now(self, rows: Ints) -> Floats:
        """(N, K): used share at the instants."""
        return self.used[:, rows]

    def past(self, rows: Ints) -> Past:
        """What was known of all entities at K instants, relative to the size at that time: N x K rows, entities
        slowest. The instants must be whole weeks apart: the one instant of a ``Past`` tells the hour of the week."""
        def cut(stride: int, count: int) -> Floats:
            back = rows[:, None] - stride * np.arange(count - 1, -1, -1)
            scaled = self.used[:, back] * (self.size[:, back] / self.size[:, rows, None])
            return scaled.reshape(-1, count).astype(np.float32)

        return Past(float(self.unix(rows)[0]), cut(HOUR, HISTORY), cut(1, RECENT), np.repeat(self.limit, len(rows)))

    def later(self, rows: Ints, hours: Sequence[int]) -> Floats:
        """(N, K, hours): used share so many hours after the instants, of an entity that nobody cleans after it is full;
        NaN where it is not known."""
        at = rows[:, None] + np.array(hours) * HOUR
        inside = at < self.used.shape[1]
        used = np.where(inside, self.used[:, np.where(inside, at, 0)], np.nan)
        full = self.full_in(rows)[..., None] <= np.array(hours)
        return np.where(full, np.maximum(used, self.limit[:, None, None]), used)

    @cached_property
    def full(self) -> Bools:
        """(N, T): at the limit."""
        return self.used >= self.limit[:, None]

    def full_in(self, rows: Ints) -> npt.NDArray[np.float64]:
        """(N, K): hours from the instants until it is full, inf where it is not until the end."""
        steps = np.arange(self.used.shape[1], dtype=np.float64)
        first = np.where(self.full, steps, np.inf)
        following = np.minimum.accumulate(first[:, ::-1], axis=1)[:, ::-1]
        hours: npt.NDArray[np.float64] = (following[:, rows + 1] - rows) / HOUR
        return hours


def simulated(servers: Sequence[str], profiles: Sequence[str], seed: int, start: float, hours: int) -> Courses:
    """Courses of the simulator's mounts, ``hours`` after four weeks of history."""
    mounts = Mounts(servers, profiles, seed)
    used, size = mounts.course(start, HISTORY + hours, minutes=5)
    share: Any = used / size
    return Courses(start, share.astype(np.float32), (size / size[:, :1]).astype(np.float32),
                   np.ones(len(share), np.float32), mounts.entities, mounts.patterns, mounts)
