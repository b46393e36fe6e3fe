"""The transformer of ``tft.py`` as one compiled function: all layers of LANES rows at a time, inside the cache.

It is the same function of the same weights as ``Tft``, but intermediates stay in the CPU's cache and nothing is
interpreted. Compiling takes tenths of a second when a model is loaded; the code runs any number of rows and steps.

Letters: B rows, T encoder steps, P decoder positions, D hidden size, C signals, Q quantiles, O outputs of one position.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
import torch
from llvmlite import ir
from torch import Tensor

from forecaster.models.compiled.attention import attend
from forecaster.models.compiled.lanes import INT, LANES, POINTER, Compiled, Index, Values
from forecaster.models.compiled.layers import TILE, Constants, Layers, Read, Scratch, padded
from forecaster.models.compiled.layout import MOST_STEPS, QUERIES, Pass
from forecaster.models.compiled.selection import SelectionLayers, fill_tile, shared_inputs, shared_width
from forecaster.models.tft import Tft

Body: TypeAlias = Callable[[ir.Value, Values], None]  # of a loop


class Finish:
    """Emits what follows the outputs of a position: here they are stored as the result, float32 (B, P, O)."""

    def shape(self, horizon: int, outputs: int) -> tuple[int, ...]:
        """Shape of one row's result."""
        return horizon, outputs

    def begin(self, e: Layers, at: Pass) -> None:
        """Emits code that runs once for each block of rows."""

    def position(self, e: Layers, at: Pass, position: Index, raw: int, outputs: int) -> None:
        """Emits code for one position, whose outputs are in scratch from ``raw`` on."""

        def one(o: Index) -> None:
            place = e.plus(o, e.times(position, outputs))
            e.scatter(e.load(e.s, e.plus(o, raw)), at.out, place, at.horizon * outputs)

        e.each(outputs, one)


class Fused:
    """A ``Tft`` on the CPU: ``fused(x)`` is ``tft(x)`` followed by ``finish``, from and to numpy arrays.

    Known inputs are either the clock, one row that all rows share, or ``own``: reals of every row, without categories.
    """

    def __init__(
        self, tft: Tft, horizon: int, own: bool = False, finish: Finish | None = None, threads: int | None = None
    ):
        if horizon % QUERIES:
            raise ValueError(f"{horizon} decoder positions, expected a multiple of {QUERIES}")
        if (size := tft.encoder[1].shape[1]) % TILE:
            raise ValueError(f"a hidden size of {size}, expected a multiple of {TILE}")
        self.tft, self.horizon, self.finish = tft, horizon, finish or Finish()
        self.threads = threads or len(os.sched_getaffinity(0))
        known = len(tft.select_decoder.at_real)
        self._shared, self._own = (0, known) if own else (known, 0)
        self.outputs = tft.output[0].shape[0]
        self.shape = self.finish.shape(horizon, self.outputs)
        emitted = self.emit()
        self._code, self._numbers, self._vectors = Compiled(emitted), emitted.constants.array(), emitted.scratch.size
        self._call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 6, ctypes.c_int64)(self._code.address)
        self._local = threading.local()
        self._pool: ThreadPoolExecutor | None = None

    # -- calling ------------------------------------------------------------------------------------------------------

    def __call__(self, x: Mapping[str, np.ndarray]) -> np.ndarray:
        rows, steps = x["observed"].shape[:2]
        if steps + self.horizon > MOST_STEPS or (len(x["known"]) != (rows if self._own else 1)):
            raise ValueError(f"{steps} steps and known inputs of {len(x['known'])} rows do not suit this pass")
        blocks = -(-rows // LANES)
        shared, contexts = self._prepare(x, steps)
        observed, contexts = _in_lanes(self._inputs(x, steps), blocks), _in_lanes(contexts, blocks)
        out = np.empty((blocks * LANES, *self.shape), np.float32)

        def some(first: int, last: int) -> None:
            scratch = self._own_scratch()
            for block in range(first, last):
                self._call(self._numbers.ctypes.data, scratch, shared.ctypes.data,
                           observed[block].ctypes.data, contexts[block].ctypes.data,
                           out[block * LANES :].ctypes.data, steps)

        parts = min(self.threads, blocks)
        edges = [blocks * n // parts for n in range(parts + 1)]
        if parts == 1:
            some(0, blocks)
        else:
            pool = self._pool  # which close() of another owner may take away
            if pool is None:
                pool = self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="forward")
            list(pool.map(some, edges[:-1], edges[1:]))
        return out[:rows]

    def close(self) -> None:
        """Ends the threads; another call starts new ones."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None

    def _own_scratch(self) -> int:
        """Address of the calling thread's memory for intermediates, on a cache line; it is kept, for fresh pages cost
        more than a small pass."""
        held = getattr(self._local, "scratch", None)
        if held is None:
            held = self._local.scratch = np.empty(self._vectors * LANES + LANES, np.float32)
        return held.ctypes.data + -held.ctypes.data % 64

    def _inputs(self, x: Mapping[str, np.ndarray], steps: int) -> np.ndarray:
        """(B, numbers): every row's own reals, step by step."""
        rows = len(x["observed"])
        if not self._own:
            return x["observed"].reshape(rows, -1)
        past = np.concatenate([x["known"][:, :steps], x["observed"]], -1)
        return np.concatenate([past.reshape(rows, -1), x["known"][:, steps:].reshape(rows, -1)], 1)

    def _prepare(self, x: Mapping[str, np.ndarray], steps: int) -> tuple[np.ndarray, np.ndarray]:
        """(The part of the clock, for all rows together; the contexts of every row, (B, contexts))."""
        tft = self.tft
        with torch.inference_mode(), _one_thread():
            known, calendar = (torch.as_tensor(x[k])[0] for k in ("known", "calendar"))
            known = known[:, : self._shared]
            shared = torch.cat([
                shared_inputs(tft.select_encoder, known[:steps], calendar[:steps]).flatten(),
                shared_inputs(tft.select_decoder, known[steps:], calendar[steps:]).flatten(),
            ])
            static = tft.select_static(torch.as_tensor(x["static_reals"]), torch.as_tensor(x["static"]))
            selection, hidden, cell, enrichment = (grn(static) for grn in tft.contexts)
            selections = [fill_tile(selection @ part.context.T) for part in (tft.select_encoder, tft.select_decoder)]
            contexts = torch.cat([hidden, cell, enrichment @ tft.enrich.context.T, *selections], 1)
        return shared.numpy(), contexts.numpy()

    # -- emitting -----------------------------------------------------------------------------------------------------

    def emit(self) -> Layers:
        """The function in LLVM's intermediate representation (``.module``), with its constants and scratch."""
        e = SelectionLayers("forward", [POINTER] * 6 + [INT], Constants(), Scratch())
        size = self.tft.encoder[1].shape[1]
        at = Pass(e, size, self.tft.heads, self.horizon)
        e.each(size, lambda i: e.store(e.load(at.contexts, i), e.s, e.plus(i, at.states)))
        e.each(size, lambda i: e.store(e.load(at.contexts, e.plus(i, size)), e.s, e.plus(i, at.cell)))
        self.finish.begin(e, at)
        past = self._steps(e, at, decoding=False)
        e.fold(at.steps, past)
        future = self._steps(e, at, decoding=True)
        e.fold(self.horizon, future)
        e.fold(self.horizon // QUERIES, self._decode(e, at))
        e.b.ret_void()
        return e

    def _steps(self, e: SelectionLayers, at: Pass, decoding: bool) -> Body:
        """One step of encoder or decoder: variable selection, LSTM, gate, enrichment, keys and values."""
        tft, size = self.tft, at.hidden
        select = tft.select_decoder if decoding else tft.select_encoder
        observed = list(range(self._shared, len(select.at_real)))
        width = shared_width(select, self._shared, size)
        places = [*select.at_category, *select.at_real[: self._shared]]
        past = len(tft.select_encoder.at_real) - self._shared

        def emit(t: ir.Value, _: Values) -> None:
            begin = e.times(t, width)
            if decoding:
                encoder = shared_width(tft.select_encoder, self._shared, size)
                begin = e.plus(begin, e.b.mul(at.steps, e.index(encoder)))

            own = e.times(t, len(observed))
            if decoding:
                own = e.plus(own, e.times(at.steps, past))

            def read(v: Index) -> ir.Value:
                return e.load(at.observed, e.plus(own, v))

            def context(j: Index) -> ir.Value:
                return e.load(at.contexts, e.plus(j, 3 * size + (padded(tft.select_encoder.hidden) if decoding else 0)))

            weights = e.weights(select, observed, read, at.shared, begin, context)
            joint = padded(select.hidden) + padded(select.skip_gate.shape[0])
            e.mix_shared(places, size, weights, at.shared, e.plus(begin, joint), at.selected)
            e.mix_observed(select, observed, weights, read, at.selected)
            selected = e.reads(at.selected)
            self._lstm(e, at, tft.decoder if decoding else tft.encoder)
            local = e.plus(e.times(t, size), at.local) if decoding else e.scratch.put(size)
            enriched = e.plus(e.times(t, size), at.enriched) if decoding else e.scratch.put(size)
            e.gate(tft.post_lstm, size, e.reads(at.states), selected, local)
            e.residual(tft.enrich, size, e.reads(local), enriched, lambda j: e.load(at.contexts, e.plus(j, 2 * size)))
            row = e.times(e.plus(t, at.steps) if decoding else t, size)
            self._matrix(e, tft.key, size, e.reads(enriched), e.plus(row, at.keys))
            self._matrix(e, tft.value, size, e.reads(enriched), e.plus(row, at.values))
            if decoding:
                scale = 1 / math.sqrt(size // at.heads)
                query = [part * scale for part in tft.query]
                self._matrix(e, query, size, e.reads(enriched), e.plus(e.times(t, size), at.queries))

        return emit

    def _matrix(self, e: Layers, of: list[Tensor], outputs: int, read: Read, to: Index) -> None:
        weight, bias = of
        e.affine(e.constants.matrix(weight, bias), outputs, [(weight.shape[1], read)], e.storing(to))

    def _lstm(self, e: Layers, at: Pass, of: list[Tensor]) -> None:
        """One step. The new state is written beside the old one, which is still read, then copied over it."""
        size, units = at.hidden, 4
        by_input, by_state, bias = of[0], of[1], of[2] + of[3]
        order = np.arange(4 * size).reshape(4, -1, units).transpose(1, 0, 2).ravel()  # units of all four gates together
        place = e.constants.matrix(torch.cat([by_input, by_state], 1)[order], bias[order], 4 * units)

        def done(o: ir.Value, sums: Values) -> None:
            for j in range(units):
                where = e.plus(e.times(o, units), j)
                let_in, keep, new, show = sums[j::units]
                cell = e.mul(e.sigmoid(keep), e.load(e.s, e.plus(where, at.cell)))
                cell = e.fma(e.sigmoid(let_in), e.tanh(new), cell)
                e.store(cell, e.s, e.plus(where, at.cell))
                e.store(e.mul(e.sigmoid(show), e.tanh(cell)), e.s, e.plus(where, at.states + size))

        e.affine(place, 4 * size, [(size, e.reads(at.selected)), (size, e.reads(at.states))], done, tile=4 * units)
        e.each(size, lambda i: e.store(e.load(e.s, e.plus(i, at.states + size)), e.s, e.plus(i, at.states)))

    def _decode(self, e: Layers, at: Pass) -> Body:
        """QUERIES decoder positions: attention, and the layers from there to the output."""
        tft, size = self.tft, at.hidden
        mixed, attended, forward, last = e.scratch.put(QUERIES * size), *(e.scratch.put(size) for _ in range(3))
        raw = e.scratch.put(padded(self.outputs))

        def emit(group: ir.Value, _: Values) -> None:
            first = e.times(group, QUERIES)
            attend(e, at, first, mixed)

            def after(n: ir.Value, _: Values) -> None:
                position = e.plus(first, n)
                row = e.times(position, size)
                enriched, local = e.reads(e.plus(row, at.enriched)), e.reads(e.plus(row, at.local))
                e.gate(tft.post_attention, size, e.reads(e.plus(e.times(n, size), mixed)), enriched, attended)
                e.residual(tft.feed_forward, size, e.reads(attended), forward)
                e.gate(tft.pre_output, size, e.reads(forward), local, last)

                self._matrix(e, tft.output, self.outputs, e.reads(last), raw)
                self.finish.position(e, at, position, raw, self.outputs)

            e.fold(QUERIES, after)

        return emit

@contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch on one thread: more would only spin, on the cores that the compiled code runs on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _in_lanes(values: np.ndarray, blocks: int) -> np.ndarray:
    """(B, ...) -> (blocks, ..., LANES), the last block filled up with zeros."""
    out = np.zeros((blocks * LANES, *values.shape[1:]), np.float32)
    out[: len(values)] = values
    return np.ascontiguousarray(np.moveaxis(out.reshape(blocks, LANES, *values.shape[1:]), 1, -1))
