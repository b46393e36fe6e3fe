"""The mounts of a simulated fleet through time: how full each is at an instant, in the past, and in possible futures.

A mount is a Markov process with steps of an hour (``filling``) whose random numbers depend on (seed, day) and not on
the order of calls. About every six months its device is replaced, and its state is then drawn anew. The simulation
starts at the last replacement, so past and present are one course. Within an hour values lie on a straight line, with
small changes every 5 minutes.

Shapes: N mounts, R = paths * N rows of possible futures (the course itself is one path), T instants, in simulated Unix
seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from exporter.filling import NORMALS, UNIFORMS, Hours, Normals, State, advance, forget_ends, new_devices
from exporter.physics import Floats
from exporter.profiles import FleetConfig
from exporter.traits import PATTERNS, draw_traits, draw_weeks

__all__ = ["MOUNTS", "PATTERNS", "Mounts"]

GIB, BLOCK = 2.0**30, 4096  # bytes
DAY = 24  # hours
SPAN, LATE = 26 * 168, 6 * 168  # hours between two replacements of a device, and how much later one may come
TICK, TICKS = 300, 288  # seconds, and how many a day has
ERA = 2**32  # seeds are not negative; the course of 1970 begins before
# mountpoint -> (usual size in GiB, patterns it may have)
MOUNTS: dict[str, tuple[float, tuple[str, ...]]] = {
    "/": (40, ("steady", "changing", "sawtooth", "jump", "cleaned", "full")),
    "/data": (400, ("steady", "changing", "weekday", "burst", "jump", "resized", "cleaned", "full")),
    "/var/log": (24, ("weekday", "sawtooth", "sawtooth", "rising_sawtooth", "burst", "changing")),
}


class Mounts:
    """Mounts of a fleet. Rising instants are the cheapest. Not thread-safe; the caller holds a lock.

    servers, profiles: one each per server. seed: with the instant, decides every value. patterns: those to choose from
    (default: what suits the mountpoint). sizes: usual size in GiB by profile and mountpoint, which also says which
    mounts a profile has (default: those of MOUNTS).
    """

    def __init__(
        self,
        servers: Sequence[str],
        profiles: Sequence[str],
        seed: int,
        patterns: Sequence[str] | None = None,
        sizes: Mapping[str, Mapping[str, float]] | None = None,
    ):
        if unknown := set(patterns or ()) - set(PATTERNS):
            raise ValueError(f"patterns: unknown {sorted(unknown)}; expected some of {', '.join(PATTERNS)}")
        usual = {mount: size for mount, (size, _) in MOUNTS.items()}
        rows = [
            (server, profile, mount, size)
            for server, profile in zip(servers, profiles, strict=True)
            for mount, size in (sizes or {}).get(profile, usual).items()
        ]
        self.entities = tuple((server, profile, mount) for server, profile, mount, _ in rows)
        self.seed = seed
        rng = np.random.default_rng([seed, 5])
        choices = [patterns or MOUNTS.get(mount, (0, PATTERNS))[1] for _, _, mount in self.entities]
        self.patterns = tuple(c[int(u * len(c))] for c, u in zip(choices, rng.random(len(rows)), strict=True))
        typical = np.array([size for *_, size in rows])
        gib = np.rint(np.clip(typical * np.exp(0.5 * rng.standard_normal(len(rows))), 8, 2048))
        index = np.array([PATTERNS.index(name) for name in self.patterns], np.int8)
        self._traits = draw_traits(index, gib, rng)
        self._week = draw_weeks(self._traits.of["weekday"], rng)
        self._phase = rng.integers(0, SPAN // DAY, len(rows)) * DAY  # hour of a span, earliest for a replacement
        self._present: tuple[int, State] | None = None  # hour, and the state at its begin
        self._hour: tuple[int, Hours] | None = None  # the hour of the last at()
        self._drawn: tuple[int, Normals, Normals] | None = None  # day
        self._noise: tuple[int, Normals] | None = None  # day
        self._replaced: dict[int, NDArray[np.int64]] = {}

    @classmethod
    def of(cls, config: FleetConfig) -> Mounts:
        """The mounts of a configured fleet."""
        return cls(*config.names(), config.seed, sizes={name: p.mounts for name, p in config.profiles.items()})

    def course(self, start: float, hours: int, minutes: int = 60) -> tuple[Floats, Floats]:
        """Used space and size in bytes, each (N, T): every ``minutes`` from start on, T = hours * 60 / minutes."""
        return self.through(start + 60.0 * minutes * np.arange(hours * 60 // minutes, dtype=np.float64))

    def through(self, when: Floats) -> tuple[Floats, Floats]:
        """Used space and size in bytes at rising instants (T,), each (N, T)."""
        first, last = int(when[0] // 3600), int(when[-1] // 3600)
        of = (when // 3600).astype(int) - first
        used, size = self._between(self._record(first, last + 1), of, when, self._jitter(when))
        return used.T, size.T

    def at(self, instant: float) -> tuple[Floats, Floats]:
        """Used space and size in bytes at an instant, each (N,)."""
        hour = int(instant // 3600)
        if self._hour is None or self._hour[0] != hour:
            self._hour = hour, self._record(hour, hour + 1)
        when = np.array([instant])
        used, size = self._between(self._hour[1], np.array([0]), when, self._jitter(when))
        return used[0], size[0]

    def futures(self, instant: float, hours: int, paths: int, stream: int) -> NDArray[np.float32]:
        """Possible futures from the true present: used share of the size at that time, (paths, N, hours).

        Column k is at instant + (k + 1) h. The random numbers depend on ``stream`` and the instant and are other ones
        than those of the course. What the state has of times to come (ends, replacements) is not known to them.
        """
        rng = np.random.default_rng([self.seed, 6, stream, int(instant)])
        hour, n = int(instant // 3600), len(self.entities)
        begun = instant > hour * 3600  # then the growth within the present hour is known, what follows it is not
        traits, state = self._traits.repeated(paths), deepcopy(self._seek(hour)).repeated(paths)
        forget_ends(state, hour, rng)
        replacement, device = self._replacement(hour, paths * n, rng), new_devices(traits, rng)
        shares = np.empty((paths, n, hours), np.float32)
        for row in range(hours + 1):
            normal = rng.standard_normal((NORMALS, 1, paths * n), np.float32)
            if row == 0 and begun:
                normal = np.tile(self._draws(hour)[0][:, :1], paths)
            uniform = rng.random((UNIFORMS, 1, paths * n), np.float32)
            now = advance(traits, state, self._week, hour + row, normal, uniform, row > 0)
            state.put(replacement == hour + row + 1, device)
            if row:
                noise, when = rng.standard_normal((1, paths * n)), np.array([instant + row * 3600])
                used, size = self._between(now, np.array([0]), when, noise)
                shares[:, :, row - 1] = (used / size).reshape(paths, n)
        return shares

    def _between(self, hours: Hours, of: NDArray[np.int_], when: Floats, noise: Floats) -> tuple[Floats, Floats]:
        """Used space and size in bytes (T, R) at instants (T,) that lie in the hours ``of``; noise (T, R)."""
        copies = hours.begin.shape[1] // max(len(self.entities), 1)
        begin, end, scale = hours.begin[of], hours.end[of], hours.scale[of]
        jitter, size = np.tile(self._traits.jitter, copies), np.rint(scale * np.tile(self._traits.gib, copies)) * GIB
        used = begin + (when % 3600 / 3600)[:, None] * (end - begin)
        share = np.clip((used + jitter * np.clip(noise, -3, 3)) / scale, 0.0, 0.999)
        share = np.where(used >= scale, 1.0, share)
        return np.rint(share * size / BLOCK) * BLOCK, size

    def _seek(self, hour: int) -> State:
        """The state at an hour; moves the present there."""
        if self._present is None or not hour - 2 * SPAN < self._present[0] <= hour:
            spans = _spans(hour)
            past = np.stack([self._replacements(span) for span in spans])
            first = int(np.where(past <= hour, past, -np.inf).max(0).min(initial=hour))
            self._present = first, self._devices(0)
            self._replace(*self._present)
        first, state = self._present
        for _ in self._walk(first, hour, state, record=False):
            pass
        self._present = hour, state
        return state

    def _record(self, first: int, last: int) -> Hours:
        """The hours [first, last) of the course; the present moves to ``first``."""
        parts = list(self._walk(first, last, deepcopy(self._seek(first)), record=True))
        return Hours(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Hours)))

    def _walk(self, hour: int, last: int, state: State, record: bool) -> Iterator[Hours]:
        """Moves a state of the course through [hour, last), day by day."""
        while hour < last:
            end = min(last, hour - hour % DAY + DAY)
            normal, uniform = (draws[:, : end - hour] for draws in self._draws(hour))
            yield advance(self._traits, state, self._week, hour, normal, uniform, record)
            hour = end
            self._replace(hour, state)

    def _replace(self, hour: int, state: State) -> None:
        """Puts the devices in place that are replaced at an hour of the course."""
        for span in _spans(hour) if hour % DAY == 0 else ():
            if (replaced := self._replacements(span) == hour).any():
                state.put(replaced, self._devices(span))

    def _replacement(self, hour: int, rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Hours (rows,) of the next replacement in possible futures: once in SPAN on average, at any midnight alike, as
        nothing that is measured shows when one is due."""
        made: NDArray[np.int64] = hour - hour % DAY + DAY * rng.geometric(DAY / SPAN, rows)
        return made

    def _replacements(self, span: int) -> NDArray[np.int64]:
        """The hour (N,), a midnight, at which each device of a span is put in place: the phase, or up to LATE later."""
        if span not in self._replaced:
            rng = np.random.default_rng([self.seed, 7, span % ERA])
            self._replaced[span] = span * SPAN + self._phase + DAY * rng.integers(0, LATE // DAY, len(self.entities))
        return self._replaced[span]

    def _devices(self, span: int) -> State:
        """The devices of a span."""
        return new_devices(self._traits, np.random.default_rng([self.seed, 8, span % ERA]))

    def _draws(self, hour: int) -> tuple[Normals, Normals]:
        """Normals (2, H, N) and uniforms (4, H, N) from an hour to the end of its day."""
        day = hour // DAY
        if self._drawn is None or self._drawn[0] != day:
            rng = np.random.default_rng([self.seed, 9, day % ERA])
            shape = DAY, len(self.entities)
            normal = rng.standard_normal((NORMALS, *shape), np.float32)
            self._drawn = day, normal, rng.random((UNIFORMS, *shape), np.float32)
        return self._drawn[1][:, hour % DAY :], self._drawn[2][:, hour % DAY :]

    def _jitter(self, when: Floats) -> Floats:
        """Standard normal (T, N), a new one every 5 minutes."""
        tick = (when // TICK).astype(np.int64)
        day = tick // TICKS
        out = np.empty((when.size, len(self.entities)))
        for each in np.unique(day):
            if self._noise is None or self._noise[0] != each:
                rng = np.random.default_rng([self.seed, 10, int(each) % ERA])
                self._noise = int(each), rng.standard_normal((TICKS, len(self.entities)), np.float32)
            out[day == each] = self._noise[1][tick[day == each] % TICKS]
        return out


def _spans(hour: int) -> range:
    """The spans whose devices may be put in place at, or be the latest before, an hour."""
    return range(hour // SPAN - 2, hour // SPAN + 1)
