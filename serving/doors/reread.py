"""What a file says, read anew when the file, or another that it names, has changed."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from serving import ServingError

log = logging.getLogger(__name__)

_PAUSE = 1.0  # s between two looks at the files
Content = TypeVar("Content")


class Reread(Generic[Content]):
    """The content of files. `current()` is safe to call from any thread, and cheap.

    read: the content and the files that it comes from; ServingError if they cannot be used. At the start the error is
    raised. Later it is logged, once, the content from before stays in use, and `error` tells it. ticks: seconds of a
    clock that only moves forward; clock: Unix seconds.
    """

    def __init__(self, read: Callable[[], tuple[Content, tuple[Path, ...]]],
                 ticks: Callable[[], float], clock: Callable[[], float]):
        self._read, self._ticks, self._clock = read, ticks, clock
        self._lock = threading.Lock()
        self._files: tuple[Path, ...] = ()
        self._content, self._seen = self._load()
        self._looked, self.last_success = ticks(), clock()
        self.error: str | None = None

    def current(self) -> Content:
        """The content, at most a second older than the files where these can be used."""
        if self._ticks() - self._looked >= _PAUSE and self._lock.acquire(blocking=False):
            try:
                self._looked = self._ticks()
                self._look()
            finally:
                self._lock.release()
        return self._content

    def _look(self) -> None:
        if self.error is None and _states(self._files) == self._seen:
            return
        try:
            self._content, self._seen = self._load()
        except ServingError as error:
            if str(error) != self.error:
                log.error("not read anew, what was read before stays in use: %s", "; ".join(str(error).splitlines()))
            self.error = str(error)
            return
        self.error, self.last_success = None, self._clock()
        log.info("read anew: %s", ", ".join(map(str, self._files)))

    def _load(self) -> tuple[Content, list[tuple[int, ...]]]:
        """The content and the states of the files from before they were read."""
        while True:
            seen = _states(self._files)
            content, files = self._read()
            if files == self._files:
                return content, seen
            self._files = files


def _states(files: tuple[Path, ...]) -> list[tuple[int, ...]]:
    """What differs when a file was changed or replaced; empty for one that is not there."""
    states: list[tuple[int, ...]] = []
    for file in files:
        try:
            of = file.stat()
            states.append((of.st_ino, of.st_size, of.st_mtime_ns, of.st_ctime_ns))
        except OSError:
            states.append(())
    return states
