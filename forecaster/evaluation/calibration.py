"""Makes the chances of incidents of a model: examples from histories that the model was not judged on, then a fit.

Beside the configured incidents the examples have others, of all signals, with random limits and durations, above and
below: few hosts of a recording are ever at 95 %, and what comes before an incident looks alike at any limit. The
figures of the report are of the configured incidents, of servers (or simulated weeks) that the fit did not see.

Letters: N windows, C signals, T context steps, H horizon steps, Q quantiles.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.profiles import METRICS, load_fleet
from forecaster.evaluation import scoring
from forecaster.evaluation.scoring import Bools, Floats
from forecaster.evaluation.windows import RECENT_STEPS, Windows
from forecaster.models.model import Model
from forecaster.models.series import FLOORS, OTHER_FLOOR
from forecaster.risk import chances
from forecaster.risk.chances import Chances, signed
from forecaster.risk.conditions import Condition
from forecaster.risk.evidence import INPUTS, SPANS, calm, carried, evidence, lasting_least
from forecaster.signals import Signal
from forecaster.training import hosts
from forecaster.training.chances import Examples, fit, of_any
from forecaster.training.dataset import DAY, DatasetError, History, Progress
from forecaster.training.simulation import END, SCENARIO_DAYS, simulate

DAYS = 7.0
INSTANTS = 80  # of each simulated week
RECORDED_INSTANTS = 400  # of a recording
LASTING = (1, 1, 1, 2, 3, 3, 6)  # steps that a random incident must last, equally likely
SHORTENED = 0.1  # share of rows with less history
NEGATED = 0.15  # share of random incidents that are below their limit
RANDOM = 2  # random incidents of a window of a signal with a configured one; of any other signal, one


def of_fleets(
    model: Model, conditions: Mapping[str, Condition], signals: Mapping[str, Signal], weeks: int, seed: int,
    progress: Progress = iter,
) -> Chances:
    """The chances for a model of the simulator's signals, on ``weeks`` simulated weeks from this seed on, each another
    fleet with all scenarios; raises DatasetError."""
    _refuse(model, weeks, seed)
    windows = [simulated(model, seed + i) for i in range(weeks)]
    groups = [np.full(len(part), i) for i, part in enumerate(windows)]
    instants = [i * INSTANTS + np.unique(part.place[:, 1], return_inverse=True)[1] for i, part in enumerate(windows)]
    made = examples(model, conditions, signals, windows, groups, instants, seed, progress)
    return _reported(made, seed, {"simulated_weeks": weeks, "seeds": [seed, seed + weeks - 1]})


def of_hosts(
    model: Model, conditions: Mapping[str, Condition], signals: Mapping[str, Signal], history: History, seed: int,
    progress: Progress = iter, instants: int = RECORDED_INSTANTS,
) -> Chances:
    """The chances for a model of recorded servers, on the servers and weeks that it was trained on: those it kept out
    stay apart from this fit, too. Raises DatasetError."""
    _, others, until = hosts.split(history)
    part = history.of_servers(others).between(0, until)
    rng, stride = np.random.default_rng(seed), part.stride(model.encoding.step)
    first, last = scoring.DAY * stride, len(part.values) - model.encoding.horizon * stride
    if last <= first:
        raise DatasetError(f"{part.hours:.0f} h of history to learn chances from; expected more than 32 h")
    now = np.sort(rng.choice(np.arange(first, last), min(instants, last - first), replace=False))
    servers = np.arange(len(part.servers))
    place = np.stack([np.tile(servers, len(now)), np.repeat(now, len(servers))], 1)
    windows = Windows(part, place, stride)
    made = examples(model, conditions, signals, [windows], [place[:, 0]], [place[:, 1]], seed, progress)
    return _reported(made, seed, {"servers": len(servers), "instants": len(now)})


def _reported(made: Examples, seed: int, about: dict[str, Any]) -> Chances:
    """The fit with its report: figures of the configured incidents, as from ``scoring.probability_figures``, of each
    server, of those where it is not on, and of any server at an instant."""
    found, chance = fit(made, seed)
    report: dict[str, Any] = about | {"rows": len(chance), "windows": {}}
    for column, window in enumerate(chances.WINDOWS):
        by_fleet, happened = of_any(made, chance[:, column], column, found.separate[column : column + 1])
        pairs = {name: (chance[rows, column], made.outcome[rows, column])
                 for name, rows in (("server", made.asked), ("begin", made.asked & ~made.on))}
        for name, (p, outcome) in (pairs | {"any": (by_fleet[0], happened)}).items():
            figures = scoring.probability_figures(p, outcome) | {"said": float(p.mean())}
            report["windows"].setdefault(window, {})[name] = {
                key: round(value, 5) if np.isfinite(value) else None for key, value in figures.items()}
    return replace(found, report=report)


def examples(
    model: Model, conditions: Mapping[str, Condition], signals: Mapping[str, Signal], parts: Sequence[Windows],
    groups: Sequence[npt.NDArray[np.int64]], instants: Sequence[npt.NDArray[np.int64]], seed: int, progress: Progress,
) -> Examples:
    """Examples of all windows in ``parts``, forecast as in serving; groups and instants (N,) of each part."""
    rng, found = np.random.default_rng(seed), list[tuple[Any, ...]]()
    by_signal = {name: [one for one in conditions.values() if one.signal == name] for name in model.encoding.signals}
    batches = [(part, rows, group[rows], instant[rows]) for part, group, instant in
               zip(parts, groups, instants, strict=True) for rows in part.batches()]
    for part, rows, group, instant in progress(batches):
        names = part.history.signals
        context, truth = (model.arranged(cut, names) for cut in (part.context(rows, model.context_steps),
                                                                 part.truth(rows)))
        before = part.earlier(rows)
        servers, profiles = part.names(rows)
        quantiles, done = model.quantiles(context, part.instants(rows), servers, profiles,
                                          None if before is None else model.arranged(before, names))
        for column, name in enumerate(model.encoding.signals):
            usable = np.flatnonzero(done[:, column] & (np.isfinite(truth[:, column]).mean(1) > 0.9))
            if not usable.size or name not in signals:
                continue
            of = (context[usable, column], quantiles[usable, column], truth[usable, column])
            levels = model.architecture.quantiles
            labels = group[usable], part.place[rows, 0][usable], instant[usable]
            for one in by_signal[name]:
                limit = np.full(len(usable), one.limit, np.float32)
                found.append(_rows(*_signed(of, levels, one.sign), limit, one.steps, signals[name], True, labels, rng))
            for _ in range(RANDOM if by_signal[name] else 1):
                turned = _signed(of, levels, -1 if rng.random() < NEGATED else 1)
                limit = _random_limit(turned[0], signals[name], rng)
                found.append(_rows(*turned, limit, int(rng.choice(LASTING)), signals[name], False, labels, rng))
    if not found:
        raise DatasetError("no window can be forecast by the model; expected some with few gaps")
    return Examples(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _signed(of: tuple[Floats, Floats, Floats], levels: Sequence[float], sign: int
            ) -> tuple[Floats, Floats, Sequence[float], Floats]:
    """History, quantiles, their levels and truth, negated for an incident below its limit."""
    history, quantiles, truth = of
    return *signed(sign, history, quantiles, levels), sign * truth


def _rows(
    history: Floats, quantiles: Floats, levels: Sequence[float], truth: Floats, limit: Floats, lasting: int,
    signal: Signal, asked: bool, labels: tuple[npt.NDArray[np.int64], ...], rng: np.random.Generator,
) -> tuple[Any, ...]:
    """The parts of Examples, of one incident of these windows."""
    filled, known = carried(history)
    if not asked:
        shorter = np.exp(rng.uniform(np.log(6), np.log(filled.shape[1] + 1), len(known))).astype(np.int64)
        known = np.where(rng.random(len(known)) < SHORTENED, np.minimum(known, shorter), known)
    floor = FLOORS.get(signal.unit, OTHER_FLOOR)
    held = np.arange(filled.shape[1]) >= filled.shape[1] - known[:, None]
    largest = np.maximum(np.where(held, filled, -np.inf).max(1), quantiles[..., -1].max(1))
    near = ~calm(np.where(held, filled, np.inf).min(1), largest, limit)
    inputs = np.zeros((len(limit), INPUTS), np.float32)
    inputs[near] = evidence(filled[near], known[near], quantiles[near], levels, limit[near], lasting, floor)
    both = np.concatenate([filled[:, filled.shape[1] - lasting :], np.nan_to_num(truth, nan=-np.inf)], 1)
    on = lasting_least(both, lasting)[:, lasting - 1 :] > limit[:, None]
    outcome: Bools = np.stack([on[:, 1 : steps + 1].any(1) for steps in SPANS], 1)
    return inputs, outcome, on[:, 0], ~near, np.full(len(limit), asked), *labels


def _random_limit(history: Floats, signal: Signal, rng: np.random.Generator) -> Floats:
    """(N,): limits that a series reaches sometimes, just about or never; of a bounded signal, a third anywhere in the
    upper half of its range."""
    filled, known = carried(history)
    ordered = np.sort(np.where(np.arange(filled.shape[1]) >= filled.shape[1] - known[:, None], filled, np.inf), 1)
    rows, share = np.arange(len(filled)), 1 - np.exp(rng.uniform(np.log(5e-4), np.log(0.2), len(filled)))
    at = ordered[rows, np.minimum((share * known).astype(np.int64), known - 1)]
    top = ordered[rows, known - 1]
    spread = np.maximum(top - ordered[:, 0], 1e-6)
    limit = np.where(rng.random(len(filled)) < 0.75, at, top + spread * rng.uniform(-0.1, 0.6, len(filled)))
    if signal.max is not None:
        anywhere = signal.max * rng.uniform(0.5, 0.99, len(filled)) * np.where(ordered[:, 0] < 0, -1, 1)
        limit = np.where(rng.random(len(filled)) < 1 / 3, anywhere, limit)
    return limit.astype(np.float32)


def _refuse(model: Model, weeks: int, seed: int) -> None:
    if tuple(model.encoding.signals) != METRICS:
        raise DatasetError(f"the model forecasts {', '.join(model.encoding.signals)}; expected the simulated fleet's "
                           f"{', '.join(METRICS)}, or a recording: use --data")
    if weeks < 2:
        raise DatasetError(f"--weeks {weeks}; expected at least 2, so that some can be kept apart")
    trained = model.facts.get("seed")
    if model.facts.get("data") == "simulator" and seed // 1000 <= int(trained or 0) <= (seed + weeks - 1) // 1000:
        raise DatasetError(f"--seed {seed}: the model may have been trained on fleets of these seeds (train --seed "
                           f"{trained}); expected others: choose another --seed")


def simulated(model: Model, seed: int) -> Windows:
    """One week of a fleet of this seed, all servers at INSTANTS spread evenly."""
    step = model.encoding.step
    start = END - DAYS * DAY - seed % 97 * 3 * DAY  # every season
    history = simulate(load_fleet().model_copy(update={"seed": seed}), start, DAYS, step, SCENARIO_DAYS, seed)
    stride, servers = history.stride(step), len(history.servers)
    first, last = (RECENT_STEPS + 1) * stride, len(history.values) - model.encoding.horizon * stride
    now = np.linspace(first, last - 1, INSTANTS).astype(np.int64)
    return Windows(history, np.stack([np.tile(np.arange(servers), INSTANTS), np.repeat(now, servers)], 1), stride)


def write(folder: Path, made: Chances, weights_sha256: str) -> Path:
    """Writes the file beside the weights, whole or not at all; OSError where that fails."""
    handle, fresh = tempfile.mkstemp(prefix=f".{chances.FILE}-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(made.to_bytes(weights_sha256))
        os.chmod(fresh, 0o644)
        os.replace(fresh, folder / chances.FILE)
    except BaseException:
        os.unlink(fresh)
        raise
    return folder / chances.FILE


def table(report: Mapping[str, Any]) -> str:
    """The report as text."""
    lines = [f"{'':12}{'windows':>9}{'mean':>9}{'actual':>9}{'brier':>9}{'skill':>8}{'auroc':>8}{'ece':>8}"]
    for window, parts in report["windows"].items():
        for name, row in parts.items():
            digits = {"said": 9, "base_rate": 9, "brier": 9, "skill": 8, "auroc": 8, "ece": 8}
            shown = [f"{'-' if row[key] is None else f'{row[key]:.4f}':>{width}}" for key, width in digits.items()]
            lines.append(f"{window + ' ' + name:12}{row['windows']:9d}{''.join(shown)}")
    return "\n".join(lines)
