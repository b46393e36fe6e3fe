"""The forecasts' text: rendered, compressed, and handed to a scrape while a forward pass is running."""

import gzip
import http.client
import os
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from flask import Flask
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from forecaster.board import Board
from forecaster.config import load_config
from forecaster.publish.collector import ForecastCollector
from forecaster.publish.self_metrics import LARGEST_SCRAPE
from forecaster.risk.score import COMPONENTS
from forecaster.service.app import Forecaster
from serving.exposition import metrics_response
from tests.benchmarks.arrays import Arrays, fleet_names
from tests.benchmarks.inputs import inputs
from tests.benchmarks.measure import Line, side_by_side
from tests.results import Clock, curves, incidents_of, make_result

ROOT = Path(__file__).resolve().parent.parent.parent
SERIES = 100_000
PEERS = 5_000  # series rendered by prometheus_client, to compare rates
SCRAPES = 31


def result_of(servers: int, seed: int = 0):
    """A Result of that many servers of the shipped fleet with the eight signals; values with all their digits. Every
    tenth server has its three incidents ahead."""
    signals = tuple(load_config("fleet").signals)
    noise = np.random.default_rng(seed).lognormal(size=(servers, len(signals), 96, 3)).astype(np.float32)
    forecast = np.sort(curves(servers, len(signals)) % 97 + noise, -1)
    every = [(server, incident) for server in range(0, servers, 10) for incident in range(3)]
    incidents = incidents_of(servers, chance=dict.fromkeys(every, (0.6, 0.7)), begins=dict.fromkeys(every, 3600),
                             recurring=(3, 7))
    return make_result(*fleet_names(servers), signals, forecast=forecast, incidents=incidents)


def collector_of(result):
    config = load_config("fleet")
    board = Board(120.0)
    board.publish(result)
    scored = [getattr(config.risk.roles, name) for name in COMPONENTS]
    return ForecastCollector(board, config.horizons, config.windows, {}, Clock(), scored)


def lines() -> Iterator[Line]:
    whole = result_of(1000)
    collector = collector_of(whole)
    size = collector.prepare(whole)
    each = sum(part.text.count(b"\n") - 2 * part.text.count(b"# TYPE") for part in collector.exposition()) / 1000
    yield Line(
        "series of one server, default preset", each, "series", "publish.gauges: essential, 8 signals", 60
    )
    yield Line("page of 1,000 servers", size / 2**20, "MiB", "some scrapers take 16", 16)
    yield Line(
        "page of one server", size / 1000 / 1024, "KiB", f"{LARGEST_SCRAPE // (size // 1000)} servers fit 16 MiB"
    )

    servers = round(SERIES / each)
    results = [result_of(servers, seed) for seed in (1, 2, 3)]
    collector = collector_of(results[0])
    turn = iter(range(10**6))
    registry = CollectorRegistry()
    gauge = Gauge("forecast_cpu_pct", "A gauge.", ("server", "profile", "percentile", "horizon"), registry=registry)
    for i in range(PEERS):
        gauge.labels(f"ppweb{i:04d}", "web_api", "p50", "30m").set(i * 1.2345)
    took = side_by_side({
        "ours": lambda: collector.prepare(results[next(turn) % 3]), "client": lambda: generate_latest(registry)})
    rendering = took["ours"]
    size = collector.prepare(results[0])
    yield Line(f"{SERIES:,} series rendered", SERIES / rendering / 1000, "k series/s", "", 500, more=True)
    yield Line("prometheus_client renders", PEERS / took["client"] / 1000, "k series/s", f"{PEERS} series")
    yield Line(f"body of {SERIES:,} series", size / 2**20, "MiB", f"{servers:,} servers", 16)

    text = b"".join(part.text for part in collector.exposition())
    packing = side_by_side(
        {"1": lambda: gzip.compress(text, 1, mtime=0), "9": lambda: gzip.compress(text, 9, mtime=0)}, 3, 0
    )
    yield Line("gzip level 1, once a cycle", 1000 * packing["1"], "ms", f"level 9: {1000 * packing['9']:.0f} ms")

    yield from _scraped(servers)
    counted = {name: sum(len(f.samples) for f in parse(text)) for name, text, parse in _both(collector)}
    yield Line("series both parsers of prometheus_client read", counted["text"], "series",
               f"OpenMetrics: {counted['openmetrics']}")


def _both(collector):
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    for name, headers, parse in (("text", {}, parse_text), ("openmetrics", accept, parse_openmetrics)):
        yield name, metrics_response(CollectorRegistry(), collector.exposition(), headers).get_data(as_text=True), parse


# -- scrapes of the application as it is served ------------------------------------------------------------------


def busy(servers: int) -> Flask:
    """The forecaster's application of that many servers after a cycle; forward passes follow each other without a
    pause in its process."""
    forecaster = Forecaster(lambda: load_config("fleet"), Clock())
    cycle = forecaster.parts.cycle
    cycle._source = Arrays(fleet_names(servers), len(forecaster.parts.config.signals))
    assert cycle.run_once(), cycle.errors
    model = cycle._model
    x = inputs(model, servers)

    def passes():
        while True:
            model.engine(x)

    threading.Thread(target=passes, daemon=True).start()
    return forecaster.app


@contextmanager
def served(servers: int) -> Iterator[http.client.HTTPConnection]:
    """A connection to the application above, as it is served, in a process of its own."""
    program = "import sys; from serving.web import serve; from tests.benchmarks.bench_exposition import busy; " \
              "serve(lambda: busy(int(sys.argv[1])), '127.0.0.1:0', 'bench')"
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    process = subprocess.Popen([sys.executable, "-c", program, str(servers)], env=os.environ | {"PYTHONPATH": path},
                               stderr=subprocess.PIPE, text=True)
    try:
        address = process.stderr.readline().strip().removeprefix("bench: listening on http://")
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield http.client.HTTPConnection(address, timeout=120)
    finally:
        process.terminate()
        process.wait(20)


def _scraped(servers: int) -> Iterator[Line]:
    """Scrapes over HTTP, timed by who asks, so that sockets and the forecaster's own metrics are part of it."""
    with served(servers) as connection:
        for name, headers in (("plain", {}), ("gzip", {"Accept-Encoding": "gzip"})):
            _scrape(connection, headers)  # the very first waits for the first cycle
            first, last, bodies = zip(*(_scrape(connection, headers) for _ in range(SCRAPES)), strict=True)
            text = gzip.decompress(bodies[-1]) if headers else bodies[-1]
            series = sum(not line.startswith(b"#") for line in text.splitlines())
            assert b"forecaster_build_info" in text and series > 0.99 * SERIES
            yield Line(f"a scrape over HTTP during forward passes, {name}", 1000 * statistics.median(last), "ms",
                       f"{series:,} series, {len(bodies[-1]) / 2**20:.1f} MiB; first byte after "
                       f"{1000 * statistics.median(first):.0f}, slowest of {SCRAPES} {1000 * max(last):.0f}", 150)


        yield from (_health(connection, count) for count in (200, 2000))


def _health(connection: http.client.HTTPConnection, slow: int) -> Line:
    """Health on new connections while so many clients have not finished their request line."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as clients:
        for _ in range(slow):
            client = clients.enter_context(socket.create_connection((connection.host, connection.port), 30))
            client.sendall(b"GET /-/hea")
        took = []
        for _ in range(SCRAPES):
            started = time.perf_counter()
            asked = http.client.HTTPConnection(connection.host, connection.port, timeout=30)
            asked.request("GET", "/-/healthy", headers={"Connection": "close"})
            assert asked.getresponse().read() == b"fleet-forecaster is healthy.\n"
            took.append(time.perf_counter() - started)
    return Line(f"health during forward passes, {slow:,} slow connections", 1000 * statistics.median(took[1:]), "ms",
                f"first {1000 * took[0]:.0f}, slowest of the others {1000 * max(took[1:]):.0f}", 100)


def _scrape(connection: http.client.HTTPConnection, headers: dict[str, str]) -> tuple[float, float, bytes]:
    """(seconds until the answer begins, until it ends, its body)."""
    started = time.perf_counter()
    connection.request("GET", "/metrics", headers=headers)
    answer = connection.getresponse()
    begun = time.perf_counter()
    body = answer.read()
    ended = time.perf_counter()
    assert answer.status == 200 and (answer.headers["Content-Encoding"] == "gzip") == bool(headers)
    return begun - started, ended - started, body
