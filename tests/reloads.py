"""Reloads of a forecaster's process while clients read, and what the process holds meanwhile.

`python -m tests.reloads 200` starts an exporter, a Prometheus with five hours of history and a forecaster with the
default model, reloads the forecaster that often, and prints its threads, descriptors and memory.
"""

import http.client
import statistics
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import cramjam

from forecaster.publish import remote_pb as pb
from stack.layout import Layout
from stack.parts import plan
from stack.up import Stack
from tests.soak.processes import usage

PAGES = ("/", "/metrics", "/status", "/predictions/current", "/ui/capacity", "/ui/record", "/ui/alerts")
CURVES = "/api/v1/read"
EVERYTHING = bytes(cramjam.snappy.compress_raw(pb.ReadRequest(queries=[pb.Query(
    start_timestamp_ms=0, end_timestamp_ms=1 << 60,
    matchers=[pb.LabelMatcher(type=pb.EQ, name="source", value="curve")])]).SerializeToString()))
SNAPPY = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}


@dataclass
class Clients:
    """Clients that read a forecaster until the end of a `with` block: its pages, its curves, and the stream of a page.

    failed: (path, status, the beginning of the answer) where that is not 200, or lacks the name of a server. answers
    and updates: how many came.
    """

    port: int
    server: bytes
    failed: list[tuple[str, int, bytes]] = field(default_factory=list)
    answers: int = 0
    updates: int = 0

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=one) for one in (self._pages, self._curves, self._stream)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _pages(self) -> None:
        while not self._stop.wait(0.2):
            for path in PAGES:
                self._ask("GET", path, named=not path.startswith("/ui/"))

    def _curves(self) -> None:
        while not self._stop.wait(0.2):
            self._ask("POST", CURVES)

    def _ask(self, method: str, path: str, named: bool = True) -> None:
        status, text = ask(self.port, method, path, *(EVERYTHING, SNAPPY) if path == CURVES else ())
        if path == CURVES and status == 200:
            text = bytes(cramjam.snappy.decompress_raw(text))
        if status != 200 or (named and self.server not in text):
            self.failed.append((path, status, text[:200]))
        self.answers += 1

    def _stream(self) -> None:
        """Connects anew when the stream ends, as a browser does."""
        while not self._stop.is_set():
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
                connection.request("GET", "/ui/events?view=fleet")
                answer = connection.getresponse()
                if answer.status != 200:
                    self.failed.append(("/ui/events", answer.status, answer.read()[:200]))
                    return
                while not self._stop.is_set() and (line := answer.readline()):
                    self.updates += line.startswith(b"data: {") and self.server in line


def ask(port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None,
        ) -> tuple[int, bytes]:
    """(status, body) of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def reload(port: int) -> float:
    """Reloads a forecaster that has --web.enable-lifecycle; how long it took, in seconds."""
    began = time.perf_counter()
    status, text = ask(port, "POST", "/-/reload")
    assert status == 200, text
    return time.perf_counter() - began


def main(reloads: int) -> None:
    """Prints what the forecaster holds, ten times."""
    layout = Layout.elsewhere(Path(tempfile.mkdtemp()))
    chosen = plan(layout, without=("grafana", "pager", "alertmanager", "forecaster-node", "node-exporter"))
    parts = [replace(part, command=(*part.command, "--web.enable-lifecycle")) if part.name == "forecaster" else part
             for part in chosen.parts]
    stack, port = Stack(layout, replace(chosen, parts=tuple(parts)), 0.2), layout.ports["forecaster"]
    with stack:
        stack.prepare()
        stack.start(120)
        pid, took = stack.runner.states()["forecaster"].pid, []
        with Clients(port, b"ppdb001") as clients:
            print(f"{'reloads':>8}{'threads':>9}{'descriptors':>13}{'MiB':>7}{'s each':>8}")
            for n in range(1, reloads + 1):
                took.append(reload(port))
                if n % max(1, reloads // 10) == 0:
                    held, each = usage(pid), statistics.mean(took[-max(1, reloads // 10):])
                    print(f"{n:8}{held.threads:9}{held.descriptors:13}{held.megabytes:7.0f}{each:8.2f}", flush=True)
            time.sleep(5)  # for the work that the last reload began
            held = usage(pid)
        print(f"at the end {held}; {clients.answers} answers, {clients.updates} updates, failed: {clients.failed[:3]}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
