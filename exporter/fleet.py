"""A simulated fleet through time: states, load and noise, minute by minute; no threads, no clock of its own.

A fleet has one trajectory. It is a Markov process whose random numbers depend on (seed, stream, hour) and not on the
order of calls. To compute the values at instant t, the simulation starts calm, two days before the UTC day of t. The
longest time constant is 90 minutes, so the start has no effect left. Live values, past values and values after a
restart therefore agree. Between two minutes values are interpolated linearly.

Shapes: S servers, M = 8 metrics, N instants. Instants are Unix seconds; ``time_scale`` maps them to simulated time.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.latent import RELEASED, Latent
from exporter.physics import CEILING, Flags, Floats, respond
from exporter.profiles import METRICS, STATES, FleetConfig
from exporter.schedule import DAY, HOUR, MONDAY, daily_multipliers, transition_rates, weekday_morning

MINUTE = 60  # seconds
CHUNK = 1440  # minutes simulated at once by trajectory(); bounds its memory

Event = tuple[int, str, int]  # (first minute in force, scenario, minute at which the fleet stopped being healthy)


class UnknownScenario(ValueError):
    """The scenario is not configured; the message names the valid ones."""


@dataclass(frozen=True)
class Snapshot:
    """The fleet at one instant. values: (S, M) in signal units; state: (S,), index into STATES; affected: (S,)."""

    instant: float
    values: Floats
    state: NDArray[np.int8]
    affected: Flags
    scenario: str


class Fleet:
    """A simulated fleet. Rising instants are the cheapest. Not thread-safe; the caller holds a lock."""

    def __init__(self, config: FleetConfig, stream: int = 0):
        self.config = config
        self.stream = stream
        self.servers, self.profiles = config.names()
        self.size = len(self.servers)  # servers of the configuration; a fork simulates a multiple of it
        self._scenarios = tuple(config.scenarios)
        self.events: list[Event] = []
        mean, std = config.baselines(self.profiles)
        lasting = np.random.default_rng([config.seed, 1]).standard_normal((self.size, 1))
        individual = np.exp(config.dynamics.individual_std * lasting)
        self._mean, self._std = mean * individual, std * individual
        self._rates = {mode: transition_rates(table) for mode, table in config.transitions.items()}
        self._day = daily_multipliers(config)
        self._chosen: dict[Event, Flags] = {}
        self._multipliers = np.array([config.states[s] for s in STATES])
        self._distressed = np.array([s in ("degraded", "critical") for s in STATES], float)
        self._latent: Latent | None = None
        self._pair: tuple[Floats, Floats] | None = None  # metrics at latent.minute - 1 and at latent.minute
        self._noise: tuple[int, NDArray[np.float32], NDArray[np.float32]] | None = None

    @property
    def scenario(self) -> str:
        """The scenario in force after the last change."""
        return self._last[1]

    @property
    def in_force_from(self) -> float | None:
        """The instant from which on the scenario after the last change is in force; None where there was no change."""
        return self.events[-1][0] * MINUTE / self.config.time_scale if self.events else None

    @property
    def affected(self) -> Flags:
        """bool (S,): the servers that the scenario in force affects."""
        return self._affected(self._last)

    def set_scenario(self, name: str, instant: float) -> None:
        """Puts a scenario in force from the first minute that no snapshot has shown.

        Drops later changes, which a clock that was set back can leave. Raises UnknownScenario and changes nothing.
        """
        if name not in self.config.scenarios:
            raise UnknownScenario(f"unknown scenario {name!r}; valid scenarios: {', '.join(self.config.scenarios)}")
        minute = int(self._simulated(instant) // MINUTE) + 2
        _, before, since = self._event(minute - 1)
        self.events = [event for event in self.events if event[0] < minute]
        self.events.append((minute, name, since if before != "healthy" else minute))
        if self._latent is not None and self._latent.minute >= minute:
            self._latent = None

    def at(self, instant: float) -> Snapshot:
        """The fleet at an instant, to the tick (``tick_seconds``)."""
        tick = int(self._simulated(instant) // self.config.tick_seconds)
        minute, seconds = divmod(tick * self.config.tick_seconds, MINUTE)
        z, before, after = self._advance(int(minute) + 1)
        values = self._jitter(tick, before + seconds / MINUTE * (after - before))
        return Snapshot(instant, values, z.state.copy(), z.mode > 0, self._event(z.minute)[1])

    def walk(self, start: float, end: float, resolution: float) -> Iterator[Snapshot]:
        """Snapshots at start, start + resolution, ... before end; the fleet itself does not move."""
        fleet = deepcopy(self)
        for i in range(int(np.ceil((end - start) / resolution))):
            yield fleet.at(start + i * resolution)

    def trajectory(self, start: float, minutes: int) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """Values (N, S, M) and states (N, S) at N = ``minutes`` whole minutes from start, without jitter."""
        fleet = deepcopy(self)
        first = int(fleet._simulated(start) // MINUTE)
        z = fleet._seek(first)
        values = np.empty((minutes, fleet._width, len(METRICS)), np.float32)
        states = np.empty((minutes, fleet._width), np.int8)
        for begin in range(0, minutes, CHUNK):
            rows = range(begin, min(begin + CHUNK, minutes))
            latents = []
            for row in rows:
                while z.minute < first + row:
                    fleet._step(z)
                latents.append((z.multiplier.copy(), z.distress.copy(), z.shared, z.own.copy()))
                states[row] = z.state
            multiplier, distress, shared, own = (np.stack(part) for part in zip(*latents, strict=True))
            daily = np.array([fleet._daily(first + row) for row in rows])[:, None]
            values[rows.start : rows.stop] = respond(
                fleet._mean, fleet._std, daily, multiplier, distress, shared, own, fleet.config.dynamics
            )
        return values, states

    def fork(self, copies: int, stream: int) -> Fleet:
        """A fleet of ``copies`` x S servers that starts from the present of this one and has its own random stream.

        Copy c of server s has index c * S + s. A fork only moves forward from its present.
        """
        if self._latent is None or self._pair is None:
            raise ValueError("fork() needs a present: call at(instant) first")
        if stream == self.stream:
            raise ValueError(f"stream {stream} is the stream of the fleet itself; a fork needs another one")
        fork = deepcopy(self)
        fork.stream, fork._noise = stream, None
        fork._mean, fork._std = np.tile(self._mean, (copies, 1)), np.tile(self._std, (copies, 1))
        fork._latent = self._latent.repeated(copies)
        before, after = self._pair
        fork._pair = np.tile(before, (copies, 1)), np.tile(after, (copies, 1))
        fork.servers, fork.profiles = self.servers * copies, self.profiles * copies
        return fork

    @property
    def _width(self) -> int:
        return len(self.servers)

    @property
    def _last(self) -> Event:
        return self.events[-1] if self.events else (0, self.config.scenario, 0)

    def _simulated(self, instant: float) -> float:
        return instant * self.config.time_scale

    def _advance(self, minute: int) -> tuple[Latent, Floats, Floats]:
        """Moves the present to ``minute``; the condition then, and the metrics a minute before and then."""
        z, pair = self._latent, self._pair
        if z is None or pair is None or z.minute != minute:
            onward = z is not None and z.minute == minute - 1
            z = self._seek(minute - 1)
            before = pair[1] if pair is not None and onward else self._metrics(z)
            self._step(z)
            self._pair = pair = before, self._metrics(z)
        return z, *pair

    def _seek(self, minute: int) -> Latent:
        """Moves the hidden condition to ``minute``: forward if the start is near, else from two calm days before."""
        z, anchor = self._latent, (minute // DAY - 2) * DAY
        if z is None or z.minute > minute or (z.minute < anchor and self.stream == 0):
            if self.stream != 0:
                raise ValueError("a fork only moves forward from its present")
            z = self._latent = Latent.calm(anchor, self._width)
        while z.minute < minute:
            self._step(z)
        return z

    def _step(self, z: Latent) -> None:
        """One simulated minute."""
        normal, uniform = self._draws(z.minute)
        z.minute += 1
        z.add_noise(normal, self.config.dynamics)
        event = self._event(z.minute)
        affected = self._affected(event)
        if affected.any() or z.mode.any():
            z.assign_modes(np.tile(affected, self._width // self.size), self._scenarios.index(event[1]))
        z.transit(self._chances(z), uniform)
        target = self._multipliers[z.state]
        if z.mode.any():
            target[z.mode > 0] *= self.config.scenarios[event[1]].multiplier
        z.approach(target, self._distressed[z.state], self.config.dynamics)

    def _chances(self, z: Latent) -> Floats:
        """Cumulative chances (S, states) of the next states within a minute."""
        factor = np.array([1.0, weekday_morning(z.minute), self._daily(z.minute)])
        if not z.mode.any():
            natural: Floats = (self._rates["natural"] @ factor).cumsum(-1)[z.state]
            return natural
        chances = np.empty((self._width, len(STATES)))
        for mode in set(z.mode.tolist()):
            name = "released" if mode == RELEASED else ("natural", *self._scenarios)[mode]
            rows = z.mode == mode
            chances[rows] = (self._rates[name] @ factor).cumsum(-1)[z.state[rows]]
        return chances

    def _draws(self, minute: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Normals (S, 2 + M) and uniforms (S,) of a minute; drawn an hour at a time."""
        hour, row = divmod(minute, HOUR)
        if self._noise is None or self._noise[0] != hour:
            rng = np.random.default_rng([self.config.seed, 2, self.stream, hour])
            normal = rng.standard_normal((HOUR, self._width, 2 + len(METRICS)), np.float32)
            self._noise = hour, normal, rng.random((HOUR, self._width), np.float32)
        return self._noise[1][row], self._noise[2][row]

    def _metrics(self, z: Latent) -> Floats:
        daily = np.full(self._width, self._daily(z.minute))
        return respond(
            self._mean, self._std, daily, z.multiplier, z.distress, z.shared, z.own, self.config.dynamics
        )

    def _jitter(self, tick: int, values: Floats) -> Floats:
        noise = np.random.default_rng([self.config.seed, 3, self.stream, tick]).standard_normal(values.shape)
        jittered: Floats = np.minimum(values * (1 + self.config.dynamics.jitter * np.clip(noise, -3, 3)), CEILING)
        return jittered

    def _daily(self, minute: int) -> float:
        return self._day[(minute - MONDAY) % (7 * DAY)]

    def _event(self, minute: int) -> Event:
        """The event that put the scenario of a minute in force."""
        started = (event for event in reversed(self.events) if event[0] <= minute)
        return next(started, (0, self.config.scenario, 0))

    def _affected(self, event: Event) -> Flags:
        """bool (S,): the servers that an event affects. They stay the same until the fleet is healthy again."""
        if event not in self._chosen:
            share = self.config.scenarios[event[1]].affected_share
            order = np.random.default_rng([self.config.seed, 4, event[2]]).permutation(self.size)
            self._chosen[event] = np.isin(np.arange(self.size), order[: round(share * self.size)])
        return self._chosen[event]
