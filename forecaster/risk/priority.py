"""The priority of a server: P1, P2 or P3."""

import numpy as np

from forecaster.risk.known import named
from forecaster.risk.thresholds import Priorities

PRIORITIES = ("P1", "P2", "P3")


def priorities(score: np.ndarray, limits: Priorities) -> tuple[str | None, ...]:
    """S priorities of scores float64 (S,); None where the score is NaN."""
    ranked = np.where(score >= limits.p1, 0, np.where(score >= limits.p2, 1, 2))
    return named(PRIORITIES, np.where(np.isnan(score), -1, ranked))
