"""The mounts of a simulated fleet through time: how full each is at an instant, in the past, and in possible futures.

A mount is a Markov process with steps of an hour (``filling``) whose random numbers depend on (seed, stream, day) and
not on the order of calls. About every nine months its device is replaced, and its state is then drawn anew: in each span
of 39 weeks at a random hour. The simulation starts at the last replacement, so past and present are one course. Within
an hour values lie on a straight line, with small changes every 5 minutes.

Shapes: N mounts, T columns. Instants are simulated Unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy

import numpy as np
from numpy.typing import NDArray

from exporter.filling import NORMALS, PATTERNS, UNIFORMS, Hour, Normals, State, draw_traits, fresh, steps
from exporter.physics import Floats

__all__ = ["MOUNTS", "PATTERNS", "Mounts"]

GIB = 2.0**30
DAY, SPAN = 24, 39 * 168  # hours
TICK, TICKS = 300, 288  # seconds, and how many a day has
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
    mounts a profile has (default: MOUNTS).
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
        self._present: tuple[int, State] | None = None  # hour, and the state at its begin
        self._hour: tuple[int, Hour] | None = None  # the hour of the last at()
        self._drawn: tuple[int, Normals, Normals] | None = None  # day
        self._noise: tuple[int, Normals] | None = None  # day
        self._renewed: dict[int, NDArray[np.int64]] = {}

    def course(self, start: float, hours: int, minutes: int = 60) -> tuple[Floats, Floats]:
        """Used space and size in bytes, each (N, T): every ``minutes`` from start on, T = hours * 60 / minutes."""
        when: Floats = start + np.arange(hours * 60 // minutes) * 60.0 * minutes
        first = int(when[0] // 3600)
        table = list(self._hours(first, int(when[-1] // 3600) + 1, deepcopy(self._seek(first))))
        begin, end, scale = (np.stack([getattr(h, name) for h in table]) for name in ("begin", "end", "scale"))
        of = (when // 3600).astype(int) - first
        used, size = self._between(Hour(begin[of], end[of], scale[of]), when, self._jitter(when))
        return used.T, size.T

    def at(self, instant: float) -> tuple[Floats, Floats]:
        """Used space and size in bytes at an instant, each (N,)."""
        hour = int(instant // 3600)
        if self._hour is None or self._hour[0] != hour:
            self._hour = hour, next(self._hours(hour, hour + 1, deepcopy(self._seek(hour))))
        when = np.array([instant])
        h = self._hour[1]
        used, size = self._between(Hour(h.begin[None], h.end[None], h.scale[None]), when, self._jitter(when))
        return used[0], size[0]

    def futures(self, instant: float, hours: int, paths: int, stream: int) -> NDArray[np.float32]:
        """Possible futures from the true present: used share of the size at that time, (paths, N, hours).

        Column k is at instant + (k + 1) h. The random numbers depend on ``stream`` and the instant and are other ones
        than those of the course.
        """
        rng = np.random.default_rng([self.seed, 6, stream, int(instant)])
        first = int(instant // 3600)
        shape = (paths, len(self.entities))
        state = deepcopy(self._seek(first)).repeated(paths)
        started = instant > first * 3600  # then the growth of the present hour is known, what follows it is not
        shares = np.empty((*shape, hours), np.float32)
        span = first // SPAN
        renewals = {each: rng.integers(0, SPAN, shape) + each * SPAN for each in (span, span + 1)}
        past = self._renewals(span) <= first
        coming = rng.integers(first + 1, max((span + 1) * SPAN, first + 2), shape)
        renewals[span] = np.where(past, self._renewals(span), coming)
        for row in range(hours + 1):
            hour = first + row
            normal = rng.standard_normal((NORMALS, 1, *shape), np.float32)
            if row == 0 and started:
                normal[:] = self._draws(hour)[0][:, :1, None]
            uniform = rng.random((UNIFORMS, 1, *shape), np.float32)
            now = next(steps(self._traits, state, hour, normal, uniform))
            renewed = np.logical_or.reduce([at == hour + 1 for at in renewals.values()])
            if renewed.any():
                state.put(renewed, fresh(self._traits, shape, rng))
            if row:
                noise = rng.standard_normal(shape)
                used, size = self._between(now, np.array([instant + row * 3600]), noise)
                shares[:, :, row - 1] = used / size
        return shares

    def _between(self, hour: Hour, when: Floats, noise: Floats) -> tuple[Floats, Floats]:
        """Used space and size in bytes within hours, (..., N), at instants (T,) of the first axis or at one."""
        part = (when % 3600 / 3600)[:, None]
        used = hour.begin + part * (hour.end - hour.begin)
        quiet = hour.begin >= hour.scale
        used = np.where(quiet, used, used + self._traits.jitter * np.clip(noise, -3, 3))
        top = np.where(hour.end >= hour.scale, 1.0, 0.999) * hour.scale
        unit = self._traits.gib * GIB
        return np.clip(used, 0.0, top) * unit, hour.scale * unit

    def _seek(self, hour: int) -> State:
        """The state at an hour; moves the present there."""
        if self._present is None or self._present[0] > hour:
            span = hour // SPAN
            started = np.where(self._renewals(span) <= hour, self._renewals(span), self._renewals(span - 1))
            first = int(started.min(initial=hour))
            state = self._devices(first // SPAN)
            for each in range(first // SPAN, span + 1):  # mounts renewed in the first hour, too
                state.put(self._renewals(each) == first, self._devices(each))
            self._present = first, state
        first, state = self._present
        for _ in self._hours(first, hour, state):
            pass
        self._present = hour, state
        return state

    def _hours(self, first: int, last: int, state: State) -> Iterator[Hour]:
        """The hours of the course in [first, last), moving a state along."""
        hour = first
        while hour < last:
            count = min(last - hour, DAY - hour % DAY)
            normal, uniform = self._draws(hour)
            for now in steps(self._traits, state, hour, normal[:, :count], uniform[:, :count]):
                hour += 1
                yield now
                self._replace(state, hour)

    def _replace(self, state: State, hour: int) -> None:
        """Puts new devices in place of those that are replaced at this hour."""
        span = hour // SPAN
        renewed = self._renewals(span) == hour
        if renewed.any():
            state.put(renewed, self._devices(span))

    def _renewals(self, span: int) -> NDArray[np.int64]:
        """The hour (N,) within a span of 39 weeks at which each device is replaced."""
        if span not in self._renewed:
            rng = np.random.default_rng([self.seed, 7, span])
            self._renewed[span] = span * SPAN + rng.integers(0, SPAN, len(self.entities))
        return self._renewed[span]

    def _devices(self, span: int) -> State:
        """The devices put in place within a span."""
        return fresh(self._traits, (len(self.entities),), np.random.default_rng([self.seed, 8, span]))

    def _draws(self, hour: int) -> tuple[Normals, Normals]:
        """Normals (2, H, N) and uniforms (4, H, N) from an hour to the end of its day."""
        day = hour // DAY
        if self._drawn is None or self._drawn[0] != day:
            rng = np.random.default_rng([self.seed, 9, day])
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
                rng = np.random.default_rng([self.seed, 10, int(each)])
                self._noise = int(each), rng.standard_normal((TICKS, len(self.entities)), np.float32)
            out[day == each] = self._noise[1][tick[day == each] % TICKS]
        return out
