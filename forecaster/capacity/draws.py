"""Courses drawn from an entity's own days: where it would be if one of them came again, and fell as it falls.

A draw goes on from now by the hourly growth that followed the same hour of one of the days before: once as it was, once
by what was unusual of it for that hour of the week, on top of what is usual for the hours to come. Where the share now
is unusually high or fast, and was not on that day, the draw is moved by what usually becomes of it, found in this
history by local projections (Jordà, 2005). Where an entity falls again and again, as by log rotation, a draw falls when
it reaches the ceiling, or when the clock says.

Letters: N entities, T hours of history, H hours of the horizon, K knots, B days, L leads.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from forecaster.capacity.growth import DAY, WEEK
from forecaster.capacity.past import Bools, Floats, Ints

BACK = DAY * np.arange(1, 28)  # hours before now at which the days begin
PERCENTILES = np.array([0.1, 0.5, 0.9])
LEADS = np.array([4, 12, 24, 48])  # hours after which it is seen what becomes of the unusual; after the last, no more
STRIDE = 4  # hours between times at which that is seen
PACE, LEVEL = 3, 48  # hours whose mean pace, and whose mean level, is compared
RIDGE = 48.0  # hours of history that would speak against it
TINY = np.float32(1e-12)


@dataclass(frozen=True, eq=False)
class Falling:
    """From where N entities fall, when, and to where."""

    ceiling: Floats  # (N,) used share; inf: it does not fall from a level
    floor: Floats  # (N,) used share that it would fall to now
    drift: Floats  # (N,) of the floor, share an hour
    proven: Bools  # (N,) it has fallen from there more than once; if not, half of the draws do
    due: Bools  # (H, N) whether it falls at the hour, by the clock

    def of(self, rows: Bools) -> Falling:
        """That of some."""
        return Falling(*(getattr(self, field.name)[..., rows] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Drawn:
    """Used shares relative to now."""

    course: Floats  # (N, H) of what is usual
    at_knots: Floats  # (3, N, K) p10, p50, p90; those of the course where no day is known
    highest: Floats  # (N, H) of what falls from a level; inf of others


def drawn(
    now: Floats, moves: Floats, usual: Floats, first: Ints, falls: Bools, falling: Falling, knots: Ints
) -> Drawn:
    """What is drawn for N entities, of which some ``falls`` (N,).

    moves: (N, T) hourly growth without falls; first: (N,) the first that is known; usual: (N, H) the same in the hours
    to come, repeating after a week, or after a day where less than two weeks are known. knots: the last is H.
    """
    ahead = np.arange(1, usual.shape[1] + 1, dtype=np.float32)
    line = falling.floor[:, None] + falling.drift[:, None] * ahead
    highest = np.maximum(np.where(falling.proven, falling.ceiling, np.inf)[:, None], line)
    made = Drawn(np.empty(usual.shape, np.float32), np.empty((3, len(now), len(knots)), np.float32),
                 highest - now[:, None])
    long = moves.shape[1] - first >= 2 * WEEK
    for cycle, these in ((WEEK, long), (DAY, ~long)):
        for rows in (these & falls, these & ~falls):
            if not rows.any():
                continue
            days = _Days(moves[rows].T, usual[rows].T, first[rows], cycle)
            if falls[rows][0]:
                level, course = days.falling(now[rows], falling.of(rows), knots)
            else:
                level, course = days.growing(knots)
            made.course[rows] = course.T
            made.at_knots[:, rows] = days.percentiles(level, course[knots - 1]).swapaxes(1, 2)
    return made


class _Days:
    """The days of some entities; arrays have the N last."""

    def __init__(self, moves: Floats, usual: Floats, first: Ints, cycle: int):
        self.usual, self.cycle, self.t = usual, cycle, len(moves)
        apart = moves - usual[np.arange(-self.t, 0) % cycle]
        self.kinds = np.stack([moves, apart])
        self.total = np.concatenate([np.zeros_like(self.kinds[:, :1]), self.kinds.cumsum(1)], 1)
        self.carried = _carried(self.total[1], first, self.t - BACK)
        self.known = (self.t - np.maximum(BACK, cycle))[:, None] >= first  # (B, N)

    def growing(self, knots: Ints) -> tuple[Floats, Floats]:
        """(draws (2, B, K, N), course (H, N)) without falls."""
        again, rest = np.divmod(np.maximum(knots - BACK[:, None], 0), self.cycle)  # cycles and hours after now
        start = self.t - BACK[:, None]
        end, turn = start + np.minimum(knots, BACK[:, None]), self.t - self.cycle
        total = self.total
        level = total[:, end] - total[:, start] + total[:, turn + rest] - total[:, turn, None, None]
        level += again[..., None] * (total[:, -1] - total[:, turn])[:, None, None]
        course = self.usual.cumsum(0)
        level[1] += course[knots - 1]
        level += (AFTER[knots - 1] @ self.carried)[:-1]
        return level, course + AFTER[:len(course)] @ self.carried[-1]

    def falling(self, now: Floats, falling: Falling, knots: Ints) -> tuple[Floats, Floats]:
        """The same with falls."""
        hours = len(self.usual)
        at = self.t - BACK[:, None] + np.arange(hours)
        at -= np.maximum(-((self.t - 1 - at) // self.cycle), 0) * self.cycle  # (B, H): after now, a cycle before
        at = np.concatenate([at, np.full((1, hours), self.t)])  # the usual course, of which nothing is apart
        kinds = np.concatenate([self.kinds, np.zeros_like(self.kinds[:, :1])], 1)
        level = np.broadcast_to(now, (2, len(at), len(now))).copy()
        course, floor, at_knots = np.empty((hours, len(now)), np.float32), falling.floor.copy(), []
        steps = np.diff(AFTER, axis=0, prepend=0)
        ceiling = np.stack([np.where(falling.proven, falling.ceiling, np.float32(np.inf)), falling.ceiling])[:, None]
        for hour in range(hours):
            level += kinds[:, at[:, hour]]
            level[1] += self.usual[hour]
            if hour < LEADS[-1]:
                level += steps[hour] @ self.carried
            floor += falling.drift
            falls = (level >= ceiling) | falling.due[hour]
            np.copyto(level, np.minimum(level, floor), where=falls)
            course[hour] = level[1, -1]
            if hour + 1 in knots:
                at_knots.append(level[:, :-1] - now)
        return np.stack(at_knots, 2), course - now

    def percentiles(self, level: Floats, otherwise: Floats) -> Floats:
        """(3, K, N) of draws (2, B, K, N), of those that are known."""
        ordered = np.sort(np.where(self.known[:, None], level, np.inf).reshape(-1, *level.shape[2:]), 0)
        number = 2 * self.known.sum(0)
        place = np.round(PERCENTILES[:, None] * np.maximum(number - 1, 0)).astype(int)
        picked = np.take_along_axis(ordered, np.broadcast_to(place[:, None], (3, *otherwise.shape)), 0)
        made: Floats = np.where(number > 0, picked, otherwise)
        return made


def _carried(course: Floats, first: Ints, starts: Ints) -> Floats:
    """(B + 1, L, N): what becomes, in each lead, of how unusual the end of a course (T + 1, N) is, beside the starts of
    the days, and (the last) beside what is usual."""
    t = len(course) - 1
    total = np.concatenate([np.zeros_like(course[:1]), course.cumsum(0)])
    at = np.arange(t % STRIDE + LEVEL, t + 1, STRIDE)
    high = course[at] - (total[at + 1] - total[at + 1 - LEVEL]) / np.float32(LEVEL)
    fast = (course[at] - course[at - PACE]) / np.float32(PACE)
    known = at[:, None] - LEVEL >= first
    unusual = np.stack([high, fast]) * known
    begun = np.where((starts >= at[0])[:, None], unusual[:, np.maximum(starts - at[0], 0) // STRIDE], 0)
    apart = np.concatenate([unusual[:, -1:] - begun, unusual[:, -1:]], 1)  # (2, B + 1, N)
    made = np.empty((len(starts) + 1, len(LEADS), course.shape[1]), np.float32)
    for place, lead in enumerate(LEADS):
        later, (high, fast) = lead // STRIDE, unusual[:, :-(lead // STRIDE)]
        became = course[at[later:]] - course[at[:-later]]
        less = 1 + RIDGE / STRIDE / np.maximum(known[:-later].sum(0), 1)
        hh, ff = ((one * one).sum(0) * less + TINY for one in (high, fast))
        hf, hb, fb = (high * fast).sum(0), (high * became).sum(0), (fast * became).sum(0)
        made[:, place] = (apart[0] * (hb * ff - fb * hf) + apart[1] * (fb * hh - hb * hf)) / (hh * ff - hf * hf)
    return made


# (H, L): with which weights what is carried makes that of each hour
AFTER = np.stack([np.interp(np.arange(1, 2 * WEEK + 1), [0, *LEADS], [0, *row]) for row in np.eye(len(LEADS))], 1
                 ).astype(np.float32)
