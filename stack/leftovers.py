"""Ends the parts of a supervisord that could not do it itself, because it was killed.

supervisor tells each part in SUPERVISOR_SERVER_URL which socket it answers on, and what a part starts inherits
that. The parts are known by this address, not by pids that may belong to others by now.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VARIABLE = "SUPERVISOR_SERVER_URL"
_PAUSE = 0.05  # seconds between two looks


def find(socket: Path) -> list[int]:
    """The pids of all processes that were started for the supervisord of `socket`; none where there is no /proc."""
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if _belongs(int(process.name), socket)]


def end(socket: Path, patience: float) -> None:
    """Ends those processes: politely, and what is left after `patience` seconds by force. Returns when all are gone."""
    asked: set[int] = set()
    deadline = time.monotonic() + patience
    while left := find(socket):
        late = time.monotonic() >= deadline
        for pid in left if late else set(left) - asked:
            _send(pid, socket, signal.SIGKILL if late else signal.SIGTERM)
        asked.update(left)
        time.sleep(_PAUSE)


def _belongs(pid: int, socket: Path) -> bool:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or belongs to somebody else
        return False
    return f"{_VARIABLE}=unix://{socket}".encode() in variables


def _send(pid: int, socket: Path, number: signal.Signals) -> None:
    """The signal, unless the process ended since it was found and the pid is somebody else's."""
    try:
        with _held(pid) as process:
            if _belongs(pid, socket):
                signal.pidfd_send_signal(process, number)
    except ProcessLookupError:
        pass


@contextmanager
def _held(pid: int) -> Iterator[int]:
    """A descriptor that goes on meaning this very process. ProcessLookupError where there is none."""
    process = os.pidfd_open(pid)
    try:
        yield process
    finally:
        os.close(process)
