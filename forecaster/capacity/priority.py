"""The priority of what fills up: by the chance of full within a window, each only from a used share on.

    P1  full within 4 hours      P2  within 24 hours      P3  within 7 days

What is full now has no priority: it is no prediction. The guards were chosen on simulated mounts of seeds that are not
evaluated (docs/accuracy.md): P2 and P3 with a precision of about 0.9, P3 with every fill noticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecaster.capacity.forecast import WINDOWS
from forecaster.capacity.past import Floats


@dataclass(frozen=True)
class Guard:
    """What a priority needs."""

    window: str  # of forecast.WINDOWS
    chance: float  # of full within it, at least
    used: float  # used share of the limit, at least


GUARDS: Mapping[str, Guard] = {
    "P1": Guard("4h", 0.8, 0.5), "P2": Guard("24h", 0.75, 0.85), "P3": Guard("7d", 0.85, 0.9),
}


def priority(
    used: Floats, chance: Floats, limit: Floats, guards: Mapping[str, Guard] = GUARDS
) -> NDArray[np.int8]:
    """Position in ``guards`` of the highest priority of each entity, from 1 on; 0: none. (N,) of the used share now
    (N,), chances (N, 4) within WINDOWS, and limit (N,)."""
    ranks = np.zeros(len(used), np.int8)
    for rank, guard in reversed([*enumerate(guards.values(), 1)]):
        ranks[(chance[:, WINDOWS.index(guard.window)] >= guard.chance) & (used >= guard.used * limit)] = rank
    ranks[~(used < limit)] = 0
    return ranks
