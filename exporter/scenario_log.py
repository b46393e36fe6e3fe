"""The scenarios that were set, on disk: a restart keeps the one in force, and history shows earlier ones.

One JSON file, replaced atomically: {"version": 1, "time_scale": 1.0, "events": [[minute, scenario, since], ...]}, with
the events of ``Fleet.events``. A damaged file is put aside; one of another version or time scale is kept until the next
change.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from exporter.fleet import Event
from exporter.profiles import FleetConfig
from serving.storage import put_aside, write

log = logging.getLogger(__name__)

FILE = "scenarios.json"
VERSION = 1
LARGEST = 1 << 24  # bytes: 30 times what a scenario a minute makes of KEPT_MINUTES
KEPT_MINUTES = 60 * 1440  # older events are dropped; this is twice Prometheus' retention

_Minute = Annotated[int, Field(ge=0, lt=1 << 31)]  # to the year 6053


class _Held(BaseModel):
    """What the file holds. Only version and time_scale are read of one of another version."""

    model_config = ConfigDict(strict=True)

    version: int
    time_scale: float | None = None
    events: list[tuple[_Minute, str, _Minute]] = []


class ScenarioLog:
    """The log in a folder; without a folder nothing is kept."""

    def __init__(self, folder: str | Path | None):
        self.path = None if folder is None else Path(folder) / FILE

    def load(self, config: FleetConfig, own: bool = True) -> list[Event]:
        """The events whose scenario this fleet has, oldest first; none if there is no valid file. A damaged file is put
        aside, unless the folder is not the `own` one: an exporter may be using it."""
        if self.path is None or not self.path.exists():
            return []
        try:
            if (size := self.path.stat().st_size) > LARGEST:
                raise ValueError(f"{size} bytes, expected at most {LARGEST}")
            held = _Held.model_validate_json(self.path.read_bytes())
        except (OSError, ValueError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            problem = f"{self.path} cannot be read: {reason}; the fleet starts with {config.scenario!r}"
            if own:
                put_aside(self.path, problem)
            else:
                log.warning("%s", problem)
            return []
        if held.version != VERSION or held.time_scale != config.time_scale:
            log.warning("%s: has another version or time_scale; its scenarios are ignored", self.path)
            return []
        return sorted(event for event in held.events if event[1] in config.scenarios)

    def save(self, events: list[Event], config: FleetConfig) -> None:
        """Writes the log; if that fails, the error is logged and the scenario stays in force."""
        if self.path is None:
            return
        kept = [event for event in events if event[0] > events[-1][0] - KEPT_MINUTES]
        text = json.dumps({"version": VERSION, "time_scale": config.time_scale, "events": kept}) + "\n"
        try:
            write(self.path, lambda file: file.write(text.encode()), 0o644)  # stack.history may be another user
        except OSError as error:
            log.error("%s: cannot be written (%s); a restart loses the scenario", self.path, error.strerror or error)
