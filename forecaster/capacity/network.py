"""The network that weighs courses: percentiles at knots from a weighted mean of them, and the chances of full.

Small networks (SiLU) read the traits. The gates give each percentile a weight of every course and a shift in spreads,
at ANCHORS of the horizon and between them; they differ by chance only, and their mean errs less than each. Another one
reads where these percentiles lie, too, and gives the log odds of full within each window, rising along the windows.
Trained by training/capacity.py.

Letters: N entities, H hours, K knots, M marks, A anchors, C courses, F traits, Q percentiles, W windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecaster.capacity.courses import BETWEEN, COURSES, TRAITS, Courses
from forecaster.capacity.past import Floats, Wide
from forecaster.capacity.teeth import HORIZON, KNOTS
from forecaster.models import weights_file

FORMAT = 5
PERCENTILES = (0.1, 0.5, 0.9)
WINDOW_HOURS = (4, 24, 168, 336)
ANCHORS = (1, 6, 24, 96, 336)  # hours
CLIP = 4.0  # largest trait in standard deviations
# hours at which it is trained and looks for the limit: a job of two hours tonight is at one of them
MARKS = np.array([*range(1, 4), *range(4, 24, 2), *range(24, 48, 6), 48, 60, 72, 96, 120, 144, 168, 240, 336])
TO_MARKS = BETWEEN[:, MARKS - 1]  # (K, M): the part of each knot
WINDOW_MARKS = [int(np.searchsorted(MARKS, hours)) for hours in WINDOW_HOURS]
FAR = 2.0  # largest shift in spreads
WEIGHTS = Path(__file__).parent.parent / "artifacts" / "capacity.npz"
BLEND = np.stack([np.interp(np.log(KNOTS), np.log(ANCHORS), row) for row in np.eye(len(ANCHORS))], 1).astype(np.float32)
Layers = tuple[tuple[Floats, Floats], ...]


class WeightsError(ValueError):
    """The weights cannot be used; the message names the file, the cause and the command that makes them."""


@dataclass(frozen=True, eq=False)
class Weights:
    """What the file holds; ValueError where parts do not fit."""

    center: Floats  # (F,)
    scale: Floats  # (F,)
    gates: tuple[Layers, ...]  # weights (in, out) and constants (out,); the last has A * Q * (C + 1) outputs
    full: Layers  # the last has W outputs
    slope: Wide  # (W,) of the calibration of log odds
    constant: Wide  # (W,)
    report: Mapping[str, Any]

    def __post_init__(self) -> None:
        points = len(ANCHORS) * len(PERCENTILES)
        for layers, first, last in (*((gate, TRAITS, points * (COURSES + 1)) for gate in self.gates),
                                    (self.full, TRAITS + len(WINDOW_HOURS) * len(PERCENTILES), len(WINDOW_HOURS))):
            sizes = [first, *(weights.shape[1] for weights, _ in layers)]
            if sizes[-1] != last or any(w.shape[0] != n or b.shape != w.shape[1:]
                                        for n, (w, b) in zip(sizes, layers, strict=False)):
                raise ValueError(f"parts do not fit: layers of {sizes}, expected {first} inputs and {last} outputs")
        parts: list[NDArray[Any]] = [self.center, self.scale, self.slope, self.constant]
        parts += [part for layers in (*self.gates, self.full) for layer in layers for part in layer]
        if not self.gates:
            raise ValueError("no gate, expected one or more")
        if self.center.shape != (TRAITS,) or not all(np.isfinite(part).all() for part in parts):
            raise ValueError("a number is not finite, or traits do not fit")

    def percentiles(self, found: Courses) -> Floats:
        """(N, Q, H) relative to now, not cut off at any limit, rising along Q."""
        rows = len(found.now)
        weight, shift = (sum(part) / np.float32(len(part)) for part in zip(*map(
            partial(_weighed, self._inputs(found)), self.gates), strict=True))
        shift *= FAR * found.spread[:, :, None, None]
        out = np.empty((rows, len(PERCENTILES), HORIZON), np.float32)
        for begin, end in zip((0, *range(len(KNOTS) - 1)), range(len(KNOTS)), strict=True):
            first, last = KNOTS[begin] if end else 0, KNOTS[end]
            part = (np.arange(first + 1, last + 1, dtype=np.float32) - KNOTS[begin]) / max(last - first, 1)
            ends, paths = [begin, end], found.paths[:, :, first:last]
            both = weight[:, ends].reshape(rows, 2 * len(PERCENTILES), COURSES) @ paths
            both = both.reshape(rows, 2, len(PERCENTILES), last - first) + shift[:, ends]
            out[:, :, first:last] = both[:, 0] * (1 - part) + both[:, 1] * part
        return rising(found.from_now(out))

    def log_odds(self, found: Courses, room: Floats, used: Floats) -> Wide:
        """float64 (N, W), calibrated, of percentiles as above that reach ``room`` (N,), the limit relative to now."""
        margins = (used[:, :, MARKS - 1] - room[:, None, None]) / (found.spread @ TO_MARKS)[:, None]
        seen = np.arcsinh(np.maximum.accumulate(margins, 2)[:, :, WINDOW_MARKS])
        seen = np.swapaxes(seen, 1, 2).reshape(len(used), len(WINDOW_HOURS) * len(PERCENTILES))
        made = _through(self.full, np.concatenate([self._inputs(found), seen], 1)).astype(np.float64)
        made[:, 1:] = np.logaddexp(0, made[:, 1:])
        odds: Wide = np.maximum.accumulate(np.cumsum(made, 1) * self.slope + self.constant, 1)
        return odds

    def _inputs(self, found: Courses) -> Floats:
        made: Floats = np.clip((found.traits - self.center) / self.scale, -CLIP, CLIP)
        return made

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Weights:
        """Those of a file, the shipped ones by default; raises WeightsError."""
        def made(facts: Mapping[str, Any], data: dict[str, Any]) -> Weights:
            *gates, full = (
                tuple((data.pop(f"{name}_weights_{i}").astype(np.float32), data.pop(f"{name}_constants_{i}"))
                      for i in range(number)) for name, number in facts["layers"].items())
            return cls(gates=tuple(gates), full=full, report=facts["report"], **data)

        remedy = f"run fleet-forecaster train --capacity --output {path}"
        return weights_file.read(path, FORMAT, WeightsError, remedy, made)

    def to_bytes(self) -> bytes:
        """The content of the file that ``load`` reads; matrices in float16."""
        networks = {f"gate_{number}": gate for number, gate in enumerate(self.gates)} | {"full": self.full}
        facts = {"layers": {name: len(layers) for name, layers in networks.items()}, "report": self.report}
        arrays: dict[str, Any] = {name: getattr(self, name) for name in ("center", "scale", "slope", "constant")}
        for name, layers in networks.items():
            for i, (weights, constants) in enumerate(layers):
                arrays |= {f"{name}_weights_{i}": weights.astype(np.float16), f"{name}_constants_{i}": constants}
        return weights_file.to_bytes(FORMAT, facts, arrays)


def _weighed(inputs: Floats, gate: Layers) -> tuple[Floats, Floats]:
    """(weights of the courses (N, K, Q, C), shifts in FAR spreads (N, K, Q, 1)), by one gate."""
    anchored = _through(gate, inputs).reshape(len(inputs), len(ANCHORS), len(PERCENTILES) * (COURSES + 1))
    made = (BLEND @ anchored).reshape(len(inputs), len(KNOTS), len(PERCENTILES), COURSES + 1)
    weight = np.exp(made[..., :-1] - made[..., :-1].max(-1, keepdims=True))
    weight /= weight.sum(-1, keepdims=True)
    return weight, np.tanh(made[..., -1:])


def rising(curves: Floats) -> Floats:
    """The three percentiles (N, 3, H) sorted; five times as fast as a sort of so short an axis."""
    one, other, last = (curves[:, q] for q in range(3))
    low, high = np.minimum(one, other), np.maximum(one, other)
    return np.stack([np.minimum(low, last), np.maximum(low, np.minimum(high, last)), np.maximum(high, last)], 1)


def _through(layers: Layers, x: Floats) -> Floats:
    """(N, out)."""
    for number, (weights, constants) in enumerate(layers):
        if number:
            x = x * (1 + np.tanh(x / 2)) / 2  # SiLU
        x = x @ weights + constants
    return x
