"""The clock of the source: this machine's clock, corrected by how far the two differ.

The `Date` of each answer (RFC 9110, section 6.6.1) is the source's time in whole seconds. Half a second is added to it,
and compared with the middle of the time that this machine waited for it. An answer that took long tells little, so that
only the faster half of a reading's answers counts, and of these the median.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from statistics import median

TOLERANCE = 2.0  # s; a difference below it is as likely that of the measurement
PROBLEM = 300.0  # s; a larger difference is followed too, and is shown as an error
_KEPT = 256  # answers between two readings

log = logging.getLogger(__name__)


class SourceClock:
    """Called, returns Unix seconds of the source's clock; without `follow` those of `own`, whatever is heard.

    `measured` is the source's clock minus the own one in s, None while unknown. `offset` is the correction that
    applies. It changes only where it is more than TOLERANCE from what is measured, so that time does not jitter.
    """

    def __init__(self, own: Callable[[], float] = time.time, follow: bool = True):
        self.own, self._follow = own, follow
        self._lock = threading.Lock()  # around the answers: requests run in threads
        self.forget()

    def __call__(self) -> float:
        return self.own() + self.offset

    def forget(self) -> None:
        """Begins anew, for another source."""
        self.measured: float | None = None
        self.offset = 0.0
        self._heard: deque[tuple[float, float]] = deque(maxlen=_KEPT)  # (s waited, source minus own)

    def heard(self, date: str | None, asked: float, waited: float) -> None:
        """Takes the `Date` of an answer (None: it has none) to a request of `asked`, by the own clock, that came after
        `waited` seconds."""
        try:
            told = parsedate_to_datetime(date).timestamp() if date and self._follow else None
        except ValueError:
            return
        if told is not None:
            with self._lock:
                self._heard.append((waited, told + 0.5 - (asked + waited / 2)))

    def settle(self) -> bool:
        """Measures by the answers since the last call; whether the correction changed."""
        with self._lock:
            answers, before = sorted(self._heard), self.offset
            self._heard.clear()
        if not answers:
            return False
        fast = answers[:(len(answers) + 1) // 2]
        self.measured = median(offset for _, offset in fast)
        if abs(self.measured - before) > TOLERANCE + fast[-1][0] / 2:
            self.offset = self.measured if abs(self.measured) > TOLERANCE else 0.0
            log.warning("%s; instants and ages follow it", self.words or "Prometheus' clock is that of this machine")
        return self.offset != before

    @property
    def words(self) -> str | None:
        """The difference for people; None where it is unknown or too small to matter."""
        if self.measured is None or abs(self.measured) <= TOLERANCE:
            return None
        side = "ahead of" if self.measured > 0 else "behind"
        return f"Prometheus' clock is {abs(self.measured):.0f} s {side} this machine's"


def source_clock(clock: Callable[[], float]) -> SourceClock:
    """The clock itself where it is one of a source, else one that shows its time and follows nobody."""
    return clock if isinstance(clock, SourceClock) else SourceClock(clock, follow=False)
