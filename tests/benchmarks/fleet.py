"""A real Prometheus that holds the past days of a simulated fleet of any size."""

import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from exporter.fleet import Fleet
from exporter.history import write_history
from exporter.profiles import FleetConfig, load_fleet
from tests.tools import tool

HOURS = 2.25  # what the longest encoder reads, and a little more
RESOLUTION = 60.0
DAYS, COARSE = 8, 1800.0  # s between samples of the days before: they are there, and cost little to make
AHEAD = 1.0  # hours of samples after now, so that a process with the machine's clock finds a fleet that goes on


@dataclass(frozen=True)
class Held:
    """Where the Prometheus answers, the instant after its newest sample, and its process."""

    url: str
    end: float
    pid: int


def fleet_of(servers: int) -> FleetConfig:
    """The shipped fleet with its profiles' shares scaled to ``servers``."""
    fleet = load_fleet()
    have = sum(fleet.servers.values())
    counts = {name: count * servers // have for name, count in fleet.servers.items()}
    counts["web_api"] += servers - sum(counts.values())
    return fleet.model_copy(update={"servers": counts})


@contextmanager
def prometheus(servers: int, hours: float = HOURS, days: float = 0.0, ahead: float = 0.0,
               resolution: float = RESOLUTION) -> Iterator[Held]:
    """Yields a running Prometheus with the last `hours`, the `days` before them and the hours `ahead` of now; it and
    its data are gone afterwards. A sample every `resolution` seconds, of the days before every COARSE."""
    now = time.time() // 300 * 300
    begin, end = now - hours * 3600, now + ahead * 3600
    with tempfile.TemporaryDirectory(prefix="fleetcast-bench-") as folder:
        data = Path(folder)
        page, blocks = data / "history.om", data / "tsdb"
        stretches = [(begin - days * 86400, begin, COARSE)] * (days > 0) + [(begin, end, resolution)]
        for first, last, apart in stretches:
            with page.open("wb") as out:
                write_history(Fleet(fleet_of(servers)), first, last, apart, out)
            subprocess.run([tool("promtool"), "tsdb", "create-blocks-from", "--max-block-duration=64h", "openmetrics",
                            page, blocks], check=True, stdout=subprocess.DEVNULL)
            page.unlink()
        (data / "prometheus.yml").write_text("global: {}\n")
        port = free_port()
        process = subprocess.Popen([
            tool("prometheus"), f"--config.file={data / 'prometheus.yml'}", f"--storage.tsdb.path={blocks}",
            f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=30d",
        ], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}"
            _await(f"{url}/-/ready")
            yield Held(url, end, process.pid)
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _await(url: str, patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
