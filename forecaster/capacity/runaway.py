"""A straight rise that is under way and would fill an entity within hours: a log that runs away, a dump without end.

Nothing in four weeks of hourly values tells of it, so it is read from the last six hours. How long it will go on is
unknown; what has lasted for a time e goes on for a further time x with the chance (e / (e + x)) ** TAIL. So a rise that
has just begun gives a date and little chance, and one that has lasted as long as it still needs gives 0.8. A rise as
fast as this one that has come and gone in the last four weeks (a nightly backup) is no runaway.

Letters: N entities, H hours of the horizon, Q percentiles, W windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecaster.capacity.past import HOUR, RECENT, Bools, Floats, Past, Wide

STEPS = 12  # of Past.recent in an hour
LEAST = 4  # values of a rise
STRAIGHT = 0.03  # largest deviation from the line (root mean square), as a share of the rise
SOON = 8.0  # hours in which it fills the room that was free when it began
TAIL = 1 / 3  # a choice, not a measurement: 0.5 after an eighth of the whole time, 0.8 after half of it
SEEN = 0.5  # of its hourly rise, from which on an earlier rise is like it
LATELY = 12  # hours before now that may belong to the rise itself


@dataclass(frozen=True, eq=False)
class Runaway:
    """Rises of N entities; rows without one are False in ``on``, and their other figures mean nothing."""

    on: Bools  # (N,)
    rate: Wide  # (N,) used share an hour
    lasted: Wide  # (N,) hours
    left: Wide  # (N,) hours until full at this rate

    @property
    def chance(self) -> Wide:
        """(N,) that it goes on until full."""
        made: Wide = (self.lasted / (self.lasted + self.left)) ** TAIL
        return made

    def curves(self, relative: Floats, percentiles: tuple[float, ...]) -> Floats:
        """Curves (N, H, Q) relative to now, with those of runaways replaced: each goes on with the chance that its
        percentile leaves, then stays."""
        if not self.on.any():
            return relative
        ahead = np.arange(1, relative.shape[1] + 1)
        longest = self.lasted[:, None] * (np.array([1 - p for p in percentiles]) ** (-1 / TAIL) - 1)
        made = self.rate[:, None, None] * np.minimum(ahead[:, None], longest[:, None])
        return np.where(self.on[:, None, None], made, relative).astype(np.float32)

    def chances(self, chance: Floats, hours: tuple[int, ...]) -> Floats:
        """Chances (N, W) within windows of so many hours, at least that of the rise where it is full within them."""
        own = np.where(self.left[:, None] <= np.array(hours), self.chance[:, None], 0)
        made = np.where(self.on[:, None], np.maximum(chance, own), chance).astype(np.float32)
        return np.maximum.accumulate(made, 1)


def runaway(past: Past) -> Runaway:
    """Those of these entities."""
    known = np.isfinite(past.recent)
    y = np.where(known, past.recent, 0).astype(np.float64)
    x = np.arange(1 - RECENT, 1) / STEPS

    def back(values: Wide) -> Wide:
        """(N, RECENT): sums over the last 1, 2, ... values."""
        made: Wide = np.cumsum(values[:, ::-1], 1)
        return made

    n, sx, sy = back(known * 1.0), back(known * x), back(y)
    many = np.maximum(n, 1)
    sxx = back(known * x * x) - sx * sx / many
    sxy, syy = back(y * x) - sx * sy / many, back(y * y) - sy * sy / many
    slope = sxy / np.maximum(sxx, 1e-9)
    rest = np.sqrt(np.maximum(syy - slope * sxy, 0) / many)
    length = np.arange(RECENT) / STEPS  # hours from the first value of each stretch
    rise = slope * length
    straight = (n >= LEAST) & (rest <= STRAIGHT * rise) & known[:, ::-1]
    best = RECENT - 1 - straight[:, ::-1].argmax(1)  # the longest
    rows = np.arange(len(y))
    rate, lasted = slope[rows, best], length[best]
    room = (past.limit - past.recent[:, -1]).astype(np.float64)
    left = np.maximum(room, 1e-9) / np.maximum(rate, 1e-9)
    on = straight.any(1) & known[:, -1] & (rate > 0) & (room > 0) & (lasted + left <= SOON)
    hourly = past.hourly[:, :-LATELY]
    earlier = np.nanmax(np.nan_to_num(np.diff(hourly, axis=1), nan=0.0), axis=1, initial=0)
    return Runaway(on & (earlier < SEEN * rate), rate, lasted, left)


def changed_at(past: Past, rises: Runaway) -> Wide:
    """(N,) Unix seconds at which each began."""
    made: Wide = past.instant - rises.lasted * HOUR
    return made
