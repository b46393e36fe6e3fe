"""Scores of forecasts against their outcomes, as sums that can be added up over steps; pure functions.

Sums give, per signal and horizon, the share of outcomes between p10 and p90, and the pinball loss divided by the trend
heuristic's on the same outcomes. The distance of an outcome from the median, in half-bands of the forecast before any
widening, is counted in bins; the factor that a band needs is the 80 % quantile of these distances. A band without width
is left out: idle servers sit exactly on their forecast, and a factor cannot widen it.

Letters: S servers, C signals, K horizons, H horizon steps; the last axis of a forecast is p10, p50, p90.
"""

import numpy as np
import numpy.typing as npt

from forecaster.memory.ring import Values

LEVELS = np.array([0.1, 0.5, 0.9], np.float32)
WANTED = 0.8  # coverage of p10 to p90
BINS = np.geomspace(0.02, 50.0, 60)  # distances in half-bands
COUNTED, COVERED, COVERED_RAW, LOSS, LOSS_HEURISTIC, FIRST_BIN = range(6)
COLUMNS = FIRST_BIN + len(BINS) + 1  # of the sums
EACH = 4  # of those of each server: counted, covered, loss, and loss of the heuristic

Figures = npt.NDArray[np.float64]


def each(forecasts: Values, y: Values) -> Figures:
    """(S, C, EACH) of published, raw and heuristic quantiles (3, S, C, 3) and outcomes y (S, C); 0 where unknown."""
    known = np.isfinite(y) & np.isfinite(forecasts).all((0, -1))
    published, _, heuristic = np.where(known[..., None], forecasts, 0)
    y = np.where(known, y, 0)
    covered = known & (published[..., 0] <= y) & (y <= published[..., 2])
    return np.stack([known, covered, *(_loss(made, y) * known for made in (published, heuristic))], axis=-1)


def _loss(made: Values, y: Values) -> Figures:
    """(S, C): the pinball loss, the mean over the levels, times two."""
    error = y[..., None] - made
    loss: Figures = 2 * np.maximum(LEVELS * error, (LEVELS - 1) * error).mean(-1)
    return loss


def scored(forecasts: Values, y: Values) -> Figures:
    """(C, columns) of published, raw and heuristic quantiles (3, S, C, 3) and outcomes y (S, C)."""
    known = np.isfinite(y) & np.isfinite(forecasts).all((0, -1))
    out = np.zeros((y.shape[1], COLUMNS))
    out[:, [COUNTED, COVERED, LOSS, LOSS_HEURISTIC]] = each(forecasts, y).sum(0)
    raw, y = np.where(known[..., None], forecasts[1], 0), np.where(known, y, 0)
    out[:, COVERED_RAW] = (known & (raw[..., 0] <= y) & (y <= raw[..., 2])).sum(0)
    half = np.where(y >= raw[..., 1], raw[..., 2] - raw[..., 1], raw[..., 1] - raw[..., 0])
    usable = known & (half > 0)
    place = np.searchsorted(BINS, np.abs(y - raw[..., 1]) / np.where(usable, half, 1))
    for c in range(y.shape[1]):
        out[c, FIRST_BIN:] = np.bincount(place[usable[:, c], c], minlength=len(BINS) + 1)
    return out


def needed_factors(total: Figures) -> Figures:
    """(C, K) from sums (C, K, columns): the factor with which the bands would have covered WANTED of the outcomes."""
    counts = total[..., FIRST_BIN:]
    share = counts.cumsum(-1) / np.maximum(counts.sum(-1, keepdims=True), 1)
    factors: Figures = BINS[np.minimum((share < WANTED).sum(-1), len(BINS) - 1)]
    return factors


def figures(total: Figures, enough: npt.NDArray[np.bool_]) -> tuple[Figures, Figures]:
    """Coverage and loss ratio (C, K) of sums (C, K, columns); NaN where not enough was scored."""
    coverage = np.where(enough, total[..., COVERED] / np.maximum(total[..., COUNTED], 1), np.nan)
    base = np.where(enough & (total[..., LOSS_HEURISTIC] > 0), total[..., LOSS_HEURISTIC], np.nan)
    loss: Figures = total[..., LOSS] / base
    return coverage, loss


def widen(forecast: Values, factors: Values, low: Figures, high: Figures) -> Values:
    """Forecasts (S, C, H, 3) with half-bands times factors (C, H), clipped to bounds (C,), which may be infinite."""
    middle = forecast[..., 1:2]
    wide = middle + (forecast - middle) * factors[..., None]
    return np.clip(wide, low[:, None, None], high[:, None, None]).astype(np.float32)
