"""What is looked at every few seconds: what each process uses, whether services answer, and what the forecasts say."""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.soak.processes import Usage, usage
from tests.soak.world import FORECASTERS, OURS, World

EVERY = 5.0  # s
ANSWER = 3.0  # s that health may take
AGE = 60.0  # s; a forecast is made every 15 s
QUIET = ("ppdb001", "ppweb001")  # servers that are there all the time
SIGNAL, METRIC = "cpu_pct", "server_cpu_utilization_ratio"
APART = 0.5  # percent; a sample may arrive between the two questions


@dataclass(frozen=True)
class Sample:
    """What a part's process used at an instant, in seconds since the start. servers: what a forecaster holds."""

    at: float
    pid: int
    usage: Usage
    servers: int = 0


@dataclass
class Record:
    """What was seen: samples by part, the oldest forecast (s), how often values were compared, and violations."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    oldest: float = 0.0
    compared: int = 0
    violations: list[str] = field(default_factory=list)


class Watch:
    """Looks in a thread of its own until closed. `excused` maps a part, or "servers", to when it has to be whole."""

    def __init__(self, world: World, record: Record):
        self._world, self.record, self.excused = world, record, dict[str, float]()
        self.happens = ""  # the fault that is on, for the violations
        self._started, self._closed = time.monotonic(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")
        self._thread.start()

    @property
    def clock(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def excuse(self, names: Iterable[str], until: float) -> None:
        """These need not be whole until then."""
        for name in names:
            self.excused[name] = max(until, self.excused.get(name, 0.0))

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(EVERY):
            self.look()

    def look(self) -> None:
        """Looks once."""
        for name in self._world.names:
            pid = self._world.pid(name)
            used = usage(pid) if pid else None
            if pid and used:
                held = self._held(name) if name in FORECASTERS else 0
                self.record.samples.setdefault(name, []).append(Sample(self.clock, pid, used, held))
        for name in OURS:
            if name in self._world.names:
                self._try(f"{name} does not answer in {ANSWER:g} s", (name,),
                          lambda name=name: self._world.seen.get(name, "/-/healthy", ANSWER))
        chain = "forecaster", "exporter", "prometheus"
        self._try("the forecast's age", chain, self._age)
        self._try("the forecast's values", chain, self._values)
        self._try("the number of servers", (*chain, "servers"), self._servers)

    def _held(self, name: str) -> int:
        """How many servers a forecaster holds, silent ones among them; 0 where it does not say."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            return int(self._world.seen.get(name, "/status", ANSWER)["room"]["held"])
        return 0

    def _try(self, what: str, parts: Iterable[str], look: Callable[[], Any]) -> None:
        """A violation where this fails and nothing excuses it."""
        began = self.clock
        try:
            look()
        except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
            if all(self.excused.get(part, 0.0) <= began for part in parts):
                words = f"{began:.0f} s: {what}: {type(error).__name__} {str(error)[:200]}"
                words += f" (during or after: {self.happens})" if self.happens else ""
                self.record.violations.append(words)
                self._world.emit(f"VIOLATION {words}")

    def _age(self) -> None:
        told = self._world.seen.get("forecaster", "/status", 10)
        age = time.time() - told["forecast"]["issued_unix"]
        self.record.oldest = max(self.record.oldest, age)
        assert age <= AGE, f"{age:.0f} s, expected at most {AGE:.0f} s"

    def _values(self) -> None:
        """Forecasts of quiet servers lie within the signal's bounds, in order, and start from Prometheus' own value."""
        asked = "&".join(f"server={one}" for one in QUIET)
        told = self._world.seen.get("forecaster", f"/predictions/current?{asked}", 10)
        at = told["metadata"]["issued_unix"]
        for server in QUIET:
            curves = told["predictions"][server][SIGNAL]
            for low, middle, high in zip(curves["p10"], curves["p50"], curves["p90"], strict=True):
                assert 0 <= low <= middle <= high <= 100, f"{server}: {low}, {middle}, {high}"
            found = self._world.seen.query(f'avg_over_time({METRIC}{{server="{server}"}}[5m]) * 100', at)
            stored = float(found[0]["value"][1])
            assert abs(stored - curves["current"]) < APART, f"{server}: {curves['current']}, Prometheus has {stored}"
            self.record.compared += 1

    def _servers(self) -> None:
        expected = self._world.seen.get("exporter", "/status", 10)["fleet_size"]
        held = len(self._world.seen.get("forecaster", "/predictions/current", 20)["predictions"])
        assert held >= expected, f"{held} servers have a forecast, expected {expected}"
