"""Which history of what fills up is read next, and which resources may be spoken of.

A resource is told only once its history was read, or was waited for in vain: six hours alone do not tell what is full
from what is meant to be. What is waited for comes first. Newcomers' history is read for all of them together, and
seldom.
"""

from collections.abc import Callable, Collection, Mapping

from forecaster.capacity.held import Held

WAIT = 600.0  # s for the history, below the 15 minutes of FleetcastCapacityBlind
SPARE = 100.0  # how many times as long as its queries took it waits before history is read for newcomers again


class History:
    """The reading of the history of these resources; clock: Unix s."""

    def __init__(self, held: Mapping[str, Held], clock: Callable[[], float]):
        self._held, self._clock = held, clock
        self._met: dict[str, float] = {}  # when a resource whose history was not read had entities first
        self._spent: dict[str, float] = {}  # s of queries for newcomers, of the last time
        self._rests: dict[str, float] = {}  # until when no more are taken up

    def told(self) -> dict[str, Held]:
        """The resources of which an Outlook may speak: those without entities, too."""
        now = self._clock()
        for name, held in self._held.items():
            if held.entities and not held.told:
                held.told = held.piece() is None or not 0 <= now - self._met.setdefault(name, now) < WAIT
        return {name: held for name, held in self._held.items() if held.told or not held.entities}

    def recall(self, name: str) -> None:
        """Takes up the newcomers of a resource, unless history was read for others a short while ago."""
        held, now = self._held[name], self._clock()
        if name in self.told() and not held.recalls:
            if name in self._spent:
                self._rests[name] = now + SPARE * self._spent.pop(name)
            if now >= self._rests.get(name, now):
                held.recall()

    def wanted(self, failing: Collection[str]) -> tuple[str, tuple[int, int]] | None:
        """(resource, piece of history to read next) but for those that fail; of one that is waited for first."""
        told = self.told()
        lacking = [(name, piece) for name, held in self._held.items()
                   if name not in failing and (piece := held.piece()) is not None]
        return min(lacking, key=lambda one: one[0] in told, default=None)

    def took(self, name: str, seconds: float) -> None:
        """So long a piece of this resource took."""
        if self._held[name].told:
            self._spent[name] = self._spent.get(name, 0.0) + seconds
