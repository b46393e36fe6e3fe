"""A real Prometheus, for the length of a with block."""

import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.tools import tool


@contextmanager
def running(folder: Path, config: str, *flags: str, address: str = "", prefix: str = "") -> Iterator[str]:
    """The address of a Prometheus with this configuration, for the length of a with block: it answers, on `address`
    (default: a free port of this machine) under the path `prefix`. Its files are in `folder`."""
    (folder / "prometheus.yml").write_text(config)
    if not address:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
    url = f"http://{address}{prefix}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [tool("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data",
             f"--web.external-url={url}", f"--web.listen-address={address}", *flags],
            cwd=folder, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 30
        while not _ready(url):
            assert process.poll() is None and time.monotonic() < until, (folder / "prometheus.log").read_text()
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def stored(folder: Path, lines: Iterable[str], prefix: str = "", *flags: str) -> Iterator[str]:
    """Like `running`, with these lines of OpenMetrics text in its storage; it scrapes nothing."""
    (folder / "history.om").write_text("\n".join([*lines, "# EOF", ""]))
    subprocess.run([tool("promtool"), "tsdb", "create-blocks-from", "--max-block-duration=64h", "openmetrics",
                    "history.om", "data"], cwd=folder, check=True, capture_output=True)
    with running(folder, "global: {evaluation_interval: 15s}\n", "--storage.tsdb.retention.time=100y", *flags,
                 prefix=prefix) as url:
        yield url


def _ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=2).status_code == 200
    except requests.ConnectionError:
        return False
