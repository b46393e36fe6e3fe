"""What is known of entities: used shares of a limit, hourly for four weeks and every 5 minutes for six hours.

Letters: N entities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HOUR = 3600
HOURS = 672  # of history
RECENT, RECENT_STEP = 72, 300  # steps of 5 minutes, in s

Floats = NDArray[np.float32]
Wide = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Past:
    """Used shares of N entities, of their size of today: a reader undoes a resize. NaN where unknown."""

    instant: float  # Unix seconds, a multiple of 300
    hourly: Floats  # (N, HOURS) at whole hours; the last column is floor(instant / HOUR) * HOUR
    recent: Floats  # (N, RECENT) every 5 minutes; the last column is instant
    limit: Floats  # (N,) used share that counts as full

    def __post_init__(self) -> None:
        rows = len(self.limit)
        found = self.hourly.shape, self.recent.shape, self.limit.shape
        if found != ((rows, HOURS), (rows, RECENT), (rows,)):
            raise ValueError(f"shapes {found}, expected ({rows}, {HOURS}), ({rows}, {RECENT}), ({rows},)")

    def rows(self, chosen: slice) -> Past:
        """That of some entities."""
        return Past(self.instant, self.hourly[chosen], self.recent[chosen], self.limit[chosen])
