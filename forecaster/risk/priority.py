"""The priority of a server, P1, P2 or P3: by the points of its risk score, or by the chances of its incidents.

By chances, an incident gives a server at most the priority that it may give:

    severity    as configured
    alone       as configured, while it is usual for that server and no other incident of P1 or P2 that is not usual
                there is on or as likely in the same window
    P2          where it was on at that time on half of the last days: nightly work is a ticket, never a page

P1: one that may be P1 is on, or will be within 30 minutes with ``p1_chance``. P2: one that may be P2 is on, or will be
within 8 hours with ``p2_chance``. Else P3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from forecaster.risk.conditions import Condition
from forecaster.risk.known import named
from forecaster.risk.thresholds import Priorities

PRIORITIES = ("P1", "P2", "P3")
RECURRING = 0.5  # share of the days held from which on an incident is expected work
SHOWN = 0.05  # chance within 8 hours from which on an incident is named


def priorities(score: np.ndarray, limits: Priorities) -> tuple[str | None, ...]:
    """S priorities of scores float64 (S,); None where the score is NaN."""
    ranked = np.where(score >= limits.p1, 0, np.where(score >= limits.p2, 1, 2))
    return named(PRIORITIES, np.where(np.isnan(score), -1, ranked))


def ranks(
    conditions: Sequence[Condition], on: NDArray[np.bool_], chance: Mapping[str, NDArray[np.float64]],
    usual: NDArray[np.bool_], habit: NDArray[np.bool_], recurring: NDArray[np.float64], limits: Priorities,
) -> NDArray[np.int64]:
    """int64 (S, I): position in PRIORITIES of what each incident gives each server; the arguments are by_chance's."""
    soon, later = (np.where(on, 1.0, np.nan_to_num(chance[window])) for window in ("30m", "8h"))
    highest = np.array([PRIORITIES.index(one.severity) for one in conditions], np.int64)
    alone = np.array([PRIORITIES.index(one.alone or one.severity) for one in conditions], np.int64)
    nightly = recurring >= RECURRING
    news = (highest < 2) & ~habit & ~nightly

    def may(likely: NDArray[np.bool_]) -> NDArray[np.int64]:
        """What each may give, where these are likely."""
        company = likely & news
        others = company.sum(1, keepdims=True) - company > 0
        return np.maximum(np.where(usual & ~others, alone, highest), np.where(nightly, 1, 0))

    page, ticket = soon >= limits.p1_chance, later >= limits.p2_chance
    return np.where(page & (may(page) == 0), 0, np.where(ticket & (may(ticket) <= 1), 1, 2))


def by_chance(
    conditions: Sequence[Condition], on: NDArray[np.bool_], chance: Mapping[str, NDArray[np.float64]],
    usual: NDArray[np.bool_], habit: NDArray[np.bool_], recurring: NDArray[np.float64], limits: Priorities,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(position in PRIORITIES (S,), the incident that decides it (S,), -1 where none is on or likely) of S servers and
    I incidents: on, usual, habit bool (S, I), usual where it is a habit or the days held are too few to know; chance by
    window, recurring share of days, float64 (S, I), NaN where unknown.

    Without an incident that is on or likely, the one with the largest chance within 8 hours is named from 5 % on.
    """
    rank = ranks(conditions, on, chance, usual, habit, recurring, limits)
    later = np.where(on, 1.0, np.nan_to_num(chance["8h"]))
    order = rank - later / 2  # of equal rank, the likeliest
    shown = (rank < 2) | (later >= SHOWN)
    leading = np.where(shown.any(1), np.where(shown, order, np.inf).argmin(1), -1) if len(conditions) else None
    if leading is None:
        return np.full(len(on), 2), np.full(len(on), -1)
    return rank.min(1), leading

