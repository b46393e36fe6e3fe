"""Tells Alertmanager that Prometheus is down: no rule of Prometheus can.

    POST /api/v2/alerts   FleetcastPrometheusDown, every cycle from `after` on, until it has answered for `end_after`

Each message is valid for `end_after`, at least three cycles, from when Prometheus was last found down: the alert
outlives a restart of the forecaster, and that of a forecaster that dies ends no later than that of one that lives.
From when Prometheus has answered for `end_after`, the alert is sent as ended for 5 minutes, in any case: an earlier
process may have begun it, and an Alertmanager that restarts forgets what it has not told yet. It notifies nobody of
the end of an alert that it did not have. The end is when Prometheus answered again, and so safely in the past: one
ahead of Alertmanager's clock is a page. As clocks are set, times are that of the last answer and what has passed since.

Prometheus is not down where Alertmanager hears from it: the alert would hide the pages of a Prometheus that only this
forecaster does not reach. Before it is sent, Alertmanager is asked when it was last told of the fleet's heartbeat, or
that its forecasts are missing. One of these always fires, and Prometheus repeats it after 60 to 75 s.

    GET /api/v2/alerts    the alerts of LIFE of the fleet
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode

import orjson
import requests

from forecaster.readings import SourceDown
from forecaster.sources.transport import fetch

NAME = "FleetcastPrometheusDown"
ENDING = 300.0  # s, for which the end is repeated
LIFE = "FleetcastWatchdog|FleetcastForecastsStale|FleetcastForecasterDown|FleetcastShardMissing"
_REPEATED = 5 / 3  # times `after`, in which a Prometheus that runs has repeated an alert
_MAX_ANSWER = 1 << 20


class AlertmanagerError(Exception):
    """Alertmanager was not told; the message names its address and the reason."""


def address_of(listen: str) -> str:
    """The address at which a forecaster that listens there is scraped on its own host."""
    return re.sub(r"^(0\.0\.0\.0|\[::\]):", "127.0.0.1:", listen)


class Alertmanager:
    """Sends the alert to ``url`` in at most ``timeout`` seconds, as cycles wait for it. Not thread-safe.

    ``source`` is Prometheus' address, ``listen`` the forecaster's, and the fleet's name unless ``fleet`` gives one;
    ``scheme`` is http or https, for links to the forecaster.
    ``clock`` returns Unix seconds, ``elapsed`` seconds of any epoch.
    """

    def __init__(self, url: str, session: requests.Session, timeout: float, source: str, listen: str,
                 fleet: str | None, after: float, end_after: float, refresh: float, clock: Callable[[], float],
                 elapsed: Callable[[], float] = time.monotonic, scheme: str = "http"):
        self._scheme = scheme
        self._url, self._session, self._timeout = f"{url.rstrip('/')}/api/v2/alerts", session, timeout
        self._source, self._after, self._end_after = source, after, end_after
        self._instance = address_of(listen)
        self._fleet = fleet or self._instance
        self._refresh, self._clock, self._elapsed = refresh, clock, elapsed
        self.active = False  # whether Alertmanager was last told that it is down
        # When Prometheus answered last, by both clocks; it counts from the start where it never did.
        self._answered = elapsed(), clock()
        self._back: tuple[float, float] | None = None  # since when it has answered every time
        self._down: tuple[float, SourceDown] | None = None  # (Unix s of the last answer, the latest error) of the alert

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def keep(self, old: Alertmanager) -> None:
        """Goes on where another one ended."""
        self._answered, self._back, self._down, self.active = old._answered, old._back, old._down, old.active

    def due(self, down: SourceDown | None) -> bool:
        """Takes how a cycle's query ended, None for any answer; whether there is something to send. Asks Alertmanager
        where Prometheus has not answered for `after`."""
        now = self._elapsed()
        waited = self._down is not None or now - self._answered[0] >= self._after
        if down is None or (waited and self._alive()):
            self._answered = now, self._clock()
            self._back = self._back or self._answered
            return self._down is not None or (self._over and now - self._back[0] < self._end_after + ENDING)
        self._back = None
        if self._down is not None:
            self._down = self._down[0], down
        elif waited:
            self._down = self._answered[1], down
        return self._down is not None

    def send(self) -> None:
        """Sends the alert, as ended if Prometheus has answered for long enough. AlertmanagerError if that fails: the
        next cycle tries again."""
        over, self.active = self._over, False
        body = orjson.dumps([self._alert(over)])
        try:
            answer = fetch(self._session, "POST", self._url, self._timeout, _MAX_ANSWER, body,
                           {"Content-Type": "application/json"})
        except (OSError, ValueError) as error:
            raise AlertmanagerError(f"{self._url}: {error}; check alertmanager.url and its credentials") from error
        if answer.status != 200:
            opening = answer.body[:200].decode("utf-8", "replace").strip()
            raise AlertmanagerError(f"{self._url}: HTTP {answer.status}: {opening}; expected Alertmanager's API v2: "
                                    "check alertmanager.url")
        self.active = not over
        if over:
            self._down = None

    def _alive(self) -> bool:
        """Whether Alertmanager heard of the fleet from Prometheus, by Alertmanager's clock; False where it cannot be
        asked."""
        form = urlencode([("filter", f'fleet="{self._fleet}"'), ("filter", f'alertname=~"{LIFE}"')])
        try:
            answer = fetch(self._session, "GET", f"{self._url}?{form}", self._timeout, _MAX_ANSWER)
            now = parsedate_to_datetime(answer.headers["Date"]).timestamp()
            told = [datetime.fromisoformat(alert["updatedAt"]).timestamp() for alert in orjson.loads(answer.body)]
        except (OSError, ValueError, KeyError, TypeError):  # send() says what is wrong
            return False
        return now - max(told, default=0.0) <= _REPEATED * self._after

    @property
    def _over(self) -> bool:
        return self._back is not None and self._elapsed() - self._back[0] >= self._end_after

    def _alert(self, over: bool) -> dict[str, object]:
        own, (elapsed, answered) = self._fleet if ":" in self._fleet else self._instance, self._answered
        back = self._back[1] if self._back else answered + self._elapsed() - elapsed
        since, error = self._down or (back, None)
        summary = f"Prometheus at {self._source} has not answered since {_iso(since)[11:16]} UTC"
        description = f"Fleet {self._fleet} is not watched: no forecast is made and no other alert can fire; {error}"
        if over:
            summary = f"Prometheus at {self._source} answers again"
            description = f"Fleet {self._fleet} is watched again."
        return {
            "labels": {"alertname": NAME, "job": "forecaster", "fleet": self._fleet, "instance": self._instance,
                       "priority": "P1", "severity": "critical"},
            "annotations": {
                "summary": summary,
                "description": description,
                "dashboard_url": f"{self._scheme}://{own}/",
                "runbook_url": f"{self._scheme}://{own}/runbook#{NAME.lower()}",
            },
            "startsAt": _iso(since),
            "endsAt": _iso(back if over else back + max(self._end_after, 3 * self._refresh)),
            "generatorURL": f"{self._scheme}://{own}/status",
        }


def _iso(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds")
