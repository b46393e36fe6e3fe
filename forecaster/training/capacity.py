"""Training of the network that weighs courses of what fills up (capacity/network.py), on mounts of many seeds.

The percentiles are trained on the pinball loss of the share that nobody cleans after it is full, in units between the
row's own spread and everybody's; the chances on the cross-entropy of full within each window, and calibrated on mounts
of seeds that were not trained on. Of a simulated mount several possible futures are learned from at once: what comes of
a burst is luck, and a single outcome teaches the luck, too.

All matrices but the last are trained by Muon (Jordan, 2024), which makes its steps alike in all directions.

Letters: R rows, J futures, K knots and M marks of the horizon, C courses, F traits, Q percentiles, W windows.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
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
from forecaster.capacity.past import Floats
from forecaster.capacity.teeth import KNOTS
from forecaster.training.chances import platt
from forecaster.training.dataset import Progress
from forecaster.training.mounts import Example, made, simulated, unknown, varied
from forecaster.training.rhythms import rhythms

SEED = 1_000_000  # of the mounts that are trained on; those that calibrate follow HELD_OUT
HELD_OUT = 2_000_000
SERVERS, INSTANTS, FUTURES = 300, 4, 4  # of a simulated fleet
GATES, GATE, FULL = 2, (384, 256), (64, 32)
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
    later: NDArray[np.float16]  # (R, J, M) relative to now
    full: Floats  # (R, W) share of the futures in which it is full within the window


def rows_of(examples: Iterable[Example], futures: int = 1, size: int = 256) -> Rows:
    """What is learned from these, a single future as often as others have; those that are full already are left out."""
    parts = []
    for past, later in examples:
        for at in range(0, len(later), size):
            some, after = past.rows(slice(at, at + size)), later[at:at + size]
            found = courses(some)
            room = some.limit - found.now
            limit = np.broadcast_to(some.limit[:, None], after.shape[:2])
            full = [(after[..., :hours] >= limit[..., None]).any(2).mean(1) for hours in WINDOW_HOURS]
            relative = until_full(after, limit)[..., MARKS - 1] - found.now[:, None, None]
            relative = np.broadcast_to(relative.astype(np.float16), (len(relative), futures, len(MARKS)))
            top = np.maximum(np.maximum(1, some.limit), found.highest) - found.now
            kept = (room > 0) & (found.known > 0)
            paths = found.paths[..., MARKS - 1].astype(np.float16)
            parts.append([one[kept] for one in (
                paths, found.spread, found.traits, room, top, relative, np.stack(full, 1).astype(np.float32))])
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
    parts = [rows_of([example if rng.random() < 0.6 else varied(example, rng)], FUTURES)
             for example in simulated(SEED + number, servers, instants, pace, FUTURES)]
    for other in (made(rng, servers * instants), rhythms(rng, servers * instants)):
        parts.append(rows_of([(unknown(other[0], rng), other[1]), varied(other, rng)], FUTURES))
    return joined(parts)


def _held_out(number: int, servers: int, instants: int) -> Rows:
    return rows_of(simulated(HELD_OUT + number, servers, instants, futures=FUTURES), FUTURES)


def learn(rows: Rows, held_out: Rows, steps: int, seed: int, report: dict[str, Any] | None = None) -> Weights:
    """Weights after so many steps of ROWS rows."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the networks are small: threads would wait for each other
    torch.manual_seed(seed)
    center, scale = rows.traits.mean(0), rows.traits.std(0) + 1e-3
    outputs = len(ANCHORS) * len(PERCENTILES) * (COURSES + 1)
    gates = [_Learner(_network(TRAITS, GATE, outputs), steps) for _ in range(GATES)]
    inputs = TRAITS + len(WINDOW_HOURS) * len(PERCENTILES)
    full = _Learner(_network(inputs, FULL, len(WINDOW_HOURS)), steps)
    common = torch.as_tensor(rows.spread.mean(0) @ TO_MARKS)
    generator = np.random.default_rng(seed)
    with ThreadPoolExecutor(GATES) as pool:
        for _ in range(steps):
            batch = Batch(rows, generator.integers(0, len(rows.room), ROWS), center, scale)
            used = mean(list(pool.map(partial(_step, batch, 1 / (OWN * batch.apart + common)), gates)))
            full.step(torch.nn.functional.binary_cross_entropy_with_logits(
                batch.log_odds(full.network, used), batch.full))
    odds = []
    with torch.no_grad():
        for at in range(0, len(held_out.room), ROWS):
            batch = Batch(held_out, np.arange(at, min(at + ROWS, len(held_out.room))), center, scale)
            used = mean([batch.percentiles(gate.network) for gate in gates])
            odds.append(batch.log_odds(full.network, used).double().numpy())
    torch.set_num_threads(threads)
    found = np.concatenate(odds)
    slope, constant = platt(found.ravel(), held_out.full.ravel())  # of all windows: few are full within 4 hours
    return Weights(center, scale, tuple(_layers(gate.network) for gate in gates), _layers(full.network),
                   np.full(len(WINDOW_HOURS), slope), np.full(len(WINDOW_HOURS), constant), dict(report or {}))


class _Learner:
    """A network, and what moves its weights: all matrices but the last by Muon, the rest by AdamW."""

    def __init__(self, network: torch.nn.Sequential, steps: int):
        self.network, self._parameters = network, list(network.parameters())
        matrices = [one for one in self._parameters[:-2] if one.ndim == 2]
        rest = [one for one in self._parameters if all(one is not other for other in matrices)]
        self._optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, LEARNING_RATE, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)]
        self._schedules = [torch.optim.lr_scheduler.OneCycleLR(one, LEARNING_RATE, total_steps=steps,
                                                               cycle_momentum=False) for one in self._optimizers]

    def step(self, loss: torch.Tensor) -> None:
        """One step against a loss."""
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for optimizer, schedule in zip(self._optimizers, self._schedules, strict=True):
            optimizer.step()
            schedule.step()


def _step(batch: Batch, unit: torch.Tensor, gate: _Learner) -> torch.Tensor:
    """The percentiles that a gate gives, of which it learns. The loss does not sort them, so that each output keeps to
    its level: else one gate's p10 would be averaged with another's p90."""
    used = batch.percentiles(gate.network)
    gate.step((_pinball(torch.minimum(used, batch.top[:, None, None]), batch.later) * unit).mean())
    return used.detach()


def mean(used: list[torch.Tensor]) -> torch.Tensor:
    """What is served of the percentiles of several gates."""
    return torch.sort(torch.stack(used).mean(0), -1).values


class Batch:
    """Some rows as tensors, and the network as capacity/network.py has it."""

    def __init__(self, rows: Rows, chosen: np.ndarray, center: Floats, scale: Floats):
        self.paths, self.spread, self.room, self.top, self.later = (
            torch.as_tensor(one[chosen]).float() for one in (rows.paths, rows.spread, rows.room, rows.top, rows.later))
        self.to_marks = torch.as_tensor(TO_MARKS)
        self.apart = self.spread @ self.to_marks
        self.full = torch.as_tensor(rows.full[chosen])
        self.inputs = torch.as_tensor(np.clip((rows.traits[chosen] - center) / scale, -CLIP, CLIP))

    def percentiles(self, gate: torch.nn.Module) -> torch.Tensor:
        """(R, M, Q), by one gate, not sorted."""
        at_anchors = gate(self.inputs).reshape(len(self.inputs), len(ANCHORS), -1)
        out = torch.einsum("ka,rao->rko", torch.as_tensor(BLEND), at_anchors)
        out = out.reshape(len(self.inputs), len(KNOTS), len(PERCENTILES), COURSES + 1)
        weight = torch.einsum("km,rkqc->rmqc", self.to_marks, torch.softmax(out[..., :-1], -1))
        shift = torch.einsum("km,rkq->rmq", self.to_marks, FAR * torch.tanh(out[..., -1]) * self.spread[..., None])
        return torch.einsum("rmqc,rcm->rmq", weight, self.paths) + shift

    def log_odds(self, full: torch.nn.Module, used: torch.Tensor) -> torch.Tensor:
        """(R, W)."""
        margins = (used - self.room[:, None, None]) / self.apart[..., None]
        seen = torch.arcsinh(torch.cummax(margins, 1).values[:, WINDOW_MARKS]).flatten(1)
        out = full(torch.cat([self.inputs, seen], 1))
        return torch.cumsum(torch.cat([out[:, :1], torch.nn.functional.softplus(out[:, 1:])], 1), 1)


def _pinball(used: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
    """(R, M) of percentiles (R, M, Q) and futures (R, J, M): mean over both."""
    level = torch.tensor(PERCENTILES)
    below = later[..., None] - used[:, None]
    return torch.maximum(level * below, (level - 1) * below).mean((1, 3))


def _network(inputs: int, hidden: tuple[int, ...], outputs: int) -> torch.nn.Sequential:
    layers = list[torch.nn.Module]()
    for before, after in pairwise((inputs, *hidden)):
        layers += [torch.nn.Linear(before, after), torch.nn.SiLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(hidden[-1], outputs))


def _layers(network: torch.nn.Sequential) -> Layers:
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    return tuple((one.weight.detach().numpy().T.copy(), one.bias.detach().numpy().copy()) for one in linear)
