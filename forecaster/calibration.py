"""`fleet-forecaster calibrate`: fits the calibrated incident probabilities of a model on simulated fleets it never saw."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np

from forecaster import chance, scoring
from forecaster.chance import SEVERE
from serving.settings import SettingsError

FLEETS, TESTS = 6, 4  # to fit on, to report on
DAYS = 7.0
INSTANTS = 160  # of each fleet
FIRST_SEED = 80001
L2 = 1e-3


def add_command(commands, common: argparse.ArgumentParser) -> None:
    """Adds `calibrate` to the command line."""
    parser = commands.add_parser(
        "calibrate",
        allow_abbrev=False,
        parents=[common],
        help="fit a model's incident probabilities",
        description="Fits what risk.method: calibrated reads, on simulated fleets with all scenarios that the model never "
        "saw, reports on others, and writes calibration.json into the model's folder.",
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="model folder or the name of one that ships")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="first fleet's seed (default: %(default)d)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fits, prints and writes; the exit code."""
    from forecaster.dataset import DatasetError
    from forecaster.model import Model, ModelError, folder_of

    folder = folder_of(arguments.model)
    try:
        model = Model.load(folder, "cpu")
        report = calibrate(model, folder, arguments.seed)
    except (DatasetError, ModelError) as error:
        raise SettingsError(f"calibrate: {error}") from error
    for window, figures in report.items():
        print(f"{window}: " + ", ".join(f"{key} {value:.4g}" for key, value in figures.items()))
    return 0


def calibrate(model, folder: Path, seed: int, fleets: int = FLEETS, tests: int = TESTS, instants: int = INSTANTS) -> dict:
    """Fit on ``fleets`` simulated weeks, report on ``tests`` others, write the file; the report."""
    from exporter.profiles import METRICS
    from forecaster.dataset import DatasetError
    from forecaster.risk import RiskConfig

    if tuple(model.encoding.signals) != METRICS:
        raise DatasetError("only models of the simulated fleet's signals can be calibrated on it")
    columns = {role: METRICS.index(name) for role, name in RiskConfig().roles if role in SEVERE}
    fit = [_evidence(model, seed + i, columns, instants) for i in range(fleets)]
    test = [_evidence(model, seed + fleets + i, columns, instants) for i in range(tests)]
    server, fleet, report = {}, {}, {}
    for window, steps in scoring.SPANS.items():
        x = np.concatenate([chance.evidence(e[..., :steps]) for e, _ in fit])
        y = np.concatenate([np.isfinite(_first(t, columns, steps)) for _, t in fit])
        server[window] = logistic(x, y)
        made = chance.Calibration({window: server[window]}, {window: np.array([1.0, 0.0])}, SEVERE, {})
        said, came = _fleetwise(made, fit, columns, window, steps, instants)
        fleet[window] = logistic(chance.log_odds(said)[:, None], came)
        made = chance.Calibration({window: server[window]}, {window: fleet[window]}, SEVERE, {})
        p = np.concatenate([made.servers(e, window, steps) for e, _ in test])
        o = np.concatenate([np.isfinite(_first(t, columns, steps)) for _, t in test])
        said, came = _fleetwise(made, test, columns, window, steps, instants, corrected=True)
        report[window] = scoring.probability_figures(p, o) | {
            f"fleet_{key}": value for key, value in scoring.probability_figures(said, came).items()
        }
    content = {
        "format": chance.FORMAT,
        "weights_sha256": model.facts["weights_sha256"],
        "severe": SEVERE,
        "seeds": [seed, seed + fleets + tests - 1],
        "server": {k: v.tolist() for k, v in server.items()},
        "fleet": {k: v.tolist() for k, v in fleet.items()},
        "report": report,
    }
    path = folder / chance.FILE
    fresh = path.with_name(f".{chance.FILE}.new")
    fresh.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(fresh, path)
    return report


def _evidence(model, seed: int, columns: dict[str, int], instants: int) -> tuple[np.ndarray, np.ndarray]:
    """One simulated week: exceedances (instants x S, roles, H) and truths (instants x S, C, H)."""
    from exporter.profiles import load_fleet
    from forecaster.backtest import Windows
    from forecaster.backtest_data import SIMULATED_END
    from forecaster.dataset import DAY, SCENARIO_DAYS, simulate

    step = model.encoding.step
    config = load_fleet().model_copy(update={"seed": seed})
    history = simulate(config, SIMULATED_END - DAYS * DAY - seed % 97 * 3 * DAY, DAYS, step, SCENARIO_DAYS, seed)
    stride, servers = round(step / history.resolution), len(history.servers)
    first, last = 24 * stride, len(history.values) - model.encoding.horizon * stride
    now = np.linspace(first, last - 1, instants).astype(np.int64)
    windows = Windows(history, np.stack([np.tile(np.arange(servers), instants), np.repeat(now, servers)], 1), stride)
    parts = []
    for begin in range(0, len(windows), 10 * servers):
        rows = slice(begin, begin + 10 * servers)
        context = windows.context(rows)[..., -model.context_steps :]
        values, _ = model.quantiles(context, windows.instants(rows), *windows.names(rows), windows.earlier(rows))
        parts.append(chance.exceedances(values, model.architecture.quantiles, columns, SEVERE))
    return np.concatenate(parts), windows.truth()


def _first(truth: np.ndarray, columns: dict[str, int], steps: int) -> np.ndarray:
    return scoring.crossing(truth, columns, SEVERE, steps)


def _fleetwise(
    made, sets, columns, window: str, steps: int, instants: int, corrected: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(chance said, whether it came) that any server of the fleet crosses, at every instant of all sets."""
    said, came = [], []
    for exceedance, truth in sets:
        p = made.servers(exceedance, window, steps).reshape(instants, -1)
        o = np.isfinite(_first(truth, columns, steps)).reshape(p.shape)
        said += [made.any_server(row, window) if corrected else chance.independent(row) for row in p]
        came += o.any(1).tolist()
    return np.array(said), np.array(came)


def logistic(x: np.ndarray, y: np.ndarray, rounds: int = 50) -> np.ndarray:
    """Weights (features + 1,), the constant last, of a logistic regression by Newton's method with a little ridge."""
    x, y = np.concatenate([x, np.ones((len(x), 1))], 1), y.astype(np.float64)
    weights = np.zeros(x.shape[1])
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (p - y) / len(y) + L2 * weights
        curve = (x * (p * (1 - p))[:, None]).T @ x / len(y) + L2 * np.eye(len(weights))
        step = np.linalg.solve(curve, slope)
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    return weights
