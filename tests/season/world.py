"""What is so: twenty servers on two exporters, their values, and a log of how each was."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from forecaster.sources.shard import Shard
from tests.season.exporter import SIGNALS
from tests.season.stretches import Stretch

SHARDS = 2
WELL = dict(zip(SIGNALS, (30.0, 40.0, 50.0), strict=True))
OVERLOADED = dict(zip(SIGNALS, (99.0, 99.0, 900.0), strict=True))  # P1 from the values alone, without any forecast
BIG, SMALL = "big", "small"  # most of each shard's servers are on one exporter


@dataclass
class Server:
    """One server and when it was overloaded, or silent."""

    exporter: str
    shard: int
    overloaded: list[Stretch] = field(default_factory=list)
    silent: list[Stretch] = field(default_factory=list)

    @property
    def is_overloaded(self) -> bool:
        """Whether it is, now."""
        return _lasts(self.overloaded)

    @property
    def is_silent(self) -> bool:
        """Whether it is, now."""
        return _lasts(self.silent)


class World:
    """The fleet; `clock` gives fast seconds. What it says is written to `file`, which the exporters read."""

    def __init__(self, file: Path, clock: Callable[[], float], per_shard: int = 10):
        self._file, self._clock = file, clock
        self.servers: dict[str, Server] = {}
        self._refused: tuple[str, ...] = ()
        self._holes = 0.0
        for shard in range(SHARDS):
            names = (name for n in range(1000) if Shard(shard, SHARDS).owns(name := f"web{n:03d}"))
            for place, name in zip(range(per_shard), names, strict=False):
                self.servers[name] = Server(SMALL if 4 * place >= 3 * per_shard else BIG, shard)
        self._write()

    def overload(self, server: str, yes: bool) -> None:
        """Begins or ends an incident of a server."""
        self._mark(self.servers[server].overloaded, yes)

    def silence(self, server: str, yes: bool) -> None:
        """A server dies, or is back."""
        self._mark(self.servers[server].silent, yes)

    def refuse(self, *signals: str) -> None:
        """Queries of these signals are refused, of the others no more."""
        self._refused = signals
        self._write()

    def holes(self, share: float) -> None:
        """This share of all samples is missing."""
        self._holes = share
        self._write()

    def _mark(self, stretches: list[Stretch], yes: bool) -> None:
        lasting = _lasts(stretches)
        if yes and not lasting:
            stretches.append((self._clock(), float("inf")))
        elif lasting and not yes:
            stretches[-1] = stretches[-1][0], self._clock()
        self._write()

    def _write(self) -> None:
        servers = {name: {"exporter": one.exporter, "silent": one.is_silent,
                          **(OVERLOADED if one.is_overloaded else WELL)} for name, one in self.servers.items()}
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps({"servers": servers, "refused": self._refused, "holes": self._holes}))
        fresh.replace(self._file)  # readers see the old file or the new one


def _lasts(stretches: list[Stretch]) -> bool:
    """Whether the last one has no end."""
    return bool(stretches) and stretches[-1][1] == float("inf")
