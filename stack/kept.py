"""The newest of what comes, within a number of entries and of characters."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Newest(Generic[Entry]):
    """The last entries; `dropped` counts those that gave way. Not safe to use from several threads."""

    def __init__(self, number: int, characters: int):
        self.dropped = 0
        self._number, self._left = number, characters
        self._entries: deque[tuple[Entry, int]] = deque()

    def __iter__(self) -> Iterator[Entry]:
        return (entry for entry, _ in self._entries)

    def add(self, entry: Entry, characters: int) -> None:
        """Keeps an entry of so many characters, and drops the oldest beyond the bounds."""
        self._entries.append((entry, characters))
        self._left -= characters
        while len(self._entries) > self._number or (self._left < 0 and len(self._entries) > 1):
            self._left += self._entries.popleft()[1]
            self.dropped += 1
