"""Figures of forecasts: pure functions of forecasts and actual values.

Letters: N windows, C signals, H = 96 horizon steps; the last axis of a forecast is p10, p50, p90. NaN targets are never
scored; a figure of no targets is NaN.

wql: sum of pinball losses (times 2) over the sum of |actual|, mean over the three quantiles (Gneiting and Raftery, JASA
2007, for why the loss is proper). sql: each window's mean loss over that signal's own day-ago error in the week before
(floor 1e-3), geometric mean over windows, so that every server counts alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]
Figures = dict[str, Any]  # by name: numbers, and tables of such under "signals" and the like

LEVELS = np.array([0.1, 0.5, 0.9], np.float32)
DAY = 288  # steps
SPANS = {"30m": 6, "8h": 96}  # steps 1..k
HORIZONS = {"5m": 1, "30m": 6, "1h": 12, "4h": 48, "8h": 96}  # step k alone
_PARTS = {label: slice(steps) for label, steps in SPANS.items()} | {
    f"at_{label}": slice(step - 1, step) for label, step in HORIZONS.items()}
RATIO_FLOOR = 1e-6
MAPE_FLOOR = 1.0  # percent: below, a relative error of a percentage has no meaning
MAPE_SHARE = 0.01  # of the mean magnitude: the same floor for signals of other units
TINY = 1e-12  # least divisor
BINS = 10


def loss(forecast: Floats, truth: Floats) -> Floats:
    """Pinball loss x 2, (N, C, H, 3), NaN where truth (N, C, H) is."""
    error = truth[..., None] - forecast
    doubled: Floats = 2 * np.maximum(LEVELS * error, (LEVELS - 1) * error)
    return doubled


def covered(forecast: Floats, truth: Floats) -> Floats:
    """(N, C, H): 1 where truth lies between p10 and p90, edges included, else 0; NaN where either is unknown."""
    inside = (forecast[..., 0] <= truth) & (truth <= forecast[..., 2])
    return np.where(np.isfinite(truth) & np.isfinite(forecast[..., 0]), inside, np.nan)


def figures(forecast: Floats, truth: Floats, scale: Floats | None, signals: Sequence[str]) -> Figures:
    """All figures of one forecaster: {"windows": N, "signals": {name: {figure: value}}} and the means over signals.

    forecast float32 (N, C, H, 3), truth (N, C, H), scale (N, C) as from ``dataset.day_ago_error`` or None where
    contexts are too short for it. """
    losses, inside = loss(forecast, truth), covered(forecast, truth)
    table: dict[str, dict[str, float]] = {}
    for i, name in enumerate(signals):
        y, row = np.abs(truth[:, i]), dict[str, float]()
        for label, steps in _PARTS.items():
            mean = _mean(losses[:, i, steps])
            row[f"wql_{label}"] = mean / max(_mean(y[:, steps]), TINY)
            row[f"pinball_{label}"] = mean / 2
            row[f"coverage80_{label}"] = _mean(inside[:, i, steps])
        floor = MAPE_FLOOR if name.endswith("_pct") else max(MAPE_SHARE * float(np.nan_to_num(_mean(y))), TINY)
        for label, step in SPANS.items():
            row[f"mape_{label}"] = mape(forecast[:, i, step - 1, 1], truth[:, i, step - 1], floor)
            row[f"accuracy_{label}"] = 100 - row[f"mape_{label}"]
        if scale is not None:
            ratio = np.maximum(_means(losses[:, i], (1, 2)) / scale[:, i], RATIO_FLOOR)
            row["sql"] = float(np.exp(_mean(np.log(ratio))))
        table[name] = row
    return {"windows": len(truth), "signals": table} | overall(table, _mean(inside))


def window_score(forecast: Floats, truth: Floats, scale: Floats) -> Floats:
    """(N,): each window's scaled loss, geometric mean over signals; NaN where nothing was observed or is forecast."""
    ratio = np.maximum(_means(loss(forecast, truth), (2, 3)) / scale, RATIO_FLOOR)
    mean: Floats = np.exp(_means(np.log(ratio), 1))
    return mean


def by_step(forecast: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Weighted quantile loss and share inside p10..p90 at every step ahead, each (C, H)."""
    wql = _means(loss(forecast, truth), (0, 3)) / np.maximum(_means(np.abs(truth), 0), TINY)
    return wql, _means(covered(forecast, truth), 0)


def overall(table: Mapping[str, Mapping[str, float]], inside80: float) -> dict[str, float]:
    """The headline figures: means over signals with targets, geometric for sql."""
    out = {f"wql_mean_{label}": _mean(np.array([row[f"wql_{label}"] for row in table.values()])) for label in SPANS}
    out |= {"wql_mean": out["wql_mean_8h"], "inside80": inside80}
    if "cpu_pct" in table:
        out |= {f"cpu_wql_{label}": table["cpu_pct"][f"wql_{label}"] for label in SPANS}
    if all("sql" in row for row in table.values()):
        out["sql_geo"] = float(np.exp(_mean(np.log([row["sql"] for row in table.values()]))))
    return out


def mape(forecast: Floats, truth: Floats, floor: float = MAPE_FLOOR) -> float:
    """Mean absolute percentage error in percent; truths nearer to zero than ``floor`` count as ``floor``."""
    return 100 * _mean(np.abs(truth - forecast) / np.maximum(np.abs(truth), floor))


def _mean(values: Floats) -> float:
    """Mean of all finite values; NaN where there is none."""
    return float(_means(values, None))


def _means(values: Floats, axis: int | tuple[int, ...] | None) -> Floats:
    """Means of the finite values along ``axis``; NaN where there is none."""
    known = np.isfinite(values)
    count = known.sum(axis)
    total = np.where(known, values, 0).sum(axis, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


# -- incidents -----------------------------------------------------------------------------------------------------


def probability_figures(probability: Floats, outcome: Bools) -> dict[str, float]:
    """Brier score, its skill against the base rate, AUROC and expected calibration error of probabilities (N,) for
    outcomes (N,). Skill and AUROC are NaN where all outcomes are equal."""
    known = np.isfinite(probability)
    p, actual = probability[known].astype(np.float64), outcome[known].astype(bool)
    if not len(p):
        return {"windows": 0, **dict.fromkeys(("base_rate", "brier", "skill", "auroc", "ece"), np.nan)}
    base = float(actual.mean())
    brier, naive = float(np.mean((p - actual) ** 2)), base * (1 - base)
    return {
        "windows": len(p),
        "base_rate": base,
        "brier": brier,
        "skill": 1 - brier / naive if naive else np.nan,
        "auroc": auroc(p, actual),
        "ece": float(sum(share * abs(mean - rate) for share, mean, rate in reliability(p, actual))),
    }


def reliability(probability: Floats, outcome: Bools) -> list[tuple[float, float, float]]:
    """(share of windows, mean probability, share with an incident) of each of BINS equally wide bins that is not empty;
    expected calibration error is their weighted distance (Naeini et al., AAAI 2015)."""
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    bins = [place == b for b in np.unique(place)]
    return [(float(b.mean()), float(probability[b].mean()), float(outcome[b].mean())) for b in bins]


def auroc(probability: Floats, outcome: Bools) -> float:
    """Probability that a window with an incident has a higher forecast than one without (ties count half): Mann and
    Whitney's U."""
    positives = int(outcome.sum())
    negatives = len(outcome) - positives
    if not positives or not negatives:
        return np.nan
    _, place, count = np.unique(probability, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((rank[outcome].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def alarm_figures(raised: Bools, first: Floats, step_minutes: float) -> dict[str, float]:
    """Precision, recall and mean lead time in minutes of alarms (N,) for first steps (N,) of an
    incident, inf for none, NaN where nothing was observed."""
    known = ~np.isnan(first)
    raised, incident = raised[known], np.isfinite(first[known])
    hit = raised & incident
    return {
        "alarms": int(raised.sum()),
        "incidents": int(incident.sum()),
        "precision": float(hit.sum() / raised.sum()) if raised.any() else np.nan,
        "recall": float(hit.sum() / incident.sum()) if incident.any() else np.nan,
        "lead_minutes": float(first[known][hit].mean() * step_minutes) if hit.any() else np.nan,
    }
