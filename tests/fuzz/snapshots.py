"""Snapshots on disk, damaged or with arrays of other types, shapes and values; the memory starts and goes on."""

import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from forecaster.capacity.held import Held
from forecaster.capacity.kept import Kept
from forecaster.memory.keeping import Keeper
from forecaster.memory.memory import SNAPSHOT_FILE, Memory
from forecaster.memory.pages import Pages
from forecaster.memory.past import Past
from forecaster.memory.record import Record
from forecaster.memory.window import Window
from forecaster.readings import Reading
from tests.fuzz import mutate
from tests.fuzz.judge import check
from tests.fuzz.kind import Kind

NOW = 1_760_000_100.0 // 300 * 300
SIGNALS = ("cpu", "mem")
SERVERS = ("db1", "db2", "web1")
STEPS = {"5m": 1, "30m": 2}
CAPACITY_FILE = "capacity-filesystem.npz"


class Snapshots(Kind):
    """An input is a line with the file's name, then its content."""

    name, inputs = "snapshots", 200
    seconds, megabytes = 1.0, 150.0

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name, "good")
        memory = _memory(folder)
        for n in range(24, 0, -1):
            _step(memory, NOW - 300 * n)
        memory.save()
        held = Held("origin")
        held.advance(int(NOW))
        Keeper(folder, {}).save({CAPACITY_FILE: Kept(held)})
        self._arrays: dict[str, Mapping[str, Any]] = {}
        for path in folder.iterdir():
            with np.load(path) as file:
                self._arrays[path.name] = {name: file[name] for name in file.files}
        self._bytes = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert len(self._bytes) == 6

    def draw(self, chance: random.Random) -> bytes:
        name = chance.choice(sorted(self._bytes))
        if chance.random() < 0.3:
            content = mutate.data(chance, self._bytes[name])
        else:
            content = mutate.arrays(chance, self._arrays[name])
        return name.encode() + b"\n" + content

    def run(self, given: bytes) -> None:
        name, _, content = given.partition(b"\n")
        with tempfile.TemporaryDirectory(dir=self._folder.name) as place:
            folder = Path(place)
            (folder / name.decode()).write_bytes(content)
            held = Held("origin")
            Keeper(folder, {}).restore({CAPACITY_FILE: Kept(held)}, NOW)
            held.advance(int(NOW) + 300)
            held.past(), held.used(), held.piece(), held.read_share
            memory = _memory(folder)
            memory.restore(NOW)
            for n in (0, 1):
                _step(memory, NOW + 300 * n)
            latest = memory.window.latest(NOW + 300)
            for server in SERVERS:
                check((latest[memory.window.servers.index(server)] == np.float32(2)).all(), "a live value is lost")
            memory.save()
            (folder / CAPACITY_FILE).unlink(missing_ok=True)
            Keeper(folder, {}).save({CAPACITY_FILE: Kept(held)})
            check((folder / SNAPSHOT_FILE).stat().st_size < 2_000_000, "the next snapshot is large")
            again = _memory(folder)
            again.restore(NOW + 300)
            check({*SERVERS} <= {*again.window.servers}, "what is saved afterwards is not restored")

    def close(self) -> None:
        self._folder.cleanup()


def _memory(folder: Path) -> Memory:
    window = Window(SIGNALS, 60.0, 300.0, 4)
    return Memory(window, Past(SIGNALS, 300.0, 60.0, 24), Record(SIGNALS, STEPS, 300.0, 86400.0, 10, 3.0), folder, {},
                  pages=Pages(300.0, "", ("full",)))


def _step(memory: Memory, now: float) -> None:
    """What a cycle does with the memory."""
    values = np.full((len(SERVERS), 2), 2, np.float32)
    memory.take(Reading(now, SERVERS, ("db", "db", "web"), values), 86400.0, 1800.0)
    present = memory.present(now, 10, 1800.0)
    context = memory.context(present)
    count = len(present.servers)
    check(context.shape == (count, 2, 24) and context.dtype == np.float32, f"the context is {context.dtype}")
    memory.window.gaps(now), memory.window.holes(now)
    made, base = np.ones((count, 2, 2, 3), np.float32), np.ones((count, 2, 2, 3), np.float32)
    assert memory.record is not None
    proof = memory.record.step_over(now, present.servers, present.observed, made, base, np.ones((count, 2), bool),
                                    [(0, 100), (None, None)])
    check(proof.coverage.shape == (2, 2), "the record's figures have another shape")
    assert memory.pages is not None
    flags = np.ones((count, 1), bool)
    memory.pages.cycle(now, present.servers, np.ones((2, count), bool), flags[:, 0], ~flags, flags)
    check(memory.pages.counts().sum() == len(memory.pages.of()), "pages are counted twice")
    check(memory.pages.weeks() >= 0, "weeks of servers are below 0")
    sums = memory.record.by_server.of(SERVERS[0])
    check(sums.shape == (2, 4) and bool(np.isfinite(sums).all()), "a server's record is no number")
