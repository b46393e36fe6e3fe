"""The used share of each entity for 14 days: percentiles, when each is full, and the chances of full.

A percentile's curve is that of an entity that nobody cleans after it is full: from there on it stays full
(``until_full`` makes the same of an outcome). Clean-ups before that, by a rotation or by hand, are part of the course.

Letters: N entities, H hours of the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forecaster.capacity.growth import DAY, carried, growth
from forecaster.capacity.past import HOUR, Floats, Past, Wide

HORIZON = 336  # hours
PERCENTILES = (0.1, 0.5, 0.9)
WINDOWS = ("4h", "24h", "7d", "14d")
WINDOW_HOURS = (4, 24, 168, 336)
WEIGHTS = Path(__file__).parent.parent / "artifacts" / "capacity.npz"


@dataclass(frozen=True, eq=False)
class Filling:
    """The forecast of N entities."""

    used: Floats  # (N, HORIZON, 3) p10, p50, p90 of the used share at instant + 1..HORIZON h
    full_at: Wide  # (N, 3) Unix seconds at which the percentile's curve reaches the limit; NaN: not within 14 days
    chance: Floats  # (N, 4) of full at any time within WINDOWS; rising along the windows, coherent with the curves
    growth: Wide  # (N,) share a day, now
    growth_before: Wide  # (N,) share a day, before changed_at; NaN where it has not changed
    changed_at: Wide  # (N,) Unix seconds
    step: Wide  # (N,) largest rise of the last 24 h within an hour (share)
    step_at: Wide  # (N,) Unix seconds; NaN without any


@dataclass(frozen=True, eq=False)
class Weights:
    """What training learned."""

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Weights:
        """Those of a file, the shipped ones by default."""
        return cls()


def until_full(used: Floats, limit: Floats) -> Floats:
    """Courses (..., N, H) that stay at the limit (N,) once they have reached it, as the curves of a forecast do."""
    full = np.logical_or.accumulate(used >= limit[:, None], -1)
    return np.where(full, np.maximum(used, limit[:, None]), used)


def forecast(past: Past, weights: Weights) -> Filling:
    """The forecast of these entities; NaN throughout for one of which nothing is known."""
    grown = growth(past)
    filled, known = carried(past.hourly)
    recent, fresh = carried(past.recent)
    now = np.where(fresh.any(1), recent[:, -1], filled[:, -1]).astype(np.float64)
    hours = np.arange(1, HORIZON + 1)
    middle = now[:, None] + grown.now[:, None] / DAY * hours
    moves = np.diff(filled, axis=1)
    noise = 1e-4 + moves.std(1)[:, None] * np.sqrt(hours) + 0.3 * np.abs(grown.now[:, None]) / DAY * hours
    cap = np.maximum(np.maximum(1, past.limit), filled.max(1)).astype(np.float64)[:, None, None]
    raw = middle[..., None] + noise[..., None] * np.array([-1.28, 0, 1.28])
    used = np.clip(raw, 0, cap).astype(np.float32)
    used[~(known.any(1) | fresh.any(1))] = np.nan
    best = np.max((middle - past.limit[:, None]) / noise, axis=1, keepdims=True)
    margins = np.maximum.accumulate((middle - past.limit[:, None]) / noise, 1)[:, [h - 1 for h in WINDOW_HOURS]]
    chance = np.where(best > -6, 1 / (1 + np.exp(-1.7 * np.clip(margins, -20, 20))), 0).astype(np.float32)
    return Filling(used, full_at(past, now, used), chance, grown.now, grown.before, grown.changed, grown.step,
                   grown.stepped)


def full_at(past: Past, now: Wide, used: Floats) -> Wide:
    """float64 (N, 3): Unix seconds at which each curve (N, H, 3) reaches the limit, between two hours by their line."""
    curve = np.concatenate([np.repeat(now[:, None, None], 3, 2), used], 1)
    reached = curve >= past.limit[:, None, None] - 1e-6
    hour = reached.argmax(1)
    after = np.take_along_axis(curve, hour[:, None], 1)[:, 0]
    before = np.take_along_axis(curve, np.maximum(hour - 1, 0)[:, None], 1)[:, 0]
    part = np.clip((past.limit[:, None] - before) / np.maximum(after - before, 1e-9), 0, 1)
    passed = np.where(hour > 0, hour - 1 + part, 0)
    return np.where(reached.any(1), past.instant + passed * HOUR, np.nan)
