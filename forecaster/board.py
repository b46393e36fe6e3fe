"""The board on which the threads that show results find the latest one."""

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Aged(Protocol):
    """A result that knows its age."""

    def age(self, now: float) -> float:
        """Seconds since it was made."""


Item = TypeVar("Item", bound=Aged)


class Board(Generic[Item]):
    """Holds the latest result.

    One older than `ttl` seconds is no longer current: `current` is for showing forecasts, `last` for ages.
    """

    def __init__(self, ttl: float):
        self.ttl = ttl
        self._lock = threading.Lock()
        self._last: Item | None = None

    def publish(self, result: Item) -> None:
        """Makes `result` the latest."""
        with self._lock:
            self._last = result

    @property
    def last(self) -> Item | None:
        """The latest of any age; None before the first."""
        with self._lock:
            return self._last

    def current(self, now: float) -> Item | None:
        """The latest; None before the first, and where it is older than the time-to-live."""
        result = self.last
        return result if result is not None and result.age(now) <= self.ttl else None


class Derived(Board[Item]):
    """A board whose latest result is what `look` makes of another's."""

    def __init__(self, ttl: float, look: Callable[[], Item | None]):
        super().__init__(ttl)
        self._look = look

    @property
    def last(self) -> Item | None:
        """The latest of any age; None before the first."""
        return self._look()
