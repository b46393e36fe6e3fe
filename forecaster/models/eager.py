"""The network under PyTorch: in full precision on any device, with the transformer in half precision on a GPU.

Letters: B rows, C signals, H horizon steps, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Generic

import numpy as np
import torch

from forecaster.models.engine import CEILING, Inputs
from forecaster.models.network import AnyNetwork, Network
from forecaster.models.series import SeriesEncoding

SMALLEST = 256  # rows at once; if fewer do not fit, something else has taken the memory


class Eager(Generic[AnyNetwork]):
    """The network under PyTorch, ROWS at a time; outputs become signal units on the device."""

    name = "pytorch"
    ROWS: ClassVar = {"cpu": 256, "cuda": 16384}  # what fits a CPU's cache; halved where a GPU's memory is short

    def __init__(self, network: AnyNetwork, device: torch.device):
        self.network, self.device = network, device
        self._fits: int | None = None  # rows at once, after memory was short

    def close(self) -> None:
        """It has no threads of its own."""

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
        given = {k: torch.as_tensor(v, device=self.device) for k, v in x.items()}
        return self._finished(self.network, given).cpu().numpy()

    def _finished(self, network: AnyNetwork, x: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return ascending(self._in_units(network(x).float()))

    def _in_units(self, out: torch.Tensor) -> torch.Tensor:
        """As ``Encoding.unscale``, in place; outputs of single series are in signal units already."""
        encoding = self.network.encoding
        if isinstance(encoding, SeriesEncoding):
            return out
        for column, scaling in enumerate(encoding.scalings):
            g = out[:, column] * scaling.scale + scaling.center
            if scaling.log:
                g = torch.exp(g.clamp(max=CEILING)) - scaling.offset
            if scaling.low is not None or scaling.high is not None:
                g = g.clamp(scaling.low, scaling.high)
            out[:, column] = g
        return out


class Cuda(Eager[Network]):
    """The network on a GPU, with the transformer in half precision; results leave through page-locked memory.

    Rows that exceed the range of half precision are computed again in full precision.
    """

    name = "pytorch-half"

    def __init__(self, eager: Eager[Network]):
        super().__init__(eager.network, eager.device)
        self._half = eager.network.in_half()

    def _part(self, x: Inputs) -> np.ndarray:
        given = {k: torch.as_tensor(v, device=self.device) for k, v in x.items()}
        out = self._finished(self._half, given)
        lost = ~torch.isfinite(out).flatten(1).all(1)
        if lost.any():
            rows = len(lost)
            out[lost] = self._finished(self.network, {k: v[lost] if len(v) == rows else v for k, v in given.items()})
        host = torch.empty(out.shape, dtype=out.dtype, pin_memory=True)  # PyTorch reuses such blocks
        return host.copy_(out).numpy()


def ascending(x: torch.Tensor) -> torch.Tensor:
    """The values of the last axis in rising order."""
    return exchanged(x) if x.is_cuda else x.sort(-1).values


def exchanged(x: torch.Tensor) -> torch.Tensor:
    """The same by exchanges of neighbours: on a GPU, sort() also writes indices, eight bytes for each value."""
    levels = list(x.unbind(-1))
    for done in range(len(levels) - 1, 0, -1):
        for q in range(done):
            levels[q], levels[q + 1] = torch.minimum(levels[q], levels[q + 1]), torch.maximum(levels[q], levels[q + 1])
    return torch.stack(levels, -1)
