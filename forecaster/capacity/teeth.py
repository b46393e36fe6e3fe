"""Saw teeth: what a log rotation or a clean-up deletes again and again, by the clock or from a level on.

Letters: N entities, T hours of history, H hours of the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from forecaster.capacity.growth import DAY, RARE, STEP, without
from forecaster.capacity.past import Bools, Floats, Ints, Wide

HORIZON = 336  # hours
KNOTS = np.array([1, 2, 4, 8, 12, 18, 24, 48, 72, 120, 168, 240, 336])  # hours
FAN_LEVELS = (0.04, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.96)  # percentiles of growth that make a fan
WEEK = 7 * DAY
FLOOR = 2e-4  # least spread of a used share
LARGE = 0.5  # times the usual fall, by which a clean-up lands lower
FALL, FALLS_OF_NOISE = 0.004, 6.0  # smallest fall of a clean-up: used share, and times the typical hour
PERIODS = (6, 8, 12, 24, 48, 72, 168)  # hours between falls by the clock
REGULAR = 0.6  # share of the falls that had one a period before
NEVER = 1e4  # hours

ahead = np.arange(1, HORIZON + 1, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Teeth:
    """Courses (N, H) relative to now, and traits (N, 15)."""

    rises: Floats  # without any fall
    speed: Floats  # at the rate since the last fall
    by_level: Floats  # falls from the level at which it usually fell
    rising: Floats  # the same, on a floor that goes on rising
    by_clock: Floats  # falls as long after the last fall as that came after the falls before it
    growths: Floats  # (3, N, K): p10, p50, p90 of the growth within each of KNOTS, without falls; p50 is that of rises
    fan: Floats  # (3, N, K): of the level that it is at, if it falls from a level on
    clock_fan: Floats  # (2, N, K): p10, p90, if it falls by the clock
    traits: Floats


def teeth(z: Floats, moves: Floats, steps: Bools, noise: Floats, first: Ints) -> Teeth:
    """Those of hourly shares z (N, T), of which column ``first`` (N,) is the first known; steps: rare moves."""
    rows, t = len(z), z.shape[1] - 1
    now, each = z[:, -1], np.arange(rows)
    falls = moves < -np.maximum(FALL, FALLS_OF_NOISE * noise)[:, None]
    count, late = falls.sum(1), falls[:, -WEEK:].sum(1)
    some = count > 0
    # clean-ups and steps move the level that others fall to
    often, large, moved = count > RARE, np.zeros_like(falls), np.where(steps & (moves > 0), moves, 0)
    large[often], lower = _clean_ups(z[often], moves[often], falls[often])
    moved[often] = np.where(large[often], lower, moved[often])
    level = without(z, moved)
    since = np.where(some, falls[:, ::-1].argmax(1), t)
    after = z[each, np.maximum(t - since, 0)]

    quiet = falls | steps
    calm = ~quiet[:, -WEEK:]
    climb = np.where(calm, moves[:, -WEEK:], 0).sum(1) / np.maximum(calm.sum(1), 1)
    climb = climb * np.clip(WEEK / np.maximum(t - first, 1), 1, WEEK)
    y = without(z, np.where(quiet, moves - climb[:, None], 0))
    rises = np.where((t - first >= 2 * WEEK)[:, None], repeated(mean_moves(y, first, WEEK, 3, climb)),
                     repeated(mean_moves(y, first, DAY, 7, climb)))
    back = np.where(since >= 3, (now - after) / np.maximum(since, 1), climb)

    best, period, regular = np.zeros(rows), np.zeros(rows, np.int64), falls.copy()
    several = count > 1
    best[several], period[several], regular[several] = _by_clock(falls[several])
    clocked = best >= REGULAR
    half = np.where(clocked, 4 * period, WEEK).astype(np.float32)
    weight = (regular & ~large) * np.exp2(-np.arange(t, dtype=np.float32)[::-1] / half[:, None])
    total = np.maximum(weight.sum(1), 1e-9)
    ceiling = np.where(some, _summed(weight, z[:, :-1]) / total + 0.5 * np.maximum(climb, 0), now)
    age = np.arange(t, dtype=np.float32)[::-1]  # hours since it fell
    mean_age, low = weight @ age / total, _summed(weight, level[:, 1:]) / total
    apart = age - mean_age[:, None]
    weight *= apart
    drift = -_summed(weight, level[:, 1:]) / (_summed(weight, apart) + total * (0.1 * half) ** 2)
    floor = np.where(some, low + drift * (mean_age - since), now)
    height = np.maximum(ceiling - floor, FLOOR)
    above = now - floor
    by_level = np.where(some[:, None], _beyond(above[:, None] + rises, height[:, None]) - above[:, None], rises)

    seen = np.minimum(count, 1 + falls[:, -2 * WEEK:].sum(1))
    oldest = falls & (np.cumsum(falls[:, ::-1], 1, np.int32)[:, ::-1] <= seen[:, None])
    between = np.where(count > 1, (t - 1 - since - oldest.argmax(1)) / np.maximum(seen - 1, 1), NEVER)
    gap = np.where(clocked, period, np.clip(np.rint(between), 2, NEVER)).astype(np.float32)
    passed = np.where(clocked, regular[:, ::-1].argmax(1) % np.maximum(period, 1), since)
    times = np.floor((passed[:, None] + ahead) / gap[:, None])
    fell = np.clip(times * gap[:, None] - passed[:, None], 1, HORIZON).astype(np.int64)
    landed = drift[:, None] * (since[:, None] + fell) - above[:, None]
    by_clock = np.where(times > 0, landed + rises - np.take_along_axis(rises, fell - 1, 1), rises)

    growths, counted = own_moves(y, first)
    growths = np.where(counted, growths, climb[:, None] * KNOTS).astype(np.float32)
    growths += rises[:, KNOTS - 1] - growths[1]  # as wide as on all days, around what grows on such a day
    drifts = drift[:, None] * KNOTS
    points = np.stack([_point(growths, level) for level in FAN_LEVELS])
    room = np.maximum(height[:, None] - drifts, 0.2 * height[:, None])  # below a ceiling that stays
    places = _beyond(above[:, None] + np.maximum(points - drifts, 0), room) - above[:, None] + drifts
    places = np.where(some[:, None], places, points)
    places.sort(0)
    fan = np.stack([places[1], places[len(FAN_LEVELS) // 2], places[-2]])
    left = KNOTS - np.where(times[:, KNOTS - 1] > 0, fell[:, KNOTS - 1], 0)
    width = (growths[::2] - growths[1]) * np.sqrt(np.maximum(left, 0) / KNOTS)
    clock_fan = by_clock[:, KNOTS - 1] + width
    traits = np.stack([
        np.log1p(since), np.log1p(count), np.log1p(late), np.log(height), np.clip(above / height, -1, 2),
        np.log(np.clip(height / np.maximum(climb, 1e-7), 1, NEVER)), ceiling, floor, np.log(gap),
        np.arcsinh(gap - passed), np.arcsinh(1e4 * drift), np.arcsinh(1e3 * climb), np.arcsinh(1e3 * back),
        np.clip((now - after) / height, -1, 2), best], 1)
    return Teeth(rises, back[:, None] * ahead, by_level, by_level + drift[:, None] * ahead, by_clock, growths, fan,
                 clock_fan, traits)


def _clean_ups(z: Floats, moves: Floats, falls: Bools) -> tuple[Bools, Floats]:
    """(which falls (N, T - 1) are clean-ups, which land far below the fall before; how much lower each moved it). Of
    rows with falls."""
    count = falls.sum(1)
    usual = np.sort(np.where(falls, -moves, np.inf), 1)[np.arange(len(z)), (count - 1) // 2]
    at = np.maximum.accumulate(np.where(falls, np.arange(falls.shape[1], dtype=np.int32), -1), 1)
    lower = np.zeros_like(moves)
    lower[:, 1:] = z[:, 2:] - np.take_along_axis(z, np.maximum(at[:, :-1], 0) + 1, 1)
    large = falls & (lower < -np.maximum(STEP, LARGE * usual)[:, None])
    large[:, 1:] &= at[:, :-1] >= 0
    large &= (large.sum(1) < RARE)[:, None]
    return large, lower


def _by_clock(falls: Bools) -> tuple[Wide, Ints, Bools]:
    """(largest share of the falls (N, T) that came a period after another one (N,), that period in hours (N,), the
    falls that did, or all if these are not most)."""
    best, period, regular = np.zeros(len(falls)), np.zeros(len(falls), np.int64), falls
    for each in PERIODS:
        again = falls[:, each:] & falls[:, :-each]
        share = again.sum(1) / np.maximum(falls[:, each:].sum(1), 1)
        better = share > best + 0.05
        best, period = np.where(better, share, best), np.where(better, each, period)
        partner = np.zeros_like(falls)
        partner[:, each:] = again
        partner[:, :-each] |= again
        regular = np.where((better & (share >= REGULAR))[:, None], partner, regular)
    return best, period, regular


def _summed(values: Floats, times: Floats) -> Floats:
    """(N,): sums of products (N, T)."""
    made: Floats = np.einsum("nt,nt->n", values, times)
    return made


def _beyond(level: Floats, height: Floats) -> Floats:
    """What is left of levels above whole heights; np.mod takes 15 times as long."""
    made: Floats = level - height * np.floor(level / height)
    return made


def _point(growths: Floats, level: float) -> Floats:
    """(N, K): a percentile of growths, from p10, p50 and p90 of them (3, N, K), as of a normal distribution."""
    times = NormalDist().inv_cdf(level) / NormalDist().inv_cdf(0.9)
    side = growths[2] - growths[1] if level > 0.5 else growths[1] - growths[0]
    made: Floats = growths[1] + np.float32(times) * side
    return made


def own_moves(z: Floats, first: Ints) -> tuple[Floats, Bools]:
    """(p10, p50, p90 of the moves within each of KNOTS from the same hour of the days before (3, N, K), known)."""
    t, rows = z.shape[1] - 1, len(z)
    made, counted = np.zeros((3, rows, len(KNOTS)), np.float32), np.zeros((rows, len(KNOTS)), bool)
    levels = np.array([[0.1], [0.5], [0.9]])
    for k, hours in enumerate(KNOTS):
        starts = t - DAY * np.arange(-(-hours // DAY), 28)
        starts = starts[starts >= 0]
        inside = first[:, None] <= starts
        moves = np.where(inside, z[:, starts + hours] - z[:, starts], 1e9)
        moves.sort(1)
        number = inside.sum(1)
        at = np.round(levels * np.maximum(number - 1, 0)).astype(int)
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
