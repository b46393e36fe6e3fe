"""Fits the calibrated incident probabilities of a model on simulated fleets it never saw.

Each week is another fleet with all scenarios; two thirds of them are fitted on, the rest is reported on. Nothing random but
the weeks' seeds: the same model, thresholds and seed give the same file.

Letters: M = instants x S rows of one week, C signals, H steps, T instants.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from exporter.profiles import METRICS, load_fleet
from forecaster.evaluation import scoring
from forecaster.evaluation.backtest import RECENT_STEPS, Windows, stride_of
from forecaster.evaluation.windows import SIMULATED_END
from forecaster.models.model import Model
from forecaster.risk import chance
from forecaster.risk.chance import Calibration, Fit
from forecaster.risk.thresholds import RiskConfig
from forecaster.signals import steps_of
from forecaster.training.dataset import DAY, SCENARIO_DAYS, DatasetError, simulate

DAYS = 7.0
INSTANTS = 80  # of each week
RIDGE = 1e-5


@dataclass(frozen=True)
class Week:
    """What one simulated week's forecasts said and what came; rows are instants x S, servers fastest."""

    exceedance: np.ndarray  # float64 (M, roles, H)
    first: np.ndarray  # float64 (M,): first step beyond a threshold, inf for none
    beyond: np.ndarray  # bool (M,): beyond one already at the origin
    instants: int

    def crossed(self, steps: int) -> np.ndarray:
        """bool (M,): beyond a threshold within these steps."""
        return self.first <= steps


def calibrate(
    model: Model, risk: RiskConfig, weeks: int, seed: int, progress: Callable = iter
) -> tuple[Calibration, str]:
    """(a calibration of all windows of ``risk``, the checksum of the weights it is for); raises DatasetError.

    model: a Model of the simulator's signals. seed: of the first week, counted up.
    """
    severe, signals = dict(risk.severe), list(model.encoding.signals)
    columns = {role: signals.index(name) for role, name in risk.roles if role in severe and name in signals}
    _refuse(model, columns, weeks, seed)
    made = [simulated(model, columns, severe, seed + i) for i in progress(range(weeks))]
    fitted_on, tested_on = made[: weeks - max(weeks // 3, 1)], made[weeks - max(weeks // 3, 1) :]
    fits, report = {}, {"weeks": [len(fitted_on), len(tested_on)], "seeds": [seed, seed + weeks - 1], "windows": {}}
    for window in risk.incident:
        steps = steps_of(window)
        came = np.concatenate([week.crossed(steps) for week in fitted_on])
        if came.all() or not came.any():
            raise DatasetError(
                f"within {window} {'every' if came.all() else 'no'} server crossed a severe threshold in {len(fitted_on)} "
                f"weeks from seed {seed}; expected some: use more --weeks, or thresholds the simulated fleet can cross"
            )
        fits[window] = fit_fleet(fit_server(fitted_on, steps), fitted_on, steps)
        report["windows"][window] = judge(fits[window], tested_on, steps)
    return Calibration(fits, severe, report), model.facts["weights_sha256"]


def _refuse(model: Model, columns: Mapping[str, int], weeks: int, seed: int) -> None:
    if tuple(model.encoding.signals) != METRICS:
        raise DatasetError(f"the model forecasts {', '.join(model.encoding.signals)}; expected the simulated fleet's "
                           f"{', '.join(METRICS)}: nothing else can be simulated to calibrate on")
    if not columns:
        raise DatasetError("none of the model's signals plays cpu, memory or latency; expected one: set risk.roles")
    if weeks < 2:
        raise DatasetError(f"--weeks {weeks}; expected at least 2, one to fit on and one to report on")
    trained = model.facts.get("seed")
    if model.facts.get("data") == "simulator" and seed // 1000 <= int(trained or 0) <= (seed + weeks - 1) // 1000:
        raise DatasetError(f"--seed {seed}: fleets of these seeds may have trained the model (train --seed {trained}); "
                           "expected others: choose another --seed")


def write(folder: Path, made: tuple[Calibration, str]) -> Path:
    """Write the file beside the weights, whole or not at all; OSError where that fails."""
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
    start = SIMULATED_END - DAYS * DAY - seed % 97 * 3 * DAY  # every season
    history = simulate(load_fleet().model_copy(update={"seed": seed}), start, DAYS, step, SCENARIO_DAYS, seed)
    stride, servers = stride_of(history, step), len(history.servers)
    first, last = (RECENT_STEPS + 1) * stride, len(history.values) - model.encoding.horizon * stride
    now = np.linspace(first, last - 1, INSTANTS).astype(np.int64)
    windows = Windows(history, np.stack([np.tile(np.arange(servers), INSTANTS), np.repeat(now, servers)], 1), stride)
    parts, beyond = [], []
    for begin in range(0, len(windows), 10 * servers):
        rows = slice(begin, begin + 10 * servers)
        context = windows.context(rows, model.context_steps)
        values, _ = model.quantiles(context, windows.instants(rows), *windows.names(rows), windows.earlier(rows))
        parts.append(chance.exceedances(values, model.architecture.quantiles, columns, severe))
        beyond.append(np.any([context[:, column, -1] > severe[role] for role, column in columns.items()], axis=0))
    crossed = scoring.crossing(windows.truth(), columns, severe, model.encoding.horizon)
    return Week(np.concatenate(parts), crossed, np.concatenate(beyond), INSTANTS)


def fit_server(weeks: list[Week], steps: int) -> Fit:
    """The servers' part by maximum likelihood, with next to no ridge; servers independent, for ``fit_fleet`` to correct."""
    from scipy.optimize import minimize

    x = np.concatenate([chance.evidence(week.exceedance[..., :steps]) for week in weeks])
    y = np.concatenate([week.crossed(steps) for week in weeks])
    scale = np.maximum(x.std(0), 1e-6)

    def fit(v: np.ndarray) -> Fit:
        floor = float(_logistic(v[-1]))
        return Fit(tuple((v[: chance.EVIDENCE] / scale).tolist()), float(v[-2]), floor, floor, 1.0)

    def cost(v: np.ndarray) -> tuple[float, np.ndarray]:
        weights, s, floor = v[: chance.EVIDENCE], _logistic(x / scale @ v[: chance.EVIDENCE] + v[-2]), _logistic(v[-1])
        p = np.clip(1 - (1 - floor) * (1 - s), 1e-12, 1 - 1e-12)
        slope = ((1 - y) / (1 - p) - y / p) / len(y) * (1 - floor) * (1 - s)  # by either log odds over their own chance
        by_evidence = slope * s
        gradient = [*(by_evidence @ (x / scale) + 2 * RIDGE * weights), by_evidence.sum(), (slope * floor).sum()]
        return _surprise(p, y) + RIDGE * float(weights @ weights), np.array(gradient)

    start = np.r_[np.full(chance.EVIDENCE, 0.1), -1.0, -4.0]
    bounds = [(0, None)] * chance.EVIDENCE + [(-30, 30), (-15, 10)]
    return fit(minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds).x)


def fit_fleet(fit: Fit, weeks: list[Week], steps: int) -> Fit:
    """The same fit with ``common`` and ``separate`` by maximum likelihood of any server crossing at each instant."""
    from scipy.optimize import minimize

    spoken = [fit.spoken(week.exceedance[..., :steps]).reshape(week.instants, -1) for week in weeks]
    came = np.concatenate([week.crossed(steps).reshape(week.instants, -1).any(1) for week in weeks])
    made = partial(Fit, fit.weights, fit.constant, fit.floor)

    def fleet(v: np.ndarray) -> Fit:
        return made(fit.floor + (1 - fit.floor) * float(_logistic(min(v[0], 20.0))), float(_logistic(v[1])))

    def cost(v: np.ndarray) -> float:
        return _surprise(np.concatenate([fleet(v).any(s) for s in spoken]), came)

    return fleet(minimize(cost, [-2.0, 0.0], method="Nelder-Mead").x)


def judge(fit: Fit, weeks: list[Week], steps: int) -> dict[str, dict[str, float | None]]:
    """Figures as from ``scoring.probability_figures`` of each server's chance, of servers not beyond a threshold at the
    origin ("onset"), and of any server's; None for one that has nothing to rest on."""
    spoken = [fit.spoken(week.exceedance[..., :steps]) for week in weeks]
    said, came = fit.server(np.concatenate(spoken)), np.concatenate([week.crossed(steps) for week in weeks])
    calm = ~np.concatenate([week.beyond for week in weeks])
    by_fleet = [s.reshape(week.instants, -1) for s, week in zip(spoken, weeks, strict=True)]
    any_said = np.concatenate([fit.any(s) for s in by_fleet])
    any_came = np.concatenate([week.crossed(steps).reshape(week.instants, -1).any(1) for week in weeks])
    pairs = {"server": (said, came), "onset": (said[calm], came[calm]), "any": (any_said, any_came)}
    return {
        name: {key: round(value, 5) if np.isfinite(value) else None for key, value in figures.items()}
        for name, (p, o) in pairs.items()
        for figures in [scoring.probability_figures(p, o) | {"said": float(p.mean()) if len(p) else np.nan}]
    }


def table(report: Mapping) -> str:
    """The report as text."""
    lines = [f"{'':12}{'windows':>9}{'said':>9}{'came':>9}{'brier':>9}{'skill':>8}{'auroc':>8}{'ece':>8}"]
    for window, parts in report["windows"].items():
        for name, row in parts.items():
            digits = {"said": 9, "base_rate": 9, "brier": 9, "skill": 8, "auroc": 8, "ece": 8}
            shown = [f"{'-' if row[key] is None else f'{row[key]:.4f}':>{width}}" for key, width in digits.items()]
            lines.append(f"{window + ' ' + name:12}{row['windows']:9d}{''.join(shown)}")
    return "\n".join(lines)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def _surprise(p: np.ndarray, came: np.ndarray) -> float:
    """Mean negative log likelihood."""
    return -float(np.mean(np.log(np.clip(np.where(came, p, 1 - p), 1e-12, 1))))
