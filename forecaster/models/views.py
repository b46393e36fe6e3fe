"""Views: simple forecasts of every step of the horizon, which a model of single series mixes.

They are the quantiles of the last half hour, two hours, six hours, day and week; of the same minute of the hour and of
two hours; of the same time on the days before; of how far the series moved within as many steps; and of what followed
the moments of the week that resemble the present most (analog forecasting, Lorenz, J. Atmos. Sci. 26, 1969).

The same time on the days before is that of the clock, also where it changes: ``clock`` is its offset from UTC in steps,
int (B or 1, CONTEXT + H) as from ``zone.changes``, or None where it is the same at all of these steps.

Letters: B rows, H horizon steps, Q quantiles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DAY, HOUR, DAYS = 288, 12, 7
CONTEXT = DAYS * DAY
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
ANALOG_ROWS = 16  # at once: what fits a processor's cache


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


def day_before(filled: np.ndarray, clock: np.ndarray | None) -> np.ndarray:
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
