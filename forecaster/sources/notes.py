"""What a source leaves out of an answer, and how it says so: by reason, with a count and the first examples."""

import logging
from collections.abc import Iterable

EXAMPLES = 3  # shown of each reason
LENGTH = 300  # characters of an example or of another system's warning
QUIET = 3600.0  # s; what was not said for that long is logged again

log = logging.getLogger(__name__)


class Notes:
    """Reasons, how often each was met, and the first examples of each."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, list[str]]] = {}
        self.left_out = 0  # series or values that are not used

    def add(self, reason: str, examples: Iterable[object], count: int, left_out: bool = True) -> None:
        """Notes `count` more cases; `examples` are only looked at as far as they are shown."""
        held, shown = self._found.get(reason, (0, []))
        for _, example in zip(range(EXAMPLES - len(shown)), examples, strict=False):
            shown.append(str(example)[:LENGTH])
        self._found[reason] = held + count, shown
        self.left_out += count if left_out else 0

    def join(self, other: "Notes", of: str = "") -> None:
        """Adds all of the other's, each example after `of`."""
        for reason, (count, examples) in other._found.items():
            self.add(reason, [of + example for example in examples], count, False)
        self.left_out += other.left_out

    def texts(self) -> dict[str, str]:
        """Reason -> sentence with count and examples."""
        return {reason: f"{reason}: {count}, for example {'; '.join(examples)}"
                for reason, (count, examples) in self._found.items()}


class LoggedOnce:
    """Logs a warning when it is new, and again only after it was not met for an hour."""

    def __init__(self) -> None:
        self._met: dict[tuple[str, str], float] = {}

    def warn(self, what: str, texts: dict[str, str], now: float) -> None:
        """Logs, after `what`, the texts whose keys are new at `now` (s)."""
        self._met = {key: met for key, met in self._met.items() if abs(now - met) < QUIET}
        if new := [text for key, text in texts.items() if (what, key) not in self._met]:
            log.warning("%s: %s", what, "; ".join(new))
        self._met |= {(what, key): now for key in texts}
