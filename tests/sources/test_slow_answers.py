"""Answers that never end: the request ends at its deadline, with its thread and its socket."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import repeat

import pytest

from forecaster.sources.crew import gather
from forecaster.sources.transport import fetch, http_session
from tests.local_server import local_server
from tests.prometheus_answers import good

TIMEOUT = 0.3  # s
DRIP = 0.05  # s between two bytes: far more often than any read times out
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def dripped(head: bytes, then: bytes) -> Callable[[], Iterator[bytes]]:
    """`head` at once, then these bytes one by one, again and again."""
    def pieces() -> Iterator[bytes]:
        yield head
        while True:
            for byte in then:
                yield bytes([byte])
    return pieces


SLOW = {
    "a status line without an end": dripped(b"", b"H"),
    "headers": dripped(HEAD, b"X-A: b\r\n"),
    "one header without an end": dripped(HEAD, b"x"),
    "interim answers": dripped(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a chunk size": dripped(CHUNKED, b"0"),
    "a chunk": dripped(CHUNKED + b"ffff\r\n", b"x"),
    "trailers": dripped(CHUNKED + b"0\r\n", b"X-A: b\r\n"),
    "a body": dripped(HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
    "a body up to the end of the connection": dripped(HEAD + b"Connection: close\r\n\r\n", b"x"),
    "the body of a refusal that is asked for again": dripped(
        b"HTTP/1.1 503 Busy\r\nContent-Length: 100000\r\n\r\n", b"x"),
}


@contextmanager
def answering(pieces: Callable[[], Iterator[bytes]], pause: float) -> Iterator[str]:
    """A server that answers every connection with these pieces, until the client closes it."""
    listening, threads = socket.create_server(("127.0.0.1", 0)), []

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            for piece in pieces():
                connection.sendall(piece)
                time.sleep(pause)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=answer, args=listening.accept()[:1]))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join()
        for thread in threads:
            thread.join()  # hangs, and fails, if a connection is left open


def held() -> tuple[int, int]:
    """Threads that fetch, and descriptors."""
    return sum(thread.name.startswith("fetch") for thread in threading.enumerate()), len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("what", SLOW)
def test_an_answer_that_drips_ends_at_the_deadline_with_its_connection(what):
    before = held()
    with answering(SLOW[what], DRIP) as url, http_session(backoff=0.01) as session:
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=f"no answer within {TIMEOUT}s"):
            fetch(session, "GET", url, TIMEOUT, 1 << 20)
        assert time.monotonic() - began < TIMEOUT + 1
    assert held() == before


def test_a_flood_of_interim_answers_ends_at_the_deadline():
    interim = repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
    with answering(lambda: interim, 0) as url, http_session() as session, pytest.raises(TimeoutError):
        fetch(session, "GET", url, TIMEOUT, 1 << 20)


@pytest.mark.parametrize("head", [b"X-A: b\r\n" * 10_000, b"X-A: " + b"b" * 100_000 + b"\r\n"])
def test_more_headers_than_any_server_sends_are_no_answer(head):
    with (answering(lambda: iter([HEAD + head]), 0) as url, http_session(retries=0) as session,
          pytest.raises(ConnectionError, match="100 headers|header line")):
        fetch(session, "GET", url, 5.0, 1 << 20)


def test_a_handshake_that_drips_ends_as_well():
    with answering(dripped(b"", b"\x16\x03\x03\x40\x00\x02"), DRIP) as url, http_session(retries=0) as session:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            fetch(session, "GET", url.replace("http:", "https:"), TIMEOUT, 1 << 20)
        assert time.monotonic() - began < TIMEOUT + 3, "it drips for 13 minutes; authorities are read before it"


def test_the_threads_of_a_round_end_with_their_deadline_and_not_with_the_answer():
    before = held()
    with answering(SLOW["headers"], DRIP) as url, http_session() as session:
        for _ in range(3):
            answers = gather([partial(fetch, session, "GET", url, TIMEOUT, 1 << 20)] * 4, 4, 0.1)
            assert all(isinstance(answer, TimeoutError) for answer in answers)
        end = time.monotonic() + TIMEOUT + 5.0  # with pauses between attempts; the answer drips for longer
        while held()[0] > before[0] and time.monotonic() < end:
            time.sleep(0.01)
        assert held()[0] == before[0]
    assert held() == before


def test_what_an_earlier_answer_took_is_not_counted_against_the_next():
    with local_server(good) as server, http_session() as session:
        for _ in range(3):
            fetch(session, "GET", server.url, TIMEOUT, 1 << 20)
            time.sleep(TIMEOUT / 2)
        assert len(server._connections) == 1
