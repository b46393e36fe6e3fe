"""What speaks for an incident: the inputs of the chances (chances.py), from a forecast and the history before it.

All inputs are relative to the incident's limit and to the series' own spread, so that one set of weights serves every
signal and every limit. An incident below a limit is one above it of the negated series. The condition of a step is the
least of the last ``lasting`` steps' values; it is on where that is above the limit.

    forecast   the chance that a step is on, from all quantiles: its largest, mean and joint value over stretches of the
               horizon; distances of the quantiles from the limit
    now        the newest values, their extremes over the last minutes to the last week, how long it has been on or off
    habit      how often it was on and began at the same time on the days before, at the same minute of the hours
               before, and in any half hour and shift of the week

Letters: N rows, T steps of history, H horizon steps, Q quantiles, F inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

DAY, HOUR, WEEK = 288, 12, 2016  # steps
SPANS = (6, 96)  # steps within which an incident is foreseen: 30 minutes and 8 hours
STRETCHES = ((0, 1), (0, 3), (0, 6), (6, 12), (12, 24), (24, 48), (48, 96), (0, 96))
BACK = (3, 6, 12, 24, 96, DAY, WEEK)
CALM = 0.5  # of a series' range, that a limit is above its largest value and forecast, from which on it is calm
LIMIT = 9.0  # largest log odds
ROWS = 128  # at once: what fits a processor's cache

Floats = NDArray[np.float32]
Far = Callable[[Floats], Floats]


def exceedance(quantiles: Floats, levels: Sequence[float], limit: Floats) -> Floats:
    """float32 (N, H): 1 - F(limit) of quantile functions (N, H, Q) rising along Q at ``levels``, limits (N,).

    Linear between two quantiles, exponential beyond the outermost with the scale of the two outermost."""
    at = np.asarray(levels, np.float32)
    away = quantiles - limit[:, None, None]
    below = (away <= 0).sum(-1)  # number of quantiles up to the limit
    right = np.clip(below, 1, len(at) - 1)
    x0, x1 = (np.take_along_axis(away, (right - k)[..., None], -1)[..., 0] for k in (1, 0))
    share = np.clip(-x0 / np.maximum(x1 - x0, 1e-9), 0, 1)
    inside = 1 - (at[right - 1] + share * (at[right] - at[right - 1]))
    with np.errstate(over="ignore"):
        top = (1 - at[-1]) * np.exp(np.minimum(away[..., -1], 0) / _fade(away[..., -2:], at[-2:]))
        low = 1 - at[0] * np.exp(-np.maximum(away[..., 0], 0) / _fade(away[..., 1::-1], 1 - at[1::-1]))
    made: Floats = np.where(below == 0, low, np.where(below == len(at), top, inside)).astype(np.float32)
    return made


def _fade(outer: Floats, levels: Floats) -> Floats:
    """Scale of the exponential through the two outermost quantiles (..., 2)."""
    distance = np.abs(outer[..., 1] - outer[..., 0])
    scale: Floats = np.maximum(distance / np.log((1 - levels[0]) / (1 - levels[1])), 1e-6)
    return scale


def lasting_least(values: Floats, steps: int) -> Floats:
    """The least of each step and the steps - 1 before it, along the last axis; the first steps take what is there."""
    least = values
    for shift in range(1, steps):
        least = np.concatenate([least[..., :shift], np.minimum(least[..., shift:], values[..., :-shift])], -1)
    return least


def carried(history: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """(history float32 (N, T) with gaps filled by the value before, and its beginning by the first value; steps since
    the first value, (N,))."""
    seen, steps = np.isfinite(history), np.arange(history.shape[1])
    if seen.all():
        return history, np.full(len(history), history.shape[1])
    last = np.maximum.accumulate(np.where(seen, steps, -1), 1)
    first = np.where(seen.any(1), seen.argmax(1), history.shape[1] - 1)
    filled: Floats = np.nan_to_num(np.take_along_axis(history, np.maximum(last, first[:, None]), 1))
    return filled, np.maximum(history.shape[1] - first, 1)


def calm(smallest: Floats, largest: Floats, limit: Floats) -> NDArray[np.bool_]:
    """bool (...): whether a series is far from its limit, by its smallest value and the largest of its history and of
    all quantiles of its forecast. Its chance is not worth a look at the evidence."""
    far: NDArray[np.bool_] = limit - largest > CALM * (largest - np.fmin(smallest, largest))  # no history has NaN
    return far


def begun(history: Floats, quantiles: Floats, levels: Sequence[float], limit: Floats, lasting: int,
          chances: NDArray[np.float64]) -> NDArray[np.int64]:
    """int64 (N,): the first step, from 1, by which the incident is more likely than not to have begun; 0 for none.

    chances: float64 (N, 2) of SPANS. The chance within all steps is spread over them as the forecast alone has it,
    with steps independent; one that must last counts the steps of the history (N, T) that are beyond the limit."""
    past = (history[:, history.shape[1] - min(lasting - 1, history.shape[1]) :] > limit[:, None]).astype(np.float32)
    ahead = np.concatenate([past, exceedance(quantiles, levels, limit)], 1)
    chance = lasting_least(ahead, lasting)[:, past.shape[1] :].astype(np.float64)
    until = -np.expm1(np.cumsum(np.log1p(-np.minimum(chance, 1 - 1e-9)), 1))
    by_step = chances[:, -1:] * until / np.maximum(until[:, -1:], 1e-300)
    by_step[:, SPANS[0] - 1 :] = np.maximum(by_step[:, SPANS[0] - 1 :], chances[:, :1])
    late = by_step >= 0.5
    return np.where(late.any(1), late.argmax(1) + 1, 0)


def evidence(
    history: Floats, known: NDArray[np.int64], quantiles: Floats, levels: Sequence[float], limit: Floats,
    lasting: int, floor: float,
) -> Floats:
    """float32 (N, F).

    history: float32 (N, T) without NaN, newest last; what is before the newest ``known`` (N,) steps does not count.
    quantiles: float32 (N, H, Q), finite, rising along Q at ``levels``. limit: (N,). floor: least spread that matters,
    in the signal's unit.
    """
    parts = [_evidence(history[rows], known[rows], quantiles[rows], levels, limit[rows], lasting, floor)
             for rows in (slice(begin, begin + ROWS) for begin in range(0, len(history), ROWS))]
    return np.concatenate(parts) if parts else np.zeros((0, INPUTS), np.float32)


def _evidence(history: Floats, known: NDArray[np.int64], quantiles: Floats, levels: Sequence[float], limit: Floats,
              lasting: int, floor: float) -> Floats:
    steps = history.shape[1]
    values = lasting_least(history, lasting)
    if (known < steps).any():
        held = np.arange(steps) >= steps - known[:, None]
        values = np.where(held, values, np.float32(-np.inf))
    on = values > limit[:, None]
    day = history[:, -DAY:]
    middle = np.median(day, 1)
    away = np.abs(day - middle[:, None])
    spread = np.median(away, 1) + 0.2 * away.mean(1) + 0.002 * np.abs(middle) + floor

    def far(x: Floats) -> Floats:
        """Distance above the limit in spreads, compressed."""
        distance: Floats = np.arcsinh(np.maximum((x - limit) / spread, -1e6))
        return distance

    out = [*_of_forecast(quantiles, levels, limit, lasting, far)]
    out += [far(values[:, -1]), far(history[:, -1]), far(history[:, -2:].min(1)),
            np.arcsinh((history[:, -1] - history[:, -min(4, steps)]) / spread)]
    for back in BACK:
        part, count = values[:, -back:], np.clip(known, 1, back)
        out += [far(part.max(1)), on[:, -back:].sum(1) / count]
        if back <= DAY:
            out.append(far(history[:, -back:].mean(1)))
    out += [*_habits(values, on, known, far)]
    out += [np.log(spread), np.arcsinh((limit - middle) / spread), np.log(known / WEEK + 1e-3),
            np.full(len(limit), float(lasting))]
    made: Floats = np.stack(out, 1).astype(np.float32)
    return made


def _of_forecast(quantiles: Floats, levels: Sequence[float], limit: Floats, lasting: int, far: Far
                 ) -> Iterator[NDArray[Any]]:
    chance = lasting_least(exceedance(quantiles, levels, limit), lasting)
    calm = np.log1p(-np.minimum(chance, 1 - 1e-6))
    for begin, end in STRETCHES:
        part = chance[:, begin:end]
        yield log_odds(part.max(1))
        yield log_odds(part.mean(1))
        yield log_odds(-np.expm1(calm[:, begin:end].sum(1)))
    for level in ([*levels].index(0.5), [*levels].index(0.9), -1):
        for span in SPANS:
            yield far(quantiles[:, :span, level].max(1))


def _habits(values: Floats, on: NDArray[np.bool_], known: NDArray[np.int64], far: Far) -> Iterator[NDArray[Any]]:
    steps, rows = values.shape[1], len(values)
    begins = np.zeros_like(on)
    begins[:, 1:] = on[:, 1:] & ~on[:, :-1]
    for state in (on, ~on):  # steps since it was on, and off
        yield np.log1p(np.minimum(np.where(state.any(1), state[:, ::-1].argmax(1), steps), WEEK))
    yield np.log1p(begins[:, -DAY:].sum(1))
    count = begins.sum(1)
    yield np.log1p(count)
    yield np.log1p(on.sum(1) / np.maximum(count, 1))
    days = [k for k in range(1, 8) if DAY * k <= steps]
    for span in SPANS:
        cuts = [slice(steps - DAY * k, steps - DAY * k + span) for k in days]
        held = np.stack([known >= DAY * k for k in days], 1) if days else np.zeros((rows, 0), bool)
        was = np.stack([on[:, cut].any(1) for cut in cuts], 1) if days else held
        began = np.stack([begins[:, cut].any(1) for cut in cuts], 1) if days else held
        peak: Floats = np.stack([values[:, cut].max(1) for cut in cuts] if days else [values.max(1)], 1)
        seen = np.maximum(held.sum(1), 1)
        yield (was & held).sum(1) / seen
        yield (was & held)[:, :3].sum(1) / np.clip(seen, 1, 3)
        yield np.asarray((was & held)[:, :1].any(1))
        yield np.asarray((was & held)[:, 6:].any(1))
        yield (began & held).sum(1) / seen
        yield np.asarray((began & held)[:, :1].any(1))
        yield far(peak.max(1))
        yield far(np.sort(peak, 1)[:, peak.shape[1] // 2])
        yield far(peak[:, 0])
    hours = range(1, 25) if steps >= DAY else range(1, steps // HOUR + 1)
    if len(hours):
        cuts = [slice(steps - HOUR * k, steps - HOUR * k + 6) for k in hours]
        was = np.stack([on[:, cut].any(1) for cut in cuts], 1)
        began = np.stack([begins[:, cut].any(1) for cut in cuts], 1)
        seen = np.clip(known // HOUR, 1, len(hours))
        yield was.sum(1) / seen
        yield was[:, :3].sum(1) / np.clip(seen, 1, 3)
        yield began.sum(1) / seen
    else:
        for _ in range(3):
            yield np.zeros(rows)
    for span in SPANS:
        blocks = steps // span
        shape = rows, max(blocks, 1), min(span, steps)
        whole = shape[1] * shape[2]
        of = on[:, steps - whole :].reshape(shape)
        starts = _any(begins[:, steps - whole :].reshape(shape)) & ~of[:, :, 0]
        seen = np.maximum(known // span, 1)
        free = np.maximum((~of[:, :, 0]).sum(1) - (shape[1] - np.minimum(seen, shape[1])), 1)
        yield _any(of).sum(1) / seen
        yield starts.sum(1) / free


def _any(parts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Along the last axis; several times as fast as any() where that is short."""
    found: NDArray[np.bool_] = np.any(np.ascontiguousarray(np.moveaxis(parts, -1, 0)), axis=0)
    return found


def log_odds(chance: Floats) -> Floats:
    """Logit, within +-LIMIT."""
    with np.errstate(divide="ignore"):
        odds: Floats = np.log(chance) - np.log1p(-np.minimum(chance, np.float32(1 - 1e-7)))
    return np.clip(odds, -LIMIT, LIMIT)


_OF_BACK = sum(3 if back <= DAY else 2 for back in BACK)
INPUTS = 3 * len(STRETCHES) + 3 * len(SPANS) + 4 + _OF_BACK + 5 + 9 * len(SPANS) + 3 + 2 * len(SPANS) + 4
