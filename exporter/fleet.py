"""The fleet's hidden course through time: states, load and noise, minute by minute; no threads, no clock of its own.

One trajectory. The course is a Markov process driven by random numbers that belong to (seed, stream, hour), never to
the order of calls. Every value at instant t is computed by starting calm two days before t's UTC day: the longest
memory is 90 minutes, so such a start is forgotten to the last bit that matters, and live values, values of the past
and values after a restart agree. Between two minutes values move linearly.

Shapes: S servers, M = 8 metrics, N instants. Instants are Unix seconds; ``time_scale`` maps them to simulated time.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from math import exp, sqrt

import numpy as np

from exporter.physics import CEILING, respond
from exporter.profiles import METRICS, STATES, FleetConfig
from exporter.schedule import DAY, HOUR, MONDAY, daily_multipliers, transition_rates, weekend

MINUTE = 60  # seconds
CHUNK = 1440  # minutes simulated at once by trajectory() and walk(): bounds their memory


class UnknownScenario(ValueError):
    """The scenario's name is not configured; the message names the valid ones."""


@dataclass(frozen=True)
class Snapshot:
    """The fleet at one instant. values: float64 (S, M) in signal units; state: int8 (S,); affected: bool (S,)."""

    instant: float
    values: np.ndarray
    state: np.ndarray
    affected: np.ndarray
    scenario: str


@dataclass
class Latent:
    """The hidden condition at one simulated minute: all that the future depends on. Arrays are (S,), own is (S, M)."""

    minute: int
    state: np.ndarray  # int8
    multiplier: np.ndarray
    distress: np.ndarray
    slow: np.ndarray
    fast: np.ndarray
    own: np.ndarray
    mode: np.ndarray  # int8: 0 natural, 1 + i affected by scenario i, -1 released

    @classmethod
    def calm(cls, minute: int, servers: int) -> Latent:
        zero = np.zeros(servers)
        return cls(
            minute,
            np.zeros(servers, np.int8),
            np.ones(servers),
            zero.copy(),
            zero.copy(),
            zero.copy(),
            np.zeros((servers, len(METRICS))),
            np.zeros(servers, np.int8),
        )


class Fleet:
    """A simulated fleet. Cheapest when asked for rising instants; not thread-safe, the caller holds a lock."""

    def __init__(self, config: FleetConfig, stream: int = 0):
        self.config = config
        self.stream = stream
        self.servers, self.profiles = config.names()
        self.size = len(self.servers)  # servers of the configuration; a fork simulates a multiple of it
        self._scenarios = tuple(config.scenarios)
        self.events: list[tuple[int, str, int]] = []  # (holds from minute, scenario, minute `healthy` was left)
        mean, std = config.baselines(self.profiles)
        lasting = np.random.default_rng([config.seed, 1]).standard_normal((self.size, 1))
        individual = np.exp(config.dynamics.individual_std * lasting)
        self._mean, self._std = mean * individual, std * individual
        self._modes = ("natural", *self._scenarios)  # by the number in Latent.mode; -1 is released
        self._rates = {mode: transition_rates(table) for mode, table in config.transitions.items()}
        self._day = daily_multipliers(config)
        self._chosen: dict[tuple[int, str, int], np.ndarray] = {}
        self._multipliers = np.array([config.states[s] for s in STATES])
        self._distressed = np.array([s in ("degraded", "critical") for s in STATES], float)
        self._latent: Latent | None = None
        self._pair: tuple[np.ndarray, np.ndarray] | None = None  # metrics at latent.minute - 1 and at latent.minute
        self._noise: tuple[int, np.ndarray, np.ndarray] | None = None

    @property
    def scenario(self) -> str:
        """The scenario in force after the last change."""
        return self.events[-1][1] if self.events else self.config.scenario

    @property
    def affected(self) -> np.ndarray:
        """bool (S,): the servers the scenario in force affects."""
        return self._affected(self.events[-1] if self.events else (0, self.config.scenario, 0))

    def set_scenario(self, name: str, instant: float) -> None:
        """Let a scenario hold from the first minute nobody has seen yet; raises UnknownScenario and changes nothing.

        What a clock that has since been set back had put into the future is forgotten.
        """
        if name not in self.config.scenarios:
            raise UnknownScenario(f"unknown scenario {name!r}; valid scenarios: {', '.join(self.config.scenarios)}")
        minute = int(self._simulated(instant) // MINUTE) + 2
        _, before = self._event(minute - 1)
        since = before[2] if before[1] != "healthy" else minute
        self.events = [event for event in self.events if event[0] < minute] + [(minute, name, since)]
        if self._latent is not None and self._latent.minute >= minute:
            self._latent = None

    def at(self, instant: float) -> Snapshot:
        """The fleet at an instant, to the tick (``tick_seconds``)."""
        tick = int(self._simulated(instant) // self.config.tick_seconds)
        minute, seconds = divmod(tick * self.config.tick_seconds, MINUTE)
        self._advance(int(minute) + 1)
        before, after = self._pair
        values = before + seconds / MINUTE * (after - before)
        return Snapshot(
            instant,
            self._jitter(tick, values),
            self._latent.state.copy(),
            self._latent.mode > 0,
            self._scenarios[self._event(int(minute) + 1)[0]],
        )

    def walk(self, start: float, end: float, resolution: float) -> Iterator[Snapshot]:
        """Snapshots at start, start + resolution, ... before end, without disturbing the live fleet."""
        fleet = deepcopy(self)
        for i in range(int(np.ceil((end - start) / resolution))):
            yield fleet.at(start + i * resolution)

    def trajectory(self, start: float, minutes: int) -> tuple[np.ndarray, np.ndarray]:
        """Values float32 (N, S, M) and states int8 (N, S) at N = ``minutes`` whole minutes from start, without jitter."""
        fleet = deepcopy(self)
        first = int(fleet._simulated(start) // MINUTE)
        fleet._seek(first)
        values = np.empty((minutes, fleet._width, len(METRICS)), np.float32)
        states = np.empty((minutes, fleet._width), np.int8)
        for begin in range(0, minutes, CHUNK):
            rows = range(begin, min(begin + CHUNK, minutes))
            latents = []
            for row in rows:
                while fleet._latent.minute < first + row:
                    fleet._step()
                z = fleet._latent
                latents.append((z.multiplier.copy(), z.distress.copy(), (z.slow + z.fast) / np.sqrt(2), z.own.copy()))
                states[row] = z.state
            multiplier, distress, shared, own = (np.stack(part) for part in zip(*latents, strict=True))
            daily = np.array([fleet._daily(first + row) for row in rows])[:, None]
            values[rows.start : rows.stop] = respond(
                fleet._mean, fleet._std, daily, multiplier, distress, shared, own, fleet.config.dynamics
            )
        return values, states

    def fork(self, copies: int, stream: int) -> Fleet:
        """A fleet of ``copies`` x S servers that starts from this one's present and rolls on by its own random stream.

        Copy c of server s stands at index c * S + s. It can only move forward from the present instant.
        """
        if self._latent is None:
            raise ValueError("fork() needs a present: call at(instant) first")
        if stream == self.stream:
            raise ValueError(f"stream {stream} is the fleet's own; a fork on it would replay the one real future")
        fork = deepcopy(self)
        fork.stream, fork._noise = stream, None
        fork._mean, fork._std = np.tile(self._mean, (copies, 1)), np.tile(self._std, (copies, 1))
        minute, *arrays = vars(self._latent).values()
        fork._latent = Latent(minute, *(np.concatenate([a] * copies) for a in arrays))
        fork._pair = tuple(np.concatenate([a] * copies) for a in self._pair)
        fork.servers, fork.profiles = self.servers * copies, self.profiles * copies
        return fork

    @property
    def _width(self) -> int:
        return len(self.servers)

    def _simulated(self, instant: float) -> float:
        return instant * self.config.time_scale

    def _advance(self, minute: int) -> None:
        """Move the present to ``minute``, keeping the metrics of the minute before for interpolation."""
        present = self._latent.minute if self._latent is not None and self._pair is not None else None
        if present == minute:
            return
        self._seek(minute - 1)
        before = self._pair[1] if present == minute - 1 else self._metrics()
        self._step()
        self._pair = before, self._metrics()

    def _seek(self, minute: int) -> None:
        """Bring the hidden condition to ``minute``: onward if that is near ahead, else from two calm days before."""
        z, anchor = self._latent, (minute // DAY - 2) * DAY
        if z is None or z.minute > minute or (z.minute < anchor and self.stream == 0):
            if self.stream != 0:
                raise ValueError("a fork only moves forward from its present")
            self._latent = Latent.calm(anchor, self._width)
        while self._latent.minute < minute:
            self._step()

    def _step(self) -> None:
        """One simulated minute."""
        z, d = self._latent, self.config.dynamics
        normal, uniform = self._draws(z.minute)
        z.minute += 1
        for array, minutes, part in (
            (z.slow, d.slow_minutes, normal[:, 0]),
            (z.fast, d.fast_minutes, normal[:, 1]),
            (z.own, d.own_minutes, normal[:, 2:]),
        ):
            keep = exp(-1 / minutes)
            array *= keep
            array += sqrt(1 - keep**2) * part
        scenario, event = self._event(z.minute)
        self._assign_modes(z, scenario, event)
        self._transit(z, uniform)
        target = self._multipliers[z.state]
        held = z.mode > 0
        if held.any():
            target = np.where(held, target * self.config.scenarios[self._scenarios[scenario]].multiplier, target)
        keep = exp(-1 / d.multiplier_minutes)
        z.multiplier += (1 - keep) * (target - z.multiplier)
        z.distress += (1 - keep) * (self._distressed[z.state] - z.distress)

    def _assign_modes(self, z: Latent, scenario: int, event: tuple[int, str, int]) -> None:
        held = self._affected(event)
        if not held.any() and not z.mode.any():
            return
        held = np.tile(held, self._width // self.size)
        z.mode[(z.mode > 0) & ~held] = -1
        z.mode[held] = 1 + scenario
        z.mode[(z.mode == -1) & (z.state == 0)] = 0

    def _transit(self, z: Latent, uniform: np.ndarray) -> None:
        morning = 360 <= z.minute % DAY < 540 and not weekend(z.minute)
        factor = np.array([1.0, morning, self._daily(z.minute)])
        if z.mode.any():
            chance = np.empty((self._width, len(STATES)))
            for mode in set(z.mode.tolist()):
                rates = self._rates["released" if mode < 0 else self._modes[mode]]
                rows = z.mode == mode
                chance[rows] = (rates @ factor).cumsum(-1)[z.state[rows]]
        else:
            chance = (self._rates["natural"] @ factor).cumsum(-1)[z.state]
        moved = uniform < chance[:, -1]
        if moved.any():
            z.state[moved] = np.argmax(uniform[moved, None] < chance[moved], -1)

    def _draws(self, minute: int) -> tuple[np.ndarray, np.ndarray]:
        """Normals (S, 2 + M) and uniforms (S,) of a minute; drawn an hour at a time."""
        hour, row = divmod(minute, HOUR)
        if self._noise is None or self._noise[0] != hour:
            rng = np.random.default_rng([self.config.seed, 2, self.stream, hour])
            self._noise = (
                hour,
                rng.standard_normal((HOUR, self._width, 2 + len(METRICS)), np.float32),
                rng.random((HOUR, self._width), np.float32),
            )
        return self._noise[1][row], self._noise[2][row]

    def _metrics(self) -> np.ndarray:
        z = self._latent
        return respond(
            self._mean,
            self._std,
            np.full(self._width, self._daily(z.minute)),
            z.multiplier,
            z.distress,
            (z.slow + z.fast) / np.sqrt(2),
            z.own,
            self.config.dynamics,
        )

    def _jitter(self, tick: int, values: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng([self.config.seed, 3, self.stream, tick]).standard_normal(values.shape)
        values = values * (1 + self.config.dynamics.jitter * np.clip(noise, -3, 3))
        return np.minimum(values, CEILING)

    def _daily(self, minute: int) -> float:
        return self._day[(minute - MONDAY) % (7 * DAY)]

    def _event(self, minute: int) -> tuple[int, tuple[int, str, int]]:
        """Index of the scenario in force at a minute, and the event that put it there."""
        for event in reversed(self.events):
            if event[0] <= minute:
                return self._scenarios.index(event[1]), event
        return self._scenarios.index(self.config.scenario), (0, self.config.scenario, 0)

    def _affected(self, event: tuple[int, str, int]) -> np.ndarray:
        """bool (S,): the share of servers an event affects, the same ones until the fleet has been healthy again."""
        if event not in self._chosen:
            share = self.config.scenarios[event[1]].affected_share
            order = np.random.default_rng([self.config.seed, 4, event[2]]).permutation(self.size)
            self._chosen[event] = np.isin(np.arange(self.size), order[: round(share * self.size)])
        return self._chosen[event]
