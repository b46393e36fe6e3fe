"""Courses that a used share may take over 14 days, and traits of its history: what the network weighs and reads.

Each course is a whole path of hours, relative to the share now: it stays, goes on at one of several rates, repeats its
last day or week, climbs to the level of its clean-ups and falls, returns to a level where it was, or moves as it did
from the same hour of the days before; it is empty, or full. A forecast is a weighted mean of them, so it stays among
them.

Hours are whole ones, as those of the history: between two values of a rotation a line would split each fall in two. So
between hours the courses begin at the last whole hour, with the share now less what grew since at the pace of the last
hours. Lines, and what stays, go on from the share now.

Letters: N entities, T hours of history, H hours of the horizon, K knots, C courses, F traits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecaster.capacity import burst
from forecaster.capacity.growth import DAY, WEEK, Growth, carried, growth, rare_steps, typical, without
from forecaster.capacity.past import HOUR, HOURS, Floats, Past
from forecaster.capacity.teeth import FLOOR, HORIZON, KNOTS, ahead, mean_moves, own_moves, repeated, teeth

RATES = (6, 24, 72, 168, 671)  # hours, over which growth goes on
PACE = 3  # hours whose pace is that of the present hour
LASTING = 8  # hours for which the rate of the last minutes goes on
FITS = (24, 72, 168)  # hours through which a line is fitted
COURSES = 36  # the last two are empty and full
SPANS = np.diff(KNOTS, prepend=0)  # hours from a knot to the next one
NEAR = 1e-3  # used share
ALIKE = 0.02  # used share, by which it was no lower while it was as full as now
SHOWN = (3, 6, 8, 10, 12)  # knots at which traits show the courses
TRAITS = len(SHOWN) * (COURSES - 2) + 2 * len(KNOTS) + 37 + burst.TRAITS


@dataclass(frozen=True, eq=False)
class Courses:
    """What N entities may do, and what their history is like."""

    now: Floats  # (N,) used share
    part: float  # of an hour, since the last whole one
    grew: Floats  # (N,) used share, since then
    paths: Floats  # (N, C, H) from the last whole hour on, relative to the share then
    spread: Floats  # (N, K) typical move within so many hours
    traits: Floats  # (N, F)
    highest: Floats  # (N,) used share that was ever seen
    known: Floats  # (N,) hours of history; 0 without any
    growth: Growth

    def from_now(self, curves: Floats) -> Floats:
        """Curves (N, Q, H) of hours after now, relative to now, from those after the last whole hour."""
        if self.part == 0:
            return curves
        moves = np.diff(curves, axis=-1)
        made: Floats = curves - self.grew[:, None, None]
        made += np.float32(self.part) * np.concatenate([moves, moves[..., -1:]], -1)
        return made


def courses(past: Past) -> Courses:
    """Those of these entities."""
    filled, known = carried(past.hourly)
    recent, fresh = carried(past.recent)
    some, lately = known.any(axis=1), fresh.any(axis=1)
    share = np.where(lately, recent[:, -1], filled[:, -1])
    rows, t = len(share), HOURS - 1
    length = np.where(some, t - np.where(some, known.argmax(1), 0), 0).astype(np.float32)
    minutes = np.where(lately, 71 - fresh.argmax(1), 0).astype(np.float32) * 5
    young = (recent[:, -1] - recent[np.arange(rows), np.maximum(fresh.argmax(1), 71 - 12)]) / np.maximum(
        np.minimum(minutes, 60), 5) * 60
    young = np.where(lately, young, 0).astype(np.float32)
    grown = growth(past)
    part = past.instant % HOUR / HOUR
    fine = np.diff(recent, axis=1)
    fine[rare_steps(fine, typical(fine))] = 0  # what jumped has done so at the last whole hour, as far as courses know
    grew = (part * fine[:, -12 * PACE:].sum(1) / np.clip(minutes, 5, 60 * PACE) * 60).astype(np.float32)
    now = share - grew
    z = np.concatenate([filled[:, :-1], now[:, None]], 1)
    z = np.where(np.logical_and(~some, lately)[:, None], recent[:, :1], z)  # younger than an hour
    moves = np.diff(z, axis=1)
    noise = typical(moves[:, -WEEK:])
    steps = rare_steps(moves, noise)
    smooth = without(z, np.where(steps, moves, 0))
    first = (t - length).astype(int)

    def rate(y: Floats, hours: int) -> Floats:
        """(N,) share an hour over the last hours, or over what there is."""
        start = np.maximum(t - hours, first)
        made: Floats = (y[:, -1] - y[np.arange(rows), start]) / np.maximum(t - start, 1)
        return made

    quickly = np.where(minutes >= 20, (recent[:, -1] - recent[:, -5]) * 3, young).astype(np.float32)
    rates = [np.where(length >= 1, rate(smooth, hours), young) for hours in RATES]
    segment = np.where(length >= 12, grown.now / DAY, rates[1]).astype(np.float32)
    quick = (rates[2] - rates[3]) / 60  # change of the rate an hour, between the middles of two windows
    least, most = np.minimum(3 * rates[2], 0), np.maximum(3 * rates[2], 0)
    bounded = np.clip(rates[2][:, None] + quick[:, None] * (ahead + 36), least[:, None], most[:, None])
    later = ahead - np.float32(part)  # hours after now
    lines = [grew[:, None] + r[:, None] * later for r in (young, *rates, segment)]
    slopes, ends = zip(*(_fitted(smooth, hours) for hours in FITS), strict=True)
    fits = [np.where(length >= hours, slope, segment)[:, None] * ahead + np.where(length >= hours, end, 0)[:, None]
            for hours, slope, end in zip(FITS, slopes, ends, strict=True)]
    level = np.where(length >= 12, filled[:, -1] + grown.level - now, 0).astype(np.float32)
    fits.append(level[:, None] + segment[:, None] * ahead)

    day = repeated(mean_moves(smooth, first, DAY, 7, rates[1]))
    yesterday = repeated(mean_moves(z, first, DAY, 1, rates[1]))
    week = repeated(mean_moves(smooth, first, WEEK, 3, rates[2]))
    last_week = repeated(mean_moves(z, first, WEEK, 1, rates[2]))

    saw = teeth(z, moves, steps, noise, first, past.limit)

    sorted_week = np.sort(z[:, -WEEK:], 1)
    sorted_all = np.sort(z[:, ::-4], 1)
    levels = [sorted_week[:, [int(q * (WEEK - 1))]] - now[:, None] for q in (0.1, 0.5, 0.9)]
    levels += [sorted_all[:, [int(q * 167)]] - now[:, None] for q in (0.05, 0.5, 0.95)]
    (low, middle, high), counted = own_moves(z, first)
    rise = burst.latest(z, moves, noise)
    slack = np.abs(segment)[:, None] * KNOTS
    wide = np.where(counted, (high - low) / 2.56, 0)
    wide = np.maximum.accumulate(np.maximum(wide, FLOOR + noise[:, None] * np.sqrt(KNOTS)), 1)
    spread = np.where(counted, wide, np.maximum(wide, 0.3 * slack + FLOOR * np.sqrt(KNOTS))).astype(np.float32)
    low, middle, high = (np.where(counted, one, slack * 0 + segment[:, None] * KNOTS) for one in (low, middle, high))

    room, draws = past.limit - now, saw.draws
    # between knots a percentile keeps below the limit, unless it is full at the next one
    most = np.where(draws.at_knots < room[:, None], (room - NEAR)[:, None], np.inf).repeat(SPANS, 2)
    fan = np.minimum(_along(draws.course, *draws.at_knots), np.minimum(most, draws.highest))
    paths = np.empty((rows, COURSES, HORIZON), np.float32)
    many: list[Floats] = [
        grew[:, None], *lines, *fits, np.cumsum(bounded, 1), day, yesterday, week, last_week,
        saw.rises, saw.speed, *levels, rise.before[:, None],
        grew[:, None] + quickly[:, None] * np.minimum(later, LASTING),
        *_along(day, low, middle, high), draws.course, *fan, -now[:, None], np.maximum(room, 0)[:, None]]
    for number, one in enumerate(many):
        paths[:, number] = one
    np.clip(paths, -now[:, None, None], 3, out=paths)
    until_full(paths, np.where(room > 0, room, np.inf)[:, None], out=paths)

    at = [KNOTS[k] - 1 for k in SHOWN]
    scaled = np.arcsinh(paths[:, 1:-1, at] / spread[:, None, list(SHOWN)])
    scaled = scaled.reshape(rows, len(SHOWN) * (COURSES - 2))
    of_limit = z >= past.limit[:, None] - 1e-3
    stepped = np.where(steps.any(1), steps[:, ::-1].argmax(1), t).astype(np.float32)
    step = moves[np.arange(rows), np.maximum(t - 1 - stepped.astype(int), 0)] * steps.any(1)
    begun = np.maximum(t - saw.since, first)[:, None]
    as_full = ((z > now[:, None] - ALIKE) & (np.arange(t + 1) >= begun)).sum(1)  # hours, and nobody made room
    since_change = np.where(np.isfinite(grown.changed), (past.instant - np.nan_to_num(grown.changed)) / HOUR, t)
    traits = np.stack([
        now, room, np.log1p(length), np.log1p(minutes), known[:, -WEEK:].mean(1), np.log(noise + 1e-5),
        np.log1p(since_change), np.log1p(stepped), np.arcsinh(100 * step), of_limit.mean(1),
        of_limit[:, -WEEK:].mean(1), z.max(1), sorted_week[:, -1] - now, np.log1p((steps & (moves > 0)).sum(1)),
        np.arcsinh(100 * (now - z[:, -25])), np.log1p(as_full), *rise.traits], 1)
    traits = np.concatenate([traits, saw.traits, scaled, np.log(spread), np.arcsinh(room[:, None] / spread)], 1)
    return Courses(share.astype(np.float32), part, grew, paths, spread, traits.astype(np.float32), z.max(1),
                   np.where(some | lately, np.maximum(length, minutes / 60), 0), grown)


def until_full(used: Floats, limit: Floats, out: Floats | None = None) -> Floats:
    """Courses (..., H) that stay at their limit (...) once they have reached it, as the curves of a forecast do; out:
    the courses themselves, where nobody needs them as they were."""
    reached = used >= limit[..., None]
    at = reached.any(-1)  # few: what follows takes long
    full = np.logical_or.accumulate(reached[at], -1)
    level = np.broadcast_to(limit, at.shape)[at][:, None]
    made = used.copy() if out is None else out
    made[at] = np.where(full, np.maximum(made[at], level), made[at])
    return made


def _fitted(y: Floats, hours: int) -> tuple[Floats, Floats]:
    """((N,) slope, (N,) where the line ends relative to the value there) of the last hours."""
    x: Floats = np.arange(hours, dtype=np.float32) - np.float32((hours - 1) / 2)
    last = y[:, -hours:] - y[:, -1:]
    slope: Floats = np.einsum("nh,h->n", last, x / (x * x).sum())
    end: Floats = last.mean(1) + slope * x[-1]
    return slope, end


def _along(course: Floats, *at_knots: Floats) -> Floats:
    """(number, N, H): courses through values at KNOTS (N, K) each, of the shape that one (N, H) has between them."""
    made: Floats = course + (np.stack(at_knots) - course[:, KNOTS - 1]).astype(np.float32) @ BETWEEN
    return made


def _lines() -> Floats:
    """(K, H): weights with which values at KNOTS make those of each hour; before the first knot, a line from 0."""
    return np.stack([np.interp(np.arange(1, HORIZON + 1), [0, *KNOTS], [0, *row]) for row in np.eye(len(KNOTS))]
                    ).astype(np.float32)


BETWEEN = _lines()
