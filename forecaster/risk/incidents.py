"""The configured incidents of each server: which are on, how likely each is, when it begins, and what speaks for it.

An incident is unknown, NaN, for servers that it is not meant for or that have no value of its signal. Its chance is
known where a model forecasts the signal and chances were trained with the model: the trend's band is not a
distribution. Whether it is on is read from the newest values alone.

Letters: S servers, C signals, I incidents, H horizon steps, T steps of history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from forecaster.models.forecast import Forecast
from forecaster.models.series import FLOORS, OTHER_FLOOR
from forecaster.risk.chances import WINDOWS, Chances
from forecaster.risk.conditions import Condition
from forecaster.risk.evidence import DAY
from forecaster.risk.known import named
from forecaster.risk.priority import PRIORITIES, by_chance
from forecaster.risk.recurring import Recurring, recurring
from forecaster.risk.thresholds import Priorities
from forecaster.signals import Signal

USUAL_DAYS = 2  # of the last 7, on which an incident was on, from which on it is usual for a server
LEAST_DAYS = 3  # held; with fewer it is not known what is usual
UNITS = {"percent": " %", "ratio": "", "milliseconds": " ms", "seconds": " s", "megabytes_per_second": " MB/s",
         "bytes_per_second": " B/s", "bytes": " B", "per_second": " /s", "count": ""}

Wide = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Incidents:
    """What is known of every incident of every server; times in Unix seconds."""

    names: tuple[str, ...]  # I
    conditions: tuple[Condition, ...]  # I
    known: NDArray[np.bool_]  # (S, I): the server is meant and has a value
    on: NDArray[np.bool_]  # (S, I)
    chance: Mapping[str, Wide]  # window -> (S, I): on at any time within the window, NaN where unknown
    expected: Wide  # (S, I): when it begins, where that is more likely than not within 8 hours and it is not on
    days: NDArray[np.int64]  # (S, I): of the last 7, on which it was on
    recurring: Recurring  # on the days before at the expected time, (S, I)
    priority: tuple[str | None, ...]  # S, by the chances; None where nothing is forecast or known
    leading: NDArray[np.int64]  # (S,): the incident to name first, -1 for none
    texts: tuple[str, ...]  # I: "CPU above 95 %"
    zone: ZoneInfo

    def begin(self, window: str) -> Wide:
        """float64 (S, I): the chance that it begins within the window; NaN while it is on."""
        return np.where(self.on, np.nan, self.chance[window])

    def any(self, window: str) -> Wide:
        """float64 (S,): the chance of any incident within the window, with incidents independent; NaN where none is
        known."""
        chance = self.chance[window]
        calm = np.log1p(-np.minimum(np.nan_to_num(chance), 1 - 1e-12)).sum(1)
        return np.where(np.isfinite(chance).any(1), -np.expm1(calm), np.nan)

    def message(self, server: int) -> str:
        """One sentence about the leading incident of the server at this index; empty without one."""
        one = int(self.leading[server])
        if one < 0:
            return ""
        chances = [f"{self.chance[window][server, one]:.0%} within {words}"
                   for window, words in (("30m", "30 minutes"), ("8h", "8 hours"))
                   if np.isfinite(self.chance[window][server, one])]
        said = f"chance {', '.join(chances)}" if chances else "no calibrated chance"
        if self.on[server, one]:
            begin = f"{self.texts[one]} now"
        elif np.isfinite(self.expected[server, one]):
            at = datetime.fromtimestamp(self.expected[server, one], self.zone)
            begin = f"{self.texts[one]} expected at {at:%H:%M %Z}"
        else:
            begin = f"{self.texts[one]} possible"
        before = self.recurring.text(server, one)
        return f"{begin}, {said}{before and '; '}{before}"


def find(
    conditions: Mapping[str, Condition], chances: Chances | None, forecast: Forecast, signals: Mapping[str, Signal],
    names: tuple[tuple[str, ...], tuple[str, ...]], observed: NDArray[np.float32], context: NDArray[np.float32],
    now: float, step: float, zone: ZoneInfo, limits: Priorities,
) -> Incidents:
    """The incidents of a forecast. signals: the C by name. names: of S servers and their profiles. observed: float32
    (S, C), the latest means, NaN where there is none. context: float32 (S, C, T), the last step ending at ``now``, NaN
    where unknown. step: s. floors: least spread that matters, by signal."""
    columns, shape = [*signals], (len(observed), len(conditions))
    known, on = np.zeros((2, *shape), bool)
    chance, expected = {window: np.full(shape, np.nan) for window in WINDOWS}, np.full(shape, np.nan)
    days, held = np.zeros((2, *shape), np.int64)
    for i, one in enumerate(conditions.values()):
        column = columns.index(one.signal)
        known[:, i] = one.meant(*names) & np.isfinite(observed[:, column])
        values = one.sign * context[:, column]
        beyond: NDArray[np.bool_] = values > one.limit
        on[:, i] = known[:, i] & np.all(beyond[:, -one.steps :], axis=1)
        days[:, i], held[:, i] = _days(values, beyond)
        if chances is not None:
            rows, by_window, first = _chances(chances, one, forecast, signals, known[:, i], context[:, column])
            for window, values_of in by_window.items():
                chance[window][rows, i] = values_of
            ahead = (first > 0) & ~on[rows, i]
            expected[rows[ahead], i] = now + step * first[ahead]
    usual = (days >= USUAL_DAYS) | (held < LEAST_DAYS)
    before = recurring(forecast.values, forecast.by_model, columns, tuple(conditions.values()), context, now,
                       step, zone, tuple(_limit(one, signals) for one in conditions.values()))
    rank, leading = by_chance(tuple(conditions.values()), on, chance, usual, before.ratio, limits)
    some = known.any(1) & (forecast.servers_by_model | np.isfinite(forecast.values[:, :, 0, 1]).any(1) | on.any(1))
    priority = named(PRIORITIES, np.where(some, rank, -1))
    return Incidents(
        tuple(conditions), tuple(conditions.values()), known, on, chance, expected, days, before, priority, leading,
        tuple(f"{signals[one.signal].title or one.signal} {_limit(one, signals)}" for one in conditions.values()), zone)


def _chances(
    chances: Chances, one: Condition, forecast: Forecast, signals: Mapping[str, Signal], known: NDArray[np.bool_],
    history: NDArray[np.float32],
) -> tuple[NDArray[np.int64], dict[str, Wide], NDArray[np.int64]]:
    """(rows, chances by window, first step as in ``Chances.of``) of the servers of which the model forecasts the
    signal."""
    said, column = forecast.quantiles, [*signals].index(one.signal)
    rows = np.flatnonzero(known & forecast.by_model[:, column])
    if said is None or one.signal not in said.signals or not rows.size:
        return rows[:0], {}, rows[:0]
    place = (np.cumsum(forecast.servers_by_model) - 1)[rows]
    quantiles = said.values[place, said.signals.index(one.signal)]
    floor = FLOORS.get(signals[one.signal].unit, OTHER_FLOOR)
    return rows, *chances.of(one, history[rows], quantiles, said.levels, floor)


def _days(values: NDArray[np.float32], beyond: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """int64 (S,) each: of the last 7 days, those with any step beyond the limit, and those held at all."""
    count = values.shape[1] // DAY
    if not count:
        nothing = np.zeros(len(values), np.int64)
        return nothing, nothing
    shape = len(values), count, DAY
    held = np.isfinite(values[:, -count * DAY :]).reshape(shape).any(2)
    return beyond[:, -count * DAY :].reshape(shape).any(2).sum(1), held.sum(1)


def _limit(one: Condition, signals: Mapping[str, Signal]) -> str:
    return f"{'above' if one.sign > 0 else 'below'} {one.sign * one.limit:g}{UNITS[signals[one.signal].unit]}"
