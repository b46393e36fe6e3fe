"""A WSGI application behind serving.net.http, on a port of its own of loopback."""

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Self

from serving.net.connections import Limits
from serving.net.http import Server
from serving.net.runner import bind
from serving.net.traffic import Traffic
from serving.net.wsgi import Application

QUICK = Limits(handshake=0.2, head=0.2, body=0.2, send=0.2, idle=0.2)


class Served:
    """Serves in a thread, until the end of a `with` block."""

    def __init__(self, application: Application, limits: Limits | None = None, body_limit: int = 1 << 20,
                 tls: Callable[[], ssl.SSLContext | None] = lambda: None, traffic: Traffic | None = None):
        self.log: list[tuple] = []  # of serving.net.access
        self.listener = bind("127.0.0.1:0")
        self.address = self.listener.getsockname()
        self._made = application, self.listener, body_limit, tls, limits
        self._traffic = traffic
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.server = Server(*self._made, access=lambda *request: self.log.append(request),
                             traffic=self._traffic)
        self._up.set()
        await self._stop.wait()
        await self.server.close(0.2)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def phases(self) -> list[str]:
        """The phases of the open connections."""
        return [peer.phase for peer in self.server.connections.open.copy()]

    def connect(self, text: bytes = b"") -> socket.socket:
        """A connection on which `text` was sent."""
        connection = socket.create_connection(self.address, timeout=10)
        connection.sendall(text)
        return connection

    def ask(self, text: bytes) -> "Reply":
        """The whole reply to `text`; the connection ends after it."""
        with self.connect(text) as connection:
            return Reply(everything(connection))

    def get(self, path: str, *headers: str) -> "Reply":
        """The reply to a GET."""
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
        return self.ask("\r\n".join([*lines, "", ""]).encode("latin-1"))


class Reply:
    """A reply as it was sent."""

    def __init__(self, text: bytes):
        self.text = text
        head, _, self.body = text.partition(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(start.split(" ")[1]) if start else 0
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def json(self) -> dict:
        """Its body."""
        assert self.headers["content-type"] == "application/json", self.text
        return json.loads(self.body)


def everything(connection: socket.socket) -> bytes:
    """What arrives until the other side closes."""
    parts = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)
