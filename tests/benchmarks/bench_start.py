"""From launch to a served forecast, and the memory of the process that serves."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.benchmarks.bench_cycle import REFRESH
from tests.benchmarks.fleet import free_port, prometheus
from tests.benchmarks.measure import Line, resident_mib

FEW, MANY = 20, 1000
HEAVY = ("lightning", "pandas", "pytorch_forecasting", "sklearn", "matplotlib")


@contextmanager
def forecaster(url: str, now: float, storage: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """`fleet-forecaster serve` whose clock began at ``now`` at its launch, since the history it reads ends there."""
    port = free_port()
    shift = f"import time; real, begun = time.time, time.time(); time.time = lambda: real() - begun + {now}\n"
    program = shift + "from forecaster.__main__ import main; raise SystemExit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "serve", "--source.url", url, "--web.listen-address", f"127.0.0.1:{port}",
         "--storage.path", str(storage)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def ready(url: str, process: subprocess.Popen, patience: float = 120.0) -> float:
    """Seconds until there is a forecast."""
    started = time.perf_counter()
    while time.perf_counter() - started < patience:
        assert process.poll() is None, "the forecaster has ended"
        with suppress(OSError, urllib.error.HTTPError), urllib.request.urlopen(f"{url}/-/ready", timeout=5):
            return time.perf_counter() - started
        time.sleep(0.02)
    raise AssertionError("no forecast in time")


def lines() -> Iterator[Line]:
    took = {}
    for name, module in (("torch", "torch"), ("the forecaster's application", "forecaster.service.app")):
        times = []
        for _ in range(4):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
            times.append(time.perf_counter() - started)
        took[name] = sorted(times[1:])[1]
        yield Line(f"importing {name}", took[name], "s", "a fresh process")
    probe = f"import sys, forecaster.service.app, forecaster.__main__; print([m for m in {HEAVY} if m in sys.modules])"
    heavy = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True).stdout
    yield Line(
        "training libraries imported to serve", len(json.loads(heavy.replace("'", '"'))), "", ", ".join(HEAVY), 0
    )
    for servers, most in ((FEW, 500), (MANY, 900)):
        with prometheus(servers) as held, tempfile.TemporaryDirectory() as storage:
            times = []
            for _ in range(3 if servers == FEW else 1):
                with forecaster(held.url, held.end - 60, Path(storage) / str(len(times))) as (url, process):
                    times.append(ready(url, process))
                    if len(times) == (3 if servers == FEW else 1):
                        time.sleep(2 * REFRESH)
                        memory = resident_mib(process.pid)
            limit = 6.0 if servers == FEW else None
            yield Line(
                f"{servers} servers: launch to forecast",
                sorted(times)[len(times) // 2],
                "s",
                "2 h of history fetched",
                limit,
            )
            yield Line(f"{servers} servers: resident memory", memory, "MiB", "the worker, two refreshes later", most)
    yield Line("cores", len(os.sched_getaffinity(0)), "")
