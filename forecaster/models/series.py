"""Inputs of a model of single series: for hosts of any kind, whose signals differ by orders of magnitude.

A row is one signal of one server, scaled by its own last day. Beside the newest steps, the network reads the views
(views.py) and mixes them (network.py), so the forecast of an idle server is exactly idle.

Letters: B rows, C signals, L context steps, T encoder steps, H horizon steps, P decoder positions, Q quantiles, K
views.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecaster.models.features import CLOCK, Variables, clock_inputs
from forecaster.models.views import CONTEXT, DAY, HOUR, VIEWS, analogs, day_before, views
from forecaster.models.zone import changes
from forecaster.signals import Signal

PATCH = 4  # horizon steps of one decoder position
MIN_STEPS = 3
CARRY_STEPS = 6  # as for fleets: the last value stands for the present for at most 30 minutes
STRETCH = 2.0  # arcsinh(distance in spreads) / STRETCH: bursts of any size are a few units
FLOORS = {"percent": 1e-3}  # the smallest spread that matters, by unit; else OTHER_FLOOR
OTHER_FLOOR = 1e-6
HABITS, OTHER_STATICS = 11, 9
SHOWN = 8  # views among the known inputs
ROWS = 128  # at once: bounds memory, and their views stay in a processor's cache


@dataclass(frozen=True)
class SeriesEncoding:
    """What encodes series as in training; stored with the weights."""

    signals: tuple[str, ...]
    floors: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    levels: tuple[float, ...]  # the quantiles
    step: float
    horizon: int
    timezone: str
    encoder_steps: int = 24
    context_steps: int = CONTEXT
    likes: tuple[int, ...] = ()  # place in `signals` of what each further signal, at their end, is forecast like

    def extended(self, signals: Mapping[str, Signal]) -> SeriesEncoding:
        """With those of these signals that it lacks and that are `like` one that it has: each has its own bounds, and
        the floor of its unit."""
        own = self.signals
        new = {name: one for name, one in signals.items() if name not in own and one.like in own}
        return replace(
            self,
            signals=(*own, *new),
            floors=(*self.floors, *(FLOORS.get(one.unit, OTHER_FLOOR) for one in new.values())),
            low=(*self.low, *(one.min for one in new.values())),
            high=(*self.high, *(one.max for one in new.values())),
            likes=(*self.likes, *(self.places[own.index(str(one.like))] for one in new.values())),
        )

    @property
    def places(self) -> tuple[int, ...]:
        """(C,): the place of each signal among those that the weights were trained on."""
        return (*range(len(self.signals) - len(self.likes)), *self.likes)

    @property
    def positions(self) -> int:
        return self.horizon // PATCH

    @property
    def months(self) -> tuple[int, ...]:
        """None: weeks of history do not show the time of year."""
        return ()

    @property
    def outputs(self) -> int:
        """Outputs of one decoder position: weights of the views, then a correction of each step and quantile."""
        return (VIEWS + PATCH) * len(self.levels)

    @property
    def variables(self) -> Variables:
        return Variables(
            {"signal": len(self.signals) - len(self.likes) + 1},
            tuple(f"static_{i}" for i in range(3 * len(self.levels) + 3 + HABITS + OTHER_STATICS)),
            {},
            (*CLOCK, *(f"view_{i}" for i in range(SHOWN))),
            ("series", "repeated"),
        )

    def to_json(self) -> dict[str, Any]:
        """What was trained: without `likes`, which come from a configuration."""
        return {key: value for key, value in asdict(self).items() if key != "likes"} | {"kind": "series"}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SeriesEncoding:
        """The reverse; raises TypeError where a key is missing or unknown."""
        own: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k != "kind"}
        return cls(**own)


def fill(context: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Contexts float32 (B, L), newest last, NaN in gaps -> (filled float32 (B, CONTEXT), known int64 (B,)).

    The last value fills a gap. Before the first value the known part is repeated in whole days or hours, so that its
    quantiles and phases stay. known is the steps since the first value, 0 if the newest is more than CARRY_STEPS old.
    """
    context = context[:, -CONTEXT:].astype(np.float32)
    if context.shape[1] < CONTEXT:
        context = np.pad(context, ((0, 0), (CONTEXT - context.shape[1], 0)), constant_values=np.nan)
    steps = np.arange(CONTEXT)
    seen = np.isfinite(context)
    last = np.maximum.accumulate(np.where(seen, steps, -1), -1)
    filled = np.nan_to_num(np.take_along_axis(context, np.maximum(last, 0), -1))
    first = np.where(seen.any(1), seen.argmax(1), CONTEXT)
    known = np.where(CONTEXT - 1 - last[:, -1] <= CARRY_STEPS, CONTEXT - first, 0)
    for row in np.flatnonzero((known >= 1) & (known < CONTEXT)):
        have = int(known[row])
        period = have // DAY * DAY or have // HOUR * HOUR or have
        block = filled[row, CONTEXT - period :]
        filled[row, : CONTEXT - have] = np.resize(block[::-1], CONTEXT)[::-1][: CONTEXT - have]
    return filled, known


def batch(
    encoding: SeriesEncoding, filled: np.ndarray, known: np.ndarray, signal: np.ndarray, instants: np.ndarray
) -> dict[str, np.ndarray]:
    """Inputs of rows: filled and known as from ``fill``, signal int64 (B,), instants float64 (B,), Unix seconds of now.

    Returns the inputs of ``Tft``, the views, and scale float32 (B, 2): median and spread of the last day.
    """
    levels, horizon, steps = np.array(encoding.levels, np.float32), encoding.horizon, encoding.encoder_steps
    turned = changes(encoding.timezone, instants, np.arange(1 - CONTEXT, horizon + 1), encoding.step)
    seen, yesterday = views(filled, levels, horizon, turned), day_before(filled, turned)
    flat, hours, two_hours, days = (seen[k] for k in ("flat", "hours", "two_hours", "days"))
    middle, high = encoding.levels.index(0.5), encoding.levels.index(0.9)
    floor = np.array(encoding.floors, np.float32)[signal]
    day = filled[:, -DAY:]
    median = flat[:, 3, middle]
    away = np.abs(day - median[:, None])
    spread = np.median(away, -1) + 0.2 * away.mean(-1) + 0.002 * np.abs(median) + floor

    def z(x: NDArray[np.float32]) -> NDArray[np.float32]:
        shape = (-1, *[1] * (x.ndim - 1))
        scaled: NDArray[np.float32] = np.arcsinh((x - median.reshape(shape)) / spread.reshape(shape)) / STRETCH
        return scaled

    seen["analogs"], near = analogs(filled, z(filled), levels, horizon, turned)
    repeated = filled[:, 1:] == filled[:, :-1]
    past, future = np.arange(-steps, 0), np.arange(horizon)

    def ahead(x: NDArray[np.float32]) -> NDArray[np.float32]:
        means: NDArray[np.float32] = z(x).reshape(len(x), -1, PATCH).mean(-1)
        return means

    hour = hours[:, 0]
    before = z(yesterday[:, CONTEXT - DAY - steps : CONTEXT - DAY])
    shown = np.concatenate(
        [
            np.stack(
                [z(hour[:, past % HOUR, middle]), z(hour[:, past % HOUR, high])]
                + [z(two_hours[:, past % (2 * HOUR), middle]), before, before, before, before, before],
                -1,
            ),
            np.stack(
                [ahead(hour[:, future % HOUR, middle]), ahead(hour[:, future % HOUR, high])]
                + [ahead(two_hours[:, future % (2 * HOUR), middle]), ahead(days[:, 1, :, middle])]
                + [ahead(days[:, 1, :, high]), ahead(yesterday[:, CONTEXT - DAY : CONTEXT - DAY + horizon])]
                + [ahead(seen["analogs"][:, 0, :, middle]), ahead(seen["analogs"][:, 1, :, high])],
                -1,
            ),
        ],
        1,
    )
    offsets = np.concatenate([np.arange(1 - steps, 1), np.arange(encoding.positions) * PATCH + (PATCH + 1) / 2])
    clock, _ = clock_inputs(encoding, instants[:, None] + offsets * encoding.step, offsets)
    statics = np.concatenate(
        [z(flat[:, i]) for i in (1, 3, 4)]
        + [z(flat[:, 0][:, [encoding.levels.index(q) for q in (0.1, 0.5, 0.9)]])]
        + [_habits(filled, yesterday, seen, middle, spread, floor)]
        + [np.stack([np.log(spread / floor) / 4, np.arcsinh(median / floor) / 5], -1)]
        + [np.log(known / CONTEXT + 1e-3)[:, None] / 3]
        + [np.stack([repeated[:, -back:].mean(-1) for back in (DAY, 24)], -1)]
        + [np.log(near + 1e-3) / 3]
        + [np.stack([(day == value).mean(-1) for value in (filled[:, -1:], median[:, None])], -1)],
        -1,
    )
    out = {
        "observed": np.stack([z(filled[:, -steps:]), repeated[:, -steps:]], -1),
        "known": np.concatenate([clock, shown], -1),
        "static_reals": np.clip(statics, -6, 6),
        "scale": np.stack([median, spread], -1),
        **seen,
    }
    return {k: v.astype(np.float32) for k, v in out.items()} | {
        "calendar": np.zeros((len(filled), steps + encoding.positions, 0), np.int64),
        "static": np.array(encoding.places, np.int64)[signal][:, None] + 1,
    }


def _habits(
    filled: np.ndarray, yesterday: np.ndarray, seen: dict[str, np.ndarray], middle: int, spread: np.ndarray,
    floor: np.ndarray,
) -> np.ndarray:
    """(B, HABITS): mean errors of simple forecasts over the last day, as logarithms of spreads; yesterday as from
    ``day_before``."""
    day, place = filled[:, -DAY:], np.arange(DAY)
    recent = filled[:, -2 * DAY :]
    levels = np.median(recent.reshape(len(filled), -1, 24), -1)
    errors = [
        day - seen["flat"][:, 3, middle, None],
        day - seen["hours"][:, 0, :, middle][:, place % HOUR],
        day - seen["two_hours"][:, :, middle][:, place % (2 * HOUR)],
        filled[:, DAY:] - yesterday[:, : CONTEXT - DAY],
        day - yesterday[:, CONTEXT - 2 * DAY : CONTEXT - DAY],
        np.diff(day, axis=-1),
        day[:, 24:] - day[:, :-24],
        day[:, HOUR:] - day[:, :-HOUR],
        day - filled[:, -DAY - 96 : -96],
        filled[:, -24:] - seen["flat"][:, 1, middle, None],
        np.diff(levels, axis=-1),
    ]
    least = (0.1 * floor + 1e-4 * spread)[:, None]
    mean = np.stack([np.abs(e).mean(-1) for e in errors], -1)
    return np.log((mean + least) / (spread[:, None] + least)) / 2
