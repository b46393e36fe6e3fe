"""Inputs of a model of single series: for hosts of any kind, whose signals differ by orders of magnitude.

A row is one signal of one server, scaled by its own last day. Beside the newest steps, the network reads "views":
simple forecasts of every step of the horizon. They are the quantiles of the last half hour, two hours, six hours, day
and week; of the same minute of the hour and of two hours; of the same time on the days before; of how far the series
moved within as many steps; and of what followed the moments of the week that resemble the present most (analog
forecasting, Lorenz, J. Atmos. Sci. 26, 1969). The network mixes views (network.py), so the forecast of an idle server
is exactly idle. The same time on the days before is that of the clock, also where it changes: ``clock`` is its offset
from UTC in steps, int (B or 1, CONTEXT + H), or None where it is the same at all of these steps.

Letters: B rows, C signals, L context steps, T encoder steps, H horizon steps, P decoder positions, Q quantiles, K
views.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecaster.models.features import CLOCK, Variables, clock_inputs
from forecaster.models.zone import changes

DAY, HOUR, DAYS = 288, 12, 7
CONTEXT = DAYS * DAY
PATCH = 4  # horizon steps of one decoder position
MIN_STEPS = 3
CARRY_STEPS = 6  # as for fleets: the last value stands for the present for at most 30 minutes
STRETCH = 2.0  # arcsinh(distance in spreads) / STRETCH: bursts of any size are a few units
FLOORS = {"percent": 1e-3}  # the smallest spread that matters, by unit; else OTHER_FLOOR
OTHER_FLOOR = 1e-6
FLAT = (6, 24, 72, DAY, CONTEXT)  # steps back
PHASES = ((DAY, HOUR), (6 * HOUR, HOUR), (CONTEXT, HOUR), (DAY, 2 * HOUR))  # (steps back, period)
AROUND = (0, 1, 3)  # steps around the same time on the days before
MOVES = (1, 3, 6, 12, 24, 48, 96)
ALIKE_STEPS = 60  # steps before a moment that are compared; newer steps weigh more
ALIKE_STRIDE = 2  # steps between two moments that are compared with the present
ALIKE = 32  # moments whose sequels make a view
NEWER, SAME_MINUTE = 0.2, 0.5  # of the mean distance: added for age and for another minute of the hour, second view
ANALOGS = 2
VIEWS = len(FLAT) + len(PHASES) + len(AROUND) + 1 + ANALOGS
HABITS, OTHER_STATICS = 11, 9
SHOWN = 8  # views among the known inputs
ROWS = 128  # at once: bounds memory, and their views stay in a processor's cache
ANALOG_ROWS = 16  # at once: what fits a processor's cache


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
            {"signal": len(self.signals) + 1},
            tuple(f"static_{i}" for i in range(3 * len(self.levels) + 3 + HABITS + OTHER_STATICS)),
            {},
            (*CLOCK, *(f"view_{i}" for i in range(SHOWN))),
            ("series", "repeated"),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"kind": "series"}

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


def quantiles(x: NDArray[np.float32], levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., n) -> (..., Q), linear between order statistics."""
    ordered, n = np.sort(x, -1), x.shape[-1]
    place = levels * (n - 1)
    below = np.floor(place).astype(int)
    share = (place - below).astype(np.float32)
    lower = ordered[..., below]
    upper = ordered[..., np.minimum(below + 1, n - 1)]
    between: NDArray[np.float32] = lower + (upper - lower) * share  # exact where both are equal
    return between


def _days_index(around: int, horizon: int, clock: np.ndarray | None = None) -> np.ndarray:
    """int (B or 1, H, days x (2 around + 1)): places in a context of the same time on the days before."""
    return np.stack(
        [
            (places + shift).clip(0, CONTEXT - 1)
            for day in range(1, DAYS + 1)
            for places in [_days_before(day, CONTEXT, CONTEXT + horizon, clock)]
            for shift in range(-around, around + 1)
        ],
        -1,
    )


def _days_before(days: int, first: int, end: int, clock: np.ndarray | None) -> np.ndarray:
    """int (B or 1, end - first): places of the same time ``days`` days before steps first..end - 1 of context and
    horizon."""
    then = np.arange(first - DAY * days, end - DAY * days)[None]
    if clock is None:
        return then
    places: NDArray[np.int64] = then + clock[:, first:end] - clock[:, first - DAY * days : end - DAY * days]
    if days > 1:  # before the context begins: a day later
        places = np.where(places < 0, _days_before(days - 1, first, end, clock), places)
    return places.clip(0, CONTEXT - 1)


def _read(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(B, ...): values (B, L) at places (1, ...), the same of all rows, or (B, ...), each row's own."""
    if len(places) == 1:
        return values[:, places[0]]
    return np.take_along_axis(values, places.reshape(len(places), -1), 1).reshape(places.shape)


def _day_before(filled: np.ndarray, clock: np.ndarray | None) -> np.ndarray:
    """The value at the same time on the day before, of every step from the second day of the context on and of the
    horizon; as in ``filled``, where no clock changes."""
    if clock is None:
        return filled
    return _read(filled, _days_before(1, DAY, clock.shape[1], clock))


def analogs(
    filled: np.ndarray, scaled: np.ndarray, levels: np.ndarray, horizon: int, clock: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of what followed the moments nearest to the present, and their distance.

    filled and scaled are float32 (B, CONTEXT): values, and the same in the scale in which distances are measured.
    Returns quantiles float32 (B, ANALOGS, H, Q) in signal units, and the mean distance of the moments over that of all
    moments, float32 (B, ANALOGS). The second view counts newer moments and those of the same minute of the hour as
    nearer.
    """
    last = CONTEXT - 1
    moments = np.arange(last - horizon, ALIKE_STEPS - 2, -ALIKE_STRIDE)[::-1]
    apart = np.abs(moments - last) % HOUR
    cost = NEWER * np.linspace(1, 0, len(moments)) + SAME_MINUTE * np.minimum(apart, HOUR - apart) / (HOUR / 2)
    after = np.arange(1, horizon + 1)[None]
    if clock is not None:
        after = after + clock[:, CONTEXT:] - clock[:, last, None]
    out = np.empty((len(filled), ANALOGS, horizon, len(levels)), np.float32)
    near = np.empty((len(filled), ANALOGS), np.float32)
    for begin in range(0, len(filled), ANALOG_ROWS):
        rows = slice(begin, begin + ANALOG_ROWS)
        distance = _distances(scaled[rows], moments)
        mean = distance.mean(1, keepdims=True) + 1e-9
        for view, judged in enumerate((distance, distance + mean * cost.astype(np.float32))):
            chosen = np.argpartition(judged, ALIKE, 1)[:, :ALIKE]
            row = np.arange(len(chosen))[:, None]
            places = moments[chosen][:, :, None] + (after if len(after) == 1 else after[rows])[:, None]
            if clock is not None:
                places = places.clip(0, last)
            sequels = filled[rows][row[..., None], places]
            out[rows, view] = quantiles(sequels.transpose(0, 2, 1), levels)
            near[rows, view] = distance[row, chosen].mean(1) / mean[:, 0]
    return out, near


def _distances(scaled: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """float32 (B, moments): weighted squared distance of the ALIKE_STEPS before each moment from those before now."""
    total = np.zeros((len(scaled), len(moments)), np.float32)
    step = np.empty_like(total)
    for back in range(ALIKE_STEPS):
        now = CONTEXT - 1 - back
        then = scaled[:, moments[0] - back : moments[-1] - back + 1 : ALIKE_STRIDE]
        np.subtract(then, scaled[:, now : now + 1], out=step)
        np.multiply(step, step, out=step)
        step *= np.float32(1 / (1 + 4 * back / ALIKE_STEPS))
        total += step
    return total


def views(
    filled: np.ndarray, levels: np.ndarray, horizon: int, clock: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The views but for the analogs, float32 in signal units: flat (B, 5, Q), hours (B, 3, 12, Q), two_hours (B, 24,
    Q), days (B, 3, H, Q) and moves (B, len(MOVES), Q)."""
    rows = len(filled)
    phases = [quantiles(filled[:, -back:].reshape(rows, -1, n).transpose(0, 2, 1), levels) for back, n in PHASES]
    recent = filled[:, -2 * DAY :]
    moves = np.stack([quantiles(recent[:, k:] - recent[:, :-k], levels) for k in MOVES], 1)
    return {
        "flat": np.stack([quantiles(filled[:, -back :: 4 if back > DAY else 1], levels) for back in FLAT], 1),
        "hours": np.stack(phases[:3], 1),
        "two_hours": phases[3],
        "days": np.stack([quantiles(_read(filled, _days_index(n, horizon, clock)), levels) for n in AROUND], 1),
        "moves": filled[:, -1, None, None] + moves,
    }


def batch(
    encoding: SeriesEncoding, filled: np.ndarray, known: np.ndarray, signal: np.ndarray, instants: np.ndarray
) -> dict[str, np.ndarray]:
    """Inputs of rows: filled and known as from ``fill``, signal int64 (B,), instants float64 (B,), Unix seconds of now.

    Returns the inputs of ``Tft``, the views, and scale float32 (B, 2): median and spread of the last day.
    """
    levels, horizon, steps = np.array(encoding.levels, np.float32), encoding.horizon, encoding.encoder_steps
    turned = changes(encoding.timezone, instants, np.arange(1 - CONTEXT, horizon + 1), encoding.step)
    seen, yesterday = views(filled, levels, horizon, turned), _day_before(filled, turned)
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
        "static": signal[:, None].astype(np.int64) + 1,
    }


def _habits(
    filled: np.ndarray, yesterday: np.ndarray, seen: dict[str, np.ndarray], middle: int, spread: np.ndarray,
    floor: np.ndarray,
) -> np.ndarray:
    """(B, HABITS): mean errors of simple forecasts over the last day, as logarithms of spreads; yesterday as from
    ``_day_before``."""
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
