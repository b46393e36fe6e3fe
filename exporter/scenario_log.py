"""The scenarios that were set, on disk: a restart keeps the one in force, and history repeats them where they were.

One JSON file, written whole or not at all: {"version": 1, "time_scale": 1.0, "events": [[minute, scenario, since], ...]}
with the events of ``Fleet.events``. A file that cannot be read is reported and left alone until the next change.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from exporter.profiles import FleetConfig

log = logging.getLogger(__name__)

FILE = "scenarios.json"
VERSION = 1
KEPT_MINUTES = 60 * 1440  # events this much older than the newest are dropped: twice Prometheus' retention

Event = tuple[int, str, int]


class ScenarioLog:
    """The log in a folder; None keeps nothing."""

    def __init__(self, folder: str | Path | None):
        self.path = None if folder is None else Path(folder) / FILE

    def load(self, config: FleetConfig) -> list[Event]:
        """The events that make sense for this fleet, oldest first; none where there is no usable file."""
        if self.path is None or not self.path.exists():
            return []
        try:
            held = json.loads(self.path.read_text())
            if held["version"] != VERSION or held["time_scale"] != config.time_scale:
                log.warning("%s: written for another version or time_scale; no scenario is taken over", self.path)
                return []
            events = [(int(minute), str(name), int(since)) for minute, name, since in held["events"]]
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning(
                "%s: cannot be read (%s), expected the scenarios set so far; the fleet starts with %r",
                self.path,
                error,
                config.scenario,
            )
            return []
        return sorted(event for event in events if event[1] in config.scenarios)

    def save(self, events: list[Event], config: FleetConfig) -> None:
        """Writes the log; a disk that cannot take it costs the log, not the scenario."""
        if self.path is None:
            return
        kept = [event for event in events if event[0] > events[-1][0] - KEPT_MINUTES]
        fresh = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps({"version": VERSION, "time_scale": config.time_scale, "events": kept}) + "\n")
            os.replace(fresh, self.path)
        except OSError as error:
            log.error(
                "%s: cannot be written (%s); a restart will forget the scenario", self.path, error.strerror or error
            )
