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
from llvmlite import ir

from forecaster.features import Encoding
from forecaster.fused import Finish, Fused, Pass
from forecaster.layers import Layers
from forecaster.network import LAGS, Network, SeriesNetwork
from forecaster.series import SeriesEncoding

AGREEMENT = 1e-3  # of 1 + the value: what compiled and eager pass may differ by when a model is loaded
CEILING = 60.0  # of the exponent of a signal with a logarithmic scale, as in features.Scaling

log = logging.getLogger(__name__)
Inputs = Mapping[str, np.ndarray]
Engine = Callable[[Inputs], np.ndarray]


class Eager:
    """The network under PyTorch on any device, ROWS at a time, back to signal units before results leave the device."""

    name = "pytorch"
    ROWS: ClassVar = {"cpu": 256, "cuda": 8192}  # what fits a processor's cache, or any card's memory

    def __init__(self, network: Network | SeriesNetwork, encoding: Encoding | SeriesEncoding, device: torch.device):
        self.network, self.encoding, self.device = network, encoding, device

    def __call__(self, x: Inputs) -> np.ndarray:
        rows, parts = len(x["observed"]), []
        at_once = self.ROWS.get(self.device.type, rows)
        with torch.inference_mode():
            for begin in range(0, rows, at_once):
                some = {k: v[begin : begin + at_once] if len(v) == rows else v for k, v in x.items()}
                out = self.network({k: torch.as_tensor(v, device=self.device) for k, v in some.items()}).float()
                parts.append(self._in_units(out).sort(-1).values.cpu().numpy())
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

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


class Compiled:
    """The compiled pass for rows that share one clock; rows with clocks of their own go to the eager one."""

    name = "compiled"

    def __init__(self, eager: Eager):
        network, encoding = eager.network, eager.encoding
        self._fused = Fused(network.tft, encoding.horizon, finish=InSignalUnits(network, encoding))
        self.eager = eager

    def __call__(self, x: Inputs) -> np.ndarray:
        return self._fused(x) if len(x["known"]) == 1 else self.eager(x)


class CompiledSeries:
    """The compiled transformer, with the views mixed by PyTorch."""

    name = "compiled"

    def __init__(self, eager: Eager):
        self.eager = eager
        self._fused = Fused(eager.network.tft, eager.encoding.positions, own=True)

    def __call__(self, x: Inputs) -> np.ndarray:
        with torch.inference_mode():
            out = torch.from_numpy(self._fused(x))
            return np.sort(self.eager.network.mix(out, {k: torch.as_tensor(v) for k, v in x.items()}).numpy(), -1)


class InSignalUnits(Finish):
    """Adds the linear autoregression, goes back to signal units and sorts the quantiles."""

    def __init__(self, network: Network, encoding: Encoding):
        self._network, self._encoding = network, encoding

    def shape(self, horizon: int, outputs: int) -> tuple[int, ...]:
        signals = len(self._encoding.signals)
        return signals, horizon, outputs // signals

    def begin(self, e: Layers, at: Pass) -> None:
        """What the newest LAGS steps say at the anchors; a shorter past repeats its oldest step."""
        variables, outputs = len(self._encoding.variables.observed), self._network.bias.shape[0]
        zero = e.index(0)

        def lag(n: int) -> tuple[int, Callable[[object], ir.Value]]:
            step = e.b.add(at.steps, e.index(n - LAGS))
            step = e.b.select(e.b.icmp_signed("<", step, zero), zero, step)
            return variables, lambda v: e.load(at.observed, e.plus(e.times(step, variables), v))

        place = e.constants.matrix(self._network.weight.T, self._network.bias)
        self._anchors = e.scratch.put(outputs + -outputs % 8)
        e.affine(place, outputs, [lag(n) for n in range(LAGS)], e.storing(self._anchors))
        self._draw = e.constants.put(self._network.draw.T)  # (H, A)

    def position(self, e: Layers, at: Pass, position: object, raw: int, outputs: int) -> None:
        anchors, horizon = self._network.draw.shape
        levels = outputs // len(self._encoding.scalings)
        for column, scaling in enumerate(self._encoding.scalings):
            linear = e.const(0.0)
            for a in range(anchors):
                share = e.splat(e.c, e.plus(e.times(position, anchors), self._draw + a))
                linear = e.fma(e.load(e.s, self._anchors + column * anchors + a), share, linear)
            values = []
            for q in range(levels):
                z = e.add(e.load(e.s, raw + column * levels + q), linear)
                g = e.fma(z, e.const(scaling.scale), e.const(scaling.center))
                if scaling.log:
                    g = e.sub(e.exp(e.least(g, e.const(CEILING))), e.const(scaling.offset))
                if scaling.low is not None:
                    g = e.most(g, e.const(scaling.low))
                if scaling.high is not None:
                    g = e.least(g, e.const(scaling.high))
                values.append(g)
            for done in range(levels - 1, 0, -1):  # a sorting network: exchanges of neighbours
                for q in range(done):
                    values[q], values[q + 1] = e.ordered(values[q], values[q + 1])
            for q, value in enumerate(values):
                e.store(value, e.s, raw + column * levels + q)

        def row(column, _):
            begin = e.plus(e.times(position, levels), e.times(column, horizon * levels))
            for q in range(levels):
                e.scatter(e.load(e.s, e.plus(e.times(column, levels), raw + q)), at.out, e.plus(begin, q), horizon * outputs)

        e.fold(outputs // levels, row)


def choose(eager: Eager, rehearsal: Inputs) -> Engine:
    """The compiled engine where it works and agrees with the eager one on the rehearsal's inputs, else the eager one."""
    if eager.device.type != "cpu":
        return eager
    try:
        compiled = CompiledSeries(eager) if isinstance(eager.network, SeriesNetwork) else Compiled(eager)
        expected, found = eager(rehearsal), compiled(rehearsal)
        apart = float(np.max(np.abs(found - expected) / (1 + np.abs(expected))))
        if not apart <= AGREEMENT:
            raise ArithmeticError(f"it differs from PyTorch's by {apart:.2g}, expected at most {AGREEMENT:g}")
    except Exception as error:  # noqa: BLE001  whatever a strange processor or a locked-down kernel makes of it
        log.warning("the compiled forward pass cannot be used: %s; PyTorch's is, which is several times slower", error)
        return eager
    return compiled
