"""Threads that make several calls at once under one deadline.

Nothing is shared between calls but the time they are given.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any


class Crew:
    """At most `size` threads for calls at once; they stay for the next calls, since starting them takes as long as a small
    answer.

    They are daemons and not waited for: a call that hangs delays neither the caller nor the exit, and other threads take the
    place of those that hang.
    """

    def __init__(self, size: int):
        self._size, self._closed, self._lock = size, False, threading.Lock()
        self._idle: list[queue.SimpleQueue] = []  # where each waiting thread gets its next work from

    def gather(self, calls: Sequence[Callable[[], Any]], limit: float, since: float | None = None) -> list[Any]:
        """Results in order; an exception for a call that raised, TimeoutError for one not done in `limit` s, which are counted
        from the monotonic clock's `since`, or from now."""
        results: list[Any] = [TimeoutError(f"no answer within {limit:g}s")] * len(calls)
        waiting: queue.SimpleQueue = queue.SimpleQueue()
        done: queue.SimpleQueue = queue.SimpleQueue()
        given_up = threading.Event()

        def work() -> None:
            while not given_up.is_set():
                try:
                    number, call = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    done.put((number, call()))
                except Exception as error:  # noqa: BLE001 - handed over, the caller raises what it cannot use
                    done.put((number, error))

        for item in enumerate(calls):
            waiting.put(item)
        for number in range(min(self._size, len(calls))):
            self._hand(work, f"fetch-{number}")
        end = (time.monotonic() if since is None else since) + limit
        try:
            for _ in calls:
                number, result = done.get(timeout=max(0.0, end - time.monotonic()))
                results[number] = result
        except queue.Empty:
            given_up.set()
        return results

    def close(self) -> None:
        """Ends the threads: those that wait now, the others after what they are at."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().put(None)

    def _hand(self, work: Callable[[], None], name: str) -> None:
        with self._lock:
            inbox = self._idle.pop() if self._idle else None
        if inbox is None:
            inbox = queue.SimpleQueue()
            threading.Thread(target=self._stay, args=(inbox,), name=name, daemon=True).start()
        inbox.put(work)

    def _stay(self, inbox: queue.SimpleQueue) -> None:
        while (work := inbox.get()) is not None:
            work()
            del work  # and with it the answers
            with self._lock:
                if self._closed or len(self._idle) >= self._size:
                    return
                self._idle.append(inbox)
