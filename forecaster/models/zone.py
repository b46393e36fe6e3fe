"""The clock of a time zone: its offset from UTC, and where that changes within what a model reads."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

QUARTER = 900.0  # seconds: clocks change at a quarter of an hour, at half past in zones that lie between two hours
DAY = 86400.0


def offsets(timezone: str, instants: np.ndarray) -> NDArray[np.float64]:
    """Seconds east of UTC at instants of any shape, Unix seconds."""
    if timezone == "UTC":
        return np.zeros(np.shape(instants))
    zone = ZoneInfo(timezone)
    quarters, place = np.unique(np.floor(instants / QUARTER).astype(np.int64), return_inverse=True)
    local = [datetime.fromtimestamp(quarter * QUARTER, zone).utcoffset() for quarter in quarters.tolist()]
    east = np.array([0.0 if offset is None else offset.total_seconds() for offset in local])
    return east[place].reshape(np.shape(instants))


def changes(timezone: str, instants: np.ndarray, steps: np.ndarray, step: float) -> NDArray[np.int64] | None:
    """Offsets in whole steps, int64 (B, steps), at each of ``steps`` of ``step`` seconds from instants (B,), or (1,
    steps) where all instants are the same; None where no row's clock changes from the first to the last. At most one
    change a day is expected."""
    present, place = np.unique(instants, return_inverse=True)
    daily = np.append(np.arange(steps[0] * step, steps[-1] * step, DAY), steps[-1] * step)
    seen = offsets(timezone, present[:, None] + daily)
    if (seen == seen[:, :1]).all():
        return None
    made = np.rint(offsets(timezone, present[:, None] + steps * step) / step).astype(np.int64)
    return made if len(made) == 1 else made[place]
