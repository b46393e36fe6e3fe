"""The configured incidents of each server: which are on, how likely each is, when it begins, and what speaks for it.

An incident is unknown, NaN, for servers that it is not meant for or whose signal has no forecast. Its chance is known
where a model forecasts the signal and chances were trained with the model: the trend's band is not a distribution.
Whether it is on is read from the newest values alone; a gap of at most CARRY_STEPS has the value before it.

Letters: S servers, C signals, I incidents, H horizon steps, T steps of history, N pairs of a server and an incident.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from forecaster.models.features import CARRY_STEPS
from forecaster.models.forecast import Forecast
from forecaster.models.series import FLOORS, OTHER_FLOOR
from forecaster.risk.chances import WINDOWS, Chances, signed
from forecaster.risk.conditions import Condition
from forecaster.risk.evidence import DAY, calm, lasting_least
from forecaster.risk.known import named
from forecaster.risk.priority import PRIORITIES, by_chance, ranks
from forecaster.risk.recurring import Recurring, recurring
from forecaster.risk.thresholds import Priorities
from forecaster.signals import Signal

DAYS = 7  # that are looked back on
USUAL_DAYS = 2  # of these, on which an incident was on, from which on it is usual for a server
LEAST_DAYS = 3  # held, of which more than half is known; with fewer it is not known what is usual
UNITS = {"percent": "%", "ratio": "", "milliseconds": " ms", "seconds": " s", "megabytes_per_second": " MB/s",
         "bytes_per_second": " B/s", "bytes": " B", "per_second": " /s", "count": ""}

PAIRS = 1024  # judged at once, which bounds the memory

Wide = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Incidents:
    """What is known of every incident of every server; times in Unix seconds."""

    names: tuple[str, ...]  # I
    conditions: tuple[Condition, ...]  # I
    known: NDArray[np.bool_]  # (S, I): the server is meant and its signal is forecast
    on: NDArray[np.bool_]  # (S, I)
    chance: Mapping[str, Wide]  # window -> (S, I): on at any time within the window, NaN where unknown
    expected: Wide  # (S, I): when it begins, where that is more likely than not within 8 hours and it is not on
    days: NDArray[np.int64]  # (S, I): of the last 7, on which it was on; counted where it is on or likely
    recurring: Recurring  # on the days before at the expected time, (S, I)
    priority: tuple[str | None, ...]  # S, by the chances; None where nothing is forecast
    ranks: NDArray[np.int64]  # (S, I): position in PRIORITIES of what each gives by its chance, -1 where unknown
    leading: NDArray[np.int64]  # (S,): the incident to name first, -1 for none
    matters: NDArray[np.bool_]  # (S, I): it may give the server more than P3
    texts: tuple[str, ...]  # I: "CPU above 95%"
    zone: ZoneInfo
    chances: Chances | None = None  # that they are by

    def begin(self, window: str) -> Wide:
        """float64 (S, I): the chance that it begins within the window; NaN while it is on."""
        return np.where(self.on, np.nan, self.chance[window])

    def any(self, window: str) -> Wide:
        """float64 (S,): the chance of any incident within the window, NaN where none is known: the largest of the
        server's incidents that may give it more than P3, since one of them seldom comes without the others. One that is
        on without a known chance counts as certain."""
        chance = np.where(self.on & np.isnan(self.chance[window]), 1.0, self.chance[window])
        largest: Wide = np.fmax.reduce(np.where(self.matters, chance, np.nan), axis=1, initial=np.nan)
        return largest

    def any_server(self) -> dict[str, float]:
        """By window, the chance that any of the servers has an incident; empty where chances are not known."""
        return self.chances.of_fleet({window: self.any(window) for window in WINDOWS}) if self.chances else {}

    def only(self, rows: NDArray[np.int64]) -> Incidents:
        """Those of the servers at these rows."""
        return replace(
            self, known=self.known[rows], on=self.on[rows], expected=self.expected[rows], days=self.days[rows],
            chance={window: chance[rows] for window, chance in self.chance.items()}, ranks=self.ranks[rows],
            recurring=self.recurring.only(rows), priority=tuple(self.priority[row] for row in rows.tolist()),
            leading=self.leading[rows], matters=self.matters[rows])

    def nothing(self, server: int) -> str:
        """What is said of a server without a leading incident."""
        if np.isfinite(self.chance["8h"][server]).any():
            return "No incident predicted within 8 hours"
        return "No incident now, chances are unknown" if self.known[server].any() else "No incident is defined for it"

    def message(self, server: int) -> str:
        """One sentence about the leading incident of the server at this index; empty without one."""
        one = int(self.leading[server])
        if one < 0:
            return ""
        chances = [f"{self.chance[window][server, one]:.0%} within {words}"
                   for window, words in (("30m", "30 minutes"), ("8h", "8 hours"))
                   if np.isfinite(self.chance[window][server, one])]
        on = self.on[server, one]
        said = f"chance {'that it goes on ' if on else ''}{', '.join(chances)}" if chances else "no calibrated chance"
        if on:
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
    names: tuple[tuple[str, ...], tuple[str, ...]], context: NDArray[np.float32], now: float, step: float,
    zone: ZoneInfo, limits: Priorities,
) -> Incidents:
    """The incidents of a forecast. signals: the C by name. names: of S servers and their profiles. context: float32
    (S, C, T), the last step ending at ``now``, NaN where unknown; an incident that must last longer than T steps is on
    after T. step: s."""
    of, columns = tuple(conditions.values()), [*signals]
    column = np.array([columns.index(one.signal) for one in of], np.int64)
    known = np.isfinite(forecast.values[:, column, 0, 1])
    on, newest = np.zeros(known.shape, bool), _newest(context, max((one.steps for one in of), default=1))
    for i, one in enumerate(of):
        known[:, i] &= one.meant(*names)
        on[:, i] = known[:, i] & (one.sign * newest[:, column[i], -one.steps :] > one.limit).all(1)
    chance, first = _chances(chances, of, column, forecast, signals, known, context)
    expected = np.where((first > 0) & ~on, now + step * first, np.nan)
    words = tuple(_limit(one, signals) for one in of)
    run = _running(of, column, on, context)
    before = recurring(forecast.values, forecast.by_model, columns, of, run, first, context, now, step, zone, words)
    asked = on | (chance["8h"] >= limits.p2_chance) | (chance["30m"] >= limits.p1_chance)
    days, held = _days(of, column, asked, run, context)
    habit = days >= USUAL_DAYS
    usual = habit | (held < LEAST_DAYS)
    judged = of, on, chance, usual, habit, before.ratio, limits
    rank, leading = by_chance(*judged)
    gives = np.where(on | np.isfinite(chance["30m"]), ranks(*judged), -1)
    priority = named(PRIORITIES, np.where(np.isfinite(forecast.values[:, :, 0, 1]).any(1), rank, -1))
    texts = tuple(f"{signals[one.signal].title or one.signal} {limit}" for one, limit in zip(of, words, strict=True))
    return Incidents(
        tuple(conditions), of, known, on, chance, expected, days, before, priority, gives, leading,
        _matters(of, days, held), texts, zone, chances)


def _newest(context: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """float32 (S, C, steps or fewer): the newest, where a gap of at most CARRY_STEPS has the value before it."""
    tail = context[..., -steps - CARRY_STEPS :]
    if not np.isfinite(tail).all():
        tail = tail.copy()
        for _ in range(CARRY_STEPS):
            tail[..., 1:] = np.where(np.isnan(tail[..., 1:]), tail[..., :-1], tail[..., 1:])
    return tail[..., -steps:]


def _chances(
    chances: Chances | None, of: tuple[Condition, ...], column: NDArray[np.int64], forecast: Forecast,
    signals: Mapping[str, Signal], known: NDArray[np.bool_], context: NDArray[np.float32],
) -> tuple[dict[str, Wide], NDArray[np.int64]]:
    """(chances (S, I) by window, first steps int64 (S, I), as in ``Chances.judged``) where the model forecasts it.

    Pairs that are calm are told by their smallest and largest values; the others are judged
    together, since a call for each incident would cost several times as much."""
    said, known = forecast.quantiles, known & forecast.by_model[:, column]
    found, first, near = np.full((*known.shape, len(WINDOWS)), np.nan), np.zeros(known.shape, np.int64), known.copy()
    if chances is not None and said is not None and known.any():
        place = np.cumsum(forecast.servers_by_model) - 1
        at = np.array([said.signals.index(one.signal) if one.signal in said.signals else -1 for one in of], np.int64)
        bounds = np.array([one.limit for one in of], np.float32)
        kinds = [(one.steps, one.sign, FLOORS.get(signals[one.signal].unit, OTHER_FLOOR)) for one in of]
        for signal, sign in {(one.signal, one.sign) for one in of}:
            same = [i for i, one in enumerate(of) if (one.signal, one.sign) == (signal, sign) and known[:, i].any()]
            if same:
                smallest, past, ahead = _range(context[:, column[same[0]]], said.values[:, at[same[0]]], sign)
                largest = np.fmax(past, ahead[place])
                near[:, same] &= ~calm(smallest[:, None], largest[:, None], bounds[same])
        found[known] = chances.calm
        for kind in sorted(set(kinds)):
            pairs, (steps, sign, floor) = np.argwhere(near & [kind == other for other in kinds]), kind
            for server, i in (pairs[begin : begin + PAIRS].T for begin in range(0, len(pairs), PAIRS)):
                history, quantiles, levels = signed(
                    sign, context[server, column[i]], said.values[place[server], at[i]], said.levels)
                judged = chances.judged(history, quantiles, levels, bounds[i], steps, floor)
                found[server, i], first[server, i] = judged
    return {window: found[..., k] for k, window in enumerate(WINDOWS)}, first


def _range(history: NDArray[np.float32], quantiles: NDArray[np.float32], sign: int) -> tuple[NDArray[np.float32], ...]:
    """(smallest, largest) of each history (S, T) and the largest of quantiles (N, H, Q); of the negated signal for sign
    -1."""
    smallest, largest = np.fmin.reduce(history, 1), np.fmax.reduce(history, 1)
    if sign > 0:
        return smallest, largest, quantiles[..., -1].max(1)
    return -largest, -smallest, -quantiles[..., 0].min(1)


def _matters(of: tuple[Condition, ...], days: NDArray[np.int64], held: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool (S, I): whether an incident may give a server more than P3, as far as its days are known."""
    highest, alone = (np.array([name != "P3" for name in names], bool) for names in (
        [one.severity for one in of], [one.alone or one.severity for one in of]))
    return highest & (alone | (days < USUAL_DAYS))


def _running(of: tuple[Condition, ...], column: NDArray[np.int64], on: NDArray[np.bool_], context: NDArray[np.float32]
             ) -> NDArray[np.int64]:
    """int64 (S, I): for how many steps an incident that is on has been so without a break, 0 for one that is not, and 1
    from LEAST_DAYS on: by then it is how the server is, as a clock that nothing sets."""
    run = np.zeros(on.shape, np.int64)
    for server, i in np.argwhere(on).tolist():
        off = of[i].sign * context[server, column[i], ::-1] <= of[i].limit
        run[server, i] = off.argmax() if off.any() else len(off)
    return np.where(run < LEAST_DAYS * DAY, run, 1)


def _days(of: tuple[Condition, ...], column: NDArray[np.int64], asked: NDArray[np.bool_], run: NDArray[np.int64],
          context: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """int64 (S, I) each, 0 where not asked: of the last DAYS, those on which the incident was on, and those held. The
    steps of a run that still lasts do not count: a first trouble is no habit on its second day."""
    days, held = np.zeros((2, *asked.shape), np.int64)
    count = min(DAYS, context.shape[2] // DAY)
    for i, one in enumerate(of if count else ()):
        rows = np.flatnonzero(asked[:, i])
        values = one.sign * context[rows, column[i]]
        by_day = len(rows), count, DAY
        ended = np.arange(values.shape[1]) < values.shape[1] - run[rows, i, None]
        on = (ended & (lasting_least(values, one.steps) > one.limit))[:, -count * DAY :].reshape(by_day)
        seen = np.isfinite(values)[:, -count * DAY :].reshape(by_day)
        days[rows, i], held[rows, i] = on.any(2).sum(1), (2 * seen.sum(2) > DAY).sum(1)
    return days, held


def _limit(one: Condition, signals: Mapping[str, Signal]) -> str:
    return f"{'above' if one.sign > 0 else 'below'} {one.sign * one.limit:g}{UNITS[signals[one.signal].unit]}"
