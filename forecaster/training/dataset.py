"""History to training batches: the same windows and features as in serving, cut from arrays.

Letters: N instants, S servers, C signals, B rows, T encoder steps, H horizon steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from forecaster.models import features
from forecaster.models.features import MIN_STEPS, UNKNOWN, Encoding, Scaling

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Progress = Callable[[Iterable[Any]], Iterable[Any]]  # passes items on and may show how many are done

DAY = 86400.0
DAY_STEPS = 288
RESTLESS_ROWS, RESTLESS_SHARE = 0.03, 0.3  # the 3 % of windows that move most or lie furthest out make 30 % of a batch
WHOLE_SHARE = 0.5  # of the rows keep all signals; the others lose some, as servers that lack an exporter or a counter
CORE = ("cpu_pct", "mem_pct", "disk_io_mb_s", "latency_ms")  # they drive risk
USUAL = (CORE[:2], CORE)  # what servers often have; half of the rows that lose signals keep one of these
ERROR_FLOOR = 1e-3  # of a day-ago error, in signal units: an error of 0 cannot scale a loss


class DatasetError(ValueError):
    """The history cannot be used; the message names what was found, what was expected and what to do."""


@dataclass(frozen=True)
class History:
    """Trailing means over one step on a regular grid.

    values: float32 (N, S, C) in signal units, NaN where unobserved; start: Unix seconds; resolution: seconds.
    """

    start: float
    resolution: float
    signals: tuple[str, ...]
    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    values: Floats

    @property
    def hours(self) -> float:
        """Length of the history."""
        return len(self.values) * self.resolution / 3600

    def between(self, first: int, last: int) -> History:
        """The part from row ``first`` to before row ``last``."""
        return replace(self, start=self.start + first * self.resolution, values=self.values[first:last])

    def of_servers(self, keep: Sequence[int] | Array) -> History:
        """The part that belongs to the servers at these indices."""
        return replace(self, values=self.values[:, keep], servers=tuple(self.servers[i] for i in keep),
                       profiles=tuple(self.profiles[i] for i in keep))

    def without(self, names: Sequence[str]) -> History:
        """The part without these signals; raises DatasetError where one is unknown or none is left."""
        unknown = [name for name in names if name not in self.signals]
        kept = [i for i, name in enumerate(self.signals) if name not in names]
        if unknown or not kept:
            raise DatasetError(f"cannot leave out {', '.join(unknown or names)}; expected some, not all, of "
                               f"{', '.join(self.signals)}")
        return replace(self, values=self.values[..., kept], signals=tuple(self.signals[i] for i in kept))

    def stride(self, step: float) -> int:
        """Rows in one step of ``step`` seconds; raises DatasetError unless that is a whole number."""
        rows = round(step / self.resolution)
        if rows < 1 or abs(rows * self.resolution - step) > 1e-6:
            raise DatasetError(f"resolution {self.resolution:g} s does not divide the step of {step:g} s; "
                               "expected a divisor: resample the history")
        return rows


def fit_encoding(
    histories: Sequence[History], bounds: Mapping[str, tuple[float | None, float | None]], step: float,
    encoder_steps: int, horizon: int, timezone: str,
) -> Encoding:
    """The scalings and vocabularies of these histories. bounds: lowest and highest value of each signal."""
    signals = histories[0].signals
    sample = [np.concatenate([h.values[::17, :, i].ravel() for h in histories]) for i in range(len(signals))]
    probe = Encoding((), (), (), tuple(range(1, 13)), step, encoder_steps, horizon, timezone)
    months: set[int] = set()
    for h in histories:
        days = h.start + np.arange(0, len(h.values) * h.resolution, DAY)[:, None]
        _, calendar = features.clock_inputs(probe, days, np.zeros(1))
        months |= set(calendar[..., 1].ravel().tolist())
    return Encoding(
        scalings=tuple(Scaling.fit(name, sample[i], *bounds[name]) for i, name in enumerate(signals)),
        profiles=tuple(sorted({p for h in histories for p in h.profiles})),
        servers=tuple(sorted({s for h in histories for s in h.servers})),
        months=tuple(sorted(months)),
        step=step, encoder_steps=encoder_steps, horizon=horizon, timezone=timezone,
    )


class Windows:
    """All windows of some histories: rows (history, server, now) whose encoder and horizon lie inside."""

    def __init__(self, histories: Sequence[History], encoding: Encoding):
        """Raises DatasetError where a history's resolution does not fit or a history is too short for one window."""
        self.histories, self.encoding = histories, encoding
        self.stride = [h.stride(encoding.step) for h in histories]
        self.identity = [encoding.identify(h.servers, h.profiles) for h in histories]
        self.first = [(encoding.encoder_steps - 1) * s for s in self.stride]  # earliest now
        self.room = [
            len(h.values) - first - encoding.horizon * s
            for h, first, s in zip(histories, self.first, self.stride, strict=True)
        ]
        for h, room in zip(histories, self.room, strict=True):
            if room < 1:
                need = (encoding.encoder_steps + encoding.horizon) * encoding.step / 3600
                raise DatasetError(f"history of {h.hours:.1f} h is too short to cut one window; "
                                   f"expected at least {need:.1f} h")
        self.weight = np.array([room * len(h.servers) for room, h in zip(self.room, histories, strict=True)], float)
        self._restless = self._find_restless()

    def _find_restless(self) -> npt.NDArray[np.int32]:
        """(rows, 3): history, server, now of the windows whose latest values moved most or lie furthest out."""
        scores = []
        for h, s, first, room in zip(self.histories, self.stride, self.first, self.room, strict=True):
            z = self.encoding.scale(h.values.reshape(-1, len(h.signals))).reshape(h.values.shape)
            now = z[first : first + room]
            moves = [np.abs(now - z[first - lag * s : first - lag * s + room]).max(-1) for lag in (1, 2)]
            scores.append(np.nan_to_num(np.maximum.reduce([*moves, np.abs(now).max(-1) / 2])))
        limit = np.quantile(np.concatenate([score[::7].ravel() for score in scores]), 1 - RESTLESS_ROWS)
        rows = []
        for i, score in enumerate(scores):
            now, server = np.nonzero(score > limit)
            rows.append(np.stack([np.full_like(now, i), server, now + self.first[i]], 1))
        return np.concatenate(rows).astype(np.int32)

    def cut(self, history: int, server: Array, now: Array) -> tuple[Floats, Floats, npt.NDArray[np.float64], Floats]:
        """Rows (server[i], now[i]) of one history: past (B, C, T), future (B, C, H), instants (B,), earlier (B, C, T).

        now: row of the history. The past ends at now, the future begins one step later, and earlier is the past
        MOTION_SHARE of a step before, NaN where the resolution is too coarse for it.
        """
        e, h, stride = self.encoding, self.histories[history], self.stride[history]
        at = now[:, None] + np.arange(1 - e.encoder_steps, e.horizon + 1) * stride
        rows = h.values[at, server[:, None]].transpose(0, 2, 1)
        past, future = rows[..., : e.encoder_steps], rows[..., e.encoder_steps :]
        back = features.MOTION_SHARE * stride
        if back == int(back):
            before = at[:, : e.encoder_steps] - int(back)
            earlier = h.values[np.maximum(before, 0), server[:, None]].transpose(0, 2, 1)
        else:
            earlier = np.full_like(past, np.nan)
        return past, future, h.start + now * h.resolution, earlier

    def names(self, identity: Array) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Servers and profiles of indices (B, 2); empty names for unknown ones."""
        profiles, servers = ("", *self.encoding.profiles), ("", *self.encoding.servers)
        return tuple(servers[s] for s in identity[:, 1]), tuple(profiles[p] for p in identity[:, 0])

    def sample(self, rows: int, rng: np.random.Generator, restless: float = 0.0) -> tuple[Array, ...]:
        """Random rows: (past, future, instants, earlier, identity), a share ``restless`` of them restless ones.

        Restless rows are chosen by their past alone. Drawing more of them shows more beginnings of incidents and does
        not change the distribution of the future given the past. """
        some = np.empty((0, 3), np.int32)
        if len(self._restless):
            some = self._restless[rng.integers(0, len(self._restless), round(rows * restless))]
        counts = rng.multinomial(rows - len(some), self.weight / self.weight.sum())
        parts = []
        for history, count in enumerate(counts):
            server = rng.integers(0, len(self.histories[history].servers), count)
            now = self.first[history] + rng.integers(0, self.room[history], count)
            chosen = some[some[:, 0] == history]
            server, now = np.concatenate([server, chosen[:, 1]]), np.concatenate([now, chosen[:, 2]])
            if len(server):
                parts.append((*self.cut(history, server, now), self.identity[history][server]))
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def training_batches(
    windows: Windows, rows: int, count: int, seed: int, drop: float = 0.1, shorten: bool = True
) -> Iterator[tuple[dict[str, Array], Floats]]:
    """``count`` batches of (inputs as from features.batch, targets float32 (B, C, H) in model units, NaN unobserved).

    With ``shorten``, every batch has a random encoder length. Servers (half of the rows), profiles and months (a share
    ``drop``) are replaced by unknown at random, which trains the embeddings of the unknown. Signals are dropped as
    ``kept_signals`` says: their inputs are those of missing signals and their targets NaN.
    """
    rng, encoding = np.random.default_rng(seed), windows.encoding
    for _ in range(count):
        past, future, instants, earlier, identity = windows.sample(rows, rng, RESTLESS_SHARE)
        full = rng.random() < 0.4 or not shorten
        length = encoding.encoder_steps if full else int(rng.integers(MIN_STEPS, encoding.encoder_steps + 1))
        past, there, steps = features.usable(past)
        gone = ~(there & kept_signals(encoding.signals, len(past), rng))
        past[gone], future[gone] = np.nan, np.nan
        keep = (steps >= length) & np.isfinite(future).any((1, 2))
        if not keep.any():
            continue
        identity = identity[keep]
        identity[rng.random(len(identity)) < 0.5, 1] = UNKNOWN
        identity[rng.random(len(identity)) < drop, 0] = UNKNOWN
        earlier[rng.random(len(earlier)) < drop] = np.nan
        inputs = features.batch(encoding, past[keep], length, instants[keep], identity, earlier[keep])
        inputs["calendar"][rng.random(len(identity)) < drop, :, 1] = UNKNOWN
        yield inputs, encoding.scale(future[keep])


def kept_signals(signals: Sequence[str], rows: int, rng: np.random.Generator) -> npt.NDArray[np.bool]:
    """bool (rows, C): the signals that each row keeps, never none: all (WHOLE_SHARE of the rows), one of USUAL, or any
    number of random ones."""
    count = rng.integers(1, len(signals) + 1, (rows, 1))
    kept: npt.NDArray[np.bool] = rng.random((rows, len(signals))).argsort(1).argsort(1) < count
    usual = [row for names in USUAL if (row := np.isin(signals, names)).any()]
    draw = rng.random(rows)
    for i, row in enumerate(usual):
        kept[draw < (1 - WHOLE_SHARE) / 2 * (1 - i / len(usual))] = row
    kept[draw >= 1 - WHOLE_SHARE] = True
    return kept


def day_ago_error(context: Floats) -> npt.NDArray[np.float64]:
    """Mean |value - value a day before| over contexts (..., T) of up to a week, at least ERROR_FLOOR; NaN where no such
    pair was observed."""
    error = np.abs(context[..., DAY_STEPS:] - context[..., :-DAY_STEPS])
    known = np.isfinite(error)
    count = known.sum(-1)
    mean = np.where(known, error, 0).sum(-1, dtype=np.float64) / np.maximum(count, 1)
    return np.where(count > 0, np.maximum(mean, ERROR_FLOOR), np.nan)
