"""The layers of ``tft.py`` as vector code: matrices, gates, residuals and norms.

Each method emits one layer for the rows of a block, from weights that ``tft.py`` has folded.

Letters: D hidden size, V variables, K inputs and O outputs of a matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from llvmlite import ir
from torch import Tensor

from forecaster.models.compiled.lanes import Emitter, Index, Values
from forecaster.models.tft import Gate, Norm, Residual

TILE = 8  # outputs of a matrix that are summed in registers together; for gated layers, pairs
EPSILON = 1e-5  # of layer norms

Read: TypeAlias = Callable[[Index], ir.Value]  # index -> vector
Done: TypeAlias = Callable[[ir.Value, Values], None]  # (number of a tile, its outputs)


def numbers(values: Tensor | np.ndarray) -> np.ndarray:
    """float32 on the CPU."""
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, np.float32)


class Constants:
    """One flat float32 array; each method appends to it and returns the place."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.size = 0

    def put(self, values: Tensor | np.ndarray) -> int:
        flat = numbers(values).ravel()
        at, self.size = self.size, self.size + flat.size
        self.parts.append(flat)
        return at

    def matrix(
        self, weight: Tensor | np.ndarray, bias: Tensor | np.ndarray | None, tile: int = TILE
    ) -> tuple[int, int]:
        """(O, K) and (O,) in tiles of outputs, padded with zeros; the places of weight and bias."""
        weight = numbers(weight)
        bias = np.zeros(len(weight), np.float32) if bias is None else numbers(bias)
        more = -len(weight) % tile
        weight, bias = np.pad(weight, ((0, more), (0, 0))), np.pad(bias, (0, more))
        tiles = weight.reshape(len(weight) // tile, tile, -1 if weight.size else 0).transpose(0, 2, 1)
        return self.put(tiles), self.put(bias)

    def pairs(self, weight: Tensor, bias: Tensor) -> tuple[int, int]:
        """A gated layer (2 O, K): each tile has TILE values and then their gates."""
        out = weight.shape[0] // 2
        more = -out % TILE
        halves = [np.pad(numbers(w), ((0, more), *[(0, 0)] * (w.dim() - 1)))
                  for w in (weight[:out], weight[out:], bias[:out], bias[out:])]
        tiles = [h.reshape(-1, TILE, *h.shape[1:]) for h in halves]
        return self.matrix(
            np.concatenate(tiles[:2], 1).reshape(-1, weight.shape[1]), np.concatenate(tiles[2:], 1).ravel(), 2 * TILE
        )

    def array(self) -> np.ndarray:
        return np.concatenate(self.parts)


class Scratch:
    """Places of intermediates in a thread's memory, in vectors."""

    def __init__(self) -> None:
        self.size = 0

    def put(self, vectors: int) -> int:
        at, self.size = self.size, self.size + vectors
        return at


class Layers(Emitter):
    """Emits the network's layers; constants in ``self.c``, intermediates in ``self.s``."""

    def __init__(self, name: str, arguments: list[ir.Type], constants: Constants, scratch: Scratch):
        super().__init__(name, arguments)
        self.constants, self.scratch = constants, scratch
        self.c, self.s = self.function.args[:2]

    def each(self, count: int, body: Callable[[Index], None]) -> None:
        """``body(i)`` for 0 <= i < count, up to four in one turn of the loop."""
        step = next(n for n in (4, 3, 2, 1) if count % n == 0)

        def some(i: ir.Value, _: Values) -> None:
            for k in range(step):
                body(self.plus(self.times(i, step), k))

        self.fold(count // step, some)

    def total(self, count: int, term: Read) -> ir.Value:
        """Sum of ``term(i)``, in up to four partial sums, since an addition waits for the one before."""
        ways = next(n for n in (4, 3, 2, 1) if count % n == 0)

        def some(i: ir.Value, sums: Values) -> Values:
            return [self.add(s, term(self.plus(self.times(i, ways), k))) for k, s in enumerate(sums)]

        return self.add(*self.fold(count // ways, some, [self.const(0.0)] * ways))

    def affine(
        self,
        at: tuple[int, int],
        outputs: int,
        inputs: list[tuple[int, Read]],
        done: Done,
        first: Read | None = None,
        tile: int = TILE,
    ) -> None:
        """``done`` of every tile of bias + weight @ inputs. Inputs are (count, how to read one) one after another;
        ``first(output)`` is added to the bias."""
        weight, bias = at
        width = sum(count for count, _ in inputs)

        def one(o: ir.Value, _: Values) -> None:
            begin = self.times(o, tile)
            sums = [self.splat(self.c, self.plus(self.plus(begin, bias), j)) for j in range(tile)]
            if first is not None:
                sums = [self.add(s, first(self.plus(begin, j))) for j, s in enumerate(sums)]
            before = 0
            for count, read in inputs:
                base = self.plus(self.times(self.plus(self.times(o, width), before), tile), weight)

                def step(k: ir.Value, sums: Values, base: Index = base, read: Read = read) -> Values:
                    x, row = read(k), self.plus(base, self.times(k, tile))
                    return [self.fma(self.splat(self.c, self.plus(row, j)), x, s) for j, s in enumerate(sums)]

                sums = self.fold(count, step, sums)
                before += count
            done(o, sums)

        self.fold(-(-outputs // tile), one)

    def reads(self, at: Index) -> Read:
        return lambda i: self.load(self.s, self.plus(at, i))

    def storing(self, to: Index) -> Done:
        """For ``affine``: the outputs, unchanged, to scratch."""

        def done(o: ir.Value, sums: Values) -> None:
            for j, value in enumerate(sums):
                self.store(value, self.s, self.plus(self.plus(self.times(o, len(sums)), j), to))

        return done

    def glu(self, at: tuple[int, int], outputs: int, inputs: list[tuple[int, Read]], skip: Read, to: Index) -> None:
        """value x sigmoid(gate) + skip, to scratch."""

        def done(o: ir.Value, sums: Values) -> None:
            for j in range(TILE):
                place = self.plus(self.times(o, TILE), j)
                value = self.fma(sums[j], self.sigmoid(sums[TILE + j]), skip(place))
                self.store(value, self.s, self.plus(to, place))

        self.affine(at, 2 * padded(outputs), inputs, done, tile=2 * TILE)

    def moments(self, count: int, read: Read) -> tuple[ir.Value, ir.Value]:
        """Mean and 1 / standard deviation, as in layer norms."""
        share = self.const(1 / count)
        mean = self.mul(self.total(count, read), share)

        def square(i: Index) -> ir.Value:
            apart = self.sub(read(i), mean)
            return self.mul(apart, apart)

        variance = self.mul(self.total(count, square), share)
        return mean, self.inverse(self.root(self.add(variance, self.const(EPSILON))))

    def norm(self, of: Norm, count: int, read: Read, to: Index) -> None:
        """Layer norm over ``count`` features, to scratch."""
        weight, bias = self.constants.put(of.weight), self.constants.put(of.bias)
        mean, inverse = self.moments(count, read)

        def one(i: Index) -> None:
            value = self.mul(self.sub(read(i), mean), inverse)
            value = self.fma(value, self.splat(self.c, self.plus(i, weight)), self.splat(self.c, self.plus(i, bias)))
            self.store(value, self.s, self.plus(to, i))

        self.each(count, one)

    def gate(self, of: Gate, count: int, read: Read, skip: Read, to: Index) -> None:
        """``Gate``; ``to`` may be the place that skip reads."""
        middle = self.scratch.put(count)
        self.glu(self.constants.pairs(of.weight, of.bias), count, [(count, read)], skip, middle)
        self.norm(of.norm, count, self.reads(middle), to)

    def residual(self, of: Residual, count: int, read: Read, to: Index, context: Read | None = None) -> None:
        """``Residual``; ``context`` reads what the context adds to the hidden layer."""
        hidden, middle = self.scratch.put(count), self.scratch.put(count)

        def done(o: ir.Value, sums: Values) -> None:
            for j, value in enumerate(sums):
                self.store(self.elu(value), self.s, self.plus(self.times(o, TILE), hidden + j))

        self.affine(self.constants.matrix(of.fc1, of.bias1), count, [(count, read)], done, context)
        self.glu(self.constants.pairs(of.gate, of.gate_bias), count, [(count, self.reads(hidden))], read, middle)
        self.norm(of.norm, count, self.reads(middle), to)


def padded(count: int) -> int:
    """The next multiple of TILE."""
    return -(-count // TILE) * TILE
