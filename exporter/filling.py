"""How the used space of mounts changes within an hour: the parameters of ten patterns, the state and the step.

A mount's space is a base that lasts and a tooth that is deleted from time to time (logs until they are rotated, files
of a burst), both in shares of its first size, plus temporary files that come and go. It grows at a rate with a day
shape, a weekday shape and noise. At whole hours something may happen to it: a rotation, a jump, a resize, a clean-up. A
mount that is full stays full for 2 to 24 hours; then somebody cleans it or grows it.

Shapes: N mounts; R = copies * N rows of a state, one copy for the course itself and one a path for possible futures; H
hours. Time is in hours.
"""

from __future__ import annotations

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


IDLE, BURST, LEFTOVER, STUCK = range(4)  # what a mount is doing
SHORTEST, LONGEST = np.array([0, 1, 1, 2]), np.array([0, 8, 48, 24])  # hours that it does so, evenly distributed


@dataclass(frozen=True)
class Traits:
    """What does not change about mounts; arrays (N,) or (R,), shares of the first size, rates per hour."""

    pattern: NDArray[np.int8]  # index into PATTERNS
    gib: Floats  # first size, whole GiB
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
    level: Floats  # highest base of a device that is new

    @cached_property
    def of(self) -> dict[str, Flags]:
        """bool for each pattern: the mounts that have it."""
        return {name: self.pattern == number for number, name in enumerate(PATTERNS)}

    @cached_property
    def fills(self) -> Flags:
        """The mounts that can become full."""
        return ~np.isin(self.pattern, [PATTERNS.index(name) for name in (*NEVER_FULL, "full")])

    @cached_property
    def top(self) -> Floats:
        """The highest used share of a mount that is not stuck."""
        return np.where(self.fills, 0.999, np.where(self.of["full"], 1.0, CEILING))

    @cached_property
    def reacts_at(self) -> Floats:
        """The used share at which something happens in any case."""
        return np.where(self.fills, 1.0, np.where(self.of["full"], np.inf, CEILING))

    @cached_property
    def keep(self) -> Floats:
        """Autocorrelation of both noises, (2, .)."""
        return np.stack([self.mood_keep, self.temporary_keep])

    def repeated(self, copies: int) -> Traits:
        """R rows from N."""
        return Traits(*(np.tile(getattr(self, f.name), copies) for f in fields(self)))


@dataclass
class State:
    """Everything that the future depends on besides Traits and the hour. Arrays (R,)."""

    base: Floats
    tooth: Floats
    scale: Floats  # size, in first sizes
    pace: Floats  # factor on the growth
    goal: Floats  # the pace it approaches
    rush: Floats  # growth of the tooth in a burst
    doing: NDArray[np.int64]  # IDLE, BURST, LEFTOVER (files of a burst, until somebody deletes them) or STUCK (full)
    since: NDArray[np.int64]  # hour
    until: NDArray[np.int64]  # hour
    noise: Floats  # (2, R): standard normal, of the rate and of the temporary files

    def repeated(self, copies: int) -> State:
        """R rows from N."""
        return State(*(np.concatenate([getattr(self, f.name)] * copies, axis=-1) for f in fields(self)))

    def put(self, rows: Flags, other: State) -> None:
        """Takes over the state of another for some rows."""
        for f in fields(self):
            np.copyto(getattr(self, f.name), getattr(other, f.name), where=rows)


@dataclass(frozen=True)
class Hours:
    """Used space at the begin of hours and just before their ends, and the size; (H, R), in first sizes.

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
        pattern, gib, growth / 24, tooth, period, rng.integers(0, WEEK, n), act_at,
        act_chance, 1 / (24 * days), 1 / between(1, 48), mood, np.exp(-1 / between(1, 12)), temporary,
        np.exp(-1 / between(1, 24)), noise, level,
    )  # fmt: skip


def draw_weeks(quiet_weekend: Flags, rng: np.random.Generator) -> Floats:
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


def new_devices(t: Traits, rng: np.random.Generator) -> State:
    """Devices that were just put in place, for every row."""
    n = t.level.size
    base = np.where(t.of["full"], t.level, t.level * rng.uniform(0.6, 1.0, n))
    usual = np.where(t.period > 0, t.tooth * t.period, 0.05 * (t.tooth > 0))
    pace = np.where(t.of["changing"], _paces(rng.standard_normal(n)), 1.0)
    doing, since, until = np.zeros((3, n), np.int64)
    noise = rng.standard_normal((2, n))
    return State(base, usual * rng.random(n), np.ones(n), pace, pace.copy(), np.zeros(n), doing, since, until, noise)


def forget_ends(z: State, now: int, rng: np.random.Generator) -> None:
    """Draws anew, for a possible future, how long what has begun will last; it has lasted until now."""
    earliest = np.maximum(z.since + SHORTEST[z.doing], now + 1)
    until = rng.integers(earliest, np.maximum(z.since + LONGEST[z.doing], earliest) + 1)
    np.copyto(z.until, until, where=z.doing != IDLE)


def _paces(normal: Floats | Normals) -> Floats:
    paces: Floats = np.exp(0.9 * normal.astype(float) - 0.4)
    return paces


def advance(t: Traits, z: State, week: Floats, first: int, normal: Normals, uniform: Normals, record: bool) -> Hours:
    """Moves the state on from hour ``first``; week (168, N), normal (2, H, R), uniform (4, H, R).

    Returns the hours; their arrays are empty unless they are to be recorded.
    """
    count, rows = uniform.shape[1:]
    hours = first + np.arange(count)
    noise = np.empty((count + 1, 2, rows))
    noise[0] = z.noise
    shocks = np.sqrt(1 - t.keep**2) * normal.swapaxes(0, 1)
    for row in range(count):
        noise[row + 1] = t.keep * noise[row] + shocks[row]
    z.noise = noise[-1]
    temporary = t.temporary * noise[:, 1]
    rate = np.exp(t.mood * noise[1:, 0] - t.mood**2 / 2)
    rate *= np.tile(week[(hours - MONDAY) % WEEK], rows // week.shape[1])
    growth, teeth = t.growth * rate, t.tooth * rate
    due = (t.period > 0) & ((hours[:, None] + 1 - t.phase) % np.maximum(t.period, 1) == 0)
    event = uniform[0] < t.chance
    has_due, has_event = due.any(1).tolist(), event.any(1).tolist()
    limit = np.minimum(t.reacts_at, np.where(uniform[1] < t.act_chance, t.act_at, np.inf))
    begin, end, scale, stuck = np.empty((4, count if record else 0, rows))
    next_end = z.until[z.doing != IDLE].min(initial=hours[-1] + 2)
    for row, hour in enumerate(hours.tolist()):
        if record:
            begin[row], scale[row], stuck[row] = z.base + z.tooth + temporary[row], z.scale, z.doing == STUCK
        z.pace += t.ramp * (z.goal - z.pace)
        z.base += growth[row] * z.pace
        z.tooth += teeth[row] + z.rush
        level = z.base + z.tooth + temporary[row + 1]
        share = level / z.scale
        hot = share >= limit[row]
        if record:
            end[row] = level
        size, choice = uniform[2:, row]
        if hot.any():
            _react(t, z, hour + 1, np.flatnonzero(hot & (z.doing != STUCK)), share, size, choice)
        if next_end <= hour + 1:
            _end(t, z, hour + 1, np.flatnonzero((z.doing != IDLE) & (z.until <= hour + 1)), size, choice)
        if has_due[row]:
            _rotate(z, np.flatnonzero(due[row] & (z.doing != STUCK)), size)
        if has_event[row]:
            _happen(t, z, hour + 1, np.flatnonzero(event[row] & (z.doing != STUCK)), share, size, choice)
        if hot.any() or has_event[row] or next_end <= hour + 1:
            next_end = z.until[z.doing != IDLE].min(initial=hours[-1] + 2)
    top = t.top * scale
    begin = np.where(stuck > 0, scale, np.clip(begin, 0, top))
    return Hours(begin, np.where(stuck > 0, scale, np.where(t.fills, end, np.minimum(end, top))), scale)


Rows = NDArray[np.intp]


def _react(t: Traits, z: State, now: int, i: Rows, share: Floats, size: Normals, choice: Normals) -> None:
    """Rows i have reached a used share at which somebody or something acts, or they are full."""
    full = t.fills[i] & (share[i] >= 1)
    _do(z, i[full], STUCK, now, 2 + 23 * size)
    i = i[~full]
    _rotate(z, i, size)
    _clean(z, i[t.of["cleaned"][i]], 0.25 + 0.6 * size)
    _grow(t, z, i[t.of["resized"][i]], size)
    _stop(z, now, i[z.doing[i] == BURST], choice)


def _end(t: Traits, z: State, now: int, i: Rows, size: Normals, choice: Normals) -> None:
    """What rows i were doing ends."""
    doing = z.doing[i]
    _stop(z, now, i[doing == BURST], choice)
    over = i[doing != BURST]
    z.doing[over] = IDLE
    z.tooth[over] = 0
    freed = i[doing == STUCK]
    z.base[freed] = np.minimum(z.base[freed], z.scale[freed])  # it did not grow while it was full
    grown = choice[freed] < 0.25
    _grow(t, z, freed[grown], size)
    _clean(z, freed[~grown], 0.25 + 0.6 * size)


def _happen(t: Traits, z: State, now: int, i: Rows, share: Floats, size: Normals, choice: Normals) -> None:
    """The random event of the pattern. A jump or a burst leaves room: nobody restores a backup that does not fit."""
    room = z.scale * (1 - share)
    jumps, paces, bursts = (i[t.of[name][i]] for name in ("jump", "changing", "burst"))
    z.base[jumps] += np.minimum(0.02 + 0.28 * size, 0.6 * room)[jumps]
    z.goal[paces] = _paces(3.4 * (size[paces] - 0.5))
    bursts = bursts[z.doing[bursts] != BURST]
    z.rush[bursts] = (0.9 * size * room / 8)[bursts]
    _do(z, bursts, BURST, now, 1 + 8 * choice)
    _grow(t, z, i[t.of["resized"][i] & (share[i] > 0.5)], size)


def _rotate(z: State, i: Rows, size: Normals) -> None:
    z.tooth[i] *= np.where(z.doing[i] == IDLE, 0.05 * size[i], 1)  # not the files of a burst


def _clean(z: State, i: Rows, keep: Floats | Normals) -> None:
    z.base[i] *= keep[i]
    z.tooth[i] = 0


def _grow(t: Traits, z: State, i: Rows, size: Normals) -> None:
    z.scale[i] = np.rint(z.scale[i] * (1.25 + 1.75 * size[i] ** 2) * t.gib[i]) / t.gib[i]


def _stop(z: State, now: int, i: Rows, choice: Normals) -> None:
    """Ends bursts; their files stay for a while."""
    z.rush[i] = 0
    _do(z, i, LEFTOVER, now, 1 + 48 * choice)


def _do(z: State, i: Rows, what: int, now: int, hours: Floats | Normals) -> None:
    """Rows i begin something that lasts for whole hours, rounded down."""
    z.doing[i], z.since[i], z.until[i] = what, now, now + np.floor(hours[i]).astype(np.int64)
