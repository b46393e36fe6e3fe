"""Serves a WSGI application over HTTP: an event loop, on Tornado, that reads requests and writes answers.

A request reaches the application (serving.net.lanes) once it is whole, so that a slow client occupies no thread;
deadlines and bounds are those of serving.net.connections.
"""

import asyncio
import io
import logging
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from functools import partial
from typing import cast

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters, HTTP1ServerConnection
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError
from tornado.netutil import add_accept_handler, ssl_wrap_socket

from serving.net.connections import Connections, Limits, Peer, Secure, Stream
from serving.net.lanes import Lanes
from serving.net.origin import secured
from serving.net.streams import BEAT, COMMENT, MOST, PAUSE, SILENCE, STREAM, Feed, Places
from serving.net.traffic import Traffic
from serving.net.wsgi import Answer, Application, Environ, environ, problem, refusal, run

log = logging.getLogger(__name__)

_BUSY = partial(refusal, "503 Service Unavailable", "too many requests wait for an answer", "service",
                "fewer requests at once; try again in a second", ("Retry-After", "1"))
_TOO_MANY = partial(refusal, "503 Service Unavailable", "too many pages follow the updates", "service",
                    "fewer open pages; this one is read anew every 30 s", ("Retry-After", "30"))
_FAILED = partial(refusal, "500 Internal Server Error", "the service failed to answer; its log has the details",
                  "service", "an answer; try again, and report the problem if it persists")
_TOGETHER = 1 << 16  # bytes of a body that are sent in one piece with the headers
_READ = 1 << 18  # bytes of a connection that are read ahead: heads and parts of bodies
_UNBOUNDED = 1 << 62  # Tornado's bound on a body: here the application answers one that is too large


class Server(HTTPServerConnectionDelegate):
    """Accepts connections on a listening socket, in the running event loop.

    body_limit: bytes of a body; of a larger one, the application gets the length only. tls: asked for each connection.
    access: told of each request (see serving.net.access). traffic: counts what is not served.
    """

    def __init__(self, application: Application, listener: socket.socket, body_limit: int,
                 tls: Callable[[], ssl.SSLContext | None] = lambda: None, limits: Limits | None = None,
                 access: Callable[[str, str, str, int, int, float], None] | None = None,
                 traffic: Traffic | None = None):
        logging.getLogger("tornado.general").setLevel(logging.ERROR)  # below, it has lines for what clients do
        self.application, self.body_limit = application, body_limit
        self.access = access or (lambda *request: None)
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self.lanes = Lanes()
        self.traffic = traffic or Traffic()
        self.connections = Connections(limits or Limits(), self.traffic)
        self.connections.refused = lambda peer, status: self.access(peer.client, "", "", status, 0, 0.0)
        self._tls = tls
        head_bytes = self.connections.limits.head_bytes
        self._parameters = HTTP1ConnectionParameters(max_header_size=head_bytes, max_body_size=_UNBOUNDED)
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop itself keeps no reference
        self.streams = Places(min(MOST, self.connections.limits.connections // 4))
        self._listener = listener
        listener.setblocking(False)
        self._unlisten = add_accept_handler(listener, self._accept)

    async def close(self, seconds: float) -> None:
        """Accepts no more connections and closes the open ones; waits up to `seconds` for those that are answered."""
        self._unlisten()
        self._listener.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end and any(peer.phase in ("work", "send") for peer in self.connections.open):
            await asyncio.sleep(0.02)
        for peer in [*self.connections.open]:
            peer.close()

    def _accept(self, connection: socket.socket, address: tuple[str, int]) -> None:
        try:
            if (context := self._tls()) is not None:
                connection = ssl_wrap_socket(connection, context, do_handshake_on_connect=False, server_side=True)
        except OSError as error:  # the client has left
            self.traffic.handshake_failed(address[0], error)
            connection.close()
            return
        if isinstance(connection, ssl.SSLSocket):
            secure = Secure(connection, max_buffer_size=_READ)
            self.spawn(self._shake(Peer(self.connections, secure, address[0], "handshake"), secure))
        else:
            self._begin(Peer(self.connections, Stream(connection, max_buffer_size=_READ), address[0], "head"))

    async def _shake(self, peer: Peer, stream: Secure) -> None:
        if stream.closed():  # there was no room
            return
        try:
            await stream.wait_for_handshake()
        except OSError as error:
            self.traffic.handshake_failed(peer.client, stream.error or error)
            peer.close()
        else:
            peer.enter("head")
            self._begin(peer)

    def _begin(self, peer: Peer) -> None:
        HTTP1ServerConnection(peer.stream, self._parameters, peer).start_serving(self)

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """The next request of a connection."""
        connection = cast(HTTP1Connection, request_conn)
        peer = cast(Peer, connection.context)
        if peer.answering:
            peer.end()
            peer.enter("idle")
        return _Exchange(self, peer, connection)

    def on_close(self, server_conn: object) -> None:
        """The end of a connection."""
        cast(Peer, cast(HTTP1ServerConnection, server_conn).context).close()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Starts a coroutine."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Exchange(HTTPMessageDelegate):
    """One request and its answer."""

    def __init__(self, server: Server, peer: Peer, connection: HTTP1Connection):
        self._server, self._peer, self._connection = server, peer, connection
        self._environ: Environ = {}
        self._path = ""
        self._status = self._size = 0  # of the answer
        self._begun = time.monotonic()
        self._body: bytearray | None = bytearray()  # None: handed over to the application
        self._left = self._running = False  # the client has left; a thread has begun

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        """Refuses what is malformed, and waits for the body."""
        method, target, version = cast(RequestStartLine, start_line)
        lines = [*headers.get_all()]
        if (found := problem(method, version, target, lines)) is not None:
            self._peer.problem = found
            raise HTTPInputError(found[0])
        host, port = self._server.address
        self._path, self._begun = target.partition("?")[0], time.monotonic()
        self._environ = environ(method, target, version, lines) | {
            "SERVER_NAME": host, "SERVER_PORT": str(port), "REMOTE_ADDR": self._peer.client,
            "wsgi.url_scheme": "https" if isinstance(self._peer.stream, Secure) else "http"}
        self._peer.ended = self._end
        self._peer.enter("body")
        length = headers.get("Content-Length", "0")
        if length.isdecimal() and len(length) < 20 and int(length) > self._server.body_limit:
            self._hand_over(int(length))

    def data_received(self, chunk: bytes) -> None:
        """Takes a part of the body."""
        if self._body is None:
            return
        self._body += chunk
        size = len(self._body)
        if size > self._server.body_limit:
            self._hand_over(size)
        else:
            self._peer.hold(size)

    def finish(self) -> None:
        """The request is whole."""
        if self._body is not None:
            self._hand_over(len(self._body))

    def on_connection_close(self) -> None:
        """The connection ended before the request was whole."""
        self._peer.close()

    def _hand_over(self, length: int) -> None:
        """Gives the request to the application: without its body where that is too large."""
        if self._body and length <= self._server.body_limit:
            self._environ["wsgi.input"] = io.BytesIO(self._body)
        if length:
            self._environ["CONTENT_LENGTH"] = str(length)
        self._body = None
        self._peer.enter("work")
        self._server.spawn(self._answer())

    async def _answer(self) -> None:
        lane = self._server.lanes.of(self._environ["PATH_INFO"])
        job = lane.submit(self._work)
        if job is None:
            self._server.traffic.refused(lane.name)
            answer = _BUSY()
        else:
            try:
                answer = await asyncio.wrap_future(job)
            except Exception:
                log.exception("a request was not answered")
                answer = _FAILED()
        if self._left:
            return
        try:
            feed = self._environ.pop(STREAM, None)
            if feed is None or not answer.status.startswith("200") or self._environ["REQUEST_METHOD"] != "GET":
                self._send(answer)
            elif not self._server.streams.free(feed.viewer):
                self._send(_TOO_MANY())
            else:
                with self._server.streams.take(feed.viewer):
                    await self._follow(answer, feed)
        except StreamClosedError:
            pass
        except Exception:  # what the application wrote into a header cannot be sent
            log.exception("an answer was not sent")
            if self._peer.answering:
                self._peer.close()
            else:
                self._send(_FAILED())

    def _work(self) -> Answer:
        """The application's answer; in a thread of the lane."""
        self._running = True
        return Answer("", []) if self._left else run(self._server.application, self._environ)

    async def _follow(self, answer: Answer, feed: Feed) -> None:
        """Writes an answer's head, then a feed's messages as they come, until it is over or the client leaves."""
        lane, silent = self._server.lanes.of(self._environ["PATH_INFO"]), 0.0
        status, reason, headers = _head(answer)
        headers.pop("Content-Length", None)
        self._status, self._peer.answering = status, True
        self._peer.stream.set_nodelay(True)
        await self._connection.write_headers(ResponseStartLine("", status, reason), headers, COMMENT)
        while not (self._left or feed.over):
            text = b""
            if feed.due() and (job := lane.submit(feed.message)) is not None:
                text = await asyncio.wrap_future(job)
            silent += PAUSE
            if text or silent >= SILENCE:
                silent, text = 0.0, text or BEAT
                self._size += len(text)
                self._peer.enter("send")
                self._peer.hold(len(text))
                await self._connection.write(text)
                self._peer.hold(0)
            self._peer.enter("stream")
            await asyncio.sleep(PAUSE)
        if not self._left:
            self._connection.finish()

    def _send(self, answer: Answer) -> None:
        """Writes an answer; the stream sends it as fast as the client reads."""
        code, reason, headers = _head(answer)
        body = answer.body
        if self._environ["REQUEST_METHOD"] == "HEAD" or code in (204, 304):
            body = []
        elif "Content-Length" not in headers:
            headers.add("Content-Length", str(answer.size))
        self._status, self._size = code, sum(map(len, body))
        together = b"".join(body) if self._size <= _TOGETHER else None
        self._peer.answering = True
        self._peer.enter("send")
        self._peer.hold(self._size)
        self._peer.stream.set_nodelay(True)
        self._connection.write_headers(ResponseStartLine("", self._status, reason), headers, together)
        if together is None:
            for part in body:
                self._connection.write(part)
        self._connection.finish()

    def _end(self) -> None:
        """After the answer, or the end of the connection."""
        self._left = True
        if not self._running:
            self._environ["wsgi.input"] = io.BytesIO()  # the request stays in its lane, without its body
        if self._status:
            self._server.access(self._peer.client, self._environ["REQUEST_METHOD"], self._path, self._status,
                                self._size, time.monotonic() - self._begun)


def _head(answer: Answer) -> tuple[int, str, HTTPHeaders]:
    """Status, reason and all headers of an answer."""
    status, reason = answer.status.split(" ", 1)
    headers = HTTPHeaders()
    for name, value in (*secured(answer.headers), ("Date", formatdate(usegmt=True))):
        headers.add(name, value)
    return int(status), reason, headers
