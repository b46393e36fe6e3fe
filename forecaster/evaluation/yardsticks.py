"""Forecasts without a model, which a model has to beat.

Each is a function (window float32 (N, C, T), newest step last, NaN where unobserved) -> float32 (N, C, 96, 3). Values
below 0 are raised to 0, since no signal we know is negative. """

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from forecaster.evaluation.scoring import DAY, LEVELS, Floats
from forecaster.models import heuristic
from forecaster.signals import HORIZON_STEPS, Signal

HOUR = 12  # steps
TREND_STEPS = HOUR  # predict_linear(x[1h], ...): the range that most alert rules use
MOVES = (1, 2, 3, 6, 12, 24, 48, 96)  # steps ahead at which persistence measures its band
NAMES = ("heuristic", "persistence", "seasonal-naive", "last-day", "predict-linear")  # as `backtest --model` takes them

Yardstick = Callable[[Floats], Floats]


def bridge(window: Floats) -> Floats:
    """Fills gaps with the value before, else with the first value after, else with 0."""
    steps = np.arange(window.shape[-1])
    known = np.isfinite(window)
    last = np.maximum.accumulate(np.where(known, steps, -1), -1)
    last = np.where(last < 0, known.argmax(-1)[..., None], last)
    filled: Floats = np.nan_to_num(np.take_along_axis(window, last, -1))
    return filled


def _quantiles(values: Floats) -> Any:
    """(..., n) -> (..., 3) at LEVELS."""
    return np.moveaxis(np.quantile(values, LEVELS, axis=-1), 0, -1)


def last_day(window: Floats) -> Floats:
    """The quantiles of the last 24 hours, at every step."""
    return np.repeat(_quantiles(bridge(window)[..., -DAY:])[:, :, None], HORIZON_STEPS, 2).astype(np.float32)


def seasonal_naive(window: Floats) -> Floats:
    """The value 24 hours before, with the quantiles of the differences from day to day as band. Windows shorter than
    two days get the last day's quantiles."""
    if window.shape[-1] < 2 * DAY:
        return last_day(window)
    c = bridge(window)
    band = _quantiles(c[..., DAY:] - c[..., :-DAY])
    day = c[..., -DAY:][..., :HORIZON_STEPS]
    return np.stack([np.maximum(day + band[..., k, None] * (k != 1), 0) for k in range(3)], -1).astype(np.float32)


def persistence(window: Floats) -> Floats:
    """The latest value, with the quantiles of the last day's changes over equally many steps as band."""
    c = bridge(window)[..., -2 * DAY :]
    now = c[..., -1]
    known = [k for k in MOVES if k < c.shape[-1]] or [0]
    moves = np.stack([_quantiles(c[..., k:] - c[..., : c.shape[-1] - k]) for k in known], 2)
    steps = np.arange(1, HORIZON_STEPS + 1)
    right = np.clip(np.searchsorted(known, steps), 0, len(known) - 1)
    left = np.maximum(right - 1, 0)
    gap = np.maximum(np.array(known)[right] - np.array(known)[left], 1)
    share = np.clip((steps - np.array(known)[left]) / gap, 0, 1)[:, None]
    band = moves[:, :, left] * (1 - share) + moves[:, :, right] * share
    band[..., 1] = 0
    return np.sort(np.maximum(now[..., None, None] + band, 0), -1).astype(np.float32)


def predict_linear(window: Floats) -> Floats:
    """PromQL's predict_linear over the last hour: a least-squares line without a band (p10 = p50 = p90)."""
    c = bridge(window)[..., -TREND_STEPS:]
    x = np.arange(c.shape[-1]) - (c.shape[-1] - 1)
    slope = ((x - x.mean()) * c).sum(-1) / max(float(((x - x.mean()) ** 2).sum()), 1e-12)
    level = c.mean(-1) - slope * x.mean()
    line = np.maximum(level[..., None] + slope[..., None] * np.arange(1, HORIZON_STEPS + 1), 0)
    return np.repeat(line[..., None], 3, -1).astype(np.float32)


def by_heuristic(signals: Mapping[str, Signal]) -> Yardstick:
    """The trend heuristic as it is served."""
    return lambda window: heuristic.forecast(window[..., -heuristic.FIT_STEPS :], signals)


def named(signals: Mapping[str, Signal]) -> dict[str, Yardstick]:
    """All yardsticks by name."""
    functions = (by_heuristic(signals), persistence, seasonal_naive, last_day, predict_linear)
    return dict(zip(NAMES, functions, strict=True))
