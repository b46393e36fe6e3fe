"""Trend heuristic: the forecast of servers that the model cannot forecast yet.

Letters: S servers, C signals, T encoder steps, H horizon steps, Q quantiles.

A straight line is fitted to the last 12 steps and continues from the last value observed. Around it lies a
band of 10 percentage points, widened by noise of 2 points that grows with the square root of the distance:

    p50(t)      = current + trend * t, kept inside the bounds        t = 0 .. H-1: the first step is `current`
    quantile(t) = p50(t) + unit * z * (10 / z90 + 2 * sqrt(t + 1))   z = normal quantile, z90 = 1.2816

At p10 and p90 that is -/+ (10 + 1.2816 * 2 * sqrt(t + 1)) points. The quantiles of the noise are computed, not
drawn at random, so equal input gives equal output.

`unit` is a percentage point in the signal's unit: a hundredth of the span between the signal's bounds; for a
signal that lacks a bound, a hundredth of twice its largest magnitude in those 12 steps (or of the last value
observed, if it is older). All values are clipped to the signal's bounds.
"""

from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from forecaster.signals import HORIZON_STEPS, Signal

FIT_STEPS = 12          # one hour: the points the line is fitted to
BAND_POINTS = 10.0      # percentage points between p50 and p10 or p90 before any noise
NOISE_POINTS = 2.0      # standard deviation of the noise at the first step, in percentage points

_NORMAL = NormalDist()
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def forecast(encoder: np.ndarray, signals: Mapping[str, Signal] | Sequence[Signal],
             horizon: int | Sequence[int] = HORIZON_STEPS, quantiles: Sequence[float] = (0.1, 0.5, 0.9)) -> np.ndarray:
    """float32 (S, C, H, Q) in signal units, rising along Q (`quantiles` must rise), inside the bounds.

    `encoder` is float32 (S, C, T), newest step last, NaN where unobserved; `signals` describes its C columns. `horizon`
    is the number of steps ahead, or the steps themselves, counted from 1. One observation continues level; a signal
    without any is NaN.
    """
    described = tuple(signals.values()) if isinstance(signals, Mapping) else tuple(signals)
    if encoder.ndim != 3 or encoder.shape[1] != len(described):
        raise ValueError(f"encoder has shape {encoder.shape}, expected (S, {len(described)} signals, T)")
    current = _last_observed(encoder)
    steps = np.arange(horizon, dtype=np.float64) if isinstance(horizon, int) else np.array(horizon, np.float64) - 1
    center = current[..., None] + _slope(encoder)[..., None] * steps
    z = np.array([_NORMAL.inv_cdf(quantile) for quantile in quantiles])
    points = z * (BAND_POINTS / _NORMAL.inv_cdf(0.9) + NOISE_POINTS * np.sqrt(steps + 1)[:, None])  # (H, Q)
    low, high = _bounds(described)
    center = np.clip(center, low[:, None], high[:, None])  # first: at a bound, the band stays
    values = center[..., None] + _unit(encoder, current, low, high)[..., None, None] * points
    low, high = (np.nan_to_num(bound, posinf=_FLOAT32_MAX, neginf=-_FLOAT32_MAX) for bound in (low, high))
    clipped: NDArray[np.float64] = np.clip(values, low[:, None, None], high[:, None, None])
    return clipped.astype(np.float32)


def trend(encoder: np.ndarray) -> np.ndarray:
    """float32 (S, C): recent change per step in signal units; 0 for one observation, NaN for none."""
    return np.clip(_slope(encoder), -_FLOAT32_MAX, _FLOAT32_MAX).astype(np.float32)


def _recent(encoder: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last FIT_STEPS steps: values float64 (S, C, <=12) with 0 where unobserved, observed bool."""
    recent = encoder[..., -FIT_STEPS:].astype(np.float64)
    observed = np.isfinite(recent)
    return np.where(observed, recent, 0.0), observed


def _slope(encoder: np.ndarray) -> NDArray[np.float64]:
    """Least-squares slope float64 (S, C) over the steps observed; NaN where the encoder is empty."""
    values, observed = _recent(encoder)
    steps = np.arange(values.shape[-1], dtype=np.float64)
    count = np.maximum(observed.sum(axis=-1), 1)[..., None]
    distance = np.where(observed, steps - (observed * steps).sum(axis=-1, keepdims=True) / count, 0.0)
    rise = np.where(observed, values - values.sum(axis=-1, keepdims=True) / count, 0.0)
    spread = (distance**2).sum(axis=-1)
    slope = (distance * rise).sum(axis=-1) / np.where(spread > 0, spread, 1.0)
    return np.where(np.isfinite(encoder).any(axis=-1), slope, np.nan)


def _last_observed(encoder: np.ndarray) -> np.ndarray:
    """The newest observed value float64 (S, C); NaN where there is none."""
    if not encoder.shape[-1]:
        return np.full(encoder.shape[:-1], np.nan)
    observed = np.isfinite(encoder)
    newest = encoder.shape[-1] - 1 - observed[..., ::-1].argmax(axis=-1)
    last = np.take_along_axis(encoder, newest[..., None], axis=-1)[..., 0].astype(np.float64)
    return np.where(observed.any(axis=-1), last, np.nan)


def _bounds(signals: Sequence[Signal]) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds float64 (C,), infinite where there is none."""
    low = [-np.inf if signal.min is None else signal.min for signal in signals]
    high = [np.inf if signal.max is None else signal.max for signal in signals]
    return np.array(low, np.float64), np.array(high, np.float64)


def _unit(encoder: np.ndarray, current: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """One percentage point in each signal's unit, float64 (S, C)."""
    largest = np.abs(_recent(encoder)[0]).max(axis=-1, initial=0.0)
    magnitude = np.where(largest > 0, largest, np.abs(current))
    span = high - low
    unit: NDArray[np.float64] = np.where(np.isfinite(span), span, 2 * magnitude) / 100
    return unit
