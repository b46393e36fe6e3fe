"""Variable selection of ``tft.py`` as vector code.

Inputs that all rows share (the clock) are processed once per call by PyTorch and come as numbers; a row's own reals go
through their small networks here.

Letters: D hidden size, V variables, N steps.
"""

from __future__ import annotations

import numpy as np
import torch
from llvmlite import ir
from torch import Tensor

from forecaster.models.compiled.layers import EPSILON, TILE, Layers, Read, padded
from forecaster.models.tft import Selection

_PARTS = ("a", "c", "m", "gate", "gate_bias", "r", "s", "b", "nw", "nb")


def _sizes(size: int, units: int) -> tuple[int, ...]:
    return units, units, 3, 2 * size * units, 2 * size, size, size, size, size, size


class SelectionLayers(Layers):
    """``Layers`` with variable selection."""

    def weights(self, of: Selection, observed: list[int], read: Read | None, shared: ir.Value, at: object, context: Read) -> int:
        """Softmax weights of all variables; where in scratch they are.

        observed: the places of variables among the reals that come per row, read by ``read``; ``shared`` holds from ``at`` on
        what the others and the bias add up to, hidden units first, as ``shared_inputs`` packs it.
        """
        hidden, count = of.hidden, of.skip_gate.shape[0]
        begin, units, flat, mixed, out = padded(hidden), *(self.scratch.put(padded(n)) for n in (hidden, count, count, count))
        slopes = of.joint_slope.detach().cpu().numpy()[observed].T
        parts = (hidden, 0, units, context), (count, begin, flat, None)
        for n, offset, to, extra in parts:
            rows = slopes[:hidden] if offset == 0 else slopes[hidden:]
            place = self.constants.matrix(rows, None)
            mask = self.constants.put(np.pad(np.asarray(of.skip_gate.detach().cpu()), (0, padded(n) - n))) if offset else 0

            def first(j, offset=offset, extra=extra):
                known = self.splat(shared, self.plus(self.plus(at, offset), j))
                return self.add(known, extra(j)) if extra else known

            def done(o, sums, to=to, offset=offset, mask=mask):
                for j, value in enumerate(sums):
                    where = self.plus(self.times(o, TILE), j)
                    value = self.mul(value, self.splat(self.c, self.plus(where, mask))) if offset else self.elu(value)
                    self.store(value, self.s, self.plus(where, to))

            self.affine(place, n, [(len(observed), read)] if observed else [], done, first)
        self.norm(of.skip_norm, count, self.reads(flat), flat)
        self.glu(self.constants.pairs(of.gate, of.gate_bias), count, [(hidden, self.reads(units))], self.reads(flat), mixed)
        self.norm(of.norm, count, self.reads(mixed), mixed)
        (top,) = self.fold(count, lambda i, m: [self.most(self.load(self.s, self.plus(i, mixed)), m[0])], [self.const(-1e30)])

        def power(i):
            value = self.exp(self.sub(self.load(self.s, self.plus(i, mixed)), top))
            self.store(value, self.s, self.plus(i, mixed))
            return value

        inverse = self.inverse(self.total(count, power))
        self.each(count, lambda i: self.store(
            self.mul(self.load(self.s, self.plus(i, mixed)), inverse), self.s, self.plus(i, out)))
        return out

    def mix_shared(self, places: list[int], size: int, weights: int, shared: ir.Value, at: object, to: object) -> None:
        """Sum of the shared variables' outputs by their weights; ``places`` of them among the weights."""

        def one(d):
            total = self.const(0.0)
            for n, place in enumerate(places):
                output = self.splat(shared, self.plus(self.plus(at, n * size), d))
                total = self.fma(self.load(self.s, weights + place), output, total)
            self.store(total, self.s, self.plus(to, d))

        self.each(size, one)

    def mix_observed(self, of: Selection, observed: list[int], weights: int, read: Read, to: object) -> None:
        """Adds every observed variable's own network's output by its weight."""
        if not observed:
            return
        real = {k: v.detach().cpu() for k, v in of.real.items()}
        size, units = real["nw"].shape[1], real["a"].shape[1]
        middle, ordered = self.scratch.put(size), self.scratch.put(len(observed))
        for n, variable in enumerate(observed):
            self.store(self.load(self.s, weights + of.at_real[variable]), self.s, ordered + n)
        starts = [self._variable(real, variable) for variable in observed]
        stride = starts[1] - starts[0] if len(starts) > 1 else 0

        def variable(n, _):
            base = self.plus(self.times(n, stride), starts[0])
            at = dict(zip(_PARTS, np.cumsum([0, *_sizes(size, units)]).tolist(), strict=False))

            def known(part, i=0):
                return self.splat(self.c, self.plus(self.plus(base, at[part]), i))

            x = read(n)
            hidden = [self.elu(self.fma(known("a", k), x, known("c", k))) for k in range(units)]
            apart = self.sub(x, known("m", 0))
            spread = self.fma(self.mul(apart, apart), known("m", 1), known("m", 2))
            inverse = self.inverse(self.root(spread))
            scaled = self.mul(x, inverse)

            def tile(o, _):
                values = [known("gate_bias", self.plus(self.times(o, 2 * TILE), j)) for j in range(2 * TILE)]
                for k in range(units):
                    row = self.plus(self.times(o, 2 * TILE * units), 2 * TILE * k)
                    values = [self.fma(known("gate", self.plus(row, j)), hidden[k], v) for j, v in enumerate(values)]
                for j in range(TILE):
                    place = self.plus(self.times(o, TILE), j)
                    skip = self.fma(known("r", place), scaled, self.fma(known("s", place), inverse, known("b", place)))
                    self.store(self.fma(values[j], self.sigmoid(values[TILE + j]), skip), self.s, self.plus(place, middle))

            self.fold(size // TILE, tile)
            mean, inverse = self.moments(size, self.reads(middle))
            weight = self.load(self.s, self.plus(n, ordered))
            inverse = self.mul(inverse, weight)

            def one(d):
                value = self.mul(self.sub(self.load(self.s, self.plus(d, middle)), mean), inverse)
                value = self.fma(value, known("nw", d), self.fma(weight, known("nb", d), self.load(self.s, self.plus(to, d))))
                self.store(value, self.s, self.plus(to, d))

            self.each(size, one)

        self.fold(len(observed), variable)

    def _variable(self, real: dict[str, Tensor], v: int) -> int:
        """Puts one variable's constants, the same order for each; the norm of its skip r x + s has a closed form, whose
        variance is a parabola in x."""
        r, s = real["r"][v].double(), real["s"][v].double()
        apart_r, apart_s = r - r.mean(), s - s.mean()
        steep, least = (apart_r**2).mean(), -(apart_r * apart_s).mean() / (apart_r**2).mean().clamp(min=1e-30)
        spread = torch.stack([least, steep, ((apart_r * least + apart_s) ** 2).mean() + EPSILON])
        start = self.constants.put(real["a"][v])
        self.constants.put(real["c"][v])
        self.constants.put(spread)
        self.constants.pairs(real["gate"][v].T, real["gate_bias"][v])
        for values in (apart_r * real["rw"][v], apart_s * real["rw"][v], real["rb"][v], real["nw"][v], real["nb"][v]):
            self.constants.put(values)
        return start


def shared_width(of: Selection, known: int, size: int) -> int:
    """Numbers of one step in ``shared_inputs``."""
    return padded(of.hidden) + padded(of.skip_gate.shape[0]) + (known + len(of.at_category)) * size


def shared_inputs(of: Selection, known: Tensor, calendar: Tensor) -> Tensor:
    """(steps, shared_width): what clock inputs add to the weight network (hidden units, then variables), and their own
    networks' outputs, categories first."""
    joint, outputs = of.shared(known, calendar)
    return torch.cat([fill_tile(joint[:, : of.hidden]), fill_tile(joint[:, of.hidden :]), outputs.flatten(1)], 1)


def fill_tile(values: Tensor) -> Tensor:
    """(N, width) with zeros up to a whole number of tiles."""
    return torch.nn.functional.pad(values, (0, -values.shape[1] % TILE))
