"""The one fleet a running exporter serves, guarded for use from several threads."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from exporter.fleet import Fleet, Snapshot
from exporter.profiles import FleetConfig, Scenario
from exporter.scenario_log import ScenarioLog


@dataclass(frozen=True)
class View:
    """One consistent look at the fleet.

    `servers` and `profiles` are the same objects until the fleet is replaced, `affected` is bool (S,)
    for the scenario now in force, `ticks` counts simulation ticks since the process started.
    """

    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    snapshot: Snapshot
    scenario: str
    affected: np.ndarray
    scenarios: Mapping[str, Scenario]
    seed: int
    ticks: int


class LiveFleet:
    """A fleet followed in wall time; every method may be called from any thread."""

    def __init__(self, config: FleetConfig, clock: Callable[[], float], log: ScenarioLog | None = None):
        self._clock, self._log = clock, log or ScenarioLog(None)
        self._lock = threading.Lock()
        self._config = config
        self._fleet = Fleet(config)
        self._fleet.events = self._log.load(config)
        self._started = clock()
        self._ticks = 0
        self.view()  # the first look is the dear one; have it before anyone waits for it

    def view(self) -> View:
        """The fleet as it is now."""
        with self._lock:
            now = self._clock()
            fleet, config = self._fleet, self._config
            elapsed = (now - self._started) * config.time_scale
            self._ticks = max(
                self._ticks, int(elapsed // config.tick_seconds)
            )  # a clock set back takes none away
            return View(
                fleet.servers,
                fleet.profiles,
                fleet.at(now),
                fleet.scenario,
                fleet.affected,
                config.scenarios,
                config.seed,
                self._ticks,
            )

    def set_scenario(self, name: str) -> None:
        """Lets a scenario hold from now on; raises UnknownScenario and changes nothing."""
        with self._lock:
            self._fleet.set_scenario(name, self._clock())
            self._log.save(self._fleet.events, self._config)

    def replace(self, config: FleetConfig) -> None:
        """Goes on with another configuration; an equal one changes nothing.

        The scenarios that were set by hand go along, so that the same servers stay in the same trouble,
        unless the configuration names another scenario than before or no longer knows one of them.
        """
        with self._lock:
            if config == self._config:
                return
            fleet = Fleet(config)
            events = [event for event in self._fleet.events if event[1] in config.scenarios]
            if config.scenario == self._config.scenario and config.time_scale == self._config.time_scale:
                fleet.events = events
            self._config, self._fleet = config, fleet
