"""A source of made-up measurements: for what is measured of the forecaster itself, not of where values come from."""

import numpy as np

from forecaster.readings import Reading, Readings
from tests.benchmarks.fleet import fleet_of


def fleet_names(servers: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and profiles of the shipped fleet with that many servers."""
    fleet = fleet_of(servers)
    named = [
        (f"{fleet.profiles[p].prefix}{i:03d}", p) for p, count in fleet.servers.items() for i in range(1, count + 1)
    ]
    return tuple(name for name, _ in named), tuple(profile for _, profile in named)


def host_names(servers: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Addresses as node_exporter's are labelled, all of the profile such hosts have."""
    return tuple(f"10.0.{n // 250}.{n % 250}:9100" for n in range(servers)), ("generic",) * servers


class Arrays:
    """Every signal of every server keeps its level, and noise on it; each call draws anew."""

    def __init__(self, names: tuple[tuple[str, ...], tuple[str, ...]], signals: int):
        self.names, self.rng = names, np.random.default_rng(0)
        self.level = self.rng.uniform(5, 65, (len(names[0]), signals)).astype(np.float32)

    def _values(self, *shape: int) -> np.ndarray:
        return (self.level * self.rng.lognormal(sigma=0.05, size=(*shape, *self.level.shape))).astype(np.float32)

    def latest(self, instant: float) -> Reading:
        return Reading(instant, *self.names, self._values())

    def range(self, start: float, end: float, step: float, offset: float = 0.0) -> Readings:
        instants = np.arange(start, end + step / 2, step)
        return Readings(instants, *self.names, self._values(len(instants)))

    def close(self) -> None:
        """Has nothing to close."""

    def describe(self) -> dict:
        return {"kind": "arrays"}
