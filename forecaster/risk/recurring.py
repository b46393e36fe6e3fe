"""Whether an expected incident was on at that time of day on the days before, as nightly work is.

An incident that is on is expected now, another when it is more likely than not by its chance. A less likely one is
expected at the first step of the horizon whose p90 by the model is beyond its limit (p10, for one below a limit). The
trend heuristic knows no time of day and expects none. The share reads the values of the last 7 days within 30 minutes
of the same local time of day, because nightly work does not begin on the minute:

    a day is held   where more than half of these values are known
    it is on        where one of them, and those before it for which the incident must last, are beyond the limit
    ratio           days on / days held; NaN for fewer than 3 days held, and where no incident is expected

A local time that a clock change leaves out is that of the clock before the change.

S servers, C signals, H horizon steps, T steps of history, I incidents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from forecaster.risk.conditions import Condition
from forecaster.risk.evidence import lasting_least

DAYS = 7
MIN_DAYS = 3
TOLERANCE = 1800.0  # s, to either side

_P10, _P90 = 0, 2  # positions on a forecast's last axis


@dataclass(frozen=True, eq=False)
class Recurring:
    """Expected incidents of each server, and the days before; no day where none is expected."""

    step: NDArray[np.int64]  # (S, I) first 1-based step beyond the limit, -1 while it is on, 0 where none is expected
    on: NDArray[np.int64]    # (S, I) days
    held: NDArray[np.int64]  # (S, I) days
    limits: tuple[str, ...]  # I, such as "above 95 %"

    @property
    def ratio(self) -> NDArray[np.float64]:
        """float64 (S, I): share of the days held on which it was on; NaN for fewer than MIN_DAYS."""
        return np.where(self.held >= MIN_DAYS, self.on / np.maximum(self.held, 1), np.nan)

    def only(self, rows: NDArray[np.int64]) -> Recurring:
        """Those of the servers at these rows."""
        return Recurring(self.step[rows], self.on[rows], self.held[rows], self.limits)

    def text(self, server: int, incident: int) -> str:
        """In words; empty where it is not expected, or without days."""
        on, held = int(self.on[server, incident]), int(self.held[server, incident])
        if held < MIN_DAYS:
            return ""
        days = f"the last {DAYS} days" if held == DAYS else f"the {held} days known of the last {DAYS}"
        return f"{self.limits[incident]} at this time of day on {on} of {days}"


def recurring(values: np.ndarray, by_model: np.ndarray, signals: Sequence[str], conditions: Sequence[Condition],
              run: NDArray[np.int64], likely: NDArray[np.int64], context: np.ndarray, now: float, step: float,
              zone: ZoneInfo, limits: tuple[str, ...]) -> Recurring:
    """Expected incidents of a forecast: values float32 (S, C, H, 3), by_model bool (S, C), `signals` the C names, which
    hold those of the conditions. run: int64 (S, I), for how many steps each has been on, 0 for one that is
    not: these steps are no day before. likely: int64 (S, I), the step from which on it is more likely than not, by its
    chance; 0 for none.

    context: float32 (S, C, T), the last step ending at `now` (Unix s), NaN where unknown; days before it are not held.
    step: s. limits: of the conditions, in words.
    """
    step_of, on_of, held_of = np.zeros((3, *run.shape), np.int64)
    columns = np.array([signals.index(one.signal) for one in conditions], np.int64)
    lasting, last = np.array([one.steps for one in conditions], np.int64), context.shape[2] - 1
    if last * step >= 86400.0:  # a shorter context holds no day
        for i, one in enumerate(conditions):
            outer = values[:, columns[i], :, _P90 if one.sign > 0 else _P10]
            beyond = (one.sign * outer > one.limit) & by_model[:, columns[i], None]
            ahead = np.where(likely[:, i] > 0, likely[:, i], np.where(beyond.any(1), beyond.argmax(1) + 1, 0))
            step_of[:, i] = np.where(run[:, i] > 0, -1, ahead)
    server, incident = np.nonzero(step_of)
    steps, which = np.unique(np.maximum(step_of[server, incident], 0), return_inverse=True)
    reach, lead = round(TOLERANCE / step), max(lasting.max(initial=1) - 1, 0)
    around = np.arange(-reach - lead, reach + 1)
    places = last - _days_before(steps, now, step, zone)[which][..., None] + around  # (expected, DAYS, around)
    before = context[server[:, None, None], columns[incident][:, None, None], np.clip(places, 0, last)]
    before[(places < 0) | (places > last - run[server, incident][:, None, None])] = np.nan
    held = 2 * np.isfinite(before[..., lead:]).sum(axis=2) > 2 * reach + 1
    on_of[server, incident], held_of[server, incident] = 0, held.sum(axis=1)
    for i in np.unique(incident):
        one, rows = conditions[i], incident == i
        on = lasting_least(one.sign * before[rows], one.steps)[..., lead:] > one.limit
        on_of[server[rows], i] = (held[rows] & on.any(axis=2)).sum(axis=1)
    return Recurring(step_of, on_of, held_of, limits)


def _days_before(steps: NDArray[np.int64], now: float, step: float, zone: ZoneInfo) -> NDArray[np.int64]:
    """int64 (steps, DAYS): by how many steps the local time of each step ahead, 1..DAYS days before, precedes `now`."""
    back = np.empty((len(steps), DAYS), np.int64)
    for row, ahead in enumerate(steps.tolist()):
        expected = datetime.fromtimestamp(now + ahead * step, zone)
        back[row] = [round((now - (expected - timedelta(days=day)).timestamp()) / step) for day in range(1, DAYS + 1)]
    return back
