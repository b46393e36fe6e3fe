"""When snapshots are written, and how the next start restores them."""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from forecaster.memory.snapshot import SnapshotError
from serving.storage import put_aside

log = logging.getLogger(__name__)

SECONDS = 300.0  # between snapshots: what a killed process loses at most; the source fills gaps of the window


class Kept(Protocol):
    """A part of the memory that can be written to a file and read again."""

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Writes everything, atomically; OSError if that fails."""

    def restore(self, path: str | os.PathLike[str], now: float) -> str | None:
        """Restores a snapshot; None, or why it does not fit. SnapshotError if it is damaged. The part changes only if
        all of the snapshot is restored."""


class Keeper:
    """Writes parts to files of one folder (None: nowhere); what fails is in ``errors`` under "snapshot".

    They are due ``every`` seconds.
    """

    def __init__(self, folder: Path | None, errors: dict[str, str | None], every: float = SECONDS):
        self._folder, self._errors, self._every, self._due = folder, errors, every, 0.0

    def restore(self, parts: Mapping[str, Kept], now: float) -> None:
        """Restores the parts, by file name, whose snapshot exists and fits; a damaged one is put aside."""
        for name, part in parts.items():
            if self._folder is not None and (path := self._folder / name).exists():
                try:
                    reason = part.restore(path, now)
                except SnapshotError as error:
                    put_aside(path, error)
                else:
                    log.info("%s %s", path, "restored" if reason is None else f"ignored: {reason}")

    def save(self, parts: Mapping[str, Kept]) -> None:
        """Writes the parts by file name, what fits of them; a failure is logged and shown, and forecasts go on."""
        if self._folder is None:
            return
        failed = []
        for name, part in parts.items():
            path = self._folder / name
            try:
                part.snapshot(path)
            except OSError as error:
                failed.append(f"{path}: {error.strerror or error}")
        self._errors["snapshot"] = (f"{', '.join(failed)}; free space or choose another --storage.path" if failed
                                    else None)
        if failed:
            log.error("snapshot not saved: %s", self._errors["snapshot"])

    def due(self) -> bool:
        """Whether it is time to save again: that long after the first question, and after each yes."""
        now = time.monotonic()
        if self._due == 0.0:
            self._due = now + self._every
        elif now >= self._due:
            self._due = now + self._every
            return True
        return False
