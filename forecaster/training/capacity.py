"""Training of the network that weighs courses of what fills up (capacity/network.py), on mounts of many seeds.

The percentiles are trained on the pinball loss of the share that nobody cleans after it is full, in units between the
row's own spread and everybody's; the chances on the cross-entropy of full within each window, and calibrated on mounts
of seeds that were not trained on.

Letters: R rows, K knots and M marks of the horizon, C courses, F traits, Q percentiles, W windows.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from itertools import pairwise, repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forecaster.capacity.courses import COURSES, TRAITS, courses, until_full
from forecaster.capacity.network import (
    ANCHORS,
    BLEND,
    CLIP,
    FAR,
    MARKS,
    PERCENTILES,
    TO_MARKS,
    WINDOW_HOURS,
    WINDOW_MARKS,
    Layers,
    Weights,
)
from forecaster.capacity.past import Bools, Floats
from forecaster.capacity.teeth import KNOTS
from forecaster.training.chances import platt
from forecaster.training.dataset import Progress
from forecaster.training.mounts import Example, made, simulated, unknown, varied
from forecaster.training.rhythms import rhythms

SEED = 1_000_000  # of the mounts that are trained on; those that calibrate follow HELD_OUT
HELD_OUT = 2_000_000
SERVERS, INSTANTS = 200, 6  # of a simulated fleet
GATE, FULL = (384, 256), (64, 32)
ROWS = 1024
LEARNING_RATE, WEIGHT_DECAY = 5e-3, 0.1
OWN = 0.5  # weight of a row's own spread in the unit of its loss, beside everybody's


@dataclass(frozen=True, eq=False)
class Rows:
    """What is learned from."""

    paths: NDArray[np.float16]  # (R, C, M) relative to now
    spread: Floats  # (R, K)
    traits: Floats  # (R, F)
    room: Floats  # (R,) to the limit
    top: Floats  # (R,) highest share there can be, relative to now
    later: Floats  # (R, M) relative to now
    full: Bools  # (R, W)


def rows_of(examples: Iterable[Example], size: int = 256) -> Rows:
    """What is learned from these; those that are full already are left out."""
    parts = []
    for past, later in examples:
        for at in range(0, len(later), size):
            some, after = past.rows(slice(at, at + size)), later[at:at + size]
            found = courses(some)
            room = some.limit - found.now
            full = np.stack([(after[:, :hours] >= some.limit[:, None]).any(1) for hours in WINDOW_HOURS], 1)
            relative = until_full(after, some.limit)[:, MARKS - 1] - found.now[:, None]
            top = np.maximum(np.maximum(1, some.limit), found.highest) - found.now
            kept = (room > 0) & (found.known > 0)
            paths = found.paths[..., MARKS - 1].astype(np.float16)
            parts.append([one[kept] for one in (paths, found.spread, found.traits, room, top, relative, full)])
    return Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def joined(parts: Iterable[Rows]) -> Rows:
    """One of several."""
    every = list(parts)
    return Rows(*(np.concatenate([getattr(part, field.name) for part in every]) for field in fields(Rows)))


def history(fleets: int, progress: Progress = iter) -> tuple[Rows, Rows]:
    """(rows to train on, rows of other seeds to calibrate on)."""
    with ProcessPoolExecutor() as processes:
        held_out = processes.map(_held_out, range(max(1, fleets // 6)), repeat(SERVERS), repeat(INSTANTS))
        trained = processes.map(_of_fleet, range(fleets), repeat(SERVERS), repeat(INSTANTS))
        return joined(progress(trained)), joined(held_out)


def _of_fleet(number: int, servers: int, instants: int) -> Rows:
    """Rows of a fleet's mounts, some of them varied, and of courses that the simulator does not have."""
    rng = np.random.default_rng([number, 7])
    pace = 1 if number % 4 else int(rng.integers(2, 5))
    parts = [rows_of([example if rng.random() < 0.6 else varied(example, rng)])
             for example in simulated(SEED + number, servers, instants, pace)]
    for other in (made(rng, servers * instants), rhythms(rng, servers * instants)):
        parts.append(rows_of([(unknown(other[0], rng), other[1]), varied(other, rng)]))
    return joined(parts)


def _held_out(number: int, servers: int, instants: int) -> Rows:
    return rows_of(simulated(HELD_OUT + number, servers, instants))


def learn(rows: Rows, held_out: Rows, steps: int, seed: int, report: dict[str, Any] | None = None) -> Weights:
    """Weights after so many steps of ROWS rows."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the networks are small: threads would wait for each other
    torch.manual_seed(seed)
    center, scale = rows.traits.mean(0), rows.traits.std(0) + 1e-3
    points = len(ANCHORS) * len(PERCENTILES)
    gate = _network(TRAITS, GATE, points * (COURSES + 1))
    full = _network(TRAITS + len(WINDOW_HOURS) * len(PERCENTILES), FULL, len(WINDOW_HOURS))
    parameters = [*gate.parameters(), *full.parameters()]
    optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    common = torch.as_tensor(rows.spread.mean(0) @ TO_MARKS)
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        batch = Batch(rows, generator.integers(0, len(rows.room), ROWS), center, scale)
        used = batch.percentiles(gate)
        unit = 1 / (OWN * batch.apart + common)
        loss = (_pinball(torch.minimum(used, batch.top[:, None, None]), batch.later) * unit).mean()
        loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(
            batch.log_odds(full, used.detach()), batch.full)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    odds = []
    with torch.no_grad():
        for at in range(0, len(held_out.room), ROWS):
            chosen = np.arange(at, min(at + ROWS, len(held_out.room)))
            batch = Batch(held_out, chosen, center, scale)
            odds.append(batch.log_odds(full, batch.percentiles(gate)).double().numpy())
    torch.set_num_threads(threads)
    found = np.concatenate(odds)
    slope, constant = platt(found.ravel(), held_out.full.ravel())  # of all windows: few are full within 4 hours
    return Weights(center, scale, _layers(gate), _layers(full), np.full(len(WINDOW_HOURS), slope),
                   np.full(len(WINDOW_HOURS), constant), dict(report or {}))


class Batch:
    """Some rows as tensors, and the network as capacity/network.py has it."""

    def __init__(self, rows: Rows, chosen: np.ndarray, center: Floats, scale: Floats):
        self.paths, self.spread, self.room, self.top, self.later = (
            torch.as_tensor(one[chosen]).float() for one in (rows.paths, rows.spread, rows.room, rows.top, rows.later))
        self.to_marks = torch.as_tensor(TO_MARKS)
        self.apart = self.spread @ self.to_marks
        self.full = torch.as_tensor(rows.full[chosen].astype(np.float32))
        self.inputs = torch.as_tensor(np.clip((rows.traits[chosen] - center) / scale, -CLIP, CLIP))

    def percentiles(self, gate: torch.nn.Module) -> torch.Tensor:
        """(R, M, Q)."""
        at_anchors = gate(self.inputs).reshape(len(self.inputs), len(ANCHORS), -1)
        out = torch.einsum("ka,rao->rko", torch.as_tensor(BLEND), at_anchors)
        out = out.reshape(len(self.inputs), len(KNOTS), len(PERCENTILES), COURSES + 1)
        weight = torch.einsum("km,rkqc->rmqc", self.to_marks, torch.softmax(out[..., :-1], -1))
        shift = torch.einsum("km,rkq->rmq", self.to_marks, FAR * torch.tanh(out[..., -1]) * self.spread[..., None])
        return torch.sort(torch.einsum("rmqc,rcm->rmq", weight, self.paths) + shift, -1).values

    def log_odds(self, full: torch.nn.Module, used: torch.Tensor) -> torch.Tensor:
        """(R, W)."""
        margins = (used - self.room[:, None, None]) / self.apart[..., None]
        seen = torch.arcsinh(torch.cummax(margins, 1).values[:, WINDOW_MARKS]).flatten(1)
        out = full(torch.cat([self.inputs, seen], 1))
        return torch.cumsum(torch.cat([out[:, :1], torch.nn.functional.softplus(out[:, 1:])], 1), 1)


def _pinball(used: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
    """(R, M): mean over the percentiles."""
    level = torch.tensor(PERCENTILES)
    below = later[..., None] - used
    return torch.maximum(level * below, (level - 1) * below).mean(-1)


def _network(inputs: int, hidden: tuple[int, ...], outputs: int) -> torch.nn.Sequential:
    layers = list[torch.nn.Module]()
    for before, after in pairwise((inputs, *hidden)):
        layers += [torch.nn.Linear(before, after), torch.nn.SiLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(hidden[-1], outputs))


def _layers(network: torch.nn.Sequential) -> Layers:
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    return tuple((one.weight.detach().numpy().T.copy(), one.bias.detach().numpy().copy()) for one in linear)
