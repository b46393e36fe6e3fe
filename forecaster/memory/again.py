"""When columns that lack values are asked for again: at once, then after pauses that double."""

import numpy as np
import numpy.typing as npt

from forecaster.memory.ring import Columns, Flags

FIRST = 60.0  # s, the pause after the first time
LONGEST_UNREAD = 960.0  # s, where the source failed: it may be back at any time


class Again:
    """For a ring of `length` columns: which were asked for, and from when on they may be again.

    What a store did not have may arrive late, as when remote write catches up. As the pauses double, what never arrives
    is asked for a few times only: 8 times in two hours, 14 times in a week.
    """

    def __init__(self, length: int):
        self._columns = np.full(length, np.iinfo(np.int64).min, np.int64)
        self._due: npt.NDArray[np.float64] = np.zeros(length)  # Unix s
        self._pause: npt.NDArray[np.float64] = np.zeros(length)  # s

    def due(self, columns: Columns, now: float) -> Flags:
        """bool (N,): whether each column may be asked for at `now`, Unix seconds."""
        slots = columns % len(self._columns)
        waits = self._due[slots] - now
        due: Flags = (self._columns[slots] != columns) | (waits <= 0) | (waits > self._pause[slots])  # a clock set back
        return due

    def asked(self, columns: Columns, read: Flags, now: float) -> None:
        """These columns were asked for at `now`; `read` (N,) where the source answered."""
        slots = columns % len(self._columns)
        pause = np.where(self._columns[slots] == columns, 2 * self._pause[slots], FIRST)
        self._columns[slots], self._pause[slots] = columns, np.where(read, pause, np.minimum(pause, LONGEST_UNREAD))
        self._due[slots] = now + self._pause[slots]
