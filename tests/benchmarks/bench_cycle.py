"""A whole cycle, query to published, against a real Prometheus, stage by stage.

Goals: a cycle of 20 servers takes at most 100 ms, one of 1,000 servers at most Prometheus' own time and 3 forward
passes. Prometheus' own time is that of a client that writes the requests to open connections and reads the bodies,
uncompressed. The forward pass is timed inside the cycle, around the engine's call.
"""

import http.client
import json
import statistics
import time
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

from forecaster.config import load_config
from forecaster.service.app import Forecaster
from tests.benchmarks.fleet import prometheus
from tests.benchmarks.measure import Line

FEW, SOME, MANY = 20, 500, 1000
CYCLES = 25
REFRESH = 15.0
FEW_GOAL, PASSES = 100.0, 3  # ms; forward passes beside Prometheus' own time
HEADERS = {"Content-Type": "application/x-www-form-urlencoded", "Accept-Encoding": "identity"}


class Bare:
    """A minimal client: every query on a connection of its own, all sent before the first answer is read."""

    def __init__(self, url: str, queries: list[str]):
        self._queries = queries
        self._connections = [http.client.HTTPConnection(urlsplit(url).netloc) for _ in queries]

    def ask(self, now: float) -> list[bytes]:
        """The answers' bodies."""
        for connection, query in zip(self._connections, self._queries, strict=True):
            form = urlencode({"query": query, "time": f"{now:.3f}"})
            connection.request("POST", "/api/v1/query", form, HEADERS)
        return [connection.getresponse().read() for connection in self._connections]

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


class Measured:
    """A forecaster on an injected clock, and the seconds of its stages."""

    def __init__(self, url: str, end: float, **overrides):
        self.now = end - (CYCLES + 2) * REFRESH
        self.forecaster = Forecaster(
            lambda: load_config("fleet", {"source.url": url, "source.timeout": "60s", **overrides}),
            lambda: self.now,
        )
        self.cycle = self.forecaster.parts.cycle
        self.stages: dict[str, list[float]] = {}
        self.cycle._metrics.stage = self._stage
        self.packing: list[float] = []
        self._pack, self.cycle._collector.pack = self.cycle._collector.pack, self._packed
        self._shown, self.cycle._board.publish = self.cycle._board.publish, self._published
        model = self.cycle._model
        self._engine, model.engine = model.engine, self._passed
        signals = self.forecaster.parts.source.describe()["signals"]
        bare = Bare(url, [signal["query"] for signal in signals.values()])
        bare.ask(self.now)  # connects
        assert self.cycle.run_once()  # fills the window
        self.stages.clear()
        self.took: list[float] = []
        self.whole: list[float] = []
        self.raw: list[float] = []
        self.parsing: list[float] = []
        for _ in range(CYCLES):
            self.now += REFRESH
            self.raw.append(self._raw(bare))
            started = time.perf_counter()
            assert self.cycle.run_once()
            self.took.append(self.published - started)
            self.whole.append(time.perf_counter() - started)
        bare.close()

    def _stage(self, name: str, seconds: float, ok: bool) -> None:
        assert ok, name
        self.stages.setdefault(name, []).append(seconds)

    def _published(self, result) -> None:
        self._shown(result)
        self.published = time.perf_counter()

    def _packed(self, result) -> None:
        """Compression, which follows publishing."""
        started = time.perf_counter()
        self._pack(result)
        self.packing.append(time.perf_counter() - started)

    def _passed(self, inputs):
        """The forward pass alone."""
        started = time.perf_counter()
        values = self._engine(inputs)
        self.stages.setdefault("pass", []).append(time.perf_counter() - started)
        return values

    def _raw(self, bare: Bare) -> float:
        """Seconds until Prometheus has answered the cycle's queries; parsing the answers is timed apart."""
        started = time.perf_counter()
        answers = bare.ask(self.now)
        answered = time.perf_counter()
        for body in answers:
            json.loads(body)
        self.parsing.append(time.perf_counter() - answered)
        return answered - started

    def ms(self, stage: str) -> float:
        return 1000 * statistics.median(self.stages[stage])


def lines() -> Iterator[Line]:
    total = {}
    for servers in (FEW, SOME, MANY):
        with prometheus(servers) as held:
            measured = Measured(held.url, held.end)
        raw, parsing, took = (1000 * statistics.median(x) for x in (measured.raw, measured.parsing, measured.took))
        total[servers], forward = took, measured.ms("pass")
        if servers == SOME:
            continue
        name = f"{servers} servers"
        yield Line(f"{name}: Prometheus answers 8 queries", raw, "ms", "bare connections, bodies read, not parsed")
        yield Line(f"{name}: json.loads of the answers", parsing, "ms", "the standard library alone")
        for stage in ("query", "window", "features", "model", "risk", "publish"):
            yield Line(f"{name}: stage {stage}", measured.ms(stage), "ms",
                       f"of which the forward pass {forward:.3g}" if stage == "model" else "")
        whole, packing = (1000 * statistics.median(x) for x in (measured.whole, measured.packing))
        yield Line(f"{name}: whole cycle, query to published", took, "ms",
                   f"{whole:.0f} with {packing:.0f} of compression after it", FEW_GOAL if servers == FEW else None)
        if servers == MANY:
            yield Line(f"{name}: whole cycle over (Prometheus + {PASSES} forward passes)",
                       took / (raw + PASSES * forward), "x", "", 1.0)
    yield Line(f"cost of a server at {MANY} over at {SOME}", (total[MANY] / MANY) / (total[SOME] / SOME), "x",
               "1 is linear", 1.2)
    with prometheus(SOME, hours=12) as held:
        longer = 1000 * statistics.median(Measured(held.url, held.end).took)
    yield Line(f"cycle of {SOME} with 12 h of history over 2.25 h", longer / total[SOME], "x", "1 is independent", 1.2)
