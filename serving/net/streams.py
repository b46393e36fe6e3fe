"""Streams: an answer without an end, whose messages are sent as they come (server-sent events, HTML's section 9.2).

A view of the application puts a Feed into the environment of its request, under STREAM, and answers 200 with the
headers; serving.net.http writes the messages. A client that does not read one is closed after Limits.send seconds.
"""

from collections.abc import Callable
from typing import Protocol

STREAM = "serving.stream"  # the key in the WSGI environment
MOST = 64  # streams at once of a service
PAUSE = 1.0  # seconds between two looks for something to send
SILENCE = 15.0  # seconds after which a beat shows that the stream lives; scripts see no comments
COMMENT = b":\n\n"
BEAT = b"event: beat\ndata: 1\n\n"


class Feed(Protocol):
    """What a client listens to."""

    @property
    def over(self) -> bool:
        """Whether it has ended, as at a reload; the client then connects anew."""

    def due(self) -> bool:
        """Whether there is something to send. It is called on the event loop: it reads no file, socket or database."""

    def message(self) -> bytes:
        """The next message, empty for none. It is called in a thread of the request's lane."""


class While:
    """A feed that is over, too, as soon as `valid` returns False; it is called on the event loop."""

    def __init__(self, feed: Feed, valid: Callable[[], bool]):
        self._feed, self._valid = feed, valid
        self.due, self.message = feed.due, feed.message

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._feed.over or not self._valid()
