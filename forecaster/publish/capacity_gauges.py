"""The gauges of what fills up: every forecast_capacity_* and observed_capacity_* family, rendered once a pass.

With `publish.gauges: essential`, every entity has the families marked `always` (of the forecasts, p50 and p90 at the
last horizon), and the others only where it may fill up: a chance of MATTERS within 14 days, or p90 at CLOSE of the
limit by then.

Letters: N entities.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from forecaster.board import Board
from forecaster.capacity.forecast import WINDOWS
from forecaster.capacity.outlook import PERCENTILES, PRIORITIES, Outlook
from serving.exposition import Prepared, escape_label_value, render_family

HORIZONS = {"1d": 24, "3d": 72, "7d": 168, "14d": 336}  # hours
LABELS = ("server", "profile", "resource", "entity")
MATTERS = 0.01  # chance of full within 14 days
CLOSE = 0.8  # share of the limit
Values = npt.NDArray[Any]
_ONE: tuple[tuple[str, ...], ...] = ((),)


@dataclass(frozen=True)
class Family:
    """One family: `more` are the values of the labels after LABELS, `values` the numbers (N, rows of `more`)."""

    name: str
    labels: tuple[str, ...]
    unit: str
    help: str
    more: tuple[tuple[str, ...], ...]
    values: Callable[[Outlook], Values]
    always: bool = False  # also of an entity that will not fill up
    outlives: bool = False  # also shown when the outlook is too old


def _column(values: Callable[[Outlook], Values]) -> Callable[[Outlook], Values]:
    return lambda of: values(of)[:, None]


def _at_horizons(of: Outlook) -> Values:
    hours = [hours - 1 for hours in HORIZONS.values()]
    return of.filling.used[:, hours].transpose(0, 2, 1).reshape(len(of.entities), len(PERCENTILES) * len(hours))


def _priorities(of: Outlook) -> Values:
    return np.where(of.priority[:, None] == np.arange(1, len(PRIORITIES) + 1), 1.0, np.nan)


def _full(of: Outlook) -> Values:
    highest = [[of.resources[one.resource].highest == which for which in PRIORITIES] for one in of.entities]
    return np.where(of.full[:, None] & np.array(highest, bool).reshape(-1, len(PRIORITIES)), 1.0, np.nan)


FAMILIES = (
    Family("observed_capacity_used_ratio", (), "ratio", "Used share of the limit, when it was last seen.", _ONE,
           _column(lambda of: of.used), always=True),
    Family("forecast_capacity_used_ratio", ("percentile", "horizon"), "ratio",
           "Forecast of the used share of the limit at the horizon (1d, 3d, 7d, 14d). From where it is full on, it "
           "stays full. The hourly curve is read with source='curve'.",
           tuple(product(PERCENTILES, HORIZONS)), _at_horizons, always=True),
    Family("forecast_capacity_full_chance", ("window",), "ratio",
           "Chance that it is full at any time within the window (4h, 24h, 7d, 14d), 0 to 1.",
           tuple((window,) for window in WINDOWS), lambda of: of.filling.chance, always=True),
    Family("forecast_capacity_full_timestamp_seconds", ("percentile",), "Unix seconds",
           "Time at which the percentile's curve reaches the limit; no series where that is not within 14 days.",
           tuple((percentile,) for percentile in PERCENTILES), lambda of: of.filling.full_at),
    Family("forecast_capacity_priority", ("priority",), "1",
           "1 for its priority (P1, P2 or P3), by capacity.priorities; no series without one, as while it is full.",
           tuple((priority,) for priority in PRIORITIES), _priorities, always=True),
    Family("observed_capacity_full", ("priority",), "1",
           "1 where it is at its limit now and was below it within the last week; no series otherwise, nor where its "
           "resource may have no priority. The label is the highest that it may have.",
           tuple((priority,) for priority in PRIORITIES), _full, always=True),
    Family("observed_capacity_size", ("unit",), "by the label unit", "The limit, where capacity has a query for it.",
           _ONE, _column(lambda of: of.size)),
    Family("observed_capacity_growth_ratio_per_day", (), "ratio per day", "Growth of the used share a day, now.", _ONE,
           _column(lambda of: of.filling.growth)),
    Family("observed_capacity_previous_growth_ratio_per_day", (), "ratio per day",
           "Growth of the used share a day before it changed; no series where it has not changed.", _ONE,
           _column(lambda of: of.filling.growth_before)),
    Family("observed_capacity_growth_changed_timestamp_seconds", (), "Unix seconds",
           "Time at which the growth changed; no series where it has not.", _ONE,
           _column(lambda of: of.filling.changed_at)),
    Family("observed_capacity_largest_step_ratio", (), "ratio",
           "Largest rise of the used share within an hour, of the last 24 hours and the present one.", _ONE,
           _column(lambda of: of.filling.step)),
    Family("observed_capacity_largest_step_timestamp_seconds", (), "Unix seconds",
           "End of that hour, or the pass; no series without a rise.", _ONE, _column(lambda of: of.filling.step_at)),
    Family("observed_capacity_last_seen_timestamp_seconds", (), "Unix seconds", "Time of its latest value.", _ONE,
           _column(lambda of: of.last_seen), always=True, outlives=True),
)

METRICS = tuple((of.name, (*LABELS, *of.labels), of.unit, of.help) for of in FAMILIES)


class CapacityCollector:
    """The text of the families for a board's latest Outlook; `every`: all of them for every entity."""

    def __init__(self, board: Board[Outlook], clock: Callable[[], float] = time.time, every: bool = False):
        self._board, self._clock, self._every = board, clock, every
        self._lock = threading.Lock()
        self._made: tuple[tuple[Outlook, Prepared, Prepared], ...] = ()  # of the next Outlook and of the shown one

    def over(self, board: Board[Outlook]) -> CapacityCollector:
        """One with the same settings over another board."""
        return CapacityCollector(board, self._clock, self._every)

    def prepare(self, outlook: Outlook) -> int:
        """Renders and compresses it before it is published; the bytes without compression."""
        parts = self._text(outlook)
        for part in parts:
            part.pack()
        return sum(len(part.text) for part in parts)

    def exposition(self) -> tuple[Prepared, ...]:
        """The gauges to show now."""
        outlook = self._board.last
        if outlook is None:
            return ()
        outliving, others = self._text(outlook)
        return (others, outliving) if self._board.current(self._clock()) is outlook else (outliving,)

    def _text(self, outlook: Outlook) -> tuple[Prepared, Prepared]:
        """(families that outlive the outlook, all others)."""
        for known, outliving, others in self._made:  # no lock: a scrape must not wait for the next Outlook's text
            if known is outlook:
                return outliving, others
        with self._lock:
            outliving, others = (Prepared("".join(self._families(outlook, outlives)).encode())
                                 for outlives in (True, False))
            self._made = ((outlook, outliving, others), *self._made[:1])
            return outliving, others

    def _families(self, of: Outlook, outlives: bool) -> Iterator[str]:
        own = [_pairs(LABELS, (one.server, one.profile, one.resource, one.name)) for one in of.entities]
        units = {name: "," + _pairs(("unit",), (about.unit,)) for name, about in of.resources.items()}
        rest = np.full(len(own), True) if self._every else matters(of)
        for family in FAMILIES:
            if family.outlives != outlives:
                continue
            values = np.asarray(family.values(of))
            if not family.always:
                values = np.where(rest[:, None], values, values.dtype.type(np.nan))
            elif family.labels == ("percentile", "horizon"):
                values = np.where(rest[:, None] | _few(values), values, values.dtype.type(np.nan))
            shown, start = ~np.isnan(values), f"{family.name}{{"
            if family.labels == ("unit",):
                found = np.flatnonzero(shown).tolist()
                prefixes = [f"{start}{own[n]}{units[of.entities[n].resource]}}} " for n in found]
            else:  # what is the same of many series is written once: there are 100,000 of them
                more = ["," * bool(one) + _pairs(family.labels, one) for one in family.more]
                prefixes = [f"{start}{own[n]}{more[k]}}} " for n, k in np.argwhere(shown).tolist()]
            yield render_family(family.name, family.help, prefixes, values[shown])


def _pairs(labels: tuple[str, ...], values: tuple[str, ...]) -> str:
    return ",".join(f'{label}="{escape_label_value(value)}"' for label, value in zip(labels, values, strict=True))


def _few(at_horizons: Values) -> npt.NDArray[np.bool_]:
    """bool, of the shape of _at_horizons: p50 and p90 at the last horizon, which a resource may limit."""
    known = np.isfinite(at_horizons).reshape(-1, len(PERCENTILES), len(HORIZONS))
    last = known & ~np.concatenate([known[:, :, 1:], np.zeros_like(known[:, :, :1])], 2)
    last[:, PERCENTILES.index("p10")] = False
    found: npt.NDArray[np.bool_] = last.reshape(at_horizons.shape)
    return found


def matters(of: Outlook) -> npt.NDArray[np.bool_]:
    """bool (N,): entities that may fill up within 14 days, or within the shorter horizon of their resource."""
    chance, highest = (np.fmax.reduce(values, axis=1) for values in (of.filling.chance, of.filling.used[:, :, -1]))
    found: npt.NDArray[np.bool_] = (chance >= MATTERS) | (highest >= CLOSE * of.limit) | of.full
    return found
