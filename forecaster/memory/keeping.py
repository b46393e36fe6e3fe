"""What a cycle knows, kept on disk from time to time and taken over by the next start."""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

SECONDS = 300.0  # what a killed process loses of its window; the source fills it again anyway


class Kept(Protocol):
    """What can be written to a file and read again."""

    def snapshot(self, path: str | os.PathLike) -> None:
        """Writes everything, atomically; OSError if that fails."""

    def restore(self, path: str | os.PathLike, now: float) -> str | None:
        """Takes over a snapshot; None, or the reason why it was ignored."""


class Keeper:
    """Keeps parts in files of one folder, None for not at all; what fails is in ``errors`` under "snapshot"."""

    def __init__(self, folder: Path | None, errors: dict[str, str | None]):
        self._folder, self._errors, self._due = folder, errors, 0.0

    def restore(self, parts: Mapping[str, Kept], now: float) -> None:
        """Takes over the snapshots, by file name, that are there and fit."""
        for name, part in parts.items():
            if self._folder is not None and (path := self._folder / name).exists():
                reason = part.restore(path, now)
                log.info("%s %s", path, "restored" if reason is None else f"not taken over: {reason}")

    def save(self, parts: Mapping[str, Kept]) -> None:
        """Writes them by file name; a failure is logged and shown, forecasts go on from memory."""
        if self._folder is None:
            return
        path = self._folder
        try:
            for name, part in parts.items():
                path = self._folder / name
                part.snapshot(path)
            self._errors["snapshot"] = None
        except OSError as error:
            self._errors["snapshot"] = f"{path}: {error.strerror or error}; free space or choose another --storage.path"
            log.error("window not saved: %s", self._errors["snapshot"])

    def due(self) -> bool:
        """Whether it is time to save again: SECONDS after the first question, and after each yes."""
        now = time.monotonic()
        if self._due == 0.0:
            self._due = now + SECONDS
        elif now >= self._due:
            self._due = now + SECONDS
            return True
        return False
