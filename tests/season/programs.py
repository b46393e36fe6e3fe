"""Real programs that a test starts, kills, freezes and starts again; whatever happens, none is left."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[2]
START = 30.0  # s until a program that does not answer counts as broken


class Program:
    """One program in a process group of its own, with its output in folder/NAME.log; `url` answers 200 once it is
    ready."""

    def __init__(self, name: str, command: Sequence[str], url: str, folder: Path):
        self.name, self._command, self._url, self._log = name, list(command), url, folder / f"{name}.log"
        self._folder, self._process, self._frozen = folder, None, False

    def start(self) -> None:
        """Starts it, without waiting until it is ready."""
        assert self._process is None, f"{self.name} runs already"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=self._folder, stdout=log, stderr=log, env=environment,
                                             stdin=subprocess.DEVNULL, start_new_session=True)

    def ready(self) -> bool:
        """Whether it answers now; AssertionError where it has ended by itself."""
        assert self._process is not None and self._process.poll() is None, (
            f"{self.name} has ended; its last lines are:\n{self.tail()}")
        with suppress(requests.RequestException):
            return requests.get(self._url, timeout=1).status_code == 200
        return False

    def send(self, number: int, master: bool = False) -> None:
        """Sends a signal to all its processes, or to the first one."""
        with suppress(ProcessLookupError):
            (os.kill if master else os.killpg)(self._process.pid, number)

    def freeze(self, yes: bool) -> None:
        """Stops it where it is, or lets it go on."""
        self.send(signal.SIGSTOP if yes else signal.SIGCONT)
        self._frozen = yes

    def stop(self, number: int = signal.SIGKILL) -> None:
        """Ends it and waits for its end."""
        if self._process is None:
            return
        if self._frozen:
            self.freeze(False)
        self.send(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self._process.wait(10)
        self.send(signal.SIGKILL)  # workers that outlive their master
        self._process = None

    def tail(self) -> str:
        """The end of its output."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-12:]) if self._log.exists() else ""


def free_ports(number: int) -> list[int]:
    """Loopback ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def await_all(programs: Mapping[str, Program] | Sequence[Program]) -> None:
    """Waits until all of these answer."""
    deadline = time.monotonic() + START
    for one in programs.values() if isinstance(programs, Mapping) else programs:
        while not one.ready():
            assert time.monotonic() < deadline, f"{one.name} is not ready after {START:.0f} s:\n{one.tail()}"
            time.sleep(0.05)


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this repository."""
    return [sys.executable, "-m", module, *arguments]
