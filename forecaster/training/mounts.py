"""Courses of used shares to learn from: simulated mounts, and what simulated mounts do not have.

Simulated mounts are also mixed, scaled, sped up, cut short and given gaps and lower limits; others are made of a line,
a day shape, noise that returns, steps and a steep begin.

What came after is one of the futures that may follow from the same past: of simulated mounts several are learned from.

Letters: N entities, J futures, H hours after the instant.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from exporter.mounts import Mounts
from forecaster.capacity.past import HOUR, HOURS, RECENT, Floats, Past, Wide
from forecaster.capacity.teeth import HORIZON

SPAN = 12 * 168  # hours over which instants are spread
START = 1_750_000_000 // HOUR * HOUR
STREAM = 1  # of the futures' random numbers

Example = tuple[Past, Floats]  # and the used share at each hour after, (N, J, H), of the size then


def simulated(seed: int, servers: int, instants: int, pace: int = 1, futures: int = 1) -> Iterator[Example]:
    """What ``3 * servers`` mounts did until some instants and may do then, ``pace`` times as fast as simulated."""
    rng = np.random.default_rng([seed, 1])
    start = START + int(rng.integers(0, 52 * 168)) * HOUR
    mounts = Mounts([f"s{number}" for number in range(servers)], ["web"] * servers, seed)
    before = (HOURS - 1) * pace
    used, size = mounts.course(start, before + 1 + SPAN)
    for at in np.sort(rng.choice(SPAN, instants, replace=False)) + before:
        instant = start + int(at) * HOUR
        today = size[:, at, None]
        hourly = used[:, at - before:at + 1:pace] / today
        fine, _ = mounts.course(instant - (RECENT - 1) * 300 * pace, RECENT // 12 * pace, 5 * pace)
        later = mounts.futures(instant, HORIZON * pace, futures, STREAM)[:, :, pace - 1::pace]
        limit = np.ones(len(used), np.float32)
        yield (Past(float(instant), hourly.astype(np.float32), (fine / today).astype(np.float32), limit),
               later.swapaxes(0, 1))


def chosen(rng: np.random.Generator, n: int, share: float) -> Floats:
    """(N, 1): 1 for a share of n rows, else 0."""
    return (rng.random((n, 1)) < share).astype(np.float32)


def spread(rng: np.random.Generator, n: int, low: float, high: float) -> Wide:
    """(N, 1): evenly distributed on a logarithmic scale."""
    made: Wide = np.exp(rng.uniform(np.log(low), np.log(high), (n, 1)))
    return made


def varied(example: Example, rng: np.random.Generator) -> Example:
    """The same rows as other resources may be: see the module."""
    past, later = example
    n, some = len(later), partial(chosen, rng, len(later))
    whole = np.concatenate([past.hourly, later.reshape(n, -1), past.recent], 1)
    other, weight = rng.permutation(n), 1 - some(0.2) * rng.random((n, 1), np.float32)
    whole = weight * whole + (1 - weight) * whole[other]
    whole *= np.where(some(0.15) > 0, rng.uniform(0.3, 1.3, (n, 1)), 1)
    whole = np.where(some(0.1) > 0, np.round(whole, 2), whole)
    hourly, later, recent = np.split(whole.astype(np.float32), [HOURS, -RECENT], 1)
    now = recent[:, -1]
    room = np.maximum(1 - now, 0.02)
    lower = (some(0.35)[:, 0] > 0) & (now < 1)
    limit = np.where(lower, now + room * rng.uniform(0.02, 1, n), np.maximum(past.limit, 0)).astype(np.float32)
    return unknown(Past(past.instant, hourly, recent, limit), rng), later.reshape(example[1].shape)


def unknown(past: Past, rng: np.random.Generator) -> Past:
    """The same with a shorter history for some rows, and gaps in others."""
    n = len(past.limit)
    hourly, recent = past.hourly.copy(), past.recent.copy()
    minutes = np.where(rng.random(n) < 0.3, np.exp(rng.uniform(np.log(30), np.log(HOURS * 60), n)), 1e9)
    hourly[np.arange(HOURS - 1, -1, -1) * 60 > minutes[:, None]] = np.nan
    recent[np.arange(RECENT - 1, -1, -1) * 5 > minutes[:, None]] = np.nan
    for _ in range(3):
        begin, length = rng.integers(0, HOURS - 1, n), np.where(rng.random(n) < 0.1, rng.integers(1, 72, n), 0)
        at = np.arange(HOURS)
        hourly[(at >= begin[:, None]) & (at < np.minimum(begin + length, HOURS - 1)[:, None])] = np.nan
    recent[(rng.random(n) < 0.1)[:, None] & (rng.random(recent.shape) < 0.5)] = np.nan
    return Past(past.instant, hourly, recent, past.limit)


def made(rng: np.random.Generator, n: int) -> Example:
    """Courses of no simulator."""
    total = HOURS + HORIZON
    hours = np.arange(total) - (HOURS - 1)
    some = partial(chosen, rng, n)

    def decades(low: float, high: float) -> Floats:
        return spread(rng, n, low, high).astype(np.float32)

    noise = np.empty((n, total), np.float32)
    keep = np.exp(-1 / decades(0.5, 100))[:, 0]
    noise[:, 0] = rng.standard_normal(n)
    shocks = rng.standard_normal((n, total), np.float32)
    for hour in range(1, total):
        noise[:, hour] = keep * noise[:, hour - 1] + np.sqrt(1 - keep**2) * shocks[:, hour]
    y = rng.random((n, 1)) + some(0.7) * decades(1e-5, 0.1) * noise
    rough = some(0.4) * decades(1e-4, 0.1)  # from one value to the next, with outliers
    y = y + rough * rng.standard_t(2.5, (n, total))
    y = y + some(0.4) * decades(1e-3, 0.1) * np.sin(2 * np.pi * (hours + rng.uniform(0, 24, (n, 1))) / 24)
    y = y + some(0.4) * decades(1e-6, 3e-3) * rng.choice([1, 1, 1, -1], (n, 1)) * hours
    steps = (rng.random((n, total)) < some(0.3) / 300) * rng.normal(0, 0.15, (n, total))
    y = y + np.cumsum(steps, 1)
    # a steep begin: a copy, a log that runs wild; it lasts about as long again as it has, and is then removed or not
    begun, rate = -rng.uniform(0, 12, (n, 1)), decades(2e-3, 0.1)
    lasting = -begun * rng.pareto(1.0, (n, 1)) - begun
    rise = rate * (np.clip(hours - begun, 0, lasting))
    gone = (hours > begun + lasting + rng.exponential(24, (n, 1))) & (rng.random((n, 1)) < 0.5)
    y = y + some(0.2) * np.where(gone, 0, rise)
    restarts = np.maximum.accumulate(np.where(rng.random((n, total)) < some(0.1) / 150, np.arange(total), 0), 1)
    start = np.take_along_axis(y, restarts, 1)
    y = np.clip(np.where(restarts > 0, y - start + 0.2, y), 0, np.where(some(0.1) > 0, 1.3, 1)).astype(np.float32)
    fine = np.stack([np.interp(np.arange(-RECENT + 1, 1) / 12, hours, row) for row in y])
    fine += (some(0.5) * decades(1e-6, 1e-3)) * rng.standard_normal(fine.shape)
    fine = np.maximum(fine + rough * rng.standard_t(2.5, fine.shape), 0)
    fine[:, -1] = y[:, HOURS - 1]
    instant = float(START + int(rng.integers(0, 5000)) * HOUR)
    return Past(instant, y[:, :HOURS], fine.astype(np.float32), np.ones(n, np.float32)), y[:, None, HOURS:]
