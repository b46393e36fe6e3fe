"""Straight rises that are under way, and the date at which each is full if it goes on.

    runaway  of hours: a log that runs away, a dump without end. Four weeks of hourly values know nothing of it, so it
             is read from the last six hours. One as fast as one that came and went (a nightly backup) is none.
    steady   of days and weeks, of an entity that nothing has emptied before it was full. It gives p50 its date; the
             chance is the network's, or EVEN if that is more, and that of the rise only where it is SMOOTH and has
             outlasted a batch job (BATCH). Until then it pages nobody (PATIENT).

How long a rise will go on is unknown. What has lasted for a time e goes on for a further time x with the chance
(e / (e + x)) ** TAIL. So a rise that has just begun gives a date and little chance, and one that has lasted as long as
it still needs gives 0.8.

Letters: N entities, T values of history, H hours of the horizon, Q percentiles, W windows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from forecaster.capacity.growth import carried, shared
from forecaster.capacity.past import HOUR, Bools, Floats, Past, Wide
from forecaster.capacity.teeth import HORIZON

STEPS = 12  # of Past.recent in an hour
LEAST = 4  # values of a rise
STRAIGHT = 0.03  # largest deviation from the line (root mean square), as a share of the rise
SOON = 6.0  # hours in which it fills the room that was free when it began; bursts that stop are slower
EVEN = 0.6  # chance that a steady rise has at most: 0.75 would make it P2 (chosen on mounts that are not evaluated)
SMOOTH = 0.005  # deviation from the line, as a share of the rise, up to which its own chance counts
MOST = 0.8  # part of a rise that must be so smooth: an hour before it began is often counted with it
BATCH = 12.0  # hours; a copy or a dump that is as straight ends before
PATIENT = 0.75  # chance of full within 4 hours that a steady rise has at most until then: 0.8 would make it P1
TAIL = 1 / 3  # a choice, not a measurement: 0.5 after an eighth of the whole time, 0.8 after half of it
SEEN = 0.5  # of its hourly rise, from which on an earlier rise is like it
FALL = 0.02  # used share that is freed within an hour, with more than that left before the limit
LATELY = 12  # hours before now that may belong to the rise itself


@dataclass(frozen=True, eq=False)
class Runaway:
    """Rises of N entities; rows without one are False in ``on``, and their other figures mean nothing."""

    on: Bools  # (N,)
    rate: Wide  # (N,) used share an hour
    lasted: Wide  # (N,) hours
    left: Wide  # (N,) hours until full at this rate
    smooth: Wide  # (N,) the last hours of it that deviate by no more than SMOOTH

    @property
    def chance(self) -> Wide:
        """(N,) that it goes on until full."""
        made: Wide = (self.lasted / (self.lasted + self.left)) ** TAIL
        return made

    def curves(self, relative: Floats, percentiles: tuple[float, ...]) -> Floats:
        """Curves (N, Q, H) relative to now, with those of runaways replaced: each goes on with the chance that its
        percentile leaves, then stays."""
        if not self.on.any():
            return relative
        ahead = np.arange(1, relative.shape[2] + 1)
        longest = self.lasted[:, None] * (np.array([1 - p for p in percentiles]) ** (-1 / TAIL) - 1)
        made = self.rate[:, None, None] * np.minimum(ahead, longest[:, :, None])
        return np.where(self.on[:, None, None], made, relative).astype(np.float32)

    def median(self, relative: Floats) -> Floats:
        """Curves (N, 3, H) relative to now, of which p50 follows the line as long as it is more likely than not that
        it goes on, and the others give way."""
        if not self.on.any():
            return relative
        made = relative[self.on]
        ahead = np.arange(1, relative.shape[2] + 1)
        line = self.rate[self.on, None] * np.minimum(ahead, self.lasted[self.on, None] * (0.5 ** (-1 / TAIL) - 1))
        made[:, 0], made[:, 1], made[:, 2] = np.minimum(made[:, 0], line), line, np.maximum(made[:, 2], line)
        out = relative.copy()
        out[self.on] = made
        return out

    @property
    def proven(self) -> Bools:
        """(N,) whether a steady rise is smooth and long enough for a chance of its own."""
        made: Bools = (self.smooth >= BATCH) & (self.smooth >= MOST * self.lasted)
        return made

    def chances(self, chance: Floats, hours: tuple[int, ...], proven: Bools | bool = True) -> Floats:
        """Chances (N, W) within windows of so many hours, at least that of the rise where it is full within them; of
        one that is not ``proven`` at least EVEN."""
        least = np.where(proven, self.chance, np.minimum(self.chance, EVEN))
        own = np.where(self.left[:, None] <= np.array(hours), least[:, None], 0)
        made = np.where(self.on[:, None], np.maximum(chance, own), chance).astype(np.float32)
        young = self.on & ~np.asarray(proven) & (self.lasted < BATCH)
        made[young, 0] = np.minimum(made[young, 0], PATIENT)
        return np.maximum.accumulate(made, 1)


def runaway(past: Past) -> Runaway:
    """The rises of the last hours."""
    room = (past.limit - past.recent[:, -1]).astype(np.float64)
    found = _straight(past.recent, 1 / STEPS, room)
    lately = np.concatenate([past.hourly[:, -LATELY:], past.recent], 1)
    least = np.where(np.isfinite(lately), lately, np.inf).min(1)  # the rise may have begun before it was straight
    takes = (past.limit - least) / np.maximum(found.rate, 1e-9)
    earlier = np.nan_to_num(np.diff(past.hourly[:, :-LATELY], axis=1), nan=0.0).max(1, initial=0)
    return replace(found, on=found.on & (takes <= SOON) & (earlier < SEEN * found.rate))


def steady(past: Past) -> Runaway:
    """The rises of days and weeks, of entities that nothing has emptied before they were full."""
    recent, fresh = carried(past.recent)
    now = np.where(fresh.any(1), recent[:, -1], past.hourly[:, -1])
    found = _straight(past.hourly, 1.0, (past.limit - now).astype(np.float64))
    moves = np.diff(np.concatenate([past.hourly, now[:, None]], 1), axis=1)  # the last within the present hour
    fallen = (-moves >= FALL) & (past.hourly < past.limit[:, None] - FALL)
    return replace(found, on=found.on & (found.left <= HORIZON) & ~fallen.any(1))


def _straight(values: Floats, step: float, room: Wide) -> Runaway:
    """The longest straight rise of each row (N, T), a value every so many hours, up to its last value."""
    known, steps = np.isfinite(values), values.shape[1]
    y = np.where(known, values, 0).astype(np.float64)
    known = shared(known)
    x = np.arange(1 - steps, 1) * step

    def back(what: Wide) -> Wide:
        """(N, T): sums over the last 1, 2, ... values."""
        made: Wide = np.cumsum(what[:, ::-1], 1)
        return made

    n, sx, sy = back(known.astype(np.float64)), back(known * x), back(y)
    each = 1 / np.maximum(n, 1)
    middle = sx * each
    sxx = back(known * x * x) - sx * middle
    sxy, syy = back(y * x) - sy * middle, back(y * y) - sy * sy * each
    slope = sxy / np.maximum(sxx, 1e-9)
    rest = np.sqrt(np.maximum(syy - slope * sxy, 0) * each)
    length = np.arange(steps) * step  # hours from the first value of each stretch
    straight = (n >= LEAST) & (rest <= slope * (STRAIGHT * length)) & known[:, ::-1] & (slope > 0)
    best = steps - 1 - straight[:, ::-1].argmax(1)
    rate, lasted = slope[np.arange(len(y)), best], length[best]
    left = np.maximum(room, 1e-9) / np.maximum(rate, 1e-9)
    smooth = length * (straight & (rest <= slope * (SMOOTH * length)))
    return Runaway(straight.any(1) & known[:, -1] & (room > 0), rate, lasted, left, smooth.max(1))


def changed_at(past: Past, rises: Runaway) -> Wide:
    """(N,) Unix seconds at which each began."""
    made: Wide = past.instant - rises.lasted * HOUR
    return made
