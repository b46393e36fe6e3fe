"""The scenarios that were set, on disk: a restart keeps the one in force, and history shows earlier ones.

One JSON file, replaced atomically: {"version": 1, "time_scale": 1.0, "events": [[minute, scenario, since], ...]}, with
the events of ``Fleet.events``. An invalid file is reported and kept until the next change.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from exporter.fleet import Event
from exporter.profiles import FleetConfig

log = logging.getLogger(__name__)

FILE = "scenarios.json"
VERSION = 1
KEPT_MINUTES = 60 * 1440  # older events are dropped; this is twice Prometheus' retention


class ScenarioLog:
    """The log in a folder; without a folder nothing is kept."""

    def __init__(self, folder: str | Path | None):
        self.path = None if folder is None else Path(folder) / FILE

    def load(self, config: FleetConfig) -> list[Event]:
        """The events whose scenario this fleet has, oldest first; none if there is no valid file."""
        if self.path is None or not self.path.exists():
            return []
        try:
            held = json.loads(self.path.read_text())
            if held["version"] != VERSION or held["time_scale"] != config.time_scale:
                log.warning("%s: has another version or time_scale; its scenarios are ignored", self.path)
                return []
            events = [(int(minute), str(name), int(since)) for minute, name, since in held["events"]]
        except (OSError, ValueError, TypeError, KeyError) as error:
            problem = "%s: cannot be read (%s); expected a scenario log; the fleet starts with %r"
            log.warning(problem, self.path, error, config.scenario)
            return []
        return sorted(event for event in events if event[1] in config.scenarios)

    def save(self, events: list[Event], config: FleetConfig) -> None:
        """Writes the log; if that fails, the error is logged and the scenario stays in force."""
        if self.path is None:
            return
        kept = [event for event in events if event[0] > events[-1][0] - KEPT_MINUTES]
        fresh = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps({"version": VERSION, "time_scale": config.time_scale, "events": kept}) + "\n")
            os.replace(fresh, self.path)
        except OSError as error:
            log.error("%s: cannot be written (%s); a restart loses the scenario", self.path, error.strerror or error)
