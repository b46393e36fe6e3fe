"""The folder that a service keeps its state in.

One process at a time writes to it (`claim`), every file is written whole or not at all (`write`), and a file that is
damaged is renamed to NAME.damaged (`put_aside`), so that the start goes on and the file can be examined.

    StorageError (ServingError)   the folder is in use by another process
"""

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from serving import ServingError

log = logging.getLogger(__name__)

LOCK = "lock"
DAMAGED, UNFINISHED = ".damaged", ".part"  # endings of file names
PATIENCE = 5.0  # s for the process before this one to end


class StorageError(ServingError):
    """The folder is in use by another process; the message names both."""


class Claim:
    """The right to write to a folder, until close(). The kernel ends it with the process, however that ends."""

    def __init__(self, folder: Path, lock: int | None):
        self.folder, self._lock = folder, lock

    def close(self) -> None:
        """Gives the folder free."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def claim(folder: Path, patience: float | None = None) -> Claim:
    """Claims a folder, which is made if it is missing, and removes the unfinished files of a process that was killed.

    Waits up to `patience` seconds (default: PATIENCE); StorageError if another process has the folder then. A folder
    that cannot be written to, or whose file system has no locks, is claimed without a lock, which is logged.
    """
    path, lock = folder / LOCK, None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        _lock(lock, path, time.monotonic() + (PATIENCE if patience is None else patience))
    except OSError as error:
        log.error("%s: not locked (%s); another process must not use it", folder, error.strerror or error)
        return Claim(folder, lock)
    except StorageError:
        if lock is not None:
            os.close(lock)
        raise
    try:
        for unfinished in folder.glob(f"*{UNFINISHED}"):  # first: they may be what fills the disk
            log.info("removing %s: its writer was killed", unfinished)
            unfinished.unlink(missing_ok=True)
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
    except OSError as error:
        log.warning("%s: locked, but it cannot be written to (%s)", folder, error.strerror or error)
    return Claim(folder, lock)


def _lock(lock: int, path: Path, until: float) -> None:
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until:
                owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
                raise StorageError(f"{path.parent} is in use by process {owner or 'unknown'}: stop that process, or "
                                   "choose another folder (--storage.path)") from error
            time.sleep(0.1)


def write(path: Path, content: Callable[[IO[bytes]], object], mode: int = 0o600) -> None:
    """Writes what `content` writes to a file; readers find the old file or the whole new one. OSError if it cannot be
    written: the old one is whole then. mode: who may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=UNFINISHED, delete=False) as file:
        try:
            content(file)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def put_aside(path: Path, reason: object) -> None:
    """Renames a damaged file to NAME.damaged, in place of an earlier one, and says so in the log."""
    aside = path.with_name(path.name + DAMAGED)
    try:
        os.replace(path, aside)
    except OSError as error:
        log.error("%s; it cannot be renamed to %s (%s)", reason, aside, error.strerror or error)
    else:
        log.error("%s; it is kept as %s, and the start goes on without it", reason, aside)
