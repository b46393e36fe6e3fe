"""What the benchmarks share: medians of repeated runs, memory of a process, and the lines that `make bench` prints."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """One measured figure beside its floor or its peer, measured in the same run.

    ``against`` says what the figure is compared with, ``limit`` the goal in the figure's own unit, None for none; a
    figure is good at or below its limit, or at or above it with ``more`` set.
    """

    what: str
    value: float
    unit: str
    against: str = ""
    limit: float | None = None
    more: bool = False

    @property
    def met(self) -> bool | None:
        if self.limit is None:
            return None
        return self.value >= self.limit if self.more else self.value <= self.limit

    def __str__(self) -> str:
        goal = "" if self.limit is None else f"{'>=' if self.more else '<='} {self.limit:g}"
        verdict = {None: "", True: "met", False: "MISSED"}[self.met]
        return f"{self.what:58}{self.value:>11.4g} {self.unit:11}{goal:>10}  {verdict:7}{self.against}"


def seconds(call: Callable[[], object], times: int = 7, warm: int = 1) -> float:
    """Median seconds of ``times`` calls, after ``warm`` that do not count."""
    for _ in range(warm):
        call()
    return statistics.median(_timed(call) for _ in range(times))


def side_by_side(calls: dict[str, Callable[[], object]], times: int = 7, warm: int = 1) -> dict[str, float]:
    """Median seconds of each call, the calls taking turns, so that a busy moment hits all of them alike."""
    for call in calls.values():
        for _ in range(warm):
            call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(times):
        for name, call in calls.items():
            taken[name].append(_timed(call))
    return {name: statistics.median(values) for name, values in taken.items()}


def resident_mib(pid: int | str = "self") -> float:
    """Resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_mib(pid: int) -> float:
    """The most that was resident of a process so far, in MiB."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """Seconds of processor time that a process and its children that have ended took, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """Processor and cores that this process may use, for the head of a report."""
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    processor, cores = names[0] if names else platform.machine(), len(os.sched_getaffinity(0))
    return f"{processor}, {cores} cores, Python {platform.python_version()}"


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
