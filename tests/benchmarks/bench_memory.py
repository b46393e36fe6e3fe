"""Whether memory stays flat: an hour of cycles at 1,000 servers, as fast as they go."""

import gc
from collections.abc import Iterator

import numpy as np

from forecaster.app import Forecaster
from forecaster.config import load_config
from forecaster.readings import Reading, Readings
from tests.benchmarks.bench_exposition import result_of
from tests.benchmarks.measure import Line, resident_mib

SERVERS, CYCLES, REFRESH = 1000, 240, 15.0
MARKS = (1, 60, 120, CYCLES)


class Arrays:
    """A source of made-up measurements: what is measured is what the forecaster keeps, not where it comes from."""

    def __init__(self):
        result = result_of(SERVERS)
        self.names, self.rng = (result.servers, result.profiles), np.random.default_rng(0)
        self.level = result.observed.astype(np.float32) % 60 + 5

    def _values(self, *shape: int) -> np.ndarray:
        return (self.level * self.rng.lognormal(sigma=0.05, size=(*shape, *self.level.shape))).astype(np.float32)

    def latest(self, instant: float) -> Reading:
        return Reading(instant, *self.names, self._values())

    def range(self, start: float, end: float, step: float) -> Readings:
        instants = np.arange(start, end + step / 2, step)
        return Readings(instants, *self.names, self._values(len(instants)))

    def describe(self) -> dict:
        return {"kind": "arrays"}


def lines() -> Iterator[Line]:
    now = [1.79e9]
    forecaster = Forecaster(lambda: load_config("fleet"), lambda: now[0])
    cycle = forecaster.parts.cycle
    cycle._source = Arrays()
    client, held, kept = forecaster.app.test_client(), {}, {}
    for number in range(1, CYCLES + 1):
        now[0] += REFRESH
        assert cycle.run_once()
        client.get("/metrics", headers={"Accept-Encoding": "gzip"}).close()
        if number in MARKS:
            gc.collect()
            held[number] = resident_mib()
            kept[number] = sum(part[2].nbytes for part in cycle.record._pending.values()) / 2**20
            yield Line(f"{SERVERS} servers after {number} cycles", held[number], "MiB", "this process, sources of noise included")
    recorded = kept[CYCLES] - kept[MARKS[-2]]
    yield Line("growth of the second half of the hour", held[CYCLES] - held[MARKS[-2]] - recorded, "MiB",
               f"without {recorded:.0f} MiB of forecasts that wait for their outcome, at most 47 MiB after 8 hours", 20)
