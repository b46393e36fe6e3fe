"""A real Prometheus that serves given samples and scrapes nothing."""

import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.tools import tool


@contextmanager
def stored(folder: Path, lines: Iterable[str], prefix: str = "", *flags: str) -> Iterator[str]:
    """The address of a Prometheus, for the length of a with block, that holds these lines of OpenMetrics text; it
    answers under the path `prefix`."""
    (folder / "history.om").write_text("\n".join([*lines, "# EOF", ""]))
    subprocess.run([tool("promtool"), "tsdb", "create-blocks-from", "--max-block-duration=64h", "openmetrics",
                    "history.om", "data"], cwd=folder, check=True, capture_output=True)
    (folder / "prometheus.yml").write_text("global: {evaluation_interval: 15s}\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    url = f"http://{address}{prefix}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [tool("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data",
             "--storage.tsdb.retention.time=100y", f"--web.external-url={url}", f"--web.listen-address={address}",
             *flags], cwd=folder, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 30
        while not _ready(url):
            assert process.poll() is None and time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=2).status_code == 200
    except requests.ConnectionError:
        return False
