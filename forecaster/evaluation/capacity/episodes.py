"""Alerts and fills as a person counts them.

    fill        the used share reaches the limit; it ends after 6 hours below
    alert       begins when its condition has held for its ``for``, ends after 6 hours in which it does not hold
    true        the entity got full within the alert's window and a quarter of it, from the alert's beginning on
    prevented   it did not, but within that time somebody made room, and at the speed of the day or the 6 hours before
                it would have been full
    false       all others
    noticed     a fill with an alert that began at least 4 hours before it, and was on 4 hours before it or began within
                the window and a quarter before it
    foreseeable a fill of which the course allowed notice: 4 hours before it, the best possible alert is on (full within
                24 hours more likely than not in the simulator's futures, for an hour). Of recorded courses, of which
                nobody knows the futures: in the week until then, it had risen within a day by as much as was left

Room is made where the used share falls by at least a twentieth of the limit within an hour, while in the four weeks
before it did not fall by half as much within an hour: what falls again and again is a rotation, and nobody prevented
anything. An alert that begins while the entity is full is none. Alerts and fills count that begin within the evaluated
weeks; alerts whose time is not over at their end do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.capacity.relief import FALL
from forecaster.evaluation.capacity import best
from forecaster.evaluation.capacity.courses import HISTORY, HOUR, Courses, Ints
from forecaster.evaluation.scoring import Bools, Figures, Floats

QUIET = 6  # hours without that end an alert or a fill
TOLERANCE = 0.25  # of the window
NOTICE = 4  # hours
DAY, WEEK = 24 * HOUR, 168 * HOUR  # steps

Stretch = tuple[float, float]  # first and last hour, counted from the beginning of the courses


@dataclass(frozen=True)
class Alert:
    """raised: bool (N, K) at hourly instants; window: hours it promises; held: hours that it must hold first."""

    raised: Bools
    window: float
    held: int


@dataclass(frozen=True)
class Fill:
    """hour: when it is full; foreseeable: whether its course allowed notice."""

    hour: float
    foreseeable: bool


def stretches(true: Bools, at: Floats, quiet: float) -> list[Stretch]:
    """(first, last) of ``at`` (K,) of each run of true (K,), joined where less than ``quiet`` lies between."""
    found = at[np.flatnonzero(true)]
    if not found.size:
        return []
    cuts = np.flatnonzero(np.diff(found) > quiet)
    begins, ends = np.append(0, cuts + 1), np.append(cuts, len(found) - 1)
    return [(float(found[b]), float(found[e])) for b, e in zip(begins, ends, strict=True)]


def held(raised: Bools, instants: int) -> Bools:
    """True where ``raised`` (N, K) is and was at as many instants before."""
    out = raised.copy()
    for back in range(1, instants + 1):
        out[:, back:] &= raised[:, :-back]
        out[:, :back] = False
    return out


def fills(courses: Courses, first: int) -> list[list[Fill]]:
    """Of each entity, those that begin after row ``first`` and the time of notice."""
    at, foreseen = np.arange(courses.used.shape[1]) / HOUR, best.foresaw if courses.mounts else risen
    begun = [(begin, n) for n, row in enumerate(courses.full) for begin, _ in stretches(row, at, QUIET)]
    out: list[list[Fill]] = [[] for _ in courses.full]
    for begin, n in sorted(begun):  # rising instants are the cheapest to simulate
        if begin - NOTICE > first / HOUR + 1:
            out[n].append(Fill(begin, foreseen(courses, n, round((begin - NOTICE) * HOUR))))
    return out


def risen(courses: Courses, entity: int, before: int) -> bool:
    """Whether in the week before a row the entity rose within a day by as much as was then left to the limit."""
    past = courses.used[entity, max(before - WEEK, 0) : before + 1].astype(np.float64)
    padded = np.pad(np.where(np.isfinite(past), past, np.inf), (DAY, 0), constant_values=np.inf)
    rises = past - np.lib.stride_tricks.sliding_window_view(padded, DAY + 1).min(-1)
    return bool(np.nanmax(rises, initial=0) >= courses.limit[entity] - past[-1])


def _prevented(courses: Courses, entity: int, begin: int, end: int) -> bool:
    """Whether somebody made room between two rows and the entity would else have been full by ``end``."""
    used, limit = courses.used[entity].astype(np.float64), float(courses.limit[entity])
    fell = used[HOUR:] - used[:-HOUR]  # at row r: change over the hour that ends at r + HOUR
    for row in np.flatnonzero(-fell[begin : max(end - HOUR, begin)] >= FALL * limit) + begin:
        if np.nanmin(fell[max(row - HISTORY * HOUR, 0) : row - HOUR + 1], initial=0) <= fell[row] / 2:
            return False
        rate = max((used[row] - used[max(row - back, 0)]) / back for back in (DAY, DAY // 4))
        return bool(used[row] + rate * (end - row) >= limit)
    return False


def judge(courses: Courses, rows: Ints, alert: Alert, came: Sequence[Sequence[Fill]]) -> list[Figures]:
    """Counts of each entity: "alerts" = "true" + "prevented" + "false"; "fills", of these "foreseeable", of these
    "noticed"; "leads", hours from alert to fill of the true ones."""
    at, reach = rows / HOUR, alert.window * (1 + TOLERANCE)
    on = held(alert.raised & ~courses.full[:, rows], alert.held)
    out = []
    for n in range(len(on)):
        counts: Figures = {"alerts": 0, "true": 0, "prevented": 0, "false": 0, "leads": []}
        rung = stretches(on[n], at, QUIET)
        for begin, _ in rung:
            if begin <= at[0] or begin + reach > at[-1]:
                continue
            filled = [fill.hour for fill in came[n] if begin <= fill.hour <= begin + reach]
            kind = "true" if filled else (
                "prevented" if _prevented(courses, n, round(begin * HOUR), round((begin + reach) * HOUR)) else "false")
            counts["alerts"] += 1
            counts[kind] += 1
            counts["leads"] += [filled[0] - begin] if filled else []
        seen = [fill for fill in came[n] if fill.foreseeable]
        counts |= {"fills": len(came[n]), "foreseeable": len(seen), "noticed": sum(any(
            begin <= fill.hour - NOTICE and (end >= fill.hour - NOTICE or begin + reach >= fill.hour)
            for begin, end in rung) for fill in seen)}
        out.append(counts)
    return out
