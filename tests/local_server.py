"""A real HTTP server on a loopback port whose answers a test decides."""

import copy
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs


class Request(BaseHTTPRequestHandler):
    """One request; `body` as it was sent and read as a `form`, `answer` sends a whole response."""

    protocol_version = "HTTP/1.1"
    body: bytes
    form: dict[str, str]

    def answer(self, status: int, body: str | bytes, **headers: str) -> None:
        """Sends a response of this status and body; `Content_Length` and the like go into headers."""
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in {"Content_Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.form = {name: values[0] for name, values in parse_qs(self.body.decode(errors="replace")).items()}
        self.server.seen.append(copy.copy(self))  # the same object serves the connection's next request
        try:
            self.server.respond(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has hung up, as some tests want it to

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class LocalServer(ThreadingHTTPServer):
    """Answers with `respond`, which a test may replace; `seen` are the requests so far."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, respond: Callable[[Request], None]):
        super().__init__(("127.0.0.1", 0), Request)
        self.respond = respond
        self.seen: list[Request] = []
        self._connections: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accepts a connection and remembers it."""
        connection, address = super().get_request()
        self._connections.append(connection)
        return connection, address

    def handle_error(self, *_: object) -> None:
        """Says nothing about clients that hung up; anything else fails the test."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            raise error

    def hang_up(self) -> None:
        """Ends all connections, idle ones too, so that their threads end."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        """Its address without a path."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def local_server(respond: Callable[[Request], None]) -> Iterator[LocalServer]:
    """Runs a server in a thread for the length of a with block."""
    with LocalServer(respond) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            server.hang_up()
