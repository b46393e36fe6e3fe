"""The fleet that a running exporter serves; safe to use from several threads."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import compress

from exporter.fleet import Fleet, Snapshot
from exporter.mounts import Mounts
from exporter.physics import Flags, Floats
from exporter.profiles import FleetConfig, Scenario
from exporter.scenario_log import ScenarioLog


@dataclass(frozen=True)
class View:
    """A consistent view of the fleet at one instant.

    servers, profiles: the same objects until the fleet is replaced. affected: bool (S,), the servers that the scenario
    in force affects. in_force_from: the Unix second from which on it is in force, None where none was set. units: of
    each metric. ticks: simulation ticks since the process started.
    """

    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    snapshot: Snapshot
    scenario: str
    affected: Flags
    in_force_from: float | None
    scenarios: Mapping[str, Scenario]
    units: Mapping[str, str]
    seed: int
    ticks: int

    @property
    def affected_servers(self) -> list[str]:
        """The names of the affected servers."""
        return list(compress(self.servers, self.affected))


class LiveFleet:
    """A fleet at the time of a clock; every method may be called from any thread."""

    def __init__(self, config: FleetConfig, clock: Callable[[], float], log: ScenarioLog | None = None):
        self._clock, self._log = clock, log or ScenarioLog(None)
        self._lock = threading.Lock()
        self._config = config
        self._fleet, self._mounts = Fleet(config), Mounts.of(config)
        self._fleet.events = self._log.load(config)
        self._started = clock()
        self._ticks = self._changes = 0
        self.view(), self.mounts()  # the first are expensive: compute them before the first scrape

    def view(self) -> View:
        """The fleet now."""
        with self._lock:
            now = self._clock()
            fleet, config = self._fleet, self._config
            elapsed = (now - self._started) * config.time_scale
            self._ticks = max(self._ticks, int(elapsed // config.tick_seconds))  # never falls if the clock is set back
            return View(
                servers=fleet.servers,
                profiles=fleet.profiles,
                snapshot=fleet.at(now),
                scenario=fleet.scenario,
                affected=fleet.affected,
                in_force_from=fleet.in_force_from,
                scenarios=config.scenarios,
                units=config.units,
                seed=config.seed,
                ticks=self._ticks,
            )

    def version(self) -> tuple[float, ...]:
        """Another one whenever `view` or `mounts` give something else; it takes no time and no lock."""
        return self._changes, self._config.simulated(self._clock())

    def mounts(self) -> tuple[tuple[tuple[str, str, str], ...], Floats, Floats]:
        """(server, profile, mountpoint) of N mounts, and used space and size in bytes (N,) now.

        The names are the same object until the fleet is replaced.
        """
        with self._lock:
            return self._mounts.entities, *self._mounts.at(self._config.simulated(self._clock()))

    def set_scenario(self, name: str) -> None:
        """Puts a scenario in force now; raises UnknownScenario and changes nothing."""
        with self._lock:
            self._fleet.set_scenario(name, self._clock())
            self._log.save(self._fleet.events, self._config)
            self._changes += 1

    def replace(self, config: FleetConfig) -> None:
        """Continues with another configuration; an equal one changes nothing.

        Scenarios that were set and still exist are kept, so that the same servers stay affected. They are dropped if
        the configuration has another `scenario` or `time_scale` than before.
        """
        with self._lock:
            if config == self._config:
                return
            fleet, mounts = Fleet(config), Mounts.of(config)
            mounts.at(config.simulated(self._clock()))
            events = [event for event in self._fleet.events if event[1] in config.scenarios]
            if config.scenario == self._config.scenario and config.time_scale == self._config.time_scale:
                fleet.events = events
            self._config, self._fleet, self._mounts = config, fleet, mounts
            self._changes += 1
