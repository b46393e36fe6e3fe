"""Pasts of entities for tests, cut from courses given by the hour."""

from collections.abc import Callable

import numpy as np

from forecaster.capacity.past import HOUR, HOURS, RECENT, Past

NOW = 1_760_000_400 // HOUR * HOUR + 0.0  # a whole hour
MONDAY = 96  # hour 0 of Unix time was on a Thursday


def past_of(*courses: Callable[[np.ndarray], np.ndarray], instant: float = NOW, limit: float = 1.0,
            hours: float = HOURS) -> Past:
    """That of courses of the hours since the instant (negative before), of which the last ``hours`` are known."""
    last = instant // HOUR * HOUR
    hourly = (last - instant) / HOUR + np.arange(-HOURS + 1, 1)
    recent = np.arange(-RECENT + 1, 1) / 12

    def known(at: np.ndarray) -> np.ndarray:
        rows = np.stack([np.broadcast_to(course(at), at.shape) for course in courses])
        return np.where(at >= -hours, rows, np.nan).astype(np.float32)

    return Past(instant, known(hourly), known(recent), np.full(len(courses), limit, np.float32))


def noise(seed: int, size: float) -> Callable[[np.ndarray], np.ndarray]:
    """Small independent numbers by hour."""
    return lambda at: size * np.random.default_rng(seed).standard_normal(at.shape)
