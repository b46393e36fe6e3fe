"""What makes numbers of a model's inputs: the compiled pass on the CPU where there can be one, else PyTorch.

An engine turns ``features.batch`` or ``series.batch`` arrays into quantiles in signal units, ascending, float32
(B, C, H, Q) or (B, H, Q).

Letters: B rows, C signals, T encoder steps, H horizon steps, Q quantiles, A anchors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import torch

from forecaster.models.features import Encoding
from forecaster.models.network import Network, SeriesNetwork
from forecaster.models.series import SeriesEncoding

HALF_AGREEMENT = 2e-2  # the same of half and full precision
SMALLEST = 256  # rows at once; below, memory is short for other reasons
AGREEMENT = 1e-3  # of 1 + the value: what compiled and eager pass may differ by when a model is loaded
CEILING = 60.0  # of the exponent of a signal with a logarithmic scale, as in features.Scaling

log = logging.getLogger(__name__)
Inputs = Mapping[str, np.ndarray]
Engine = Callable[[Inputs], np.ndarray]


class Eager:
    """The network under PyTorch, ROWS at a time, back to signal units before results leave the device."""

    name = "pytorch"
    ROWS: ClassVar = {"cpu": 256, "cuda": 16384}  # what fits a processor's cache; half as many where a card's memory is short

    def __init__(self, network: Network | SeriesNetwork, encoding: Encoding | SeriesEncoding, device: torch.device):
        self.network, self.encoding, self.device = network, encoding, device
        self._fits: int | None = None  # rows, once more did not fit

    def __call__(self, x: Inputs) -> np.ndarray:
        rows = len(x["observed"])
        at_once = self._fits or self.ROWS.get(self.device.type, rows)
        with torch.inference_mode():
            while True:
                try:
                    parts = [
                        self._part({k: v[begin : begin + at_once] if len(v) == rows else v for k, v in x.items()})
                        for begin in range(0, rows, at_once)
                    ]
                    break
                except torch.cuda.OutOfMemoryError:
                    if at_once <= SMALLEST:
                        raise
                    at_once = self._fits = at_once // 2
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _part(self, x: Inputs) -> np.ndarray:
        """The same of rows that fit."""
        return self._finished(self.network, {k: torch.as_tensor(v, device=self.device) for k, v in x.items()}).cpu().numpy()

    def _finished(self, network: Network | SeriesNetwork, x: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return ascending(self._in_units(network(x).float()))

    def _in_units(self, out: torch.Tensor) -> torch.Tensor:
        """(B, C, H, Q) as ``Encoding.unscale`` does it; series are in signal units already."""
        if isinstance(self.encoding, SeriesEncoding):
            return out
        for column, scaling in enumerate(self.encoding.scalings):
            g = out[:, column] * scaling.scale + scaling.center
            if scaling.log:
                g = torch.exp(g.clamp(max=CEILING)) - scaling.offset
            if scaling.low is not None or scaling.high is not None:
                g = g.clamp(scaling.low, scaling.high)
            out[:, column] = g
        return out


class Cuda(Eager):
    """The network on a card: the transformer in half precision where that does, results through page-locked memory.

    Rows whose numbers leave half precision's range are computed again in full.
    """

    name = "pytorch-half"

    def __init__(self, eager: Eager):
        super().__init__(eager.network, eager.encoding, eager.device)
        self._half = eager.network.in_half()

    def _part(self, x: Inputs) -> np.ndarray:
        given = {k: torch.as_tensor(v, device=self.device) for k, v in x.items()}
        out = self._finished(self._half, given)
        lost = ~torch.isfinite(out).flatten(1).all(1)
        if lost.any():
            rows = len(lost)
            out[lost] = self._finished(self.network, {k: v[lost] if len(v) == rows else v for k, v in given.items()})
        host = torch.empty(out.shape, dtype=out.dtype, pin_memory=True)  # PyTorch keeps such blocks for the next time
        return host.copy_(out).numpy()


def ascending(x: torch.Tensor) -> torch.Tensor:
    """The few values of the last axis in order."""
    return exchanged(x) if x.is_cuda else x.sort(-1).values


def exchanged(x: torch.Tensor) -> torch.Tensor:
    """The same by exchanges of neighbours: a card's sort() writes indices as well, eight bytes for each value."""
    levels = list(x.unbind(-1))
    for done in range(len(levels) - 1, 0, -1):
        for q in range(done):
            levels[q], levels[q + 1] = torch.minimum(levels[q], levels[q + 1]), torch.maximum(levels[q], levels[q + 1])
    return torch.stack(levels, -1)


def choose(eager: Eager, rehearsal: Inputs) -> Engine:
    """The fastest engine that works and agrees with the eager one on the rehearsal's inputs: compiled on the CPU, half
    precision on a card; else the eager one."""
    if eager.device.type == "cpu":
        what, make, limit = "the compiled forward pass", _compiled, AGREEMENT
    elif eager.device.type == "cuda" and isinstance(eager.network, Network):  # series mix views to the last bit
        what, make, limit = "half precision", Cuda, HALF_AGREEMENT
    else:
        return eager
    try:
        engine = make(eager)
        expected, found = eager(rehearsal), engine(rehearsal)
        apart = float(np.max(np.abs(found - expected) / (1 + np.abs(expected))))
        if not apart <= limit:
            raise ArithmeticError(f"it differs from PyTorch's by {apart:.2g}, expected at most {limit:g}")
    except Exception as error:  # noqa: BLE001  whatever a strange processor or a locked-down kernel makes of it
        log.warning("%s cannot be used: %s; PyTorch's full pass is, which is several times slower", what, error)
        return eager
    return engine


def _compiled(eager: Eager) -> Engine:
    from forecaster.models.compiled.passes import (  # needs llvmlite, which not every platform has
        Compiled,
        CompiledSeries,
    )

    return CompiledSeries(eager) if isinstance(eager.network, SeriesNetwork) else Compiled(eager)
