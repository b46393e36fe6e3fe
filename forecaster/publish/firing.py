"""The alerts of this fleet that Alertmanager has now, for a page that people look at, and to tell what fires from what
has only begun.

    GET /api/v2/alerts?filter=fleet="..."   active, silenced and inhibited ones

Alertmanager is asked in a thread of its own, with one deadline, at most once a refresh, and only after a page or a pass
over what fills up has asked for the alerts. Neither ever waits for it longer than PATIENCE, and that only for the first
answer, and where nobody has asked for a while.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import orjson
import requests

from forecaster.sources.transport import fetch

PATIENCE = 1.0  # s
_MAX_ANSWER = 4 << 20
Key = tuple[str, str]  # server, resource and entity: as the record of pages names what fills up
_OLD = 3.0  # refreshes, as the age of an answer that is no longer shown at once


@dataclass(frozen=True)
class Alert:
    """One alert of Alertmanager; times in Unix s."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    since: float
    state: str  # "firing", "silenced" or "inhibited"

    @property
    def name(self) -> str:
        """Label alertname."""
        return self.labels.get("alertname", "")


@dataclass(frozen=True)
class Answer:
    """What Alertmanager answered, or why it did not."""

    at: float  # Unix s
    alerts: tuple[Alert, ...]
    problem: str | None = None


class Firing:
    """Asks the Alertmanager at ``url`` for alerts with label fleet=``fleet``, in at most ``timeout`` seconds."""

    def __init__(self, url: str, fleet: str, session: requests.Session, timeout: float, refresh: float,
                 clock: Callable[[], float]):
        self.url, self.fleet = url, fleet
        matcher = urlencode({"filter": f"fleet={orjson.dumps(fleet).decode()}"})
        self._address = f"{url.rstrip('/')}/api/v2/alerts?{matcher}"
        self._session, self._timeout, self._refresh, self._clock = session, timeout, refresh, clock
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="alerts")
        self._lock = threading.Lock()
        self._asked, self._question = float("-inf"), Future[None]()
        self._question.set_result(None)
        self._answer: Answer | None = None

    def close(self) -> None:
        """Asks no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._session.close()

    @property
    def answered(self) -> tuple[tuple[Alert, ...], str | None] | None:
        """Another value after an answer that differs from the one before."""
        answer = self._answer
        return None if answer is None else (answer.alerts, answer.problem)

    def latest(self) -> Answer | None:
        """The latest answer; asks for the next one if a refresh has passed. None where the first is not there yet."""
        now = self._clock()
        with self._lock:
            if self._question.done() and not 0 <= now - self._asked < self._refresh:
                self._asked = now
                try:
                    self._question = self._threads.submit(self._ask)
                except RuntimeError:  # closed, by a reload
                    return self._answer
            question = self._question
        if self._answer is None or not now - self._answer.at < _OLD * self._refresh:  # nobody has looked for a while
            wait([question], PATIENCE)
        return self._answer

    def servers(self) -> tuple[set[str], set[str]]:
        """(servers whose page goes on, those whose ticket does), as far as is known."""
        page, ticket = (self._named(name) for name in ("FleetcastServerP1", "FleetcastServerP2"))
        return {one.labels.get("server", "") for one in page}, {one.labels.get("server", "") for one in ticket}

    def filling(self) -> tuple[set[Key], set[Key]]:
        """(what fills up of which a page goes on, that of which a ticket of P2 does), as far as is known."""
        pages = self._named("FleetcastCapacityFull", "FleetcastCapacityP1")
        return {_key(one) for one in pages}, {_key(one) for one in self._named("FleetcastCapacityP2")}

    def _named(self, *names: str) -> list[Alert]:
        answer = self.latest()
        return [one for one in answer.alerts if one.name in names] if answer is not None else []

    def _ask(self) -> None:
        try:
            old, alerts = self._answer, self._read()
            if old is not None and alerts == old.alerts:
                alerts = old.alerts  # `answered` is compared each second for each page: one object costs nothing
            self._answer = Answer(self._clock(), alerts)
        except (OSError, ValueError) as error:
            self._answer = Answer(self._clock(), (), f"{self.url}: {error}")
        except (KeyError, TypeError, AttributeError):
            self._answer = Answer(self._clock(), (), f"{self.url}: the answer is not that of Alertmanager's API v2")

    def _read(self) -> tuple[Alert, ...]:
        answer = fetch(self._session, "GET", self._address, self._timeout, _MAX_ANSWER)
        if answer.status != 200:
            opening = answer.body[:200].decode("utf-8", "replace").strip()
            raise ValueError(f"HTTP {answer.status}: {opening}; expected Alertmanager's API v2: check alertmanager.url")
        return tuple(_alert(one) for one in orjson.loads(answer.body))


def _key(one: Alert) -> Key:
    return one.labels.get("server", ""), f"{one.labels.get('resource', '')} {one.labels.get('entity', '')}"


def _alert(given: Mapping[str, Any]) -> Alert:
    status = given["status"]
    state = "silenced" if status["silencedBy"] else "inhibited" if status["inhibitedBy"] else "firing"
    labels, annotations = ({str(name): str(value) for name, value in given[kind].items()}
                           for kind in ("labels", "annotations"))
    return Alert(labels, annotations, datetime.fromisoformat(given["startsAt"]).timestamp(), state)
