"""Fits the calibrated incident probabilities of a model on simulated fleets that it was not trained on.

Each week is another fleet with all scenarios. Two thirds of the weeks are for the fit, the rest for its report. Only
the weeks' seeds are random: the same model, thresholds and seed give the same file.

Letters: M = instants x S rows of one week, C signals, H steps, T instants.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.profiles import METRICS, load_fleet
from forecaster.evaluation import scoring
from forecaster.evaluation.scoring import Bools, Floats
from forecaster.evaluation.windows import RECENT_STEPS, Windows
from forecaster.models.model import Model
from forecaster.risk import chance
from forecaster.risk.chance import Calibration, Fit
from forecaster.risk.thresholds import RiskConfig
from forecaster.signals import steps_of
from forecaster.training.dataset import DAY, DatasetError, Progress
from forecaster.training.simulation import END, SCENARIO_DAYS, simulate

DAYS = 7.0
INSTANTS = 80  # of each week
RIDGE = 1e-5


@dataclass(frozen=True)
class Week:
    """Forecast and actual threshold crossings of one simulated week; rows are instants x S, servers fastest."""

    exceedance: npt.NDArray[np.float64]  # float64 (M, roles, H)
    first: Floats  # float64 (M,): first step above a threshold, inf for none
    beyond: Bools  # (M,): above a threshold already at the origin
    instants: int

    def crossed(self, steps: int) -> Bools:
        """(M,): above a threshold within these steps."""
        return np.asarray(self.first <= steps)

    def any_crossed(self, steps: int) -> Bools:
        """(instants,): any server above a threshold within these steps."""
        return np.asarray(self.crossed(steps).reshape(self.instants, -1).any(axis=1))


def calibrate(
    model: Model, risk: RiskConfig, weeks: int, seed: int, progress: Progress = iter
) -> tuple[Calibration, str]:
    """(a calibration of all windows of ``risk``, the checksum of the weights it is for); raises DatasetError.

    model: a model of the simulator's signals. seed: of the first week; the others follow.
    """
    severe, signals = dict(risk.severe), list(model.encoding.signals)
    columns = {role: signals.index(name) for role, name in risk.roles if role in severe and name in signals}
    _refuse(model, columns, weeks, seed)
    made = [simulated(model, columns, severe, seed + i) for i in progress(range(weeks))]
    fitted_on, tested_on = made[: weeks - max(weeks // 3, 1)], made[weeks - max(weeks // 3, 1) :]
    fits, judged = {}, {}
    for window in risk.incident:
        steps = steps_of(window)
        crossed = np.concatenate([week.crossed(steps) for week in fitted_on])
        if crossed.all() or not crossed.any():
            raise DatasetError(
                f"within {window} {'every' if crossed.all() else 'no'} server crossed a severe threshold in "
                f"{len(fitted_on)} weeks from seed {seed}; expected some: use more --weeks, or thresholds that the "
                "simulated fleet can cross"
            )
        fits[window] = fit_fleet(fit_server(fitted_on, steps), fitted_on, steps)
        judged[window] = judge(fits[window], tested_on, steps)
    report = {"weeks": [len(fitted_on), len(tested_on)], "seeds": [seed, seed + weeks - 1], "windows": judged}
    return Calibration(fits, severe, report), str(model.facts["weights_sha256"])


def _refuse(model: Model, columns: Mapping[str, int], weeks: int, seed: int) -> None:
    if tuple(model.encoding.signals) != METRICS:
        raise DatasetError(f"the model forecasts {', '.join(model.encoding.signals)}; expected the simulated fleet's "
                           f"{', '.join(METRICS)}: calibration needs simulated fleets")
    if not columns:
        raise DatasetError("no signal of the model has the role cpu, memory or latency; expected one: set risk.roles")
    if weeks < 2:
        raise DatasetError(f"--weeks {weeks}; expected at least 2, one for the fit and one for the report")
    trained = model.facts.get("seed")
    if model.facts.get("data") == "simulator" and seed // 1000 <= int(trained or 0) <= (seed + weeks - 1) // 1000:
        raise DatasetError(f"--seed {seed}: the model may have been trained on fleets of these seeds (train --seed "
                           f"{trained}); expected others: choose another --seed")


def write(folder: Path, made: tuple[Calibration, str]) -> Path:
    """Writes the file beside the weights, whole or not at all; OSError where that fails."""
    handle, fresh = tempfile.mkstemp(prefix=f".{chance.FILE}-", dir=folder)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(made[0].to_json(made[1]))
        os.chmod(fresh, 0o644)
        os.replace(fresh, folder / chance.FILE)
    except BaseException:
        os.unlink(fresh)
        raise
    return folder / chance.FILE


def simulated(model: Model, columns: Mapping[str, int], severe: Mapping[str, float], seed: int) -> Week:
    """One week of a fleet of this seed, forecast as in serving, at INSTANTS spread evenly."""
    step = model.encoding.step
    start = END - DAYS * DAY - seed % 97 * 3 * DAY  # every season
    history = simulate(load_fleet().model_copy(update={"seed": seed}), start, DAYS, step, SCENARIO_DAYS, seed)
    stride, servers = history.stride(step), len(history.servers)
    first, last = (RECENT_STEPS + 1) * stride, len(history.values) - model.encoding.horizon * stride
    now = np.linspace(first, last - 1, INSTANTS).astype(np.int64)
    windows = Windows(history, np.stack([np.tile(np.arange(servers), INSTANTS), np.repeat(now, servers)], 1), stride)
    parts, beyond = [], []
    for rows in windows.batches(10 * servers):
        context = windows.context(rows, model.context_steps)
        values, _ = model.quantiles(context, windows.instants(rows), *windows.names(rows), windows.earlier(rows))
        parts.append(chance.exceedances(values, model.architecture.quantiles, columns, severe))
        beyond.append(np.any([context[:, column, -1] > severe[role] for role, column in columns.items()], axis=0))
    crossed = scoring.crossing(windows.truth(), columns, severe, model.encoding.horizon)
    return Week(np.concatenate(parts), crossed, np.concatenate(beyond), INSTANTS)


def fit_server(weeks: list[Week], steps: int) -> Fit:
    """The servers' part by maximum likelihood with a small ridge penalty. Servers count as independent; ``fit_fleet``
    corrects that."""
    from scipy.optimize import minimize

    x = np.concatenate([chance.evidence(week.exceedance[..., :steps]) for week in weeks])
    y = np.concatenate([week.crossed(steps) for week in weeks])
    scale = np.maximum(x.std(0), 1e-6)

    def cost(v: Floats) -> tuple[float, Floats]:
        weights, s, floor = v[: chance.EVIDENCE], _logistic(x / scale @ v[: chance.EVIDENCE] + v[-2]), _logistic(v[-1])
        p = np.clip(1 - (1 - floor) * (1 - s), 1e-12, 1 - 1e-12)
        slope = ((1 - y) / (1 - p) - y / p) / len(y) * (1 - floor) * (1 - s)  # times s or floor: by its log odds
        by_evidence = slope * s
        gradient = [*(by_evidence @ (x / scale) + 2 * RIDGE * weights), by_evidence.sum(), (slope * floor).sum()]
        return _log_loss(p, y) + RIDGE * float(weights @ weights), np.array(gradient)

    start = np.r_[np.full(chance.EVIDENCE, 0.1), -1.0, -4.0]
    bounds = [(0, None)] * chance.EVIDENCE + [(-30, 30), (-15, 10)]
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    floor = float(_logistic(found[-1]))
    return Fit(tuple((found[: chance.EVIDENCE] / scale).tolist()), float(found[-2]), floor, floor, 1.0)


def fit_fleet(fit: Fit, weeks: list[Week], steps: int) -> Fit:
    """The same fit with ``common`` and ``separate`` by maximum likelihood of any server crossing at each instant."""
    from scipy.optimize import minimize

    spoken = [fit.spoken(week.exceedance[..., :steps]).reshape(week.instants, -1) for week in weeks]
    crossed = np.concatenate([week.any_crossed(steps) for week in weeks])
    made = partial(Fit, fit.weights, fit.constant, fit.floor)

    def fleet(v: Floats) -> Fit:
        return made(fit.floor + (1 - fit.floor) * float(_logistic(min(float(v[0]), 20.0))), float(_logistic(v[1])))

    def cost(v: Floats) -> float:
        return _log_loss(np.concatenate([fleet(v).any(s) for s in spoken]), crossed)

    return fleet(minimize(cost, [-2.0, 0.0], method="Nelder-Mead").x)


def judge(fit: Fit, weeks: list[Week], steps: int) -> dict[str, dict[str, float | None]]:
    """Figures as from ``scoring.probability_figures``, and the mean forecast ("said"): of each server's probability, of
    servers not above a threshold at the origin ("onset"), and of any server's ("any"); None where a figure is
    unknown."""
    spoken = [fit.spoken(week.exceedance[..., :steps]) for week in weeks]
    forecast, crossed = fit.server(np.concatenate(spoken)), np.concatenate([week.crossed(steps) for week in weeks])
    calm = ~np.concatenate([week.beyond for week in weeks])
    by_fleet = [fit.any(s.reshape(week.instants, -1)) for s, week in zip(spoken, weeks, strict=True)]
    any_crossed = np.concatenate([week.any_crossed(steps) for week in weeks])
    pairs = {"server": (forecast, crossed), "onset": (forecast[calm], crossed[calm]),
             "any": (np.concatenate(by_fleet), any_crossed)}
    out = {}
    for name, (p, outcome) in pairs.items():
        figures = scoring.probability_figures(p, outcome) | {"said": float(p.mean()) if len(p) else np.nan}
        out[name] = {key: round(value, 5) if np.isfinite(value) else None for key, value in figures.items()}
    return out


def table(report: Mapping[str, Any]) -> str:
    """The report as text."""
    lines = [f"{'':12}{'windows':>9}{'mean':>9}{'actual':>9}{'brier':>9}{'skill':>8}{'auroc':>8}{'ece':>8}"]
    for window, parts in report["windows"].items():
        for name, row in parts.items():
            digits = {"said": 9, "base_rate": 9, "brier": 9, "skill": 8, "auroc": 8, "ece": 8}
            shown = [f"{'-' if row[key] is None else f'{row[key]:.4f}':>{width}}" for key, width in digits.items()]
            lines.append(f"{window + ' ' + name:12}{row['windows']:9d}{''.join(shown)}")
    return "\n".join(lines)


def _logistic(x: npt.ArrayLike) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))))


def _log_loss(p: Floats, outcome: Bools) -> float:
    """Mean negative log likelihood."""
    return -float(np.mean(np.log(np.clip(np.where(outcome, p, 1 - p), 1e-12, 1))))
