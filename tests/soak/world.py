"""The whole stack as `make up` starts it, on free ports in a folder, with what a fault needs to reach its parts."""

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import requests
import yaml

from stack.layout import Layout
from stack.parts import plan
from stack.up import Stack
from tests.stack_rehearsal import Observer, await_true

DISK = 24 << 20  # bytes of the forecaster's storage, where it can be made small
HISTORY_DAYS = 0.2  # more than the default model reads
FORECASTERS = ("forecaster", "forecaster-node")
OURS = ("exporter", *FORECASTERS, "pager")
RELOADED = ("exporter", *FORECASTERS, "prometheus", "alertmanager")


class World:
    """The running stack; `emit` takes a line for each thing that happens. `disk` says whether storage is small."""

    def __init__(self, folder: Path, emit: Callable[[str], None]):
        self.emit, self.folder = emit, folder
        layout = Layout.elsewhere(folder)
        self._clock = folder / "clock"
        self.step_clock(0.0)
        made = plan(layout, without=("grafana",))
        shifted = sys.executable, "-m", "tests.season.shifted", str(self._clock)
        parts = [replace(part, command=(*shifted, *part.command[1:])) if part.name in FORECASTERS else part
                 for part in made.parts]
        self.stack = Stack(layout, replace(made, parts=tuple(parts)), HISTORY_DAYS)
        self.names = tuple(part.name for part in parts)
        self.seen = Observer(layout)
        self.storage = layout.data / "forecaster"
        self.disk = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Started, with a forecast; ended however this is left."""
        self.storage.mkdir(parents=True)
        self.disk = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "soak", str(self.storage)],
                                   capture_output=True, check=False).returncode == 0
        try:
            with self.stack:
                self.stack.prepare()
                self.stack.start(120)
                await_true(lambda: self.seen.get("forecaster", "/-/ready"), 60, "there is a forecast")
                yield
        finally:
            if self.disk:
                subprocess.run(["umount", str(self.storage)], check=False)

    def pid(self, name: str) -> int | None:
        """The process of a part; None while it has none."""
        with suppress(OSError, KeyError):
            return self.stack.runner.states()[name].pid or None
        return None

    def send(self, name: str, number: int) -> None:
        """A signal to a part: SIGHUP to its first process, others to all of them."""
        if (pid := self.pid(name)) is not None:
            with suppress(ProcessLookupError):
                (os.kill if number == signal.SIGHUP else os.killpg)(pid, number)

    def step_clock(self, seconds: float) -> None:
        """Puts the clock of the forecasters off by so many seconds."""
        with self._clock.open("r+b" if self._clock.exists() else "wb") as file:  # in place: it is mapped
            file.write(struct.pack("d", seconds))

    def resize(self, servers: int) -> None:
        """Gives the exporter so many more servers without a profile of their own than at the start."""
        path = self.stack.layout.config / "exporter" / "fleet.yml"
        config = yaml.safe_load(path.read_text())
        config["servers"]["generic"] = servers
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        self.send("exporter", signal.SIGHUP)

    def storm(self, number: int) -> None:
        """So many pages at once at Alertmanager; they end within a minute."""
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
        alerts = [{"labels": {"alertname": "SoakStorm", "priority": "P1", "server": f"storm{n:05}", "fleet": "soak"},
                   "annotations": {"summary": "of a storm"}, "endsAt": ends} for n in range(number)]
        with suppress(requests.RequestException):
            requests.post(self.stack.layout.url("alertmanager", "/api/v2/alerts"), json=alerts, timeout=20)
