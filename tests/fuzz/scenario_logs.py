"""The exporter's scenario log: any content, and the fleet starts, changes its scenario and keeps it."""

import random
import tempfile
from pathlib import Path

from exporter.fleet import Fleet
from exporter.profiles import load_fleet
from exporter.scenario_log import FILE, ScenarioLog
from tests.fuzz import mutate
from tests.fuzz.judge import check
from tests.fuzz.kind import Kind
from tests.results import ISSUED

GOOD = {"version": 1, "time_scale": 1.0,
        "events": [[29_333_300, "critical", 29_333_290], [29_333_330, "healthy", 29_333_330]]}


class ScenarioLogs(Kind):
    """An input is the content of the file."""

    name, inputs = "scenario-logs", 15
    seconds = 3.0

    def __init__(self) -> None:
        self._folder, self._config = tempfile.TemporaryDirectory(), load_fleet()

    def draw(self, chance: random.Random) -> bytes:
        made = mutate.as_json(mutate.tree(chance, GOOD) if chance.random() < 0.8 else GOOD)
        return mutate.data(chance, made) if chance.random() < 0.4 else made

    def run(self, given: bytes) -> None:
        with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
            Path(folder, FILE).write_bytes(given)
            log, fleet = ScenarioLog(folder), Fleet(self._config)
            fleet.events = log.load(self._config)
            check(len(fleet.affected) == 20, "the fleet has another size")
            fleet.set_scenario("critical", ISSUED)
            fleet.at(ISSUED)
            check(fleet.scenario == "critical", "a scenario is not set")
            log.save(fleet.events, self._config)
            events = ScenarioLog(folder).load(self._config)
            check(events and events[-1][1] == "critical", "the scenario that was set is not kept")

    def close(self) -> None:
        self._folder.cleanup()
