"""Curves of 1,000 servers written into a real VictoriaMetrics once a step: encoding, compression, its own work."""

import gzip
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from forecaster.config import load_config
from forecaster.publish.push import SERVERS, Push
from forecaster.publish.push import lines as encoded
from forecaster.sources.transport import http_session
from tests.benchmarks.bench_exposition import result_of
from tests.benchmarks.measure import Line, seconds
from tests.integration.test_victoria_metrics import victoria

MANY = 1000


def lines() -> Iterator[Line]:
    result, limit = result_of(MANY), load_config("fleet").push.timeout
    batches = np.split(np.arange(MANY), range(SERVERS, MANY, SERVERS))

    def encode():
        return [encoded(result, batch) for batch in batches]

    parts = encode()
    plain, samples = b"".join(text for text, _ in parts), sum(count for _, count in parts)
    packed = [gzip.compress(text, 1, mtime=0) for text, _ in parts]
    encoding = seconds(encode, 5)
    packing = seconds(lambda: [gzip.compress(text, 1, mtime=0) for text, _ in parts], 3, 0)
    with tempfile.TemporaryDirectory(prefix="fleetcast-bench-") as folder, victoria(Path(folder)) as url:
        push = Push(url, http_session(1), 60.0)
        writing = seconds(lambda: push.send(result), 3)
    yield Line(f"curves of {MANY:,} servers encoded", 1000 * encoding, "ms",
               f"{samples:,} samples, {samples / encoding / 1e6:.1f} M a second")
    yield Line(
        "compressed", 1000 * packing, "ms", f"gzip level 1, {len(plain) / sum(map(len, packed)):.1f} times smaller"
    )
    yield Line(
        "written, VictoriaMetrics' part included",
        writing,
        "s",
        "once every 5 minutes; push.timeout is the limit",
        limit,
    )
    yield Line(
        "VictoriaMetrics' part and the network's", writing - encoding - packing, "s", "what no client could save"
    )
    yield Line("bytes of one server's curves", len(plain) / MANY / 1024, "KiB",
               f"{sum(map(len, packed)) / MANY / 1024:.1f} KiB compressed, {samples // MANY} samples")
