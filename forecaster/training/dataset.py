"""History -> training batches: the same windows and features as in serving, cut from arrays, no per-sample work.

Letters: N instants, S servers, C signals, B rows, T encoder steps, H horizon steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from exporter.fleet import Fleet
from exporter.profiles import METRICS, FleetConfig
from forecaster.models import features
from forecaster.models.features import MIN_STEPS, UNKNOWN, Encoding, Scaling

MINUTE, DAY = 60.0, 86400.0
SCENARIO_DAYS = 2.0  # mean days between scenarios in training: rare enough that p90 does not expect one within 8 hours
SCENARIO_MINUTES = (20.0, 240.0)  # shortest and longest
RESTLESS_ROWS, RESTLESS_SHARE = 0.03, 0.3  # the 3 % of windows in most motion or furthest out make 30 % of a batch
DAY_STEPS = 288
ERROR_FLOOR = 1e-3  # of a day-ago error, in signal units: a series that repeats itself exactly is no measure


class DatasetError(ValueError):
    """The history cannot be learnt from; the message says what is missing and what was expected."""


@dataclass(frozen=True)
class History:
    """Trailing means of one step on a regular grid.

    values: float32 (N, S, C) in signal units, NaN where unobserved; start, resolution: Unix seconds, seconds.
    """

    start: float
    resolution: float
    signals: tuple[str, ...]
    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    values: np.ndarray

    def between(self, first: int, last: int) -> History:
        """The part from row ``first`` to before row ``last``."""
        return replace(self, start=self.start + first * self.resolution, values=self.values[first:last])

    def of_servers(self, keep: np.ndarray) -> History:
        """The part that belongs to the servers at these indices."""
        return replace(
            self,
            values=self.values[:, keep],
            servers=tuple(self.servers[i] for i in keep),
            profiles=tuple(self.profiles[i] for i in keep),
        )


def simulate(
    config: FleetConfig, start: float, days: float, step: float, scenario_every: float | None, seed: int
) -> History:
    """History of a simulated fleet at one-minute resolution, starting on a whole minute.

    scenario_every: mean days between two scenarios (each 20 minutes to 4 hours long), None for none at all.
    """
    return simulate_fleet(scheduled(config, start, days, scenario_every, seed), start, days, step)


def scheduled(config: FleetConfig, start: float, days: float, scenario_every: float | None, seed: int) -> Fleet:
    """A fleet with all scenario changes of those days."""
    fleet = Fleet(config)
    if scenario_every is not None:
        rng = np.random.default_rng([seed, 5])
        for at, name in schedule(tuple(config.scenarios), start, start + days * DAY, scenario_every, rng):
            fleet.set_scenario(name, at)
    return fleet


def schedule(
    scenarios: tuple[str, ...], start: float, end: float, every: float, rng: np.random.Generator
) -> Iterator[tuple[float, str]]:
    """(instant, scenario) of every change from start on: troubles begin on average ``every`` days apart before ``end``, and
    end in `healthy` after SCENARIO_MINUTES."""
    troubled, at = [name for name in scenarios if name != "healthy"], start
    while (at := at + rng.exponential(every) * DAY) < end:
        yield at, str(rng.choice(troubled))
        at += rng.uniform(*SCENARIO_MINUTES) * MINUTE
        yield at, "healthy"


def simulate_fleet(fleet: Fleet, start: float, days: float, step: float) -> History:
    """Trailing means of ``step`` seconds of that fleet, at one-minute resolution."""
    minutes, width = int(days * 1440), max(int(step // MINUTE), 1)
    values, _ = fleet.trajectory(start - (width - 1) * MINUTE, minutes + width - 1)
    means = sum(values[i : i + minutes] for i in range(width)) / width
    return History(start, MINUTE, METRICS, fleet.servers, fleet.profiles, means.astype(np.float32))


def simulate_many(
    config: FleetConfig, fleets: int, days: float, step: float, seed: int, end: float, copies: int = 2, progress=iter
) -> list[History]:
    """``fleets`` simulated histories of ``days``, each of its own seed and ``copies`` x the configured servers, ending
    at ``end`` and at whole days before it, spread over a year so that every month is seen."""
    out = []
    for i in progress(range(fleets)):
        servers = {profile: min(count * copies, 999) for profile, count in config.servers.items()}
        start = (end - days * DAY - i * 365 * DAY / fleets) // DAY * DAY
        out.append(
            simulate(
                config.model_copy(update={"seed": seed + i, "servers": servers}),
                start,
                days,
                step,
                SCENARIO_DAYS,
                seed + i,
            )
        )
    return out


def fit_encoding(
    histories: list[History],
    bounds: dict[str, tuple[float | None, float | None]],
    step: float,
    encoder_steps: int,
    horizon: int,
    timezone: str,
) -> Encoding:
    """Scalings and vocabularies of all that was seen in training."""
    signals = histories[0].signals
    sample = [np.concatenate([h.values[::17, :, i].ravel() for h in histories]) for i in range(len(signals))]
    probe = Encoding((), (), (), tuple(range(1, 13)), step, encoder_steps, horizon, timezone)
    months = set()
    for h in histories:
        _, calendar = features.clock_inputs(
            probe, h.start + np.arange(0, len(h.values) * h.resolution, DAY)[:, None], np.zeros(1)
        )
        months |= set(calendar[..., 1].ravel().tolist())
    return Encoding(
        scalings=tuple(Scaling.fit(name, sample[i], *bounds[name]) for i, name in enumerate(signals)),
        profiles=tuple(sorted({p for h in histories for p in h.profiles})),
        servers=tuple(sorted({s for h in histories for s in h.servers})),
        months=tuple(sorted(months)),
        step=step,
        encoder_steps=encoder_steps,
        horizon=horizon,
        timezone=timezone,
    )


class Windows:
    """All windows of some histories: rows (history, server, now) whose encoder and horizon lie inside."""

    def __init__(self, histories: list[History], encoding: Encoding):
        self.histories, self.encoding = histories, encoding
        self.stride = [round(encoding.step / h.resolution) for h in histories]
        self.identity = [encoding.identify(h.servers, h.profiles) for h in histories]
        self.room = [
            (len(h.values) - (encoding.encoder_steps - 1 + encoding.horizon) * s)
            for h, s in zip(histories, self.stride, strict=True)
        ]
        for h, s, room in zip(histories, self.stride, self.room, strict=True):
            if s < 1 or abs(s * h.resolution - encoding.step) > 1e-6:
                raise DatasetError(f"resolution {h.resolution:g} s does not divide the step of {encoding.step:g} s")
            if room < 1:
                need = (encoding.encoder_steps + encoding.horizon) * encoding.step / 3600
                raise DatasetError(
                    f"history of {len(h.values) * h.resolution / 3600:.1f} h is too short to cut one window; "
                    f"expected at least {need:.1f} h"
                )
        self.weight = np.array([room * len(h.servers) for room, h in zip(self.room, histories, strict=True)], float)
        self._restless = self._find_restless()

    def _find_restless(self) -> np.ndarray:
        """int32 (rows, 3): history, server, now of the windows that moved the most or stand far out."""
        scores = []
        for h, s, room in zip(self.histories, self.stride, self.room, strict=True):
            first = (self.encoding.encoder_steps - 1) * s
            z = self.encoding.scale(h.values.reshape(-1, len(h.signals))).reshape(h.values.shape)
            now = z[first : first + room]
            moves = [np.abs(now - z[first - lag * s : first - lag * s + room]).max(-1) for lag in (1, 2)]
            scores.append(np.nan_to_num(np.maximum.reduce([*moves, np.abs(now).max(-1) / 2])))
        limit = np.quantile(np.concatenate([score[::7].ravel() for score in scores]), 1 - RESTLESS_ROWS)
        rows = []
        for i, score in enumerate(scores):
            now, server = np.nonzero(score > limit)
            rows.append(
                np.stack([np.full_like(now, i), server, now + (self.encoding.encoder_steps - 1) * self.stride[i]], 1)
            )
        return np.concatenate(rows).astype(np.int32)

    def cut(self, history: int, server: np.ndarray, now: np.ndarray) -> tuple[np.ndarray, ...]:
        """Rows (server[i], now[i]) of one history -> (past (B, C, T), future (B, C, H), instants (B,), earlier (B, C, T)).

        now indexes the history's grid; the past ends at now, the future begins one step later, and earlier is the past
        MOTION_SHARE of a step before, NaN where the grid is too coarse for it.
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

    def names(self, identity: np.ndarray) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Servers and profiles behind indices (B, 2); empty names for the unknown."""
        profiles, servers = ("", *self.encoding.profiles), ("", *self.encoding.servers)
        return tuple(servers[s] for s in identity[:, 1]), tuple(profiles[p] for p in identity[:, 0])

    def sample(
        self, rows: int, rng: np.random.Generator, restless: float = 0.0
    ) -> tuple[np.ndarray, ...]:
        """Random rows: (past, future, instants, earlier, identity); a share of them drawn from the restless ones.

        Restless rows are chosen by their past alone, so drawing more of them teaches the rare beginnings of trouble
        without shifting what is learnt of the future given the past.
        """
        some = (
            self._restless[rng.integers(0, len(self._restless), round(rows * restless))] if len(self._restless) else []
        )
        counts = rng.multinomial(rows - len(some), self.weight / self.weight.sum())
        parts = []
        for history, count in enumerate(counts):
            first = (self.encoding.encoder_steps - 1) * self.stride[history]
            server = rng.integers(0, len(self.histories[history].servers), count)
            now = first + rng.integers(0, self.room[history], count)
            if len(some):
                chosen = some[some[:, 0] == history]
                server, now = np.concatenate([server, chosen[:, 1]]), np.concatenate([now, chosen[:, 2]])
            if len(server):
                parts.append((*self.cut(history, server, now), self.identity[history][server]))
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def training_batches(
    windows: Windows, rows: int, count: int, seed: int, drop: float = 0.1, shorten: bool = True
) -> Iterator[tuple[dict, np.ndarray]]:
    """``count`` batches of (inputs as from features.batch, targets float32 (B, C, H) in model units, NaN unobserved).

    Every batch has a random encoder length, unless ``shorten`` is off. Servers, profiles and months are made unknown at random, servers for
    half of the rows, so that the embeddings of the unknown are trained.
    """
    rng, encoding = np.random.default_rng(seed), windows.encoding
    for _ in range(count):
        past, future, instants, earlier, identity = windows.sample(rows, rng, RESTLESS_SHARE)
        full = rng.random() < 0.4 or not shorten
        length = encoding.encoder_steps if full else int(rng.integers(MIN_STEPS, encoding.encoder_steps + 1))
        past, steps = features.usable(past)
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


def day_ago_error(context: np.ndarray) -> np.ndarray:
    """(N, C): mean |value - value a day before| over a context (N, C, T) of up to a week, at least ERROR_FLOOR; NaN where
    nothing was observed."""
    error = np.abs(context[..., DAY_STEPS:] - context[..., :-DAY_STEPS])
    known = np.isfinite(error)
    count = known.sum(-1)
    mean = np.where(known, error, 0).sum(-1, dtype=np.float64) / np.maximum(count, 1)
    return np.where(count > 0, np.maximum(mean, ERROR_FLOOR), np.nan)
