"""Runs one cycle at once and one after every multiple of the refresh, in a thread."""

import logging
import threading
from collections.abc import Callable

SETTLE_SECONDS = 0.3  # until samples of scrapes from before the instant are stored, so that all replicas read the same
POLL = 0.1  # s between looks at whether to end, while another is waited for

log = logging.getLogger(__name__)


class Ticker:
    """Calls ``tick`` a moment after every multiple of ``refresh`` seconds on ``clock``, until ``stopping`` is set.

    ``ticked`` is set after the first of them.
    """

    def __init__(self, tick: Callable[[], object], refresh: float, clock: Callable[[], float], name: str = "cycle"):
        self._name = name
        self._tick, self._refresh, self._clock = tick, refresh, clock
        self.stopping, self.ticked = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, after: threading.Event | None = None) -> None:
        """Starts the thread, which waits for `after` first."""
        self._thread = threading.Thread(target=self._run, args=(after,), name=self._name, daemon=True)
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Waits ``timeout`` seconds for the thread to end, after ``stopping``; whether none is running."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _run(self, after: threading.Event | None) -> None:
        refresh, settle = self._refresh, min(SETTLE_SECONDS, self._refresh / 4)
        while after is not None and not self.stopping.is_set() and not after.wait(POLL):
            pass
        while not self.stopping.wait(max(0.0, settle - self._clock() % refresh)):
            try:
                self._tick()
            except Exception:  # the thread must not end while the process looks healthy
                log.exception("%s failed outside its stages", self._name)
            self.ticked.set()
            self.stopping.wait(refresh - self._clock() % refresh)
