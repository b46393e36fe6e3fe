"""Interpretable attention of ``tft.py`` as vector code: QUERIES decoder positions at a time."""

from llvmlite import ir

from forecaster.models.compiled.lanes import Index, Values
from forecaster.models.compiled.layers import Layers
from forecaster.models.compiled.layout import QUERIES, Pass


def attend(e: Layers, at: Pass, first: Index, mixed: int) -> None:
    """Emits attention of the positions ``first`` to ``first`` + QUERIES - 1 over all earlier steps; results go to
    scratch from ``mixed`` on, one position after another."""
    size, heads = at.hidden, at.heads
    common = e.plus(first, at.steps)  # keys that the first query sees; each further query sees one more
    most = e.plus(common, QUERIES - 1)
    inverses = [_scores(e, at, head, first, common) for head in range(heads)]
    for n in range(QUERIES):  # mean of the heads, 0 for keys that a query does not see

        def mean(s: ir.Value, _: Values, n: int = n) -> None:
            total = e.const(0.0)
            for head in range(heads):
                total = e.fma(e.load(e.s, e.plus(s, at.share(n, head))), inverses[head][n], total)
            e.store(total, e.s, e.plus(s, at.share(n, 0)))

        def unseen(s: ir.Value, _: Values, n: int = n) -> None:
            e.store(e.const(0.0), e.s, e.plus(s, at.share(n, 0)))

        seen = e.plus(common, n)
        e.fold(seen, mean)
        e.fold(most, unseen, start=seen)

    def some(d: ir.Value, _: Values) -> None:
        def step(s: ir.Value, sums: Values) -> Values:
            row = e.plus(e.plus(e.times(s, size), e.times(d, 4)), at.values)
            values = [e.load(e.s, e.plus(row, j)) for j in range(4)]
            parts = [e.load(e.s, e.plus(s, at.share(n, 0))) for n in range(QUERIES)]
            return [e.fma(parts[n], values[j], sums[4 * n + j]) for n in range(QUERIES) for j in range(4)]

        sums = e.fold(most, step, [e.const(0.0)] * (4 * QUERIES))
        for n in range(QUERIES):
            for j in range(4):
                e.store(sums[4 * n + j], e.s, e.plus(e.times(d, 4), mixed + n * size + j))

    e.fold(size // 4, some)


def _scores(e: Layers, at: Pass, head: int, first: Index, common: Index) -> Values:
    """e^score of one head for QUERIES positions, to scratch; returns 1 / (their sum x heads) of each position."""
    width = at.hidden // at.heads

    def row(base: int, n: Index) -> Index:
        return e.plus(e.times(n, at.hidden), base + head * width)

    def step(s: ir.Value, tops: Values) -> Values:
        keys = [e.load(e.s, e.plus(row(at.keys, s), d)) for d in range(width)]
        new = []
        for n in range(QUERIES):
            score = e.const(0.0)
            for d in range(width):
                score = e.fma(e.load(e.s, e.plus(row(at.queries, e.plus(first, n)), d)), keys[d], score)
            e.store(score, e.s, e.plus(s, at.share(n, head)))
            new.append(e.most(score, tops[n]))
        return new

    tops = e.fold(e.plus(common, QUERIES - 1), step, [e.const(-1e30)] * QUERIES)
    inverses = []
    for n in range(QUERIES):

        def power(s: ir.Value, total: Values, n: int = n) -> Values:
            place = e.plus(s, at.share(n, head))
            value = e.exp(e.sub(e.load(e.s, place), tops[n]))
            e.store(value, e.s, place)
            return [e.add(total[0], value)]

        (total,) = e.fold(e.plus(common, n), power, [e.const(0.0)])
        inverses.append(e.mul(e.inverse(total), e.const(1 / at.heads)))
    return inverses
