"""What fills up: a pass of 8,000 file systems, the reading of their history, memory, and the cycle beside it."""

import gc
import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing.connection import Connection

import orjson
import requests

from forecaster.config import load_config
from forecaster.service.app import Forecaster
from tests.benchmarks.arrays import Arrays, fleet_names
from tests.benchmarks.measure import Line, resident_mib
from tests.local_server import Request, local_server

SERVERS, MOUNTS = 1000, 8
PASSES, PIECES, REFRESH = 20, 7, 600.0
CYCLES = 8
START = 1_790_002_800.0  # a whole hour


def lines() -> Iterator[Line]:
    yield from _alone(passes)
    yield from _alone(beside)


def _alone(measured: Callable[[], list[Line]]) -> list[Line]:
    """What a process of its own finds."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured).result()


def answer(request: Request) -> None:
    """A range of made-up used shares, or sizes, of every file system."""
    start, end, step = (float(request.form[name]) for name in ("start", "end", "step"))
    request.answer(200, body(start, end, step, request.form["query"].startswith("1 -")))


@lru_cache(maxsize=4)
def body(start: float, end: float, step: float, used: bool) -> bytes:
    instants = [start + step * k for k in range(round((end - start) / step) + 1)]
    result = []
    values = [[[at, f"{0.3 + m / 20 + m * (at - START) / 5e8:.6f}" if used else "107374182400"] for at in instants]
              for m in range(MOUNTS)]
    for server, profile in zip(*fleet_names(SERVERS), strict=True):
        for m in range(MOUNTS):
            result.append({"metric": {"instance": "exporter:8001", "job": "fleet", "mountpoint": f"/data{m}",
                                      "profile": profile, "server": server}, "values": values[m]})
    return orjson.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


def _serve(url: Connection) -> None:
    with local_server(answer) as server:
        url.send(server.url)
        url.recv()  # until the other end is closed


@contextmanager
def served() -> Iterator[str]:
    """The address of a server in a process of its own: its work is not the forecaster's."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,))
    process.start()
    try:
        yield here.recv()
    finally:
        here.send(None)
        process.join()


def warm(url: str, start: float, end: float, step: float) -> None:
    """Lets the server make the answers before they are asked for."""
    for query in load_config("fleet").capacity.resources["filesystem"].query, "size":
        form = {"query": query, "start": start, "end": end, "step": step}
        requests.post(f"{url}/api/v1/query_range", form, timeout=60).close()


def _forecaster(url: str, now: list[float]) -> Forecaster:
    gc.freeze()  # as `serve` does
    return Forecaster(lambda: load_config("fleet", {"source.url": url, "source.timeout": 60}), lambda: now[0])


def passes() -> list[Line]:
    """Passes as fast as they go, and the history of four weeks between the first two."""
    now, held, took = [START], {}, []
    with served() as url:
        forecaster = _forecaster(url, now)
        watch, client = forecaster.parts.capacity, forecaster.app.test_client()
        watch.held["filesystem"].told = True  # the first pass forecasts, too
        warm(url, START - 71 * 300, START, 300)
        began = time.perf_counter()
        assert watch.run_once(), watch.errors
        first, reading, points = time.perf_counter() - began, 0.0, 0
        for _ in range(PIECES):
            piece = watch.held["filesystem"].piece()
            assert piece is not None
            warm(url, *piece, 3600)
            began = time.perf_counter()
            watch.read_piece()
            assert watch.held["filesystem"].piece() != piece, watch.state()
            reading += time.perf_counter() - began
            points += 2 * SERVERS * MOUNTS * (1 + (piece[1] - piece[0]) // 3600)
        for number in range(1, PASSES + 1):
            now[0] += REFRESH
            start, end = watch.held["filesystem"].stretch(int(now[0]))
            warm(url, start, end, 300)
            began = time.perf_counter()
            assert watch.run_once(), watch.errors
            took.append(time.perf_counter() - began)
            client.get("/metrics", headers={"Accept-Encoding": "gzip"}).close()
            gc.collect()
            held[number] = resident_mib()
    assert len(watch.board.last.entities) == SERVERS * MOUNTS
    page = sum(len(part.text) for part in watch.collector.exposition())
    series = sum(part.text.count(b"\nf") + part.text.count(b"\no") for part in watch.collector.exposition())
    what = f"{SERVERS} servers x {MOUNTS} file systems"
    return [
        Line(f"{what}: a pass", statistics.median(took), "s", f"queries included, the first one took {first:.2g} s", 2),
        Line(f"{what}: history", points / reading, "points/s",
             f"used shares and sizes of {PIECES} days in {reading:.2g} s of reading, from a loopback server",
             100_000, more=True),
        Line(f"{what}: resident memory after {PASSES} passes", held[PASSES], "MiB",
             "a process of its own", 1200),
        Line(f"{what}: growth of the second half of {PASSES} passes", held[PASSES] - held[PASSES // 2], "MiB",
             "flat", 20),
        Line(f"{what}: gauges", page / 2**20, "MiB", f"{series} series, essential ones; rendered once a pass", 16),
    ]


def beside() -> list[Line]:
    """The cycle of the signals, alone and while passes and history are read without a pause."""
    now = [START]
    with served() as url:
        forecaster = _forecaster(url, now)
        watch, cycle = forecaster.parts.capacity, forecaster.parts.cycle
        watch.held["filesystem"].told = True
        cycle._source = Arrays(fleet_names(SERVERS), len(forecaster.parts.config.signals))

        def cycles() -> list[float]:
            found = []
            for _ in range(CYCLES):
                now[0] += 15
                began = time.perf_counter()
                assert cycle.run_once(), cycle.errors
                found.append(time.perf_counter() - began)
            return found

        cycles()
        alone = cycles()
        ending = threading.Event()

        def watching() -> None:
            while not ending.is_set():
                watch.run_once()
                watch.read_piece()

        warm(url, START - 71 * 300, START, 300)
        thread = threading.Thread(target=watching)
        thread.start()
        with_it = cycles()
        ending.set()
        thread.join()
    return [Line(f"{SERVERS} servers: slowest cycle beside a watch that never pauses", max(with_it), "s",
                 f"{max(alone):.2g} s alone; a pass comes every 10 minutes; the refresh is the limit", 15)]
