"""Bytes on a connection to a service that listens: request lines, headers, bodies, and clients that stop half-way."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import requests

from tests.fuzz import mutate, wire
from tests.fuzz.judge import check
from tests.fuzz.kind import Kind
from tests.season.programs import ROOT, free_ports
from tests.soak.processes import Usage, usage

WAIT = 0.25  # s for an answer to what need not have one
READY = 40.0  # s
HEALTHY = 10.0  # s that health may take on a busy machine; a service that is silenced never answers
ODD = (
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
    b"GET / HTTP/1.1\nHost: 127.0.0.1\n\n",
    b"GET / HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
    b"G" * 70_000,
    b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
    b"GET / HTTP/1.1\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nx",
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxGET / HTTP/1.1\r\n\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nSCRIPT_NAME: /x\r\n\r\n",
    b"GET /\x1b[2J HTTP/1.1\r\nHost: \x1b[2J\r\nUser-Agent: \x1b[31m\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxxx",
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
)


class PagerSockets(Kind):
    """The pager; the others are started with another command."""

    name, inputs = "sockets-pager", 60
    megabytes = 400.0
    paths: Sequence[str] = ("/", "/page", "/ticket", "/heartbeat", "/received", "/-/healthy", "/-/reload")
    command: Sequence[str] = ("-m", "stack.pager", "--web.listen-address", "{address}")

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._address = "127.0.0.1", free_ports(1)[0]
        self._log = Path(self._folder.name, "log")
        names = {"address": f"127.0.0.1:{self._address[1]}", "folder": self._folder.name}
        words = [word.format(**names) for word in self.command]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=log, stderr=log,
                                             stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + READY
        while not self._healthy():
            assert time.monotonic() < deadline and self._process.poll() is None, f"not ready: {self._tail()}"
            time.sleep(0.05)
        self._before: Usage | None = None

    def draw(self, chance: random.Random) -> bytes:
        if chance.random() < 0.25:
            given = chance.choice(ODD)
            return mutate.data(chance, given, 2) if chance.random() < 0.3 else given
        given = wire.request(chance, (*self.paths, "/metrics", "/status"), (b'{"alerts": []}', b"x" * 3000))
        if chance.random() < 0.3:
            given = given[:chance.randrange(len(given) + 1)]
        if chance.random() < 0.3:
            head, end, body = given.partition(b"\r\n\r\n")
            given = mutate.data(chance, head, 3) + end + body
        return given * chance.choice((1, 1, 1, 3))  # several on one connection

    def run(self, given: bytes) -> None:
        with socket.create_connection(self._address, 2) as client, suppress(ConnectionError, TimeoutError):
            client.settimeout(2)
            client.sendall(given)
            if len(given) % 2:
                client.shutdown(socket.SHUT_WR)
            client.settimeout(WAIT)
            answer = b""
            while len(answer) < 1 << 16 and (part := client.recv(1 << 16)):
                answer += part
        self._told(locals().get("answer", b""))
        check(self._process.poll() is None, "the process has ended")
        check(self._healthy(), f"health does not answer within {HEALTHY:g} s")
        text = self._log.read_bytes()
        check(not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", text), "the log holds control characters")
        check(b"Traceback" not in text or self._cleared(), "the log holds a traceback")
        self._before = self._before or usage(self._process.pid)

    def _told(self, answer: bytes) -> None:
        for status in re.findall(rb"^HTTP/1\.[01] (\d{3}) ", answer[:1 << 12], flags=re.MULTILINE):
            refused_reload = status == b"500" and b'"settings"' in answer
            check(int(status) < 500 or status in (b"501", b"503", b"505") or refused_reload, f"HTTP {status.decode()}")

    def _cleared(self) -> bool:
        """Empties the log, so that a traceback is found once; False."""
        os.truncate(self._log, 0)
        return False

    def _healthy(self) -> bool:
        with suppress(requests.RequestException, ConnectionError):
            url = f"http://127.0.0.1:{self._address[1]}/-/healthy"
            return requests.get(url, timeout=HEALTHY, headers={"Connection": "close"}).status_code == 200
        return False

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-500:]

    def close(self) -> None:
        """Wrong where threads, descriptors or memory have grown; then ends the process."""
        try:
            if self._before is not None and self._process.poll() is None:
                self._grown(self._before)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(8)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._folder.cleanup()

    def _grown(self, before: Usage) -> None:
        deadline = time.monotonic() + 20  # connections that are half done may be kept for some seconds
        while (now := usage(self._process.pid)) and now.descriptors > before.descriptors + 20:
            check(time.monotonic() < deadline, f"descriptors grew from {before.descriptors} to {now.descriptors}")
            time.sleep(0.5)
        check(now.threads <= before.threads + 20, f"threads grew from {before.threads} to {now.threads}")
        more = now.megabytes - before.megabytes
        check(more < 100, f"memory grew by {more:.0f} MB")


class ExporterSockets(PagerSockets):
    """The exporter."""

    name, inputs = "sockets-exporter", 0
    paths = ("/", "/metrics", "/status", "/scenario/set", "/-/healthy", "/-/reload")
    command = ("-m", "exporter", "serve", "--web.listen-address", "{address}", "--storage.path", "{folder}")


class ForecasterSockets(PagerSockets):
    """The forecaster, of a Prometheus that does not answer."""

    name, inputs = "sockets-forecaster", 0
    paths = ("/", "/metrics", "/predictions/current", "/alerts", "/api/v1/read", "/capacity", "/-/healthy", "/-/reload")
    command = ("-m", "forecaster", "serve", "--config.file", "fleet", "--model", "none", "--source.url",
               "http://127.0.0.1:9", "--web.listen-address", "{address}", "--storage.path", "{folder}")
