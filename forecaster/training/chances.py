"""Training of the networks that make chances of incidents (risk/chances.py) from evidence and outcomes.

Each of FOLDS networks is trained without one part of the groups (servers, or simulated weeks) and judged on that part,
so that the calibration is of servers that a network has not seen. The networks' mean is what serves.

Letters: N rows, F inputs, E networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from forecaster.risk.chances import CLIP, Chances
from forecaster.risk.evidence import SPANS
from forecaster.training.dataset import DatasetError, Floats

FOLDS = 5
HIDDEN = (64, 32)
DROPOUT = 0.2
STEPS, ROWS = 3000, 1024
LEARNING_RATE, WEIGHT_DECAY = 3e-3, 1e-2
LEAST = 20  # incidents, below which nothing can be learned
SEPARATE = np.linspace(0, 1, 101)

Bools = npt.NDArray[np.bool_]
Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows to learn from."""

    inputs: Floats  # (N, F) of evidence
    outcome: Bools  # (N, 2): on at any step of each of SPANS
    on: Bools  # (N,): on now
    calm: Bools  # (N,): neither history nor forecast reach the limit
    asked: Bools  # (N,): of a configured incident, not of another limit
    group: npt.NDArray[np.int64]  # (N,): rows of one group are never both trained on and judged by
    server: npt.NDArray[np.int64]  # (N,): distinct within an instant
    instant: npt.NDArray[np.int64]  # (N,): rows of one instant are servers of one fleet at one time


def fit(examples: Examples, seed: int, report: Mapping[str, Any] | None = None) -> tuple[Chances, Wide]:
    """(the chances, without a report; chances float64 (N, 2) of every row by the network that was trained without its
    group). Raises DatasetError where there are too few incidents."""
    reached = ~examples.calm
    for column, steps in enumerate(SPANS):
        if (found := int(examples.outcome[reached, column].sum())) < LEAST:
            raise DatasetError(f"{found} incidents within {steps * 5} minutes in {reached.sum()} rows near a limit; "
                               f"expected at least {LEAST}: use more history, or limits that are reached")
    inputs = examples.inputs[reached]
    center, scale = inputs.mean(0), inputs.std(0) + 1e-3
    x: Floats = np.clip((inputs - center) / scale, -CLIP, CLIP)
    y, groups = examples.outcome[reached], np.unique(examples.group)
    fold_of = dict(zip(groups.tolist(), (np.random.default_rng(seed).permutation(len(groups)) % FOLDS).tolist(),
                       strict=True))
    fold = np.array([fold_of[group] for group in examples.group[reached].tolist()])
    networks, unseen, threads = [], np.zeros((len(x), len(SPANS))), torch.get_num_threads()
    torch.set_num_threads(1)  # the networks are small: threads would wait for each other
    for number in range(FOLDS):
        network = _train(x[fold != number], y[fold != number], seed + number)
        networks.append(network)
        with torch.no_grad():
            unseen[fold == number] = network(torch.as_tensor(x[fold == number])).numpy()
    torch.set_num_threads(threads)
    slope, constant = (np.array(part) for part in zip(*(platt(unseen[:, c], y[:, c]) for c in (0, 1)), strict=True))
    calm = examples.calm & examples.asked
    rate = (examples.outcome[calm].sum(0) + 0.5) / (calm.sum() + 100.0)  # a rate is never 0
    linears = [[layer for layer in network if isinstance(layer, torch.nn.Linear)] for network in networks]
    layers = tuple(
        (np.stack([one.weight.detach().numpy().T for one in same]),
         np.stack([one.bias.detach().numpy()[None] for one in same])) for same in zip(*linears, strict=True))
    made = Chances(center, scale, layers, slope, constant, np.maximum.accumulate(rate), np.ones(2), dict(report or {}))
    chance = np.tile(made.calm, (len(reached), 1))
    chance[reached] = made.calibrated(unseen)
    separate = np.array([_separate(examples, chance[:, column], column) for column in range(len(SPANS))])
    return Chances(center, scale, layers, slope, constant, made.calm, separate, made.report), chance


def _train(x: Floats, y: Bools, seed: int) -> torch.nn.Sequential:
    """One network, trained on rows (N, F) with binary cross-entropy."""
    torch.manual_seed(seed)
    sizes, layers = (x.shape[1], *HIDDEN), list[torch.nn.Module]()
    for before, after in pairwise(sizes):
        layers += [torch.nn.Linear(before, after), torch.nn.SiLU(), torch.nn.Dropout(DROPOUT)]
    network = torch.nn.Sequential(*layers[:-1], torch.nn.Linear(sizes[-1], len(SPANS)))
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    rows, outcome = torch.as_tensor(x), torch.as_tensor(y.astype(np.float32))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        batch = torch.randint(0, len(rows), (ROWS,), generator=generator)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(rows[batch]), outcome[batch])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return network.eval()


def platt(log_odds: Wide, outcome: Bools | Floats) -> tuple[float, float]:
    """(slope, constant) of a logistic regression, by Newton's method from the identity; an outcome may be a share."""
    x, found = np.stack([log_odds, np.ones(len(log_odds))], 1), np.array([1.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ found))
        slope = x.T @ (p - outcome) + 1e-6 * (found - [1, 0])
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(2), slope)
        found = found - np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-9:
            break
    return float(np.clip(found[0], 0.1, 10)), float(found[1])


def of_any(examples: Examples, chance: Wide, column: int, separate: Wide) -> tuple[Wide, Bools]:
    """(the chances that any server of an instant has an asked incident, float64 (K, instants) for K values of
    ``separate``; whether one had), from chances (N,) of rows within SPANS[column]. As served: of a server the largest
    chance counts, of servers ``Chances.any``."""
    asked = np.flatnonzero(examples.asked)
    pairs, row = np.unique(np.stack([examples.instant[asked], examples.server[asked]], 1), axis=0, return_inverse=True)
    of_server, happened = np.zeros(len(pairs)), np.zeros(len(pairs), bool)
    np.maximum.at(of_server, row.ravel(), chance[asked])
    np.logical_or.at(happened, row.ravel(), examples.outcome[asked, column])
    instants, which = np.unique(pairs[:, 0], return_inverse=True)
    without = np.log1p(-np.minimum(of_server, 1 - 1e-12))
    total, worst = np.bincount(which, without), np.zeros(len(instants))
    np.minimum.at(worst, which, without)
    return -np.expm1(worst + separate[:, None] * (total - worst)), np.bincount(which, happened) > 0


def _separate(examples: Examples, chance: Wide, column: int) -> float:
    """How far servers have incidents apart from each other: the most likely of SEPARATE, over all instants."""
    made, happened = of_any(examples, chance, column, SEPARATE)
    p = np.clip(made, 1e-9, 1 - 1e-9)
    return float(SEPARATE[np.where(happened, np.log(p), np.log1p(-p)).sum(1).argmax()])
