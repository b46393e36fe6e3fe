"""From launch to a served forecast, and the memory of the process that serves."""

import json
import os
import signal
import statistics
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
from tests.benchmarks.fleet import AHEAD, DAYS, free_port, prometheus
from tests.benchmarks.measure import Line, cpu_seconds, peak_mib, resident_mib

FEW, MANY = 20, 1000
STARTS = 3
SETTLED = 17  # refreshes, after which the whole window is read
HEAVY = ("lightning", "pandas", "pytorch_forecasting", "sklearn", "matplotlib")


@contextmanager
def forecaster(url: str, storage: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """`fleet-forecaster serve`, with snapshots in `storage`."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "forecaster", "serve", "--source.url", url, "--web.listen-address",
         f"127.0.0.1:{port}", "--storage.path", str(storage)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
    for servers, goal, most in ((FEW, 6.0, 400), (MANY, 10.0, 700)):
        yield from _starts(servers, goal, most)
    yield Line("cores", len(os.sched_getaffinity(0)), "")


def _starts(servers: int, goal: float, most: float) -> Iterator[Line]:
    """Starts beside a Prometheus that holds days, without a snapshot and with one: medians of STARTS. The first one
    goes on until the whole window is read."""
    held_by = prometheus(servers, days=DAYS, ahead=AHEAD, resolution=REFRESH)
    with held_by as held, tempfile.TemporaryDirectory() as folder:
        for kind in ("without a snapshot", "with a snapshot"):
            wall, ours, theirs = [], [], []
            for number in range(STARTS):
                before = cpu_seconds(held.pid)
                storage = Path(folder) / (str(number) if kind.startswith("without") else "0")
                with forecaster(held.url, storage) as (url, process):
                    wall.append(ready(url, process))
                    ours.append(cpu_seconds(process.pid))
                    theirs.append(cpu_seconds(held.pid) - before)
                    if kind.startswith("without") and number == 0:
                        time.sleep(SETTLED * REFRESH)
                        yield Line(f"{servers} servers: resident memory", resident_mib(process.pid), "MiB",
                                   f"{SETTLED} refreshes after the first forecast; {peak_mib(process.pid):.0f} MiB at "
                                   "most until then", most)
            what, load = f"{servers} servers {kind}:", os.getloadavg()[0]
            spent, asked = statistics.median(ours), statistics.median(theirs)
            yield Line(f"{what} launch to forecast", statistics.median(wall), "s",
                       f"processor: {spent:.1f} s, and {asked:.1f} s of Prometheus; load average {load:.1f}", goal)
