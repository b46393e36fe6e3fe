"""Courses that repeat, to learn from: files that are rotated, and jobs that come and go, as nightly backups.

Both come at times that are the same or nearly so, with heights that are the same or nearly so, on a level that may
move; one of daily jobs may rest at weekends. The simulator's own are rougher.

Letters: N entities, T instants, K turns.
"""

from __future__ import annotations

import numpy as np

from forecaster.capacity.growth import WEEK
from forecaster.capacity.past import HOURS, RECENT, Floats, Past
from forecaster.capacity.teeth import HORIZON
from forecaster.training.mounts import START, Example, chosen, spread

PERIODS = (6, 8, 12, 24, 24, 24, 48, 72, 168, 168)  # hours
SHORTEST, LONGEST = 3, 300  # hours of a turn by no clock
TURNS = 2 * (HOURS + HORIZON) // SHORTEST
VARIED = (0, 0, 0.01, 0.05, 0.3)  # of the lengths, and of the heights: standard deviation of their logarithms
WEEKEND = 120  # hours of a week before it


def rhythms(rng: np.random.Generator, n: int) -> Example:
    """What n of them did and will do."""
    at = np.concatenate([np.arange(-HOURS + 1, HORIZON + 1), np.arange(-RECENT + 1, 1) / 12])
    y = _turns(rng, n, at) + chosen(rng, n, 0.3) * _turns(rng, n, at)
    y *= np.minimum(1, 1 / y.max(1, keepdims=True).clip(0.1))
    y += rng.random((n, 1)) * (1 - y.max(1, keepdims=True))
    y += chosen(rng, n, 0.5) * spread(rng, n, 1e-6, 1e-3) * rng.choice([1, 1, -1], (n, 1)) * at
    y += chosen(rng, n, 0.7) * spread(rng, n, 1e-5, 5e-3) * rng.standard_normal(y.shape)
    y = np.clip(y, 0, 1).astype(np.float32)
    y[:, -1] = y[:, HOURS - 1]
    instant = float(START + int(rng.integers(0, 5000)) * 3600)
    hourly, later, recent = np.split(y, [HOURS, HOURS + HORIZON], 1)
    return Past(instant, hourly, recent, np.ones(n, np.float32)), later[:, None]


def _turns(rng: np.random.Generator, n: int, at: Floats) -> Floats:
    """(N, T): files that grow and are rotated, or jobs that come and go, of one period each."""
    clocked = chosen(rng, n, 0.7) > 0
    period = np.where(clocked, rng.choice(PERIODS, (n, 1)), spread(rng, n, SHORTEST, LONGEST))
    length = period * np.exp(rng.choice(VARIED, (n, 1)) * rng.standard_normal((n, TURNS)))
    begin = np.cumsum(length, 1) - length - period * rng.random((n, 1)) - HOURS
    turn = np.stack([np.searchsorted(row, at, "right") - 1 for row in begin]).clip(0, TURNS - 1)
    since = at - np.take_along_axis(begin, turn, 1)
    height = spread(rng, n, 0.005, 0.6) * np.exp(rng.choice(VARIED, (n, 1)) * rng.standard_normal((n, TURNS)))
    height *= rng.random((n, TURNS)) >= rng.choice([0, 0, 0.03, 0.1], (n, 1))  # a turn that is left out
    rests = (begin + rng.integers(0, WEEK, (n, 1))) % WEEK >= WEEKEND
    height = np.where(rests & (chosen(rng, n, 0.2) > 0) & (period == 24), 0, height)
    tall = np.take_along_axis(height, turn, 1)
    lasts = rng.uniform(0.05, 0.5, (n, 1)) * period
    job = np.clip(since / (lasts * rng.uniform(0.1, 1, (n, 1))), 0, 1) * (since < lasts)
    made: Floats = np.where(chosen(rng, n, 0.6) > 0, since / np.take_along_axis(length, turn, 1), job) * tall
    return made
