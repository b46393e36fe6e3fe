"""How the used space of mounts changes within an hour: the parameters of ten patterns, the state and the step.

A mount's space is a base that lasts and a tooth that is deleted from time to time (logs until they are rotated, files
of a burst), both in shares of its first size, plus temporary files that come and go. It grows at a rate with a day
shape, a weekday shape and noise. At whole hours something may happen to it: a rotation, a jump, a resize, a clean-up. A
mount that is full stays full for 2 to 24 hours; then somebody cleans it or grows it.

Shapes: N mounts, (..., N) states: (N,) for the course itself, (paths, N) for possible futures. Time is in hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from exporter.physics import Flags, Floats

PATTERNS = (
    "steady", "changing", "weekday", "sawtooth", "rising_sawtooth", "burst", "jump", "resized", "cleaned", "full",
)
NEVER_FULL = ("sawtooth", "burst", "resized")  # these stay below CEILING
WEEK = 168
MONDAY = 96  # hour 0 of the Unix era was on a Thursday
CEILING = 0.97
NORMALS, UNIFORMS = 2, 4  # random numbers for each mount and hour
Normals = NDArray[np.float32]


@dataclass(frozen=True)
class Traits:
    """What does not change about mounts; arrays (N,), shares of the first size, rates per hour."""

    pattern: NDArray[np.int8]  # index into PATTERNS
    gib: Floats  # first size, whole GiB
    week: Floats  # (168, N): growth relative to its mean, by hour of the week from Monday 00:00 UTC
    growth: Floats  # of the base
    tooth: Floats  # growth of the tooth
    period: NDArray[np.int64]  # hours between two rotations; 0: none by the clock
    phase: NDArray[np.int64]
    act_at: Floats  # used share from which somebody, or a program, acts
    act_chance: Floats  # chance per hour that it does
    chance: Floats  # of the pattern's random event: change of pace, burst, jump, resize
    ramp: Floats  # share of the way to a new pace
    mood: Floats  # noise of the rate: standard deviation of its logarithm
    mood_keep: Floats  # autocorrelation of it after an hour
    temporary: Floats  # standard deviation of the temporary files
    temporary_keep: Floats
    jitter: Floats  # standard deviation of what changes within 5 minutes
    level: Floats  # base at the start, before the draw of the state

    @cached_property
    def of(self) -> dict[str, Flags]:
        """bool (N,) for each pattern: the mounts that have it."""
        return {name: self.pattern == number for number, name in enumerate(PATTERNS)}

    @cached_property
    def fills(self) -> Flags:
        """bool (N,): the mounts that can become full."""
        return ~np.isin(self.pattern, [PATTERNS.index(name) for name in (*NEVER_FULL, "full")])

    @cached_property
    def top(self) -> Floats:
        """The highest used share of a mount that is not stuck."""
        return np.where(self.fills, 0.999, np.where(self.of["full"], 1.0, CEILING))


@dataclass
class State:
    """Everything that the future depends on besides Traits and the hour. Arrays (..., N)."""

    base: Floats
    tooth: Floats
    scale: Floats  # size, in first sizes
    pace: Floats  # factor on the growth
    goal: Floats  # the pace it approaches
    mood: Floats  # standard normal
    temporary: Floats  # standard normal
    rush: Floats  # growth of the tooth in a burst
    left: Floats  # hours that the burst lasts
    stuck: Floats  # hours that it stays full

    def repeated(self, copies: int) -> State:
        """(copies, N) from (N,)."""
        return State(*(np.tile(getattr(self, f.name), (copies, 1)) for f in fields(self)))

    def put(self, where: Flags, other: State) -> None:
        """Takes over the state of another for some mounts."""
        for f in fields(self):
            np.copyto(getattr(self, f.name), getattr(other, f.name), where=where)


@dataclass(frozen=True)
class Hour:
    """One hour: used space at its begin and just before its end, and the size; (..., N), in first sizes.

    Between the two it is a straight line, cut off at the size. Events happen at whole hours.
    """

    begin: Floats
    end: Floats
    scale: Floats


def draw_traits(pattern: NDArray[np.int8], gib: Floats, rng: np.random.Generator) -> Traits:
    """Parameters of mounts with these patterns and sizes, from ranges as wide as those of real fleets."""
    n = pattern.size

    def between(low: float | Floats, high: float | Floats) -> Floats:
        return low + (high - low) * rng.random(n)

    def decades(low: float, high: float) -> Floats:
        return 10 ** between(np.log10(low), np.log10(high))

    def of(*names: str) -> Flags:
        return np.isin(pattern, [PATTERNS.index(name) for name in names])

    daily = np.clip(0.0025 * np.exp(1.4 * rng.standard_normal(n)), 1e-5, 0.2)  # a few fill within days, most in months
    growth = np.select(
        [of("sawtooth", "full"), of("burst"), of("cleaned", "rising_sawtooth"), of("resized")],
        [0.0, daily / 30, np.minimum(2 * daily, 0.1), np.minimum(1.5 * daily, 0.03)],
        daily,
    )
    saw = of("sawtooth", "rising_sawtooth")
    period = np.where(saw, rng.choice([24, 24, WEEK, WEEK, 0], n), 0)
    by_level = saw & (period == 0)
    height = between(0.02, 0.35)
    tooth = np.where(saw, np.where(by_level, decades(0.01, 0.15) / 24, height / np.maximum(period, 1)), 0.0)
    act_at = np.select(
        [by_level, of("resized"), of("cleaned")], [between(0.7, 0.92), between(0.75, 0.9), between(0.55, 0.85)], np.inf
    )
    act_chance = np.select([by_level, of("resized"), of("cleaned")], [1.0, 1 / between(3, 18), 1 / between(24, 120)], 0)
    days = np.select(
        [of("changing"), of("burst"), of("jump"), of("resized")],
        [between(10, 30), between(2, 14), between(7, 30), between(30, 90)],
        np.inf,
    )
    level = np.select(
        [by_level, saw, of("burst"), of("full")],
        [between(0.1, act_at - 0.15), between(0.1, 0.85 - 1.3 * height), between(0.1, 0.7),
         np.where(rng.random(n) < 0.5, 1.0, between(0.99, 0.999))],
        between(0.1, 0.8),
    )  # fmt: skip
    temporary = np.where(of("full"), np.where(level < 1, 3e-4, 0.0), decades(1e-4, 1e-2))
    noise = np.where(of("full"), 0.0, decades(1e-5, 1e-3))
    mood = decades(0.05, 1.5)
    return Traits(
        pattern, gib, _weeks(of("weekday"), rng), growth / 24, tooth, period, rng.integers(0, WEEK, n), act_at,
        act_chance, 1 / (24 * days), 1 / between(1, 48), mood, np.exp(-1 / between(1, 12)), temporary,
        np.exp(-1 / between(1, 24)), noise, level,
    )  # fmt: skip


def _weeks(quiet_weekend: Flags, rng: np.random.Generator) -> Floats:
    """Growth (168, N) by hour of the week, mean 1: flat, in business hours or at night; weekends differ."""
    n = quiet_weekend.size
    hour = np.arange(WEEK)[:, None]
    peak = np.where(rng.random(n) < 0.7, 13.0, 2.0)
    strength = rng.random(n) * np.where(quiet_weekend, 0.95, 0.8)
    day = 1 + strength * np.cos(2 * np.pi * (hour % 24 - peak) / 24)
    weekend = np.where(quiet_weekend, 0.25 * rng.random(n), rng.uniform(0.7, 1.1, n))
    week: Floats = day * np.where(hour >= 5 * 24, weekend, 1.0)
    week /= week.mean(0)
    return week


def fresh(traits: Traits, shape: tuple[int, ...], rng: np.random.Generator) -> State:
    """A device that was just put in place, for every mount; shape (..., N)."""
    base = np.where(traits.of["full"], traits.level, traits.level * rng.uniform(0.6, 1.0, shape))
    usual = np.where(traits.period > 0, traits.tooth * traits.period, 0.05 * (traits.tooth > 0))
    pace = np.where(traits.of["changing"], _paces(rng.standard_normal(shape)), 1.0)
    zeros = np.zeros(shape)
    return State(
        base, usual * rng.random(shape), np.ones(shape), pace, pace.copy(), rng.standard_normal(shape),
        rng.standard_normal(shape), zeros, zeros.copy(), zeros.copy(),
    )  # fmt: skip


def _paces(normal: Floats | Normals) -> Floats:
    paces: Floats = np.exp(0.9 * normal.astype(float) - 0.4)
    return paces


def steps(t: Traits, z: State, first: int, normal: Normals, uniform: Normals) -> Iterator[Hour]:
    """Moves the state on, hour by hour, from hour ``first``; normal (2, H, ..., N) and uniform (4, H, ..., N).

    When an hour is yielded, what happens at its end has happened to the state.
    """
    event = uniform[0] < t.chance.astype(np.float32)
    acts = uniform[1] < t.act_chance.astype(np.float32)
    eventful = event.reshape(len(event), -1).any(1).tolist()
    cycle, usual = np.maximum(t.period, 1), np.exp(-(t.mood**2) / 2)
    growth = t.growth * usual, t.tooth * usual
    fresh_mood, fresh_temporary = np.sqrt(1 - t.mood_keep**2), np.sqrt(1 - t.temporary_keep**2)
    bursts = bool(t.of["burst"].any())
    for row in range(len(event)):
        hour = first + row
        size, choice = uniform[2, row], uniform[3, row]
        stuck = z.stuck > 0
        begin, scale = used(t, z), z.scale.copy()
        z.mood = t.mood_keep * z.mood + fresh_mood * normal[0, row]
        z.temporary = t.temporary_keep * z.temporary + fresh_temporary * normal[1, row]
        z.pace += t.ramp * (z.goal - z.pace)
        rate = np.where(stuck, 0.0, t.week[(hour - MONDAY) % WEEK] * np.exp(t.mood * z.mood))
        z.base += growth[0] * z.pace * rate
        z.tooth += growth[1] * rate + z.rush
        end = np.where(stuck, scale, z.base + z.tooth + t.temporary * z.temporary)
        share = end / scale
        full = (share >= 1) & t.fills & ~stuck
        now = Hour(begin, np.where(t.fills, end, np.minimum(end, t.top * scale)), scale)
        act = (share >= t.act_at) & acts[row] | (share >= CEILING) & ~t.fills
        rotate = (t.period > 0) & ((hour + 1 - t.phase) % cycle == 0) | act & (t.tooth > 0)
        idle = ~(full | stuck)
        np.copyto(z.tooth, 0.05 * size * z.tooth, where=rotate & idle)
        if not idle.all():
            z.stuck -= stuck
            _relieve(t, z, stuck & (z.stuck <= 0), size, choice)
            np.copyto(z.stuck, np.floor(2 + 23 * size), where=full)
        if act.any():
            _grow(t, z, act & idle & t.of["resized"], size)
            _clean(z, act & idle & t.of["cleaned"], 0.25 + 0.6 * size)
        if bursts:
            z.left -= 1
            over = t.of["burst"] & ((z.left <= 0) | act)
            z.rush[over] = 0
            np.copyto(z.tooth, 0.0, where=over & (z.left <= -1) & (choice < 0.04))
        if eventful[row]:
            _happen(t, z, event[row] & idle, scale - end, size, choice)
        yield now


def _happen(t: Traits, z: State, where: Flags, room: Floats, size: Normals, choice: Normals) -> None:
    """The random event of the pattern: a change of pace, a jump or a burst into the room that is left, a resize."""
    np.copyto(z.goal, _paces(3.4 * (size - 0.5)), where=where & t.of["changing"])
    z.base += (where & t.of["jump"]) * np.minimum(0.02 + 0.28 * size, 0.6 * room)
    bursts = where & t.of["burst"]
    np.copyto(z.left, np.floor(1 + 8 * choice), where=bursts)
    np.copyto(z.rush, 0.85 * size * room / np.maximum(z.left, 1), where=bursts)
    _grow(t, z, where & t.of["resized"] & (room < 0.5 * z.scale), size)


def used(t: Traits, z: State) -> Floats:
    """Used space (..., N) in first sizes, as it is now."""
    seen: Floats = np.minimum(z.base + z.tooth + t.temporary * z.temporary, t.top * z.scale)
    return np.where(z.stuck > 0, z.scale, np.maximum(seen, 0.0))


def _relieve(t: Traits, z: State, where: Flags, size: Normals, choice: Normals) -> None:
    """Somebody cleans mounts that were full, or grows one in four."""
    if where.any():
        _grow(t, z, where & (choice < 0.25), size)
        _clean(z, where & (choice >= 0.25), 0.25 + 0.55 * size)
        z.stuck[where] = 0


def _clean(z: State, where: Flags, keep: Normals) -> None:
    np.copyto(z.base, np.minimum(z.base, z.scale) * keep, where=where)
    np.copyto(z.tooth, 0.0, where=where)


def _grow(t: Traits, z: State, where: Flags, size: Normals) -> None:
    np.copyto(z.scale, np.rint(z.scale * (1.25 + 1.75 * size**2) * t.gib) / t.gib, where=where)
