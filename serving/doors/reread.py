"""What a file says, read anew when the file, or another that it names, has changed."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from serving import ServingError

log = logging.getLogger(__name__)

_PAUSE = 1.0  # s between two looks at the files
_AGAIN = 60.0  # s after which files that could not be used are read again as they are: the error may have passed
Content = TypeVar("Content")
Note = Callable[[Path], object]


class Reread(Generic[Content]):
    """The content of files. `current()` and `latest()` are safe to call from any thread, and cheap.

    read: the content; it passes each file to its argument before it opens the file, and raises ServingError if they
    cannot be used. At the start the error is raised. Later it is logged, the content from before stays in use, and
    `error` tells it; the files are read again once one of them has changed, or after a minute.
    ticks: seconds of a clock that only moves forward; clock: Unix seconds.
    """

    def __init__(self, read: Callable[[Note], Content], ticks: Callable[[], float], clock: Callable[[], float]):
        self._read, self._ticks, self._clock = read, ticks, clock
        self._lock = threading.Lock()
        self._seen: dict[Path, tuple[int, ...]] = {}  # by file, from before it was read
        self._content = self._load()
        self._looked = self._read_at = ticks()
        self.last_success = clock()
        self.error: str | None = None

    def current(self) -> Content:
        """The content, at most a second older than the files where these can be used. May read them."""
        if self._due():
            self._look()
        return self._content

    def latest(self) -> Content:
        """The content as it is known, for an event loop: files that have changed are read in a thread meanwhile."""
        if self._seen and self._due():
            try:
                threading.Thread(target=self._look, name="reread", daemon=True).start()
            except RuntimeError:  # no thread can be started, as at a limit of processes; the next look will do
                log.warning("the files are not looked at: no thread can be started")
        return self._content

    def _due(self) -> bool:
        now = self._ticks()
        if now - self._looked < _PAUSE:
            return False
        self._looked = now
        return True

    def _look(self) -> None:
        if not self._lock.acquire(blocking=False):
            return
        try:
            again = self.error is not None and self._looked - self._read_at >= _AGAIN
            if not again and all(_state(file) == seen for file, seen in self._seen.items()):
                return
            self._read_at = self._looked
            self._content = self._load()
        except ServingError as error:
            if str(error) != self.error:
                log.error("not read anew, what was read before stays in use: %s", "; ".join(str(error).splitlines()))
            self.error = str(error)
        else:
            self.error, self.last_success = None, self._clock()
            log.info("read anew: %s", ", ".join(map(str, self._seen)))
        finally:
            self._lock.release()

    def _load(self) -> Content:
        self._seen = seen = dict[Path, tuple[int, ...]]()
        return self._read(lambda file: seen.setdefault(file, _state(file)))


def _state(file: Path) -> tuple[int, ...]:
    """What differs when a file was changed or replaced; empty for one that is not there."""
    try:
        of = file.stat()
    except (OSError, ValueError):  # no path has a NUL
        return ()
    return of.st_ino, of.st_size, of.st_mtime_ns, of.st_ctime_ns
