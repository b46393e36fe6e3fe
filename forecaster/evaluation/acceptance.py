"""Evaluation of a trained model before it is written: its bands are calibrated, its figures are those of kept-out
data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from forecaster.evaluation import scoring
from forecaster.evaluation.backtest import Forecaster, run
from forecaster.evaluation.scoring import Bools, Figures, Floats
from forecaster.evaluation.windows import Windows as PastWindows
from forecaster.evaluation.windows import draw
from forecaster.models.model import Model
from forecaster.models.network import ANCHORS
from forecaster.signals import Signal
from forecaster.training.dataset import History, Windows
from forecaster.training.hosts import split
from forecaster.training.trained import Trained

CALIBRATED = 8  # windows of every server that trained the model, in the kept-out weeks
EVALUATED = 32  # windows of every kept-out server: with fewer, single bursts decide the figures
TARGET = 0.82  # share inside p10..p90; actual values of idle servers equal their forecast, so a little above 0.8


def of_fleet(trained: Trained, windows: Windows, seed: int, rows: int) -> Figures:
    """Report of a model of a fleet: accuracy on 8 x ``rows`` random validation windows in signal units, full encoder:
    weighted quantile loss over p10/p50/p90, 80 % band coverage, and CPU accuracy (100 - MAPE) at 30 minutes and over 8
    hours."""
    model = trained.model()
    rng, parts = np.random.default_rng(seed + 11), []
    for _ in range(8):
        past, future, instants, earlier, identity = windows.sample(rows, rng)
        values, done = model.forecast(past, instants, *windows.names(identity), earlier)
        parts.append((values, np.where(done[..., None], future, np.nan)))
    forecast, truth = (np.concatenate(part) for part in zip(*parts, strict=True))
    found = scoring.figures(forecast, truth, None, model.encoding.signals)
    names = [f"{figure}_{label}" for label in scoring.SPANS for figure in ("wql", "coverage80")]
    report: Figures = {"windows": found["windows"], "signals": {
        signal: {name: round(row[name], 4) for name in names} for signal, row in found["signals"].items()
    }}
    if cpu := found["signals"].get("cpu_pct"):
        report |= {f"cpu_accuracy_{label}": round(cpu[f"accuracy_{label}"], 2) for label in scoring.SPANS}
    return report | trained.figures


def of_hosts(
    trained: Trained, history: History, signals: Mapping[str, Signal], seed: int
) -> tuple[Figures, dict[str, Any]]:
    """(report, facts) of a model of single series. The bands are calibrated on the servers that trained it, in the
    kept-out weeks; the figures are those of kept-out servers in these weeks, with the yardsticks' for comparison."""
    kept, others, until = split(history)
    first = history.start + until * history.resolution
    known = {s: signals[s] for s in history.signals}
    facts: dict[str, Any] = {
        "kept_out_servers": [history.servers[i] for i in kept],
        "kept_out_from": datetime.fromtimestamp(first, UTC).isoformat().replace("+00:00", "Z"),
    }
    windows = draw(history.of_servers(others), history.resolution, CALIBRATED, seed, first)
    facts["widening"] = widening(run(Forecaster("model", known, trained.model()), windows), windows.truth())
    windows = draw(history.of_servers(kept), history.resolution, EVALUATED, seed, first)
    report = _figures(trained.model(facts), windows, known) | trained.figures
    return report, trained.facts | facts


def widening(forecast: Floats, truth: Floats) -> list[list[float]]:
    """(C, A) factors f on p90 - p50 and p50 - p10 at ANCHORS such that 80 % of truths lie inside (split conformal
    prediction, Romano et al., NeurIPS 2019, with the score in half-bands). Truths exactly on a quantile lie inside;
    rows whose band has no width cannot be widened and are left out."""
    out = []
    for c in range(truth.shape[1]):
        row = []
        for before, anchor in zip((0, *ANCHORS), ANCHORS, strict=False):
            steps = slice(before, anchor)
            y, low, mid, high = truth[:, c, steps], *(forecast[:, c, steps, q] for q in range(3))
            half = np.where(y >= mid, high - mid, mid - low)
            known = np.isfinite(y) & np.isfinite(mid) & (half > 0)
            score = np.abs(y - mid)[known] / half[known]
            share = _wanted_share(y, low, high, known)
            row.append(round(float(np.clip(np.quantile(score, share), 0.5, 3.0)), 4) if score.size else 1.0)
        out.append(row)
    return out


def _wanted_share(y: Floats, low: Floats, high: Floats, known: Bools) -> float:
    """Share of the ``known`` rows that must lie inside for TARGET overall, given the rows on a band without width."""
    seen = np.isfinite(y)
    exact = seen & ~known & (low <= y) & (y <= high)
    return float(np.clip((TARGET * seen.sum() - exact.sum()) / max(known.sum(), 1), 0.7, 0.9))


def _figures(model: Model, windows: PastWindows, signals: Mapping[str, Signal]) -> Figures:
    """Figures of a model on these windows, with the yardsticks' under "yardsticks"."""
    truth, scale = windows.truth(), windows.scale()

    def of(name: str, source: Model | str) -> Figures:
        return scoring.figures(run(Forecaster(name, signals, source), windows), truth, scale, list(signals))

    yardsticks = {name: of(name, name) for name in ("last-day", "seasonal-naive", "persistence")}
    means = {name: {k: v for k, v in row.items() if k != "signals"} for name, row in yardsticks.items()}
    return of("model", model) | {"yardsticks": means}
