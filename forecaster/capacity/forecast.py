"""The used share of each entity for 14 days: percentiles, when each is full, and the chances of full.

A percentile's curve is that of an entity that nobody cleans after it is full: from there on it stays full
(``until_full`` makes the same of an outcome). Clean-ups before that, by a rotation or by hand, are part of the course.
So a percentile's curve reaches the limit within a window exactly if the chance of full within it is at least the rest:
p50 from 0.5 on, p90 from 0.1, p10 from 0.9. Chances decide, and curves are bent to agree with them; but where p50
reaches the limit within a day, the chance of it is at least 0.5.

An entity that was full for a quarter of the last week is meant to be full: its chances stay below MEANT, unless it is
full now.

Letters: N entities, H hours of the horizon, Q percentiles, W windows.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from forecaster.capacity.courses import Courses, courses, until_full
from forecaster.capacity.growth import DAY, WEEK
from forecaster.capacity.network import (
    MARKS,
    PERCENTILES,
    TO_MARKS,
    WINDOW_HOURS,
    WINDOW_MARKS,
    Weights,
    WeightsError,
)
from forecaster.capacity.past import HOUR, Floats, Past, Wide
from forecaster.capacity.runaway import changed_at, runaway, steady
from forecaster.capacity.teeth import HORIZON

__all__ = ["HORIZON", "PERCENTILES", "WINDOWS", "WINDOW_HOURS", "Filling", "Weights", "WeightsError", "forecast"]

WINDOWS = ("4h", "24h", "7d", "14d")
ROWS, THREADS = 256, 2  # entities at a time
BEYOND = 4.0  # spreads above the highest course, but for the full one, that nothing reaches
NEAR = 1e-3  # used share below the limit where a curve ends that does not reach it
MEANT, OFTEN = 0.4, 0.25


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

    def only(self, rows: NDArray[np.int64]) -> Filling:
        """That of the entities at these rows."""
        return Filling(*(getattr(self, field.name)[rows] for field in fields(self)))


def forecast(past: Past, weights: Weights) -> Filling:
    """The forecast of these entities; NaN throughout for one of which nothing is known."""
    chunks = [past.rows(slice(row, row + ROWS)) for row in range(0, max(len(past.limit), 1), ROWS)]
    # one thread each for the products of matrices: where the cores are busy, the threads of a BLAS wait for each other
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(THREADS) as threads:
        parts = list(threads.map(_of_some, chunks, repeat(weights)))
    return Filling(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _of_some(past: Past, weights: Weights) -> tuple[Floats | Wide, ...]:
    found = courses(past)
    relative = weights.percentiles(found)
    chance = _chances(past, found, relative, weights)
    lines, rises = steady(past), runaway(past)
    relative, chance = lines.median(relative), lines.chances(chance, WINDOW_HOURS, lines.proven)
    relative, chance = rises.curves(relative, PERCENTILES), rises.chances(chance, WINDOW_HOURS)
    room = past.limit - found.now
    cap = np.maximum(np.maximum(1, past.limit), found.highest)[:, None, None]
    curves = _agreeing(relative, room, chance) + found.now[:, None, None]
    used = np.clip(curves, 0, cap).astype(np.float32)
    used = np.swapaxes(until_full(used, past.limit[:, None]), 1, 2)
    when = _full_at(past, found.now, curves)
    grown, unknown, new = found.growth, found.known == 0, found.known <= rises.lasted + 1
    figures = [np.where(rises.on, DAY * rises.rate, grown.now),
               np.where(rises.on, np.where(new, np.nan, grown.now), grown.before),
               np.where(rises.on, np.where(new, np.nan, changed_at(past, rises)), grown.changed),
               grown.step, grown.stepped]
    made: tuple[Floats | Wide, ...] = used, when, chance, *figures
    for one in made:
        one[unknown] = np.nan
    return made


def _chances(past: Past, found: Courses, relative: Floats, weights: Weights) -> Floats:
    """float32 (N, W)."""
    room = past.limit - found.now
    chance = 1 / (1 + np.exp(-np.clip(weights.log_odds(found, room, relative), -30, 30)))
    highest = found.paths[:, :-1, MARKS - 1].max(1) + BEYOND * found.spread @ TO_MARKS
    reached = np.maximum.accumulate(highest, 1)[:, WINDOW_MARKS]
    chance = np.where(reached < room[:, None], 0, chance)
    for window, hours in enumerate(WINDOW_HOURS):
        if hours <= DAY:  # so near, the median is the better witness
            chance[:, window] = np.where(relative[:, 1, :hours].max(1) >= room, np.maximum(chance[:, window], 0.5),
                                         chance[:, window])
    chance = np.maximum.accumulate(chance, 1)
    week = past.hourly[:, -WEEK:]
    meant = (week >= past.limit[:, None] - NEAR).sum(1) >= OFTEN * np.maximum(np.isfinite(week).sum(1), 1)
    chance = np.where(meant[:, None], np.minimum(chance, MEANT), chance)
    return np.where((room <= 0)[:, None], 1, chance).astype(np.float32)


def _agreeing(relative: Floats, room: Floats, chance: Floats) -> Floats:
    """Curves (N, Q, H) that reach ``room`` within a window exactly where the chance is at least 1 - percentile."""
    out = relative.copy()
    room = room[:, None]
    before = 0
    for window, hours in enumerate(WINDOW_HOURS):
        for q, level in enumerate(PERCENTILES):
            curve = out[:, q, :hours]
            reaches = chance[:, window] >= np.float32(1 - level)
            # a ramp to the limit at the window's end, from where the window before has ended
            wanting = reaches & ~(curve >= room).any(1)
            if wanting.any():
                missing = np.where(wanting, room[:, 0] - curve[:, -1] + 1e-6, 0)
                ramp = np.clip((np.arange(1, HORIZON + 1) - before) / (hours - before), 0, 1).astype(np.float32)
                out[:, q] += missing[:, None] * ramp
            under = np.where(reaches | (room[:, 0] <= 0), np.inf, room[:, 0] - NEAR)
            np.minimum(curve, under[:, None], out=curve)
        before = hours
    out = until_full(out, np.where(room > 0, room, np.inf))
    # one that was lifted across the median gives way to it: sorted, it would be the other one, with a date of its own
    out[:, 0], out[:, 2] = np.minimum(out[:, 0], out[:, 1]), np.maximum(out[:, 2], out[:, 1])
    return out


def _full_at(past: Past, now: Floats, used: Floats) -> Wide:
    """float64 (N, Q): Unix seconds at which each curve (N, Q, H) reaches the limit, between two hours by their line."""
    curve = np.concatenate([np.repeat(now[:, None, None], len(PERCENTILES), 1), used], 2)
    reached = curve >= past.limit[:, None, None] - 1e-6
    hour = reached.argmax(2)
    after = np.take_along_axis(curve, hour[:, :, None], 2)[:, :, 0]
    before = np.take_along_axis(curve, np.maximum(hour - 1, 0)[:, :, None], 2)[:, :, 0]
    part = np.clip((past.limit[:, None] - before) / np.maximum(after - before, 1e-9), 0, 1)
    passed = np.where(hour > 0, hour - 1 + part, 0).astype(np.float64)
    return np.where(reached.any(2), past.instant + passed * HOUR, np.nan)
