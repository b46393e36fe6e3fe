"""What a freshly trained model goes through before it is written: bands calibrated, figures on what was kept out."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from forecaster.evaluation import backtest, scoring
from forecaster.models.model import Model
from forecaster.models.network import ANCHORS
from forecaster.signals import Signal
from forecaster.training.dataset import History, Windows
from forecaster.training.hosts import split
from forecaster.training.trained import Trained

EVALUATED = 32  # windows of every kept-out server: with fewer, single bursts decide the figures
TARGET = 0.82  # of outcomes inside p10..p90; idle servers sit exactly on their forecast, so a little above 0.8


def of_fleet(trained: Trained, windows: Windows, seed: int, rows: int) -> dict:
    """Report of a model of a fleet: accuracy on 8 x ``rows`` random validation windows in signal units, full encoder: weighted
    quantile loss over p10/p50/p90, 80 % band coverage, and CPU accuracy (100 - MAPE) at 30 minutes and over 8 hours."""
    model = trained.model()
    rng, parts = np.random.default_rng(seed + 11), []
    for _ in range(8):
        past, future, instants, earlier, identity = windows.sample(rows, rng)
        servers, profiles = windows.names(identity)
        values, done = model.forecast(past, instants, servers, profiles, earlier)
        parts.append((values[done], future[done]))
    forecast, truth = (np.concatenate(part) for part in zip(*parts, strict=True))
    signals = model.encoding.signals
    found = scoring.figures(forecast, truth, None, signals)
    report: dict = {"windows": found["windows"], "signals": {}}
    for name in signals:
        row = found["signals"][name]
        report["signals"][name] = {
            f"{figure}_{label}": round(row[f"{figure}_{label}"], 4)
            for label in ("30m", "8h")
            for figure in ("wql", "coverage80")
        }
        if "accuracy_8h" in row:
            report |= {f"cpu_accuracy_{label}": round(row[f"accuracy_{label}"], 2) for label in ("30m", "8h")}
    return report | trained.figures


def of_hosts(trained: Trained, history: History, signals: dict[str, Signal], seed: int) -> tuple[dict, dict]:
    """(report, facts) of a model of single series. Its bands are calibrated on the learnt servers in the kept-out weeks, its
    figures are those of kept-out servers in these weeks, beside the yardsticks'."""
    kept, others, until = split(history)
    first = history.start + until * history.resolution
    facts: dict[str, object] = {
        "kept_out_servers": [history.servers[i] for i in kept],
        "kept_out_from": datetime.fromtimestamp(first, UTC).isoformat().replace("+00:00", "Z"),
    }
    facts["widening"] = calibrate(trained.model(), history.of_servers(others), signals, first, seed)
    report = _figures(trained.model(facts), history.of_servers(kept), signals, first, seed) | trained.figures
    return report, trained.facts | facts


def calibrate(model: Model, history: History, signals: dict[str, Signal], first: float, seed: int) -> list[list[float]]:
    """(C, A) factors on the half-bands of each signal at ANCHORS, so that 80 % of held-out targets lie inside."""
    windows = backtest.draw(history, history.resolution, 8, seed, first)
    forecast = backtest.run(backtest.Forecaster("model", {s: signals[s] for s in history.signals}, model), windows)
    return widening(forecast, windows.truth())


def widening(forecast: np.ndarray, truth: np.ndarray) -> list[list[float]]:
    """(C, A) factors f on p90 - p50 and p50 - p10 such that 80 % of truths lie inside (split conformal prediction, Romano
    et al., NeurIPS 2019, with the score in half-bands). Outcomes exactly on a quantile lie inside; a band of no width
    cannot be widened and leaves its row out."""
    out = []
    edges = [0, *ANCHORS]
    for c in range(truth.shape[1]):
        row = []
        for before, anchor in zip(edges, ANCHORS, strict=False):
            steps = slice(before, anchor)
            y, low, mid, high = truth[:, c, steps], *(forecast[:, c, steps, q] for q in range(3))
            half = np.where(y >= mid, high - mid, mid - low)
            known = np.isfinite(y) & np.isfinite(mid) & (half > 0)
            score = np.abs(y - mid)[known] / half[known]
            share = 0.8 if not known.size else _wanted_share(y, low, high, known)
            row.append(round(float(np.clip(np.quantile(score, share), 0.5, 3.0)), 4) if score.size else 1.0)
        out.append(row)
    return out


def _wanted_share(y: np.ndarray, low: np.ndarray, high: np.ndarray, known: np.ndarray) -> float:
    """The share of rows with a band that must lie inside for TARGET overall, given those on a band of no width."""
    seen = np.isfinite(y)
    exact = seen & ~known & (low <= y) & (y <= high)
    return float(np.clip((TARGET * seen.sum() - exact.sum()) / max(known.sum(), 1), 0.7, 0.9))


def _figures(model: Model, history: History, signals: dict[str, Signal], first: float, seed: int) -> dict:
    """Figures of kept-out servers in kept-out weeks, beside the yardsticks'."""
    windows = backtest.draw(history, history.resolution, EVALUATED, seed, first)
    known, truth, scale = {s: signals[s] for s in history.signals}, windows.truth(), backtest.scale(windows)
    report = {}
    for name in ("model", "last-day", "seasonal-naive", "persistence"):
        forecaster = backtest.Forecaster(name, known, model if name == "model" else name)
        report[name] = scoring.figures(backtest.run(forecaster, windows), truth, scale, list(history.signals))
    found = report.pop("model")
    return found | {"yardsticks": {n: {k: v for k, v in r.items() if k != "signals"} for n, r in report.items()}}
