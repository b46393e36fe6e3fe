"""The forecasts' text: rendered, compressed, and handed to a scrape while a forward pass is running."""

import gzip
import threading
from collections.abc import Iterator

import numpy as np
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from results import Clock, curves, make_result

from forecaster.collector import ForecastCollector
from forecaster.config import load_config
from forecaster.cycle import LARGEST_SCRAPE
from forecaster.model import DEFAULT, Model
from forecaster.result import Board
from serving.exposition import metrics_response
from tests.benchmarks.fleet import fleet_of
from tests.benchmarks.inputs import inputs
from tests.benchmarks.measure import Line, seconds, side_by_side

SERIES = 100_000
PEERS = 5_000  # series rendered by prometheus_client, to compare rates


def result_of(servers: int, seed: int = 0):
    """A Result of that many servers of the shipped fleet with the eight signals; values with all their digits."""
    fleet, signals = fleet_of(servers), tuple(load_config("fleet").signals)
    names = [(f"{fleet.profiles[p].prefix}{i:03d}", p) for p, count in fleet.servers.items() for i in range(1, count + 1)]
    noise = np.random.default_rng(seed).lognormal(size=(servers, len(signals), 96, 3)).astype(np.float32)
    forecast = np.sort(curves(servers, len(signals)) % 97 + noise, -1)
    return make_result([n for n, _ in names], [p for _, p in names], signals, forecast=forecast)


def collector_of(result):
    config = load_config("fleet")
    board = Board(120.0)
    board.publish(result)
    return ForecastCollector(board, config.horizons, config.windows, {}, Clock())


def lines() -> Iterator[Line]:
    whole, config = result_of(1000), load_config("fleet")
    collector = collector_of(whole)
    size = collector.prepare(whole)
    each = sum(part.text.count(b"\n") - 2 * part.text.count(b"# TYPE") for part in collector.exposition()) / 1000
    yield Line("series of one server, default preset", each, "series", "3 percentiles x 5 horizons x 8 signals and more")
    yield Line("page of 1,000 servers", size / 2**20, "MiB", "some scrapers take 16; publish fewer horizons or shard")
    yield Line("page of one server", size / 1000 / 1024, "KiB", f"{LARGEST_SCRAPE // (size // 1000)} servers fit 16 MiB")

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
    yield Line(f"body of {SERIES:,} series", size / 2**20, "MiB", f"horizons {', '.join(config.horizons)}", 16)

    text = b"".join(part.text for part in collector.exposition())
    packing = side_by_side({"1": lambda: gzip.compress(text, 1, mtime=0), "9": lambda: gzip.compress(text, 9, mtime=0)}, 3, 0)
    yield Line("gzip level 1, once a cycle", 1000 * packing["1"], "ms", f"level 9: {1000 * packing['9']:.0f} ms")

    collector.pack(results[0])
    model = Model.load(DEFAULT, "cpu")
    x, stop = inputs(model, 1000), threading.Event()

    def forward():
        while not stop.is_set():
            model.engine(x)

    busy = threading.Thread(target=forward)
    busy.start()
    try:
        for name, headers in (("plain", {}), ("gzip", {"Accept-Encoding": "gzip"})):
            answer = seconds(lambda headers=headers: metrics_response(
                CollectorRegistry(), collector.exposition(), headers).get_data(), 15)
            yield Line(f"a scrape answered during a forward pass, {name}", 1000 * answer, "ms", "", 150)
    finally:
        stop.set()
        busy.join()
    counted = {name: sum(len(f.samples) for f in parse(text)) for name, text, parse in _both(collector)}
    yield Line("series both parsers of prometheus_client read", counted["text"], "series",
               f"OpenMetrics: {counted['openmetrics']}")


def _both(collector):
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    for name, headers, parse in (("text", {}, parse_text), ("openmetrics", accept, parse_openmetrics)):
        yield name, metrics_response(CollectorRegistry(), collector.exposition(), headers).get_data(as_text=True), parse
