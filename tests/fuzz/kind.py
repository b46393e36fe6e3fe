"""A kind of input: how one is drawn, and what takes it."""

import random
from abc import ABC, abstractmethod


class Kind(ABC):
    """What is fuzzed; made once and given many inputs, each whole and independent of the ones before.

    inputs: of one run in CI. seconds, megabytes: what one input may take, of processor time and of memory.
    """

    name: str
    inputs: int
    seconds = 2.0
    megabytes = 200.0

    @abstractmethod
    def draw(self, chance: random.Random) -> bytes:
        """An input."""

    @abstractmethod
    def run(self, given: bytes) -> None:
        """Takes an input; Wrong or any other exception is a finding."""

    def close(self) -> None:  # noqa: B027  most have nothing to end
        """Ends what was started; Wrong for what only all inputs together show."""
