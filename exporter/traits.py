"""What does not change about a mount: its size, its pattern, and how fast and how evenly it fills.

Ten patterns, as real disks have them. Each draws its parameters from wide ranges: growth from nearly nothing to full
within days, noise from a smooth database to bursts of logs. Shapes: N mounts, R rows of a state (see ``filling``).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from exporter.physics import Flags, Floats

PATTERNS = (
    "steady",  # the same speed for ever
    "changing",  # speeds up or slows every few weeks
    "weekday",  # quiet weekends
    "sawtooth",  # rotated daily, weekly or at a level; never fills
    "rising_sawtooth",  # the same with a floor that rises
    "burst",  # grows fast for some hours; never fills
    "jump",  # steady, and jumps of up to 30 % of the size
    "resized",  # steady, and its size grows before it is full
    "cleaned",  # steady, and somebody cleans it at some level; sometimes too late
    "full",  # meant to be full
)
NEVER_FULL = ("sawtooth", "burst", "resized")  # these stay below CEILING
CEILING = 0.97
WEEK = 168  # hours


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
        [between(10, 30), between(2, 14), between(14, 60), between(30, 90)],
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


def paces(normal: Floats | NDArray[np.float32]) -> Floats:
    """Factors on the growth, mean 1, from standard normal numbers."""
    factors: Floats = np.exp(0.9 * normal.astype(float) - 0.4)
    return factors
