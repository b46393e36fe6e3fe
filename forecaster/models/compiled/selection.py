"""Variable selection of ``tft.py`` as vector code.

PyTorch processes inputs that all rows share (the clock) once per call; the emitted code reads the results as numbers
and computes the small networks of a row's own reals.

Letters: D hidden size, V variables, N steps.
"""

from __future__ import annotations

import numpy as np
import torch
from llvmlite import ir
from torch import Tensor

from forecaster.models.compiled.lanes import Index, Values
from forecaster.models.compiled.layers import EPSILON, TILE, Layers, Read, numbers, padded
from forecaster.models.tft import Selection

_PARTS = ("a", "c", "m", "gate", "gate_bias", "r", "s", "b", "nw", "nb")


def _sizes(size: int, units: int) -> tuple[int, ...]:
    return units, units, 3, 2 * size * units, 2 * size, size, size, size, size, size


class SelectionLayers(Layers):
    """``Layers`` with variable selection."""

    def weights(
        self, of: Selection, observed: list[int], read: Read, shared: ir.Value, at: Index, context: Read
    ) -> int:
        """Softmax weights of all variables; their place in scratch.

        observed: the places of a row's own variables among the reals, read by ``read``. ``shared`` has, from ``at`` on,
        the sum of all other variables and the bias, hidden units first, as ``shared_inputs`` packs it.
        """
        hidden, count = of.hidden, of.skip_gate.shape[0]
        units, flat, mixed, out = (self.scratch.put(padded(n)) for n in (hidden, count, count, count))
        slopes = numbers(of.joint_slope)[observed].T
        parts: tuple[tuple[int, int, int, Read | None], ...]
        parts = (hidden, 0, units, context), (count, padded(hidden), flat, None)
        for n, offset, to, extra in parts:
            rows = slopes[:hidden] if offset == 0 else slopes[hidden:]
            place = self.constants.matrix(rows, None)
            mask = self.constants.put(np.pad(numbers(of.skip_gate), (0, padded(n) - n))) if offset else 0

            def first(j: Index, offset: int = offset, extra: Read | None = extra) -> ir.Value:
                known = self.splat(shared, self.plus(self.plus(at, offset), j))
                return self.add(known, extra(j)) if extra else known

            def done(o: ir.Value, sums: Values, to: int = to, offset: int = offset, mask: int = mask) -> None:
                for j, value in enumerate(sums):
                    where = self.plus(self.times(o, TILE), j)
                    value = self.mul(value, self.splat(self.c, self.plus(where, mask))) if offset else self.elu(value)
                    self.store(value, self.s, self.plus(where, to))

            self.affine(place, n, [(len(observed), read)] if observed else [], done, first)
        self.norm(of.skip_norm, count, self.reads(flat), flat)
        gate = self.constants.pairs(of.gate, of.gate_bias)
        self.glu(gate, count, [(hidden, self.reads(units))], self.reads(flat), mixed)
        self.norm(of.norm, count, self.reads(mixed), mixed)
        outputs = self.reads(mixed)
        (top,) = self.fold(count, lambda i, largest: [self.most(outputs(i), largest[0])], [self.const(-1e30)])

        def power(i: Index) -> ir.Value:
            value = self.exp(self.sub(self.load(self.s, self.plus(i, mixed)), top))
            self.store(value, self.s, self.plus(i, mixed))
            return value

        inverse = self.inverse(self.total(count, power))
        self.each(count, lambda i: self.store(
            self.mul(self.load(self.s, self.plus(i, mixed)), inverse), self.s, self.plus(i, out)))
        return out

    def mix_shared(self, places: list[int], size: int, weights: int, shared: ir.Value, at: Index, to: Index) -> None:
        """Weighted sum of the shared variables' outputs; ``places`` are those of their weights."""

        def one(d: Index) -> None:
            total = self.const(0.0)
            for n, place in enumerate(places):
                output = self.splat(shared, self.plus(self.plus(at, n * size), d))
                total = self.fma(self.load(self.s, weights + place), output, total)
            self.store(total, self.s, self.plus(to, d))

        self.each(size, one)

    def mix_observed(self, of: Selection, observed: list[int], weights: int, read: Read, to: Index) -> None:
        """Adds the weighted output of the network of every observed variable."""
        if not observed:
            return
        real = {k: v.detach().cpu() for k, v in of.real.items()}
        size, units = real["nw"].shape[1], real["a"].shape[1]
        middle, ordered = self.scratch.put(size), self.scratch.put(len(observed))
        for n, variable in enumerate(observed):
            self.store(self.load(self.s, weights + of.at_real[variable]), self.s, ordered + n)
        starts = [self._put(real, variable) for variable in observed]
        stride = starts[1] - starts[0] if len(starts) > 1 else 0

        def one_variable(n: ir.Value, _: Values) -> None:
            base = self.plus(self.times(n, stride), starts[0])
            at = dict(zip(_PARTS, np.cumsum([0, *_sizes(size, units)]).tolist(), strict=False))

            def known(part: str, i: Index = 0) -> ir.Value:
                return self.splat(self.c, self.plus(self.plus(base, at[part]), i))

            x = read(n)
            hidden = [self.elu(self.fma(known("a", k), x, known("c", k))) for k in range(units)]
            apart = self.sub(x, known("m", 0))
            spread = self.fma(self.mul(apart, apart), known("m", 1), known("m", 2))
            inverse = self.inverse(self.root(spread))
            scaled = self.mul(x, inverse)

            def tile(o: ir.Value, _: Values) -> None:
                values = [known("gate_bias", self.plus(self.times(o, 2 * TILE), j)) for j in range(2 * TILE)]
                for k in range(units):
                    row = self.plus(self.times(o, 2 * TILE * units), 2 * TILE * k)
                    values = [self.fma(known("gate", self.plus(row, j)), hidden[k], v) for j, v in enumerate(values)]
                for j in range(TILE):
                    place = self.plus(self.times(o, TILE), j)
                    skip = self.fma(known("r", place), scaled, self.fma(known("s", place), inverse, known("b", place)))
                    value = self.fma(values[j], self.sigmoid(values[TILE + j]), skip)
                    self.store(value, self.s, self.plus(place, middle))

            self.fold(size // TILE, tile)
            mean, inverse = self.moments(size, self.reads(middle))
            weight = self.load(self.s, self.plus(n, ordered))
            inverse = self.mul(inverse, weight)

            def one(d: Index) -> None:
                value = self.mul(self.sub(self.load(self.s, self.plus(d, middle)), mean), inverse)
                before = self.fma(weight, known("nb", d), self.load(self.s, self.plus(to, d)))
                value = self.fma(value, known("nw", d), before)
                self.store(value, self.s, self.plus(to, d))

            self.each(size, one)

        self.fold(len(observed), one_variable)

    def _put(self, real: dict[str, Tensor], v: int) -> int:
        """Puts the constants of one variable, in the order of ``_PARTS``. The norm of its skip r x + s has a closed
        form: the variance is a parabola in x."""
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
    """(steps, shared_width): the part of clock inputs in the weight network (hidden units, then variables), and the
    outputs of their own networks, categories first."""
    joint, outputs = of.shared(known, calendar)
    return torch.cat([fill_tile(joint[:, : of.hidden]), fill_tile(joint[:, of.hidden :]), outputs.flatten(1)], 1)


def fill_tile(values: Tensor) -> Tensor:
    """(N, width) with zeros up to a whole number of tiles."""
    return torch.nn.functional.pad(values, (0, -values.shape[1] % TILE))
