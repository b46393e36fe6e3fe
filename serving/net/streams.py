"""Streams: an answer without an end, whose messages are sent as they come (server-sent events, HTML's section 9.2).

A view of the application puts a Feed into the environment of its request, under STREAM, and answers 200 with the
headers; serving.net.http writes the messages. A client that does not read one is closed after Limits.send seconds.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Protocol

STREAM = "serving.stream"  # the key in the WSGI environment
MOST = 128  # streams at once of a service; a viewer has half of them at most (Places)
PAUSE = 1.0  # seconds between two looks for something to send
SILENCE = 15.0  # seconds after which a beat shows that the stream lives; scripts see no comments
COMMENT = b":\n\n"
BEAT = b"event: beat\ndata: 1\n\n"


class Feed(Protocol):
    """What a client listens to."""

    viewer: Hashable  # who listens: clients with an equal one share their places

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
        self.viewer, self.due, self.message = feed.viewer, feed.due, feed.message

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._feed.over or not self._valid()


class Places:
    """Places of streams, at most `most`. A viewer takes no more than are free then, so that it leaves to the others as
    many as it has: the first one takes half of them at most, the next half of the rest, and so on."""

    def __init__(self, most: int):
        self._most, self.taken = most, Counter[Hashable]()

    def free(self, viewer: Hashable) -> bool:
        """Whether there is a place for another stream of this viewer."""
        return self.taken[viewer] < self._most - self.taken.total()

    @contextmanager
    def take(self, viewer: Hashable) -> Iterator[None]:
        """A place until the end of the `with` block."""
        self.taken[viewer] += 1
        try:
            yield
        finally:
            self.taken[viewer] -= 1
            self.taken += Counter()  # forgets viewers without one
