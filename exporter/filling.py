"""How the used space of mounts changes from hour to hour: the state of a mount, and the step.

A mount's space is a base that lasts and a tooth that is deleted from time to time (logs until they are rotated, files
of a burst), both in shares of its first size, plus temporary files that come and go. It grows at a rate with a day
shape, a weekday shape and noise. At whole hours something may happen to it: a rotation, a jump, a resize, a clean-up. A
mount that is full stays full for 2 to 24 hours; then somebody cleans it or grows it.

Shapes: N mounts; R = copies * N rows of a state, one copy for the course itself and one a path for possible futures; H
hours. Time is in hours.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from exporter.physics import Flags, Floats
from exporter.traits import WEEK, Traits, paces

MONDAY = 96  # hour 0 of the Unix era was on a Thursday
Normals = NDArray[np.float32]
Rows = NDArray[np.intp]  # indices of rows
NORMALS, UNIFORMS = 2, 4  # random numbers for each mount and hour
IDLE, BURST, LEFTOVER, STUCK = range(4)  # what a mount is doing
SHORTEST, LONGEST = np.array([0, 1, 1, 2]), np.array([0, 8, 48, 24])  # hours that it does so, evenly distributed


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


def new_devices(t: Traits, rng: np.random.Generator) -> State:
    """Devices that were just put in place, for every row."""
    n = t.level.size
    base = np.where(t.of["full"], t.level, t.level * rng.uniform(0.6, 1.0, n))
    usual = np.where(t.period > 0, t.tooth * t.period, 0.05 * (t.tooth > 0))
    pace = np.where(t.of["changing"], paces(rng.standard_normal(n)), 1.0)
    doing, since, until = np.zeros((3, n), np.int64)
    noise = rng.standard_normal((2, n))
    return State(base, usual * rng.random(n), np.ones(n), pace, pace.copy(), np.zeros(n), doing, since, until, noise)


def forget_ends(z: State, now: int, rng: np.random.Generator) -> None:
    """Draws anew, for a possible future, how long what has begun will last; it has lasted until now."""
    earliest = np.maximum(z.since + SHORTEST[z.doing], now + 1)
    until = rng.integers(earliest, np.maximum(z.since + LONGEST[z.doing], earliest) + 1)
    np.copyto(z.until, until, where=z.doing != IDLE)


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
    rate *= np.tile(week[(hours - MONDAY) % WEEK], rows // max(week.shape[1], 1))
    growth, teeth = t.growth * rate, t.tooth * rate
    due = (t.period > 0) & ((hours[:, None] + 1 - t.phase) % np.maximum(t.period, 1) == 0)
    event = uniform[0] < t.chance
    has_due, has_event = due.any(1).tolist(), event.any(1).tolist()
    limit = np.minimum(t.reacts_at, np.where(uniform[1] < t.act_chance, t.act_at, np.inf))
    begin, end, scale, stuck = np.empty((4, count if record else 0, rows))
    changing = np.flatnonzero(t.of["changing"])
    next_end = z.until[z.doing != IDLE].min(initial=hours[-1] + 2)
    for row, hour in enumerate(hours.tolist()):
        if record:
            begin[row], scale[row], stuck[row] = z.base + z.tooth + temporary[row], z.scale, z.doing == STUCK
        z.pace[changing] += t.ramp[changing] * (z.goal[changing] - z.pace[changing])
        z.base += growth[row] * z.pace
        z.tooth += teeth[row] + z.rush
        level = z.base + z.tooth + temporary[row + 1]
        share = level / z.scale
        hot = share >= limit[row]
        if record:
            end[row] = level
        size, choice = uniform[2:, row]
        if reached := bool(hot.any()):
            _react(t, z, hour + 1, np.flatnonzero(hot & (z.doing != STUCK)), share, size, choice)
        if next_end <= hour + 1:
            _end(t, z, hour + 1, np.flatnonzero((z.doing != IDLE) & (z.until <= hour + 1)), size, choice)
        if has_due[row]:
            _rotate(z, np.flatnonzero(due[row] & (z.doing != STUCK)), size)
        if has_event[row]:
            _happen(t, z, hour + 1, np.flatnonzero(event[row] & (z.doing != STUCK)), share, size, choice)
        if reached or has_event[row] or next_end <= hour + 1:
            next_end = z.until[z.doing != IDLE].min(initial=hours[-1] + 2)
    top = t.top * scale
    begin = np.where(stuck > 0, scale, np.clip(begin, 0, top))
    return Hours(begin, np.where(stuck > 0, scale, np.where(t.fills, end, np.minimum(end, top))), scale)


def _react(t: Traits, z: State, now: int, i: Rows, share: Floats, size: Normals, choice: Normals) -> None:
    """Rows i have reached a used share at which somebody or something acts, or they are full."""
    is_full = t.fills[i] & (share[i] >= 1)
    full, i = i[is_full], i[~is_full]
    _do(z, full, STUCK, now, 2 + 23 * size[full])
    _rotate(z, i, size)
    cleaned = i[t.of["cleaned"][i]]
    _clean(z, cleaned, size[cleaned])
    _grow(t, z, i[t.of["resized"][i]], size)
    _stop(z, now, i[z.doing[i] == BURST], choice)


def _end(t: Traits, z: State, now: int, i: Rows, size: Normals, choice: Normals) -> None:
    """What rows i were doing ends."""
    doing = z.doing[i]
    _stop(z, now, i[doing == BURST], choice)
    over, freed = i[doing != BURST], i[doing == STUCK]
    z.doing[over], z.tooth[over] = IDLE, 0
    z.base[freed] = np.minimum(z.base[freed], z.scale[freed])  # it did not grow while it was full
    grows = choice[freed] < 0.25
    _grow(t, z, freed[grows], size)
    _clean(z, freed[~grows], size[freed[~grows]])


def _happen(t: Traits, z: State, now: int, i: Rows, share: Floats, size: Normals, choice: Normals) -> None:
    """The random event of the pattern. A jump or a burst leaves room: nobody restores a backup that does not fit."""
    jumps, changes, bursts = (i[t.of[name][i]] for name in ("jump", "changing", "burst"))
    room = z.scale[jumps] * (1 - share[jumps])
    z.base[jumps] += np.where(room > 0.1, np.minimum(0.02 + 0.28 * size[jumps], 0.5 * room), 0)
    z.goal[changes] = paces(3.4 * (size[changes] - 0.5))
    bursts = bursts[z.doing[bursts] != BURST]
    z.rush[bursts] = 0.9 * size[bursts] * z.scale[bursts] * (1 - share[bursts]) / 8
    _do(z, bursts, BURST, now, 1 + 8 * choice[bursts])
    _grow(t, z, i[t.of["resized"][i] & (share[i] > 0.5)], size)


def _rotate(z: State, i: Rows, size: Normals) -> None:
    z.tooth[i] *= np.where(z.doing[i] == IDLE, 0.05 * size[i], 1)  # not the files of a burst


def _clean(z: State, i: Rows, size: Normals) -> None:
    z.base[i] *= 0.25 + 0.6 * size
    z.tooth[i] = 0


def _grow(t: Traits, z: State, i: Rows, size: Normals) -> None:
    if i.size:
        z.scale[i] = np.rint(z.scale[i] * (1.25 + 1.75 * size[i] ** 2) * t.gib[i]) / t.gib[i]


def _stop(z: State, now: int, i: Rows, choice: Normals) -> None:
    """Ends bursts; their files stay for a while."""
    z.rush[i] = 0
    _do(z, i, LEFTOVER, now, 1 + 48 * choice[i])


def _do(z: State, i: Rows, what: int, now: int, hours: Normals) -> None:
    """Rows i begin something that lasts for whole hours, rounded down."""
    if i.size:
        z.doing[i], z.since[i], z.until[i] = what, now, now + np.floor(hours).astype(np.int64)
