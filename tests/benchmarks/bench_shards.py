"""A fleet in shards: picking a share, the cycle of one of two shards beside the whole, and how even shares are."""

import statistics
from collections.abc import Iterator

import numpy as np

from forecaster.readings import Reading
from forecaster.sources.shard import Shard, number
from tests.benchmarks.bench_cycle import Measured
from tests.benchmarks.bench_exposition import result_of
from tests.benchmarks.fleet import prometheus
from tests.benchmarks.measure import Line, seconds

SERVERS, FLEET, SHARDS = 1000, 100_000, 50
PROFILES = ("db", "web", "ml", "risk")
SOME = Shard(0, 2)


def lines() -> Iterator[Line]:
    yield from _picking()
    yield from _cycles()
    yield from _sizes()


def _picking() -> Iterator[Line]:
    result = result_of(SERVERS)
    reading = Reading(result.issued, result.servers, result.profiles, result.observed)
    series = [{"server": server, "profile": "p"} for server in result.servers for _ in result.signals]

    def anew():
        number.cache_clear()
        return SOME.share(reading)

    first = seconds(anew, 15)
    yield Line(
        f"a share out of a reading of {SERVERS:,} servers",
        1000 * seconds(lambda: SOME.share(reading), 15),
        "ms",
        f"{1000 * first:.2g} ms where no name was hashed before",
    )
    yield Line(f"a share out of {len(series):,} series of an answer",
               1000 * seconds(lambda: SOME.owned(series, "server"), 15), "ms", "by their label sets")


def _cycles() -> Iterator[Line]:
    took = {}
    with prometheus(SERVERS) as held:
        for name, given in (("whole", {}), ("half", {"shard": SOME.ordinal, "total_shards": SOME.total})):
            measured = Measured(held.url, held.end, **given)
            took[name], servers = 1000 * statistics.median(measured.took), len(measured.cycle.memory.window.servers)
            raw = 1000 * statistics.median(measured.raw)
            yield Line(f"cycle of {servers} of {SERVERS} servers", took[name], "ms",
                       f"Prometheus answers for all {SERVERS}: {raw:.0f} ms, query {measured.ms('query'):.0f}, "
                       f"model {measured.ms('model'):.0f}")
    yield Line("cycle of one of two shards over the whole", took["half"] / took["whole"], "x",
               f"{servers / SERVERS:.2f} is the share; Prometheus answers for the whole all the same")


def _sizes() -> Iterator[Line]:
    """Names as a large fleet might have them, and which of them each shard would take."""
    names = tuple(f"pp{profile}{n:05d}" for profile in PROFILES for n in range(FLEET // len(PROFILES)))
    fleet = Reading(0.0, names, ("p",) * FLEET, np.zeros((FLEET, 1), np.float32))
    counts = [len(Shard(n, SHARDS).share(fleet).servers) for n in range(SHARDS)]
    even, chance = FLEET / SHARDS, (FLEET / SHARDS * (1 - 1 / SHARDS)) ** 0.5
    for which, found in (("largest", max(counts)), ("smallest", min(counts))):
        yield Line(
            f"{which} of {SHARDS} shards of {FLEET:,} servers",
            found,
            "servers",
            f"{even:,.0f} is even, {100 * (found / even - 1):+.1f} %; {chance:.0f} is one standard deviation",
        )
