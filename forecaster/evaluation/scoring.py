"""How good forecasts were: pure functions of forecasts and what came.

Letters: N windows, C signals, H = 96 horizon steps; the last axis of a forecast is p10, p50, p90. NaN targets are never
scored; a figure with nothing to rest on is NaN.

wql: sum of pinball losses (times 2) over the sum of |truth|, mean over the three quantiles (Gneiting and Raftery, JASA
2007, for why the loss is proper). sql: each window's mean loss over that signal's own day-ago error in the week before
(floor 1e-3), geometric mean over windows, so that every server counts alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

LEVELS = np.array([0.1, 0.5, 0.9], np.float32)
DAY = 288  # steps
SPANS = {"30m": 6, "8h": 96}  # steps 1..k
HORIZONS = {"5m": 1, "30m": 6, "1h": 12, "4h": 48, "8h": 96}  # step k alone
RATIO_FLOOR = 1e-6
MAPE_FLOOR = 1.0  # percent: below, a relative error of a percentage says nothing
MAPE_SHARE = 0.01  # of the mean magnitude: the same for signals of other units
BINS = 10


def loss(forecast: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pinball loss x 2, (N, C, H, 3), NaN where truth (N, C, H) is."""
    error = truth[..., None] - forecast
    return 2 * np.maximum(LEVELS * error, (LEVELS - 1) * error)


def figures(
    forecast: np.ndarray, truth: np.ndarray, scale: np.ndarray | None, signals: Sequence[str]
) -> dict[str, object]:
    """All figures of one forecaster: {"signals": {name: {figure: value}}, and the means over signals}.

    forecast float32 (N, C, H, 3), truth (N, C, H), scale (N, C) as from ``dataset.day_ago_error`` or None where contexts are too
    short for it.
    """
    losses, inside = loss(forecast, truth), (forecast[..., 0] <= truth) & (truth <= forecast[..., 2])
    inside = np.where(np.isfinite(truth) & np.isfinite(forecast[..., 0]), inside, np.nan)
    table: dict[str, dict[str, float]] = {}
    for i, name in enumerate(signals):
        y, row = np.abs(truth[:, i]), {}
        floor = MAPE_FLOOR if name.endswith("_pct") else max(MAPE_SHARE * float(np.nan_to_num(_mean(y))), 1e-12)
        for label, steps in SPANS.items():
            row[f"wql_{label}"] = _mean(losses[:, i, :steps]) / max(float(_mean(y[:, :steps])), 1e-12)
            row[f"pinball_{label}"] = _mean(losses[:, i, :steps]) / 2
            row[f"coverage80_{label}"] = _mean(inside[:, i, :steps])
        for label, step in HORIZONS.items():
            row[f"wql_at_{label}"] = _mean(losses[:, i, step - 1]) / max(float(_mean(y[:, step - 1])), 1e-12)
            row[f"pinball_at_{label}"] = _mean(losses[:, i, step - 1]) / 2
            row[f"coverage80_at_{label}"] = _mean(inside[:, i, step - 1])
        for label, steps in SPANS.items():
            row[f"mape_{label}"] = mape(forecast[:, i, steps - 1, 1], truth[:, i, steps - 1], floor)
            row[f"accuracy_{label}"] = 100 - row[f"mape_{label}"]
        if scale is not None:
            ratio = np.maximum(_mean(losses[:, i], (1, 2)) / scale[:, i], RATIO_FLOOR)
            row["sql"] = np.exp(_mean(np.log(ratio)))
        table[name] = {key: float(value) for key, value in row.items()}
    return {"windows": len(truth), "signals": table} | overall(table, float(_mean(inside)))


def window_score(forecast: np.ndarray, truth: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(N,): each window's scaled loss, geometric mean over signals; NaN where nothing was observed or is forecast."""
    ratio = np.maximum(_mean(loss(forecast, truth), (2, 3)) / scale, RATIO_FLOOR)
    return np.exp(_mean(np.log(ratio), 1))


def by_step(forecast: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted quantile loss and share inside p10..p90 at every step ahead, each (C, H)."""
    known = np.isfinite(truth) & np.isfinite(forecast[..., 0])
    inside = np.where(known, (forecast[..., 0] <= truth) & (truth <= forecast[..., 2]), np.nan)
    return _mean(loss(forecast, truth), (0, 3)) / np.maximum(_mean(np.abs(truth), 0), 1e-12), _mean(inside, 0)


def overall(table: Mapping[str, Mapping[str, float]], inside80: float) -> dict[str, float]:
    """The headline figures: means over signals, geometric for sql."""
    out = {f"wql_mean_{label}": _over(table, f"wql_{label}") for label in SPANS}
    out |= {"wql_mean": out["wql_mean_8h"], "inside80": inside80}
    if "cpu_pct" in table:
        out |= {f"cpu_wql_{label}": table["cpu_pct"][f"wql_{label}"] for label in SPANS}
    if all("sql" in row for row in table.values()):
        out["sql_geo"] = float(np.exp(np.mean(np.log([row["sql"] for row in table.values()]))))
    return out


def _over(table: Mapping[str, Mapping[str, float]], key: str) -> float:
    return float(np.mean([row[key] for row in table.values()]))


def mape(forecast: np.ndarray, truth: np.ndarray, floor: float = MAPE_FLOOR) -> float:
    """Mean absolute percentage error in percent; truths nearer to zero than ``floor`` count as ``floor``."""
    return 100 * float(_mean(np.abs(truth - forecast) / np.maximum(np.abs(truth), floor)))


def _mean(values: np.ndarray, axis: int | tuple[int, ...] | None = None) -> np.ndarray:
    """Mean of what is finite; NaN without anything."""
    known = np.isfinite(values)
    count = known.sum(axis)
    total = np.where(known, values, 0).sum(axis, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


# -- incidents ----------------------------------------------------------------------------------------------------------


def crossing(truth: np.ndarray, columns: Mapping[str, int], severe: Mapping[str, float], steps: int) -> np.ndarray:
    """float64 (N,): first step (1-based) within ``steps`` at which any role's value is above its severe threshold, inf
    where none is, NaN where nothing was observed. truth (N, C, H), columns role -> position in C."""
    over = np.zeros((len(truth), steps), bool)
    seen = np.zeros(len(truth), bool)
    for role, column in columns.items():
        if role in severe:
            over |= truth[:, column, :steps] > severe[role]
            seen |= np.isfinite(truth[:, column, :steps]).any(1)
    first = np.where(over.any(1), over.argmax(1) + 1.0, np.inf)
    return np.where(seen, first, np.nan)


def probability_figures(probability: np.ndarray, outcome: np.ndarray) -> dict[str, float]:
    """Brier score, its skill against the base rate, AUROC and expected calibration error of chances (N,) for outcomes
    bool (N,). Skill and AUROC are NaN where all outcomes are alike."""
    known = np.isfinite(probability)
    p, o = probability[known].astype(np.float64), outcome[known].astype(np.float64)
    if not len(p):
        return {"windows": 0, "base_rate": np.nan, "brier": np.nan, "skill": np.nan, "auroc": np.nan, "ece": np.nan}
    base = o.mean()
    brier, naive = float(np.mean((p - o) ** 2)), float(base * (1 - base))
    return {
        "windows": len(p),
        "base_rate": float(base),
        "brier": brier,
        "skill": 1 - brier / naive if naive else float("nan"),
        "auroc": auroc(p, o > 0),
        "ece": float(sum(share * abs(said - came) for share, said, came in reliability(p, o))),
    }


def reliability(probability: np.ndarray, outcome: np.ndarray) -> list[tuple[float, float, float]]:
    """(share of windows, mean chance said, share that came true) of each of BINS equally wide bins that is not empty;
    expected calibration error is their weighted distance (Naeini et al., AAAI 2015)."""
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    rows = []
    for b in range(BINS):
        inside = place == b
        if inside.any():
            rows.append((float(inside.mean()), float(probability[inside].mean()), float(outcome[inside].mean())))
    return rows


def auroc(probability: np.ndarray, outcome: np.ndarray) -> float:
    """Chance that a window with an incident was given more than one without (ties count half); Mann-Whitney's U."""
    positives = int(outcome.sum())
    negatives = len(outcome) - positives
    if not positives or not negatives:
        return float("nan")
    _, place, count = np.unique(probability, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((rank[outcome].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def alarm_figures(raised: np.ndarray, first: np.ndarray, step_minutes: float) -> dict[str, float]:
    """Precision, recall and mean lead time in minutes of alarms bool (N,) for the first crossings of ``crossing``."""
    known = ~np.isnan(first)
    raised, came = raised[known], np.isfinite(first[known])
    hit = raised & came
    return {
        "alarms": int(raised.sum()),
        "incidents": int(came.sum()),
        "precision": float(hit.sum() / raised.sum()) if raised.any() else float("nan"),
        "recall": float(hit.sum() / came.sum()) if came.any() else float("nan"),
        "lead_minutes": float(first[known][hit].mean() * step_minutes) if hit.any() else float("nan"),
    }
