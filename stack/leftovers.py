"""Ends the parts of a supervisord that was killed and could not end them itself.

supervisor sets SUPERVISOR_SERVER_URL, the address of its socket, in the environment of each part, and the children of a
part inherit it. The parts are identified by this address, because a pid may belong to another process by now.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_VARIABLE = "SUPERVISOR_SERVER_URL"
_PAUSE = 0.05  # seconds between two checks


def find(socket: Path) -> list[int]:
    """The pids of all processes that the supervisord of `socket` started; none if there is no /proc."""
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if _belongs(int(process.name), socket)]


def end(socket: Path, patience: float) -> None:
    """Ends these processes with SIGTERM, and after `patience` seconds with SIGKILL. Returns when all have ended."""
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
    except OSError:  # the process has ended or belongs to another user
        return False
    return f"{_VARIABLE}=unix://{socket}".encode() in variables


def _send(pid: int, socket: Path, number: signal.Signals) -> None:
    """Sends a signal, unless the process has ended since and the pid belongs to another one."""
    with suppress(ProcessLookupError), _held(pid) as process:
        if _belongs(pid, socket):
            signal.pidfd_send_signal(process, number)


@contextmanager
def _held(pid: int) -> Iterator[int]:
    """A descriptor of the process, which stays valid after its end. ProcessLookupError if there is no such process."""
    process = os.pidfd_open(pid)
    try:
        yield process
    finally:
        os.close(process)
