"""The connections of a service: a deadline for each phase, and bounds on their number and on the bytes held for them.

Beyond a bound, the connection that has waited longest for its client is closed: a client that is served gets by.
The phases of a connection:

    handshake   of TLS
    head        request line and headers
    body        the request's body
    work        in the application; no deadline
    send        the answer
    stream      between two messages of a stream; no deadline
    idle        until the next request begins
"""

import asyncio
import resource
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

from tornado.iostream import IOStream, SSLIOStream, UnsatisfiableReadError

from serving.net.origin import secured
from serving.net.traffic import Traffic
from serving.net.wsgi import refusal

_UNREAD = 16  # times 64 KiB
_MALFORMED = ("the request is malformed", "request", "a request of HTTP/1.1 (RFC 9112)")


def _connections() -> int:
    """Half of the descriptors that this process may open, at most 512."""
    return min(512, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


@dataclass(frozen=True)
class Limits:
    """Seconds of each phase, and sizes. A connection may be idle for longer than any usual scrape interval."""

    handshake: float = 10.0
    head: float = 10.0
    body: float = 30.0
    send: float = 60.0
    idle: float = 75.0
    connections: int = field(default_factory=_connections)
    head_bytes: int = 32 << 10
    held_bytes: int = 256 << 20  # bodies that are read and answers that are sent, of all connections


class Connections:
    """All open connections."""

    def __init__(self, limits: Limits, traffic: Traffic):
        self.limits, self.traffic = limits, traffic
        self.refused: Callable[[Peer, int], object] = lambda peer, status: None  # told of each malformed request
        self.open: set[Peer] = set()
        self.held = 0  # bytes
        self._waiting: dict[Peer, None] = {}  # those in a phase with a deadline, the longest waiting first

    def enter(self, peer: "Peer", phase: str) -> asyncio.TimerHandle | None:
        """Notes a connection's new phase; its deadline, if it has one."""
        self._waiting.pop(peer, None)
        seconds: float | None = getattr(self.limits, phase, None)
        if seconds is None:
            return None
        self._waiting[peer] = None
        return asyncio.get_running_loop().call_later(seconds, peer.close, f"{phase}_timeout")

    def add(self, peer: "Peer") -> None:
        """Adds a connection, in place of another if there are too many."""
        self.open.add(peer)
        while len(self.open) > self.limits.connections:
            next(iter(self._waiting), peer).close("connection_limit")

    def hold(self, size: int) -> None:
        """Adds to the bytes held."""
        self.held += size
        while self.held > self.limits.held_bytes:
            longest = next((peer for peer in self._waiting if peer.held), None)
            if longest is None:
                break
            longest.close("memory_limit")


class Peer:
    """One connection: its phase, and what is held for it."""

    def __init__(self, connections: Connections, stream: "Stream", client: str, phase: str):
        self.stream, self.client = stream, client
        self.phase, self.held = phase, 0
        self.problem = _MALFORMED  # error, field and expected of the answer to a request that Tornado refuses
        self.answering = self.refused = False
        self.ended: Callable[[], object] = lambda: None  # called once the request under way is over
        self._connections = connections
        self._timer = connections.enter(self, phase)
        stream.peer = self
        connections.add(self)

    def enter(self, phase: str) -> None:
        """Begins a phase."""
        if self.phase == "closed":
            return
        self.phase = phase
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._connections.enter(self, phase)

    def hold(self, size: int) -> None:
        """Sets the bytes that are held for this connection."""
        if self.phase != "closed":
            more, self.held = size - self.held, size
            self._connections.hold(more)

    def refuse(self, status: str, error: str, field: str, expected: str) -> bytes:
        """The whole answer to a malformed request, after which the connection ends."""
        self.refused = True
        answer = refusal(status, error, field, expected, ("Connection", "close"))
        self._connections.refused(self, int(status[:3]))
        head = "".join(f"{name}: {value}\r\n" for name, value in secured(answer.headers))
        return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + b"".join(answer.body)

    def end(self) -> None:
        """Ends the request under way, if there is one."""
        ended, self.ended = self.ended, lambda: None
        self.answering, self.problem = False, _MALFORMED
        self.hold(0)
        ended()

    def close(self, reason: str | None = None) -> None:
        """Closes the connection; reason: of those of serving.net.traffic, None if there is nothing to count."""
        if self.phase != "closed":
            if reason is not None:
                self._connections.traffic.closed(reason)
            self.hold(0)
            self.enter("closed")
            self._connections.open.discard(self)
            self.stream.close()
            self.end()


class Stream(IOStream):
    """A stream that tells when a request begins, and answers a malformed one in JSON."""

    peer: Peer

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """Ends the idle phase with the first byte."""
        size = super().read_from_fd(buf)
        if size and self.peer.phase == "idle":
            self.peer.enter("head")
        return size

    def write(self, data: bytes | memoryview) -> "asyncio.Future[None]":
        """Replaces what Tornado writes outside of an answer, other than 100 Continue: its bare 400."""
        if not self.peer.answering and b" 100 " not in bytes(data[:16]):
            data = self.peer.refuse("400 Bad Request", *self.peer.problem)
        return super().write(data)

    def close(
        self,
        exc_info: None
        | bool
        | BaseException
        | tuple[type[BaseException] | None, BaseException | None, TracebackType | None] = False,
    ) -> None:
        """Says so where a head is too large."""
        with suppress(OSError):
            if isinstance(exc_info, UnsatisfiableReadError) and not self.peer.answering and not self.closed():
                self.write_to_fd(memoryview(self.peer.refuse(
                    "431 Request Header Fields Too Large", "the request line and headers are too large", "headers",
                    "shorter ones")))
            if self.peer.refused and not self.closed():
                for _ in range(_UNREAD):  # bytes that nobody has read would discard the answer
                    if not self.read_from_fd(bytearray(1 << 16)):
                        break
        super().close(exc_info)


class Secure(Stream, SSLIOStream):
    """A stream with TLS."""
