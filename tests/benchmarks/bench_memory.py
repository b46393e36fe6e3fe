"""Whether memory stays flat: an hour of cycles as fast as they go, of small and large fleets, and the hosts' model."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

from forecaster.config import load_config
from forecaster.service.app import Forecaster
from forecaster.service.heap import give_back
from tests.benchmarks.arrays import Arrays, fleet_names, host_names
from tests.benchmarks.measure import Line, resident_mib

FEW, MANY, HOSTS = 20, 1000, 250
CYCLES, REFRESH = 240, 15.0
MARKS = (1, 60, 120, CYCLES)
TIMED = 7  # cycles of the hosts


def lines() -> Iterator[Line]:
    for servers, most, flat in ((FEW, 400, 2), (MANY, 700, 20)):
        yield from _alone(hour, servers, most, flat)
    yield from _alone(hosts, HOSTS)


def _alone(measured: Callable[..., list[Line]], *arguments: int) -> list[Line]:
    """What a process of its own finds: memory that others have left behind is no part of it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured, *arguments).result()


def hour(servers: int, most: float, flat: float) -> list[Line]:
    """An hour of refreshes of the default preset, each followed by a scrape."""
    now = [1.79e9]
    forecaster = Forecaster(lambda: load_config("fleet"), lambda: now[0])
    cycle = forecaster.parts.cycle
    cycle._source = Arrays(fleet_names(servers), len(forecaster.parts.config.signals))
    client, resident, held, kept = forecaster.app.test_client(), {}, {}, {}
    for number in range(1, CYCLES + 1):
        now[0] += REFRESH
        assert cycle.run_once(), cycle.errors
        client.get("/metrics", headers={"Accept-Encoding": "gzip"}).close()
        if number in MARKS:
            resident[number] = resident_mib()
            give_back()  # the allocator's share, which moves by tens of MiB, would hide what grows
            held[number] = resident_mib()
            kept[number] = sum(part[2].nbytes for part in cycle.memory.record._pending.values()) / 2**20
    found = [
        Line(
            f"{servers} servers after {number} cycles", value, "MiB", "a process of its own, made-up measurements", most
        )
        for number, value in resident.items()
    ]
    recorded = kept[CYCLES] - kept[MARKS[-2]]
    later = 0.047 * servers
    return [
        *found,
        Line(
            f"{servers} servers: growth of the second half of the hour",
            held[CYCLES] - held[MARKS[-2]] - recorded,
            "MiB",
            f"without {recorded:.2g} MiB of forecasts that wait for their outcome; after 8 hours they "
            f"are {later:.2g} MiB of arrays and about as much again around them",
            flat,
        ),
    ]


def hosts(servers: int) -> list[Line]:
    """Cycles of the node_exporter preset with its model, once all the history that this model reads is there."""
    now = [1.79e9]
    forecaster = Forecaster(lambda: load_config("node_exporter"), lambda: now[0])
    config, cycle = forecaster.parts.config, forecaster.parts.cycle
    cycle._source = Arrays(host_names(servers), len(config.signals))
    days = 0
    while cycle.run_once() and cycle.memory.past is not None and cycle.memory.past.piece(now[0]) is not None:
        now[0] += REFRESH
        days += 1
    stages: dict[str, list[float]] = {}
    cycle._metrics.stage = lambda name, took, ok: stages.setdefault(name, []).append(took)
    took = []
    for _ in range(TIMED):
        now[0] += REFRESH
        started = time.perf_counter()
        assert cycle.run_once(), cycle.errors
        took.append(time.perf_counter() - started)
    assert set(forecaster.parts.board.last.method) == {"tft"}, cycle.errors
    what = f"{servers} hosts x {len(config.signals)} signals"
    steps = cycle._model.context_steps
    least = servers * len(config.signals) * steps * 4 / 2**20
    return [
        Line(
            f"{what}: a cycle",
            statistics.median(took),
            "s",
            f"model {config.model!r}, {statistics.median(stages['model']):.2f} s of it; the refresh is the limit",
            config.refresh,
        ),
        Line(
            f"{what}: resident memory",
            resident_mib(),
            "MiB",
            f"{least:.0f} MiB are {steps} steps of history in float32, read within {days} refreshes",
        ),
    ]
