"""Falls of used shares, by a rotation, a clean-up or by hand: from where, to where, how often, and by which clock.

Letters: N entities, T hours of history.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecaster.capacity.growth import DAY, STEP, WEEK
from forecaster.capacity.past import Bools, Floats, Ints

LATEST, FEW = 8, 4  # falls that are looked at, and whose floor is that of now
LARGE = 0.3  # usual falls, by which one by hand lands lower
PERIODS = (6, 8, 12, 24, 48, 72, 168)  # hours between falls by the clock
TURNS = 16  # periods that are looked at
REGULAR = 0.6  # share of the falls that come at one hour of a period, but for the first
OFTEN = 4  # falls
NEAR = 0.25  # usual falls, by which a ceiling is above the middle one
AGREED = 0.4, 0.7  # how far the signs of slopes agree where a floor may drift, and where it does
SMALL = 1e-3  # used share
NEVER = 1e4  # hours


@dataclass(frozen=True, eq=False)
class Latest:
    """The latest falls, the last one first; (N, LATEST) each."""

    known: Bools
    usable: Bools  # not by hand
    part: Ints  # clean-ups by hand and restores since then
    age: Floats  # hours since it
    before: Floats  # used share that it fell from
    landed: Floats  # used share that it fell to
    usual: Floats  # (N,) height of a fall

    def drift(self) -> tuple[Floats, Floats]:
        """((N,) share an hour by which floors rise: the median slope between two, in so far as they agree; (N,) how
        much they do)."""
        one, other = np.triu_indices(LATEST, 1)
        alike = self.usable[:, one] & self.known[:, other] & (self.part[:, one] == self.part[:, other])
        slopes = (self.landed[:, one] - self.landed[:, other]) / np.maximum(self.age[:, other] - self.age[:, one], 1)
        number = alike.sum(1)
        agreed = np.abs(np.where(alike, np.sign(slopes), 0).sum(1)) / np.maximum(number, 1)
        trusted = np.clip((agreed - AGREED[0]) / (AGREED[1] - AGREED[0]), 0, 1) * np.clip(number / 3, 0, 1)
        return np.nan_to_num(_middle(slopes, alike)) * trusted, agreed

    def floor(self, drift: Floats) -> tuple[Floats, Floats]:
        """(used share (N,) that it would fall to now, how unlike the latest are in heights of a fall (N,))."""
        lately = self.known & (self.part == self.part[:, :1])
        lately[:, FEW:] = False
        floors = self.landed + drift[:, None] * self.age
        floor = _middle(floors, lately)
        return floor, _scatter(floors, floor, lately) / self.usual

    def ceiling(self) -> tuple[Floats, Floats]:
        """(the highest used share (N,) from which it fell, but for outliers, how unlike they are)."""
        middle = _middle(self.before, self.usable, higher=True)
        near = self.usable & (self.before <= (middle + NEAR * self.usual)[:, None])
        ceiling = np.where(near, self.before, 0).max(1)
        return np.where(near.any(1), ceiling, np.inf), _scatter(self.before, ceiling, self.usable) / self.usual

    def gap(self) -> tuple[Floats, Floats]:
        """(hours between falls (N,), how unlike they are)."""
        gaps, both = self.age[:, 1:] - self.age[:, :-1], self.known[:, 1:]
        gap = _middle(gaps, both)
        unlike = _scatter(gaps, gap, both) / gap
        return np.where(both.any(1), np.maximum(gap, 2), NEVER), np.where(both.any(1), unlike, 1)


def latest_of(z: Floats, falls: Bools, restored: Floats, limit: Floats) -> Latest:
    """The latest ``falls`` (N, T - 1) of hourly shares z (N, T); restored: rare rises; limit (N,): full."""
    rows, t = falls.shape
    newest = np.cumsum(falls[:, ::-1], 1, np.int32)[:, ::-1]
    row, hour = np.nonzero(falls & (newest <= LATEST))
    at = np.full((rows, LATEST), -1)
    at[row, newest[row, hour] - 1] = hour
    known, at, each = at >= 0, np.maximum(at, 0), np.arange(rows)[:, None]
    before, landed = z[each, at], z[each, at + 1]
    usual = np.where(known[:, 0], _middle(before - landed, known), 1)
    lower = np.zeros_like(landed)
    lower[:, :-1] = np.where(known[:, 1:], landed[:, 1:] - landed[:, :-1], 0)
    by_hand = known & ((before >= limit[:, None] - SMALL) | (lower > np.maximum(STEP, LARGE * usual)[:, None]))
    restores = np.cumsum((restored > 0)[:, ::-1], 1, np.int32)[:, ::-1]
    part = np.cumsum(by_hand, 1) - by_hand + restores[each, at]
    return Latest(known, known & ~by_hand, part, (t - 1 - at).astype(np.float32), before, landed, usual)


def _middle(values: Floats, which: Bools, higher: bool = False) -> Floats:
    """(N,): the median of some of the values (N, .), or the higher of the two in the middle; NaN without any."""
    ordered = np.sort(np.where(which, values, np.inf), 1)
    number, each = which.sum(1), np.arange(len(values))
    high = ordered[each, np.minimum(number // 2, values.shape[1] - 1)]
    low = high if higher else ordered[each, np.maximum((number - 1) // 2, 0)]
    made: Floats = np.where(number > 0, (low + high) / 2, np.nan)
    return made


def _scatter(values: Floats, around: Floats, which: Bools) -> Floats:
    """(N,): the mean distance of some of the values (N, .); 0 without any."""
    apart = np.where(which, np.abs(values - around[:, None]), 0)
    made: Floats = apart.sum(1) / np.maximum(which.sum(1), 1)
    return made


def by_clock(falls: Bools) -> tuple[Floats, Ints, Ints, Ints]:
    """(share of the falls (N, T), of late, that came at the same hour of a period, that period in hours, hours since
    the latest of them, how many they are), (N,) each; where there is no such period, that of 1 hour."""
    rows, t = falls.shape
    row, hour = np.nonzero(falls)
    age = t - 1 - hour
    best, period = np.zeros(rows, np.float32), np.ones(rows, np.int64)
    passed, often = np.zeros((2, rows), np.int64)
    for each in PERIODS:
        late = age < TURNS * each
        place = row[late] * each + age[late] % each
        number = np.bincount(place, minlength=rows * each).reshape(rows, each)
        alike, phase = number.max(1), number.argmax(1)
        share = (alike - 1) / np.maximum(number.sum(1) - 1, 1)
        first = np.full(rows * each, t)
        np.minimum.at(first, place, age[late])
        latest = first.reshape(rows, each)[np.arange(rows), phase]
        least = 2 if each == WEEK else 3 if each >= DAY else OFTEN
        better = (share >= REGULAR) & (alike >= least) & (latest < 3 * each)
        best, period, passed, often = (np.where(better, one, other) for one, other in (
            (share, best), (each, period), (latest, passed), (alike, often)))
    return best, period, passed, often
