"""The compiled pass as an engine: the code of ``fused.py``, with outputs in signal units.

Only ``choice.choose`` imports this file, so a platform without llvmlite still forecasts, with PyTorch.

Letters: C signals, H horizon steps, Q quantiles, A anchors.
"""

from __future__ import annotations

import numpy as np
import torch
from llvmlite import ir

from forecaster.models.compiled.fused import Finish, Fused
from forecaster.models.compiled.lanes import Index, Values
from forecaster.models.compiled.layers import Layers, Read
from forecaster.models.compiled.layout import Pass
from forecaster.models.eager import Eager
from forecaster.models.engine import CEILING, Inputs
from forecaster.models.network import LAGS, Network, SeriesNetwork


class Compiled:
    """The compiled pass for rows that share one clock; rows with clocks of their own go to PyTorch."""

    name = "compiled"

    def __init__(self, eager: Eager[Network]):
        self.eager, network = eager, eager.network
        self.fused = Fused(network.tft, network.encoding.horizon, finish=InSignalUnits(network))

    def close(self) -> None:
        """Ends its threads; another call starts new ones."""
        self.fused.close()

    def __call__(self, x: Inputs) -> np.ndarray:
        return self.fused(x) if len(x["known"]) == 1 else self.eager(x)


class CompiledSeries:
    """The compiled transformer, with the views mixed by PyTorch."""

    name = "compiled"

    def __init__(self, eager: Eager[SeriesNetwork]):
        self.eager = eager
        self.fused = Fused(eager.network.tft, eager.network.encoding.positions, own=True)

    def close(self) -> None:
        """Ends its threads; another call starts new ones."""
        self.fused.close()

    def __call__(self, x: Inputs) -> np.ndarray:
        with torch.inference_mode():
            out = torch.from_numpy(self.fused(x))
            return np.sort(self.eager.network.mix(out, {k: torch.as_tensor(v) for k, v in x.items()}).numpy(), -1)


class InSignalUnits(Finish):
    """Adds the linear autoregression, converts to signal units and sorts the quantiles."""

    def __init__(self, network: Network):
        self._network, self._encoding = network, network.encoding

    def shape(self, horizon: int, outputs: int) -> tuple[int, ...]:
        signals = len(self._encoding.signals)
        return signals, horizon, outputs // signals

    def begin(self, e: Layers, at: Pass) -> None:
        """Emits the autoregression at the anchors; a shorter past repeats its oldest step."""
        variables, outputs = len(self._encoding.variables.observed), self._network.bias.shape[0]
        zero = e.index(0)

        def lag(n: int) -> tuple[int, Read]:
            step = e.b.add(at.steps, e.index(n - LAGS))
            step = e.b.select(e.b.icmp_signed("<", step, zero), zero, step)
            return variables, lambda v: e.load(at.observed, e.plus(e.times(step, variables), v))

        place = e.constants.matrix(self._network.weight.T, self._network.bias)
        self._anchors = e.scratch.put(outputs + -outputs % 8)
        e.affine(place, outputs, [lag(n) for n in range(LAGS)], e.storing(self._anchors))
        self._draw = e.constants.put(self._network.draw.T)  # (H, A)

    def position(self, e: Layers, at: Pass, position: Index, raw: int, outputs: int) -> None:
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

        def row(column: ir.Value, _: Values) -> None:
            begin = e.plus(e.times(position, levels), e.times(column, horizon * levels))
            for q in range(levels):
                value = e.load(e.s, e.plus(e.times(column, levels), raw + q))
                e.scatter(value, at.out, e.plus(begin, q), horizon * outputs)

        e.fold(outputs // levels, row)
