"""The chance of an incident within 30 minutes and within 8 hours, from all quantiles of a forecast and the history.

A small network reads the evidence (evidence.py) of an incident of a server and answers in log odds, one for each of
SPANS; the mean of several such networks, each trained without some of the servers, is calibrated on the servers that
they did not see (Platt, 1999). It is trained beside the model whose forecasts it reads (training/chances.py) and kept
in the model's folder. The chance within 8 hours is at least that within 30 minutes.

A server that is far from the limit is calm (evidence.py): it has the chance that such servers had in training.
The chance that any of N servers has an incident lies between that of the worst server and that of independent ones:

    any = 1 - (1 - p_1) ((1 - p_2) ... (1 - p_N)) ^ separate,   p_1 the largest

Letters: N rows, T steps of history, H horizon steps, Q quantiles, F inputs, E networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecaster.models import weights_file
from forecaster.risk.evidence import INPUTS, SPANS, Floats, begun, carried, evidence

FILE = "chances.npz"
FORMAT = 1
WINDOWS = {"30m": SPANS[0], "8h": SPANS[1]}
CLIP = 5.0  # largest input in standard deviations

Wide = NDArray[np.float64]


def signed(sign: int, history: Floats, quantiles: Floats, levels: Sequence[float]
           ) -> tuple[Floats, Floats, Sequence[float]]:
    """These of the negated signal for sign -1, of which an incident below its limit is one above."""
    if sign > 0:
        return history, quantiles, levels
    return -history, -quantiles[..., ::-1], [1 - level for level in reversed(levels)]


class ChanceError(ValueError):
    """The chances cannot be used; the message names the file, the cause and the command that makes one."""


@dataclass(frozen=True, eq=False)
class Chances:
    """What the file holds; ValueError where parts do not fit."""

    center: Floats  # (F,)
    scale: Floats  # (F,)
    layers: tuple[tuple[Floats, Floats], ...]  # weights (E, in, out) and constants (E, 1, out); the last has 2 outputs
    slope: Wide  # (2,)
    constant: Wide  # (2,)
    calm: Wide  # (2,): chance of a calm server
    separate: Wide  # (2,)
    report: Mapping[str, Any]

    def __post_init__(self) -> None:
        sizes = [INPUTS, *(weights.shape[2] for weights, _ in self.layers)]
        fits = all(w.shape[1] == before and b.shape == (len(w), 1, w.shape[2])
                   for before, (w, b) in zip(sizes, self.layers, strict=False))
        of_inputs, of_windows = (self.center, self.scale), (self.slope, self.constant, self.calm, self.separate)
        if not (fits and sizes[-1] == len(SPANS) and all(a.shape == (INPUTS,) for a in of_inputs)
                and all(a.shape == (len(SPANS),) for a in of_windows)):
            raise ValueError(f"parts do not fit: layers of {sizes}, expected {INPUTS} inputs and {len(SPANS)} outputs")
        parts: list[NDArray[Any]] = [*of_inputs, *of_windows, *(part for layer in self.layers for part in layer)]
        if not all(np.isfinite(part).all() for part in parts) or not (self.scale > 0).all():
            raise ValueError("a number is not finite, or a scale is not above 0")

    @property
    def joint(self) -> dict[str, dict[str, float]]:
        """By window, the numbers with which recording rules make the chance of any server of a fleet."""
        return {window: {"floor": 0.0, "common": 0.0, "separate": float(self.separate[column])}
                for column, window in enumerate(WINDOWS)}

    def judged(self, history: Floats, quantiles: Floats, levels: Sequence[float], limit: Floats, lasting: int,
               floor: float) -> tuple[Wide, NDArray[np.int64]]:
        """(float64 (N, 2) by window, step int64 (N,) from which on the incident is more likely than not to have begun,
        0 where it is not within 8 hours) by the networks, of rows that are not calm, above limits (N,).

        history: float32 (N, T) in signal units, newest last, NaN where unknown. quantiles: float32 (N, H, Q) rising
        along Q at ``levels``. floor: least spread of the signal that matters.
        """
        filled, known = carried(history)
        found = evidence(filled, known, quantiles, levels, limit, lasting, floor)
        chances = self.calibrated(self.log_odds(found))
        return chances, begun(filled, quantiles, levels, limit, lasting, chances)

    def log_odds(self, inputs: Floats) -> Wide:
        """float64 (N, 2): the networks' mean, not calibrated, of evidence (N, F)."""
        x: Floats = np.clip((inputs - self.center) / self.scale, -CLIP, CLIP)[None]
        *hidden, (weights, constants) = self.layers
        for w, b in hidden:
            x = x @ w + b
            x = x / (1 + np.exp(-np.clip(x, -60, 60)))  # SiLU
        made: Wide = (x @ weights + constants).mean(0).astype(np.float64)
        return made

    def calibrated(self, log_odds: Wide) -> Wide:
        """float64 (N, 2): chances, the second at least the first."""
        chance = 1 / (1 + np.exp(-(self.slope * log_odds + self.constant)))
        return np.maximum.accumulate(chance, 1)

    def any(self, window: str, chances: Wide) -> float:
        """The chance that at least one of these servers has an incident; NaN without any known chance."""
        known = chances[np.isfinite(chances)]
        if not known.size or window not in WINDOWS:
            return float("nan")
        without = np.log1p(-np.minimum(known, 1 - 1e-12))
        separate = self.separate[[*WINDOWS].index(window)]
        made = -np.expm1(without.min() + separate * (without.sum() - without.min()))
        return float(max(made, known.max()))  # of a certain one, too

    def of_fleet(self, chances: Mapping[str, Wide]) -> dict[str, float]:
        """By window, the chance that at least one server has an incident, of a longer one at least that of a shorter;
        chances (S,) by window."""
        made = np.fmax.accumulate([self.any(window, chances[window]) for window in WINDOWS])
        return dict(zip(WINDOWS, made.tolist(), strict=True))

    @classmethod
    def load(cls, folder: Path, weights_sha256: str) -> Chances:
        """Those beside a model with these weights; raises ChanceError."""
        path, remedy = folder / FILE, f"run fleet-forecaster calibrate --model {folder}"

        def made(facts: Mapping[str, Any], data: dict[str, Any]) -> Chances:
            if facts["weights_sha256"] != weights_sha256:
                found, expected = str(facts["weights_sha256"])[:12], weights_sha256[:12]
                raise ChanceError(f"{path}: made for weights {found}, the model has {expected}; {remedy}")
            layers = tuple((data.pop(f"weights_{i}"), data.pop(f"constants_{i}")) for i in range(facts["layers"]))
            return cls(layers=layers, report=facts["report"], **data)

        return weights_file.read(path, FORMAT, ChanceError, remedy, made)

    def to_bytes(self, weights_sha256: str) -> bytes:
        """The content of the file that ``load`` reads."""
        facts = {"weights_sha256": weights_sha256, "layers": len(self.layers), "report": self.report}
        arrays: dict[str, Any] = {name: getattr(self, name) for name in
                                  ("center", "scale", "slope", "constant", "calm", "separate")}
        for i, (weights, constants) in enumerate(self.layers):
            arrays |= {f"weights_{i}": weights, f"constants_{i}": constants}
        return weights_file.to_bytes(FORMAT, facts, arrays)
