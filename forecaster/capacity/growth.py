"""The statistics of a course that people read: growth now and before, when it changed, the largest step of a day.

Letters: N entities, T hours of history.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecaster.capacity.past import HOUR, HOURS, RECENT_STEP, Bools, Floats, Past, Wide

DAY, WEEK = 24, 168  # hours
STRIDE = 3  # hours between times at which a change of growth is looked for
LEAST = 12  # hours on both sides of a change
RARE = 3  # steps of one sign in the history, from which on they are part of the course (log rotation)
STEP, STEPS_OF_NOISE = 0.02, 10.0  # smallest step: used share, and times the typical hour
BETTER = 4.0  # by how much two lines must fit better than one, in variances per line
SMALL = 1e-5


@dataclass(frozen=True, eq=False)
class Growth:
    """Shares a day, and Unix seconds; (N,) each."""

    now: Wide
    before: Wide  # until ``changed``; NaN where it has not changed
    changed: Wide
    step: Wide  # largest rise of the last 24 h within an hour, or in the present one
    stepped: Wide  # when; NaN without any
    level: Wide  # of the line at the last hour, relative to the value there


def carried(values: Floats) -> tuple[Floats, Bools]:
    """(the same without gaps: the latest known before, the first known at the beginning; whether each is known). Rows
    without any are 0."""
    known = np.isfinite(values)
    if known.all():  # the usual case
        return values, known
    these = shared(known)
    at = np.where(these, np.arange(values.shape[1]), 0)
    at = np.maximum.accumulate(at, 1)
    at = np.where(at == 0, these.argmax(1)[:, None], at)
    filled: Floats = np.take_along_axis(values, at, 1)
    filled[~known.any(1)] = 0
    return filled, known


def shared(known: Bools) -> Bools:
    """The first (1, T) of rows (N, T) that are all alike, as they usually are, so that what depends on nothing else is
    worked out once; else all."""
    return known[:1] if (known == known[:1]).all() else known


def typical(moves: Floats) -> Floats:
    """(N,) the median size of moves (N, T)."""
    middle = moves.shape[1] // 2
    made: Floats = np.partition(np.abs(moves), middle, 1)[:, middle]
    return made


def rare_steps(moves: Floats, noise: Floats) -> Bools:
    """Which hourly moves (N, T) are steps that are no part of the course: a restore, a clean-up by hand."""
    large = np.abs(moves) > np.maximum(STEP, STEPS_OF_NOISE * noise[:, None])
    rises, falls = large & (moves > 0), large & (moves < 0)
    rare: Bools = (rises & (rises.sum(1) < RARE)[:, None]) | (falls & (falls.sum(1) < RARE)[:, None])
    return rare


def without(values: Floats, moves: Floats) -> Floats:
    """A copy of values (N, T) less these of their moves (N, T - 1), 0 for those that stay; the last value stays."""
    made = values.copy()
    some = moves.any(1)  # many have none, and sums take long
    made[some, :-1] += np.cumsum(moves[some, ::-1], 1)[:, ::-1]
    return made


def growth(past: Past) -> Growth:
    """Of each entity; one with less than a day of history has its mean rate."""
    filled, known = carried(past.hourly)
    known, hours = shared(known), filled.shape[1]
    first = np.where(known.any(1), known.argmax(1), hours - 1)
    moves = np.diff(filled, axis=1)
    noise = typical(moves[:, -7 * DAY:])
    steps = rare_steps(moves, noise)
    y = without(filled, np.where(steps, moves, 0)).astype(np.float64)
    y -= y[:, :1]  # 0 up to the first known hour
    x = np.arange(hours, dtype=np.float64)
    # of stretches from the first known hour on; whole strides, as LEAST and HOURS are
    ends = np.append(np.arange(LEAST, hours - LEAST, STRIDE), hours)

    def constant(values: Wide) -> Wide:
        total = np.append(0, np.cumsum(values))
        made: Wide = np.maximum(total[ends] - total[first][:, None], 0)
        return made

    def summed(values: Wide) -> Wide:
        each = sum(values[:, k::STRIDE] for k in range(STRIDE))
        made: Wide = np.cumsum(each, 1)[:, ends // STRIDE - 1]
        return made

    sums = [constant(np.ones_like(x)), constant(x), summed(y), constant(x * x), summed(x * y), summed(y * y)]
    whole_slope, whole_rest, whole_end, length = _line(*(s[:, -1:] for s in sums))
    slope, rest, _, count = _line(*(s[:, :-1] for s in sums))
    slope_after, rest_after, end_after, _ = _line(*(s[:, -1:] - s[:, :-1] for s in sums))
    both = np.where(count >= LEAST, rest + rest_after, 1e9)
    best = both.argmin(1)[:, None]
    took = np.take_along_axis
    variance = took(both, best, 1) / np.maximum(length - 4, 1) + SMALL**2
    # neighbouring hours are alike: a day counts as few independent readings
    gain = (whole_rest - took(both, best, 1)) / np.maximum(variance, 1e-12) / DAY
    now, before = took(slope_after, best, 1), took(slope, best, 1)
    changed = (gain > BETTER) & (np.abs(now - before) > np.maximum(SMALL, 0.25 * np.abs(before)))
    last_hour = np.floor(past.instant / HOUR) * HOUR
    when = last_hour - (hours - 1 - ends[best]) * HOUR
    day = np.where(known[:, -DAY:] & known[:, -DAY - 1:-1], moves[:, -DAY:], 0)
    largest, where = np.maximum(day.max(1), 0).astype(np.float64), day.argmax(1)
    stepped = np.where(largest > 0, last_hour - (DAY - 1 - where) * HOUR, np.nan)
    rise = _present(past)
    stepped = np.where(rise > largest, past.instant, stepped)
    rate = np.where(changed, now, whole_slope)[:, 0] * DAY
    nothing = np.nan
    return Growth(
        now=rate, before=np.where(changed, before * DAY, nothing)[:, 0], changed=np.where(changed, when, nothing)[:, 0],
        step=np.maximum(largest, rise), stepped=stepped,
        level=np.where(changed, took(end_after, best, 1), whole_end)[:, 0] - y[:, -1])


def _present(past: Past) -> Wide:
    """(N,) the rise since the last whole hour, 0 where it is not known."""
    steps = round(past.instant % HOUR / RECENT_STEP)
    if not steps:
        return np.zeros(len(past.limit))
    now, _ = carried(past.recent[:, -steps:])
    found: Wide = np.nan_to_num(now[:, -1].astype(np.float64) - past.hourly[:, -1])
    return found


def _line(n: Wide, x: Wide, y: Wide, xx: Wide, xy: Wide, yy: Wide) -> tuple[Wide, Wide, Wide, Wide]:
    """(slope, sum of squared residuals, value at the last hour, n) of the least-squares lines of these sums."""
    m = np.maximum(n, 1)
    middle, mean = x / m, y / m
    sxx, sxy, syy = xx - x * middle, xy - y * middle, yy - y * mean
    slope = np.where(n > 1, sxy / np.maximum(sxx, 1e-9), 0)
    return slope, np.maximum(syy - slope * sxy, 0), mean + slope * (HOURS - 1 - middle), n
