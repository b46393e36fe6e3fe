"""Lanes: threads that run an application's requests, and a bound on those that wait for one.

What must answer while the service is busy has a lane of its own, so that no other request is before it.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

_OWN = {"/-/healthy": "health", "/-/ready": "health", "/metrics": "metrics",
        "/api/v1/read": "reads"}  # every other path: "pages"
LANES = {"health": (4, 64), "metrics": (4, 32), "reads": (4, 32), "pages": (8, 64)}  # threads, waiting requests


class Lane:
    """Up to `threads` requests at once and `waiting` more in their order of arrival."""

    def __init__(self, name: str, threads: int, waiting: int):
        self.name = name
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._room = threading.BoundedSemaphore(threads + waiting)

    def submit(self, job: Callable[[], Result]) -> "Future[Result] | None":
        """The future result of `job`, or None where too many requests wait."""
        if not self._room.acquire(blocking=False):
            return None
        try:
            future = self._threads.submit(job)
        except RuntimeError:  # no thread can be started, as at a limit of processes
            self._room.release()
            return None
        future.add_done_callback(lambda _: self._room.release())
        return future


class Lanes:
    """The lanes of a service. Their threads start with the first request that needs them."""

    def __init__(self) -> None:
        self._lanes = {name: Lane(name, *size) for name, size in LANES.items()}

    def of(self, path: str) -> Lane:
        """The lane of a request's path."""
        return self._lanes[_OWN.get(path, "pages")]
