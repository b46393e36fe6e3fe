"""Plots of a backtest: fan charts, a reliability diagram, loss and coverage by horizon. Needs matplotlib.

Letters: N windows, C signals, T context steps, H horizon steps; the last axis of a forecast is p10, p50, p90.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from forecaster.evaluation import scoring
from forecaster.evaluation.scoring import Figures, Floats
from forecaster.signals import HORIZON_STEPS, STEP_MINUTES

PAST_STEPS = 96  # drawn before the origin
SHOWN_LOSS = 2.5  # top of the loss axis, in medians over forecasters: one large loss must not flatten the others
CHOSEN = ("worst", "median", "best")
RELIABILITY, BY_HORIZON = "reliability.png", "by_horizon.png"
_HOURS = STEP_MINUTES / 60

Curves = Mapping[str, Mapping[str, Sequence[tuple[float, float, float]]]]  # by window and label: scoring.reliability


def rank(forecast: Floats, truth: Floats, scale: Floats) -> dict[str, int]:
    """The worst, median and best window by ``scoring.window_score``; empty where no window has a score."""
    score = scoring.window_score(forecast, truth, scale)
    order = [int(i) for i in np.argsort(score, kind="stable") if np.isfinite(score[i])]
    return dict(zip(CHOSEN, (order[-1], order[len(order) // 2], order[0]), strict=True)) if order else {}


def write(
    folder: Path, made: Mapping[str, Floats], truth: Floats, scale: Floats, signals: Sequence[str],
    context: Callable[[int], Floats], title: Callable[[int], str], incidents: Mapping[str, Figures],
) -> list[Path]:
    """Writes the .png files into ``folder``, which exists; returns their paths.

    made: forecasts (N, C, H, 3) by forecaster; the first one's losses select the windows of the fan charts. truth (N,
    C, H), scale (N, C). context, title: from a window's index its (C, T) and its title. incidents: as from
    ``backtest.of_incidents``. """
    first = next(iter(made))
    figures = {
        f"fan_{which}.png": fan(made[first][i], truth[i], context(i), signals, f"{which} window of {first}: {title(i)}")
        for which, i in rank(made[first], truth, scale).items()
    }
    figures[BY_HORIZON] = by_horizon(made, truth, signals)
    if curves := _curves(incidents):
        figures[RELIABILITY] = reliability(curves)
    for name, figure in figures.items():
        FigureCanvasAgg(figure)  # becomes the figure's canvas
        figure.savefig(folder / name)
    return [folder / name for name in figures]


def fan(forecast: Floats, truth: Floats, context: Floats, signals: Sequence[str], title: str) -> Figure:
    """One window: (C, H, 3), (C, H) and (C, T), a panel for each signal."""
    columns = min(len(signals), 2)
    rows = -(-len(signals) // columns)
    figure = Figure(figsize=(6 * columns, 2.2 * rows + 0.6), layout="constrained")
    figure.suptitle(title)
    past, ahead = context[:, -PAST_STEPS:], np.arange(1, HORIZON_STEPS + 1) * _HOURS
    before = np.arange(1 - past.shape[1], 1) * _HOURS
    for i, name in enumerate(signals):
        axes = figure.add_subplot(rows, columns, i + 1, title=name)
        axes.plot(before, past[i], color="black", linewidth=1)
        axes.plot(ahead, truth[i], color="black", linewidth=1, label="actual")
        axes.fill_between(ahead, forecast[i, :, 0], forecast[i, :, 2], color="tab:blue", alpha=0.25, label="p10 to p90")
        axes.plot(ahead, forecast[i, :, 1], color="tab:blue", label="p50")
        axes.axvline(0, color="grey", linewidth=0.5)
        axes.set_xlabel("hours from now")
    figure.axes[0].legend(loc="upper left")
    return figure


def by_horizon(made: Mapping[str, Floats], truth: Floats, signals: Sequence[str]) -> Figure:
    """Weighted quantile loss (left) and share inside p10 to p90 (right) of every step ahead, a row for each signal."""
    figure = Figure(figsize=(12, 2.2 * len(signals) + 0.6), layout="constrained")
    ahead = np.arange(1, HORIZON_STEPS + 1) * _HOURS
    curves = {name: scoring.by_step(forecast, truth) for name, forecast in made.items()}
    for i, signal in enumerate(signals):
        loss = figure.add_subplot(len(signals), 2, 2 * i + 1, title=f"{signal}: weighted quantile loss")
        inside = figure.add_subplot(len(signals), 2, 2 * i + 2, title=f"{signal}: inside p10 to p90", ylim=(0, 1))
        for name, (wql, coverage) in curves.items():
            loss.plot(ahead, wql[i], label=name)
            inside.plot(ahead, coverage[i], label=name)
        usual = [float(np.median(wql[i])) for wql, _ in curves.values() if np.isfinite(wql[i]).all()]
        loss.set_ylim(0, SHOWN_LOSS * float(np.median(usual)) if any(usual) else None)
        inside.axhline(0.8, color="grey", linewidth=0.5)
        for axes in (loss, inside):
            axes.set_xlabel("hours ahead")
    figure.axes[1].legend(loc="lower right")
    return figure


def reliability(curves: Curves) -> Figure:
    """Share of windows with an incident by forecast probability, a panel for each window; perfect is the diagonal."""
    figure = Figure(figsize=(6 * len(curves), 5), layout="constrained")
    for place, (span, lines) in enumerate(curves.items(), 1):
        axes = figure.add_subplot(1, len(curves), place, title=f"incident within {span}")
        axes.plot((0, 1), (0, 1), color="grey", linewidth=0.5)
        for label, rows in lines.items():
            _, forecast, actual = zip(*rows, strict=True)
            axes.plot(forecast, actual, marker="o", label=label)
        axes.set_xlabel("forecast probability")
        axes.set_ylabel("share with an incident")
        axes.legend(loc="lower right")
    return figure


def _curves(incidents: Mapping[str, Figures]) -> Curves:
    """The curves of all forecasters' chances of any incident."""
    curves: dict[str, dict[str, Any]] = {}
    for name, found in incidents.items():
        for span in scoring.SPANS:
            of_any = {name: found.get("chances", {}).get(span, {}).get("any"),
                      f"{name}, weighted": found.get(f"weighted_{span}")}
            for label, row in of_any.items():
                if row and row["reliability"]:
                    curves.setdefault(span, {})[label] = row["reliability"]
    return curves
