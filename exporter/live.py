"""The one fleet a running exporter serves, guarded for use from several threads."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from exporter.fleet import Fleet, Snapshot
from exporter.profiles import FleetConfig, Scenario


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

    def __init__(self, config: FleetConfig, clock: Callable[[], float]):
        self._clock = clock
        self._lock = threading.Lock()
        self._config = config
        self._fleet = Fleet(config)
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

    def replace(self, config: FleetConfig) -> None:
        """Goes on with another configuration; an equal one changes nothing.

        A scenario that was set by hand outlives the change unless the configuration names another
        than before or no longer knows it.
        """
        with self._lock:
            if config == self._config:
                return
            fleet = Fleet(config)
            kept = self._fleet.scenario
            if config.scenario == self._config.scenario != kept and kept in config.scenarios:
                fleet.set_scenario(kept, self._clock())
            self._config, self._fleet = config, fleet
