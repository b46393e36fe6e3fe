"""Forecasts anyone could make without a model: what a model has to beat.

Each is a function (window float32 (N, C, T), newest step last, NaN where unobserved) -> float32 (N, C, 96, 3). Values
cannot be negative in any signal we know, so lower bounds are 0 where the yardstick's own band would fall below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from forecaster.evaluation.scoring import DAY, LEVELS
from forecaster.models import heuristic
from forecaster.signals import HORIZON_STEPS, Signal

HOUR = 12  # steps
TREND_STEPS = 12  # predict_linear(x[1h], ...): the hour most alert rules look back


def bridge(window: np.ndarray) -> np.ndarray:
    """Gaps carry the last value on; before the first value the first is used, without any it is 0."""
    steps = np.arange(window.shape[-1])
    known = np.isfinite(window)
    last = np.maximum.accumulate(np.where(known, steps, -1), -1)
    last = np.where(last < 0, known.argmax(-1)[..., None], last)
    return np.nan_to_num(np.take_along_axis(window, last, -1))


def _quantiles(values: np.ndarray) -> np.ndarray:
    """(..., n) -> (..., 3) at LEVELS."""
    return np.moveaxis(np.quantile(values, LEVELS, axis=-1), 0, -1)


def last_day(window: np.ndarray) -> np.ndarray:
    """The quantiles of the last 24 hours, at every step."""
    return np.repeat(_quantiles(bridge(window)[..., -DAY:])[:, :, None], HORIZON_STEPS, 2).astype(np.float32)


def seasonal_naive(window: np.ndarray) -> np.ndarray:
    """Yesterday's value at the same time, with the band of the day-to-day differences before. Needs two days; with less
    it is the last day's quantiles."""
    if window.shape[-1] < 2 * DAY:
        return last_day(window)
    c = bridge(window)
    band = _quantiles(c[..., DAY:] - c[..., :-DAY])
    day = c[..., -DAY:][..., :HORIZON_STEPS]
    return np.stack([np.maximum(day + band[..., k, None] * (k != 1), 0) for k in range(3)], -1).astype(np.float32)


def persistence(window: np.ndarray) -> np.ndarray:
    """The newest value, with the band of how far the last day moved within as many steps."""
    c = bridge(window)[..., -2 * DAY :]
    now, at = c[..., -1], (1, 2, 3, 6, 12, 24, 48, 96)
    known = [k for k in at if k < c.shape[-1]] or [0]
    moves = np.stack([_quantiles(c[..., k:] - c[..., : c.shape[-1] - k]) for k in known], 2)
    steps = np.arange(1, HORIZON_STEPS + 1)
    right = np.clip(np.searchsorted(known, steps), 0, len(known) - 1)
    left = np.maximum(right - 1, 0)
    gap = np.maximum(np.array(known)[right] - np.array(known)[left], 1)
    share = np.clip((steps - np.array(known)[left]) / gap, 0, 1)[:, None]
    band = moves[:, :, left] * (1 - share) + moves[:, :, right] * share
    band[..., 1] = 0
    return np.sort(np.maximum(now[..., None, None] + band, 0), -1).astype(np.float32)


def predict_linear(window: np.ndarray) -> np.ndarray:
    """PromQL's predict_linear over the last hour: a least-squares line and no band (p10 = p50 = p90)."""
    c = bridge(window)[..., -TREND_STEPS:]
    x = np.arange(c.shape[-1]) - (c.shape[-1] - 1)
    slope = ((x - x.mean()) * c).sum(-1) / max(float(((x - x.mean()) ** 2).sum()), 1e-12)
    level = c.mean(-1) - slope * x.mean()
    line = np.maximum(level[..., None] + slope[..., None] * np.arange(1, HORIZON_STEPS + 1), 0)
    return np.repeat(line[..., None], 3, -1).astype(np.float32)


def by_heuristic(signals: Mapping[str, Signal]) -> Callable[[np.ndarray], np.ndarray]:
    """The trend heuristic as it is served."""
    return lambda window: heuristic.forecast(window[..., -heuristic.FIT_STEPS :], signals)


def named(signals: Mapping[str, Signal]) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """All yardsticks by the name that `backtest --model` takes."""
    return {
        "heuristic": by_heuristic(signals),
        "persistence": persistence,
        "seasonal-naive": seasonal_naive,
        "last-day": last_day,
        "predict-linear": predict_linear,
    }
