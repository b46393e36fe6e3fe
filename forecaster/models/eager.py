"""The network under PyTorch: in full precision anywhere, with the transformer in half precision on a card.

Letters: B rows, C signals, H horizon steps, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch

from forecaster.models.engine import CEILING, Inputs
from forecaster.models.features import Encoding
from forecaster.models.network import Network, SeriesNetwork
from forecaster.models.series import SeriesEncoding

SMALLEST = 256  # rows at once; below, memory is short for other reasons


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
