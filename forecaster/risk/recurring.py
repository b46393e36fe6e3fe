"""Whether an expected incident was on at that time of day on the days before, as nightly work is.

An incident of a role is a step whose mean is above the role's severe threshold (thresholds.py). It is expected at the
first step of the horizon whose p90 by the model is above that threshold: the score and its message go by p90, too. The
trend heuristic knows no time of day and expects none. The share reads the values of the last 7 days within 30 minutes
of the same local time of day, because nightly work does not begin on the minute:

    a day is held   where more than half of these values are known
    it is on        where one of them is above the threshold
    ratio           days on / days held; NaN for fewer than 3 days held, and where no incident is expected

A local time that a clock change leaves out is that of the clock before the change.

S servers, C signals, H horizon steps, T steps of history, R roles in the order of INCIDENTS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from forecaster.risk.thresholds import RiskConfig

INCIDENTS = {"cpu": "cpu_saturated", "memory": "memory_exhausted", "latency": "latency_high"}  # by role, as points
_UNITS = {"cpu": "%", "memory": "%", "latency": " ms"}
DAYS = 7
MIN_DAYS = 3
TOLERANCE = 1800.0  # s, to either side

_P90 = 2  # position on a forecast's last axis


@dataclass(frozen=True, eq=False)
class Recurring:
    """Expected incidents of each server and role, and the days before; zeros where none is expected."""

    step: NDArray[np.int64]  # (S, R) first 1-based step above the threshold
    on: NDArray[np.int64]    # (S, R) days
    held: NDArray[np.int64]  # (S, R) days
    limits: tuple[str, ...]  # R, the thresholds with their units

    @property
    def ratio(self) -> NDArray[np.float64]:
        """float64 (S, R): share of the days held on which it was on; NaN for fewer than MIN_DAYS."""
        return np.where(self.held >= MIN_DAYS, self.on / np.maximum(self.held, 1), np.nan)

    def text(self, server: int, role: int, within: int) -> str:
        """In words, for an incident that is expected `within` so many steps; empty without one, or without days."""
        step, on, held = (int(of[server, role]) for of in (self.step, self.on, self.held))
        if not 0 < step <= within or held < MIN_DAYS:
            return ""
        days = f"the last {DAYS} days" if held == DAYS else f"the {held} days known of the last {DAYS}"
        return f"above {self.limits[role]} at this time of day on {on} of {days}"


def recurring(values: np.ndarray, by_model: np.ndarray, signals: Sequence[str], config: RiskConfig,
              context: np.ndarray, now: float, step: float, zone: ZoneInfo) -> Recurring:
    """Expected incidents of a forecast: values float32 (S, C, H, 3), by_model bool (S, C), `signals` the C names.

    context: float32 (S, C, T), the last step ending at `now` (Unix s), NaN where unknown; days before it are not held.
    step: s.
    """
    limits = np.array([getattr(config.severe, role) for role in INCIDENTS])
    names = tuple(f"{limit:g}{_UNITS[role]}" for role, limit in zip(INCIDENTS, limits, strict=True))
    step_of, on_of, held_of = np.zeros((3, len(values), len(INCIDENTS)), np.int64)
    known = {position: signals.index(signal) for position, role in enumerate(INCIDENTS)
             if (signal := getattr(config.roles, role)) in signals}
    positions, columns = (np.array([*part], np.int64) for part in (known, known.values()))
    above = values[..., _P90][:, columns] > limits[positions, None]  # (S, known roles, H)
    reach, last = round(TOLERANCE / step), context.shape[2] - 1
    above &= by_model[:, columns, None] & (last * step >= 86400.0)  # a shorter context holds no day
    server, role = np.nonzero(above.any(axis=2))
    first = above[server, role].argmax(axis=1) + 1
    steps, which = np.unique(first, return_inverse=True)
    around = np.arange(-reach, reach + 1)
    places = last - _days_before(steps, now, step, zone)[which][..., None] + around  # (expected, DAYS, around)
    before = context[server[:, None, None], columns[role][:, None, None], np.clip(places, 0, last)]
    before[(places < 0) | (places > last)] = np.nan
    held = 2 * np.isfinite(before).sum(axis=2) > around.size
    on = held & (before > limits[positions][role][:, None, None]).any(axis=2)
    for days, counted in ((step_of, first), (on_of, on.sum(axis=1)), (held_of, held.sum(axis=1))):
        days[server, positions[role]] = counted
    return Recurring(step_of, on_of, held_of, names)


def _days_before(steps: NDArray[np.int64], now: float, step: float, zone: ZoneInfo) -> NDArray[np.int64]:
    """int64 (steps, DAYS): by how many steps the local time of each step ahead, 1..DAYS days before, precedes `now`."""
    back = np.empty((len(steps), DAYS), np.int64)
    for row, ahead in enumerate(steps.tolist()):
        expected = datetime.fromtimestamp(now + ahead * step, zone)
        back[row] = [round((now - (expected - timedelta(days=day)).timestamp()) / step) for day in range(1, DAYS + 1)]
    return back
