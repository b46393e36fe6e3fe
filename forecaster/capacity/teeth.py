"""Saw teeth: the courses of what a log rotation or a clean-up deletes again and again, and of growth without that.

Letters: N entities, T hours of history, H hours of the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecaster.capacity.draws import PERCENTILES, Drawn, Falling, drawn
from forecaster.capacity.falls import NEVER, OFTEN, SMALL, by_clock, latest_of
from forecaster.capacity.growth import DAY, WEEK, without
from forecaster.capacity.past import Bools, Floats, Ints

HORIZON = 336  # hours
KNOTS = np.array([1, 2, 4, 8, 12, 18, 24, 48, 72, 120, 168, 240, 336])  # hours
FLOOR = 2e-4  # least spread of a used share
FALL, FALLS_OF_NOISE = 0.004, 6.0  # smallest fall of a clean-up: used share, and times the typical hour
ALIKE = 0.01  # mean distance, in usual falls, of levels that are one

ahead = np.arange(1, HORIZON + 1, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Teeth:
    """Courses (N, H) relative to now, and traits (N, 21)."""

    rises: Floats  # as usual, without any fall
    speed: Floats  # at the rate since the last fall
    since: Floats  # (N,) hours since the last fall; all there are without any
    draws: Drawn
    traits: Floats


def teeth(z: Floats, moves: Floats, steps: Bools, noise: Floats, first: Ints, limit: Floats) -> Teeth:
    """Those of hourly shares z (N, T), of which column ``first`` (N,) is the first known; steps: rare moves."""
    t, now = z.shape[1] - 1, z[:, -1]
    falls = moves < -np.maximum(FALL, FALLS_OF_NOISE * noise)[:, None]
    count, late, some = falls.sum(1), falls[:, -WEEK:].sum(1), falls.any(1)
    quiet = falls | steps
    calm = ~quiet[:, -WEEK:]
    climb = np.where(calm, moves[:, -WEEK:], 0).sum(1) / np.maximum(calm.sum(1), 1)
    climb = (climb * np.clip(WEEK / np.maximum(t - first, 1), 1, WEEK)).astype(np.float32)
    y = without(z, np.where(quiet, moves - climb[:, None], 0))
    rises = np.where((t - first >= 2 * WEEK)[:, None], repeated(mean_moves(y, first, WEEK, 3, climb)),
                     repeated(mean_moves(y, first, DAY, 7, climb)))
    restored = np.where(steps & (moves > 0), moves, 0)
    latest = latest_of(z, falls, restored, limit)
    since = np.where(some, latest.age[:, 0], t)
    back = np.where(since >= 3, (now - latest.landed[:, 0]) / np.maximum(since, 1), climb)
    drift, agreed = latest.drift()
    floor, scattered = latest.floor(drift)
    ceiling, uneven = latest.ceiling()
    best, period, passed, often = by_clock(falls)
    clocked = (best > 0) & ((often >= OFTEN) | (uneven > ALIKE))  # a few from one level may be so by chance
    due = clocked & ((passed + ahead.astype(np.int64)[:, None]) % period == 0)

    floor = np.where(some, floor, now)
    above = some & ~clocked & (now >= ceiling + 3 * np.maximum(climb, 0) + 3 * noise)
    reached = np.where(above, ceiling, np.maximum(ceiling, now + SMALL))
    parts = np.where(clocked | ~some, np.inf, reached), np.where(above, now, floor), np.where(above, back, drift)
    at, to, by = (part.astype(np.float32) for part in parts)
    falling = Falling(at, to, by, latest.usable.sum(1) > 1, due)
    gap, unlike = latest.gap()
    ceiling = np.where(np.isfinite(ceiling), ceiling, now)
    height = np.maximum(ceiling - floor, FLOOR)
    traits = np.stack([
        np.log1p(since), np.log1p(count), np.log1p(late), np.log(height), np.clip((now - floor) / height, -1, 2),
        np.log(np.clip(height / np.maximum(climb, 1e-7), 1, NEVER)), ceiling, floor, np.log(gap),
        np.arcsinh(np.where(clocked, period - passed, gap - since)), np.arcsinh(1e4 * drift), np.arcsinh(1e3 * climb),
        np.arcsinh(1e3 * back), np.clip((now - np.where(some, latest.landed[:, 0], now)) / height, -1, 2), best,
        agreed, scattered, uneven, unlike, latest.usable.sum(1), above], 1)
    usual = np.diff(rises, axis=1, prepend=np.float32(0))
    draws = drawn(now, np.diff(y, axis=1), usual, first, some, falling, KNOTS)
    return Teeth(rises, back[:, None] * ahead, since, draws, traits)


def own_moves(z: Floats, first: Ints) -> tuple[Floats, Bools]:
    """(p10, p50, p90 of the moves within each of KNOTS from the same hour of the days before (3, N, K), known)."""
    t, rows = z.shape[1] - 1, len(z)
    made, counted = np.zeros((3, rows, len(KNOTS)), np.float32), np.zeros((rows, len(KNOTS)), bool)
    for k, hours in enumerate(KNOTS):
        starts = t - DAY * np.arange(-(-hours // DAY), 28)
        starts = starts[starts >= 0]
        inside = first[:, None] <= starts
        moves = np.where(inside, z[:, starts + hours] - z[:, starts], 1e9)
        moves.sort(1)
        number = inside.sum(1)
        at = np.round(PERCENTILES[:, None] * np.maximum(number - 1, 0)).astype(int)
        made[:, :, k] = moves[np.arange(rows), at]
        counted[:, k] = number >= 4
    return made, counted


def mean_moves(z: Floats, first: Ints, cycle: int, cycles: int, otherwise: Floats) -> Floats:
    """(N, cycle): the mean move from the same hour of each of the last cycles on, or a line before there is one."""
    t, rows = z.shape[1] - 1, len(z)
    total, number = np.zeros((rows, cycle), np.float32), np.zeros((rows, 1), np.float32)
    for back in range(1, cycles + 1):
        start = t - back * cycle
        reached = (first <= start)[:, None]
        total += np.where(reached, z[:, start + 1:start + cycle + 1] - z[:, start:start + 1], 0)
        number += reached
    made: Floats = np.where(number > 0, total / np.maximum(number, 1), otherwise[:, None] * ahead[:cycle])
    return made


def repeated(cycle: Floats) -> Floats:
    """(N, H): this move again and again."""
    rows, length = cycle.shape
    times = np.arange(HORIZON // length, dtype=np.float32)
    made: Floats = (cycle[:, None] + cycle[:, None, -1:] * times[:, None]).reshape(rows, HORIZON)
    return made
