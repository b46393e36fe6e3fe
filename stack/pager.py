"""A pager for the demo: prints what Alertmanager sends, a line for each alert, and says when nothing is heard any more.

    POST /page, /ticket   Alertmanager's webhook (version 4), as application/json
    POST /heartbeat       the same, of the watchdogs: stack.heartbeat
    GET  /                what is open, for people
    GET  /received        {"received": [...], "dropped": 0}, oldest first
    GET  /metrics         its own series, for Prometheus

To replace it, write the address of your on-call service into prometheus/alertmanager.yml.
"""

import argparse
import logging
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TypedDict

from flask import Blueprint, Flask, Response, jsonify, request
from prometheus_client import CollectorRegistry
from werkzeug.exceptions import RequestEntityTooLarge

from serving.doors.entry import Doors, needs
from serving.exposition import metrics_response
from serving.net.options import WebOptions
from serving.page.links import add_flag
from serving.page.site import Site
from serving.settings import SettingsError
from serving.shown import log_to_stderr, say
from serving.web import RequestError, Service, serve
from serving.web import create_app as create_web_app
from stack.heartbeat import TIMEOUT, Heartbeats
from stack.kept import Newest
from stack.notices import News, left_out, lines
from stack.open_alerts import ENDED, MOST, UNWATCHED, OpenAlerts
from stack.page_view import Situation, pager_view
from stack.webhook import LARGEST, Alert, Webhook, parse, too_large

log = logging.getLogger(__name__)

NAME = "pager"
KEPT = 100  # alerts in /received, and lines on the page
_CHARACTERS = 4 << 20  # of the labels and annotations in /received
_GROUPS = 1000  # groups whose number of left out alerts is remembered
# Pages that say themselves that a fleet is not watched: a lost heartbeat is then no second page.
COVERING = ("FleetcastForecasterDown", "FleetcastForecastsStale", "FleetcastPrometheusDown")


class Entry(TypedDict):
    """A received alert, as GET /received shows it. ended: how, as the pager printed it; None while it fires."""

    received: str
    kind: str
    status: str
    ended: str | None
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str | None
    ends_at: str | None


class Pager:
    """What was received and what is open. Safe to use from several threads.

    emit: takes each line. clock: the time that lines show. ticks: seconds of a clock that only moves forward.
    """

    def __init__(self, emit: Callable[[str], None], clock: Callable[[], datetime], ticks: Callable[[], float],
                 timeout: float = TIMEOUT):
        self._emit, self._clock, self._ticks = emit, clock, ticks
        self._lock = threading.RLock()
        self._received: Newest[Entry] = Newest(KEPT, _CHARACTERS)
        self._lines: deque[tuple[int, str]] = deque(maxlen=KEPT)
        self._said = self._taken = 0  # lines, and notifications
        self._open = OpenAlerts()
        self._heartbeats = Heartbeats(timeout)
        self._left_out: OrderedDict[bytes, int] = OrderedDict()  # by group, where it is not 0

    def receive(self, kind: str, body: bytes) -> int:
        """Takes the body of a webhook and returns the number of its alerts; RequestError if it is invalid."""
        with self._lock:  # one body at a time, as a large one takes several times its size
            webhook = self._parsed(kind, body)
            group = blake2b(webhook.group.encode(), digest_size=16).digest()
            before = self._left_out.pop(group, 0)
            if webhook.left_out:
                self._left_out[group] = webhook.left_out
                if len(self._left_out) > _GROUPS:
                    self._left_out.popitem(last=False)
            dropped = self._open.dropped
            self._tell(kind, webhook.alerts)
            if more := self._open.dropped - dropped:
                self._say(f"{kind} {self._time()} {more:,} alerts that fire had to leave the page, "
                          f"which has the newest {MOST:,}")
            if webhook.left_out not in (0, before):
                self._say(left_out(kind, self._time(), webhook.alerts, webhook.left_out))
        return len(webhook.alerts)

    def beat(self, body: bytes) -> int:
        """Takes the watchdogs of a webhook, as `receive` takes alerts."""
        with self._lock:
            alerts, now = self._parsed("PAGE", body).alerts, self._ticks()
            back = [beat for alert in alerts if (beat := self._heartbeats.take(alert, now))]
            self._tell("PAGE", [self._heartbeats.alert(beat, "resolved", now, self._clock()) for beat in back])
        return len(alerts)

    def check(self) -> None:
        """Pages about fleets whose heartbeat is lost; to be called about once a second."""
        with self._lock:
            now = self._ticks()
            self._open.forget(now, self._clock())
            covering = [one for one in self._open if one.name in COVERING and one.kind == "PAGE"]
            covered = {one.fleet: one.came for one in sorted(covering, key=lambda one: one.came)}
            late = self._heartbeats.overdue(now, covered)
            self._tell("PAGE", [self._heartbeats.alert(beat, "firing", now, self._clock()) for beat in late])

    def refuse(self, kind: str, error: RequestError) -> None:
        """Says that a notification was too large to be read, which must not look like silence."""
        with self._lock:
            self._say(f"{kind} {self._time()} {error} was refused: "
                      "see Alertmanager for what fires, and set max_alerts there")

    def received(self) -> tuple[list[Entry], int]:
        """The last alerts, oldest first, and how many before them are not kept."""
        with self._lock:
            return list(self._received), self._received.dropped

    def situation(self) -> Situation:
        """What the page shows."""
        with self._lock:
            now = self._ticks()
            hearts = self._heartbeats
            beats = [(replace(beat), now - beat.heard, hearts.blind(beat.fleet, now), hearts.reason(beat, now))
                     for beat in hearts.beats.values()]
            return Situation(self._clock(), [*self._open], [*self._open.over][::-1], sum(self._left_out.values()),
                             beats, [*self._lines][::-1], self._open.dropped, self._open.over.dropped)

    def version(self) -> tuple[float, ...]:
        """Changes when there is something new to show, and every 10 s, as ages do."""
        return self._taken, self._said, self._ticks() // 10

    def now(self) -> float:
        """Unix seconds of the clock that lines show."""
        return self._clock().timestamp()

    def _parsed(self, kind: str, body: bytes) -> Webhook:
        self._taken += 1
        try:
            return parse(body)
        except RequestError as error:
            if error.status == 413:
                self.refuse(kind, error)
            raise

    def _tell(self, kind: str, alerts: Sequence[Alert]) -> None:
        """Keeps alerts, and prints what is news about them."""
        now, at, news = self._ticks(), self._clock(), list[News]()
        for alert in alerts:
            ended = alert.status == "resolved"
            words, is_news = self._open.take(kind, alert, now, at, self._end(alert, now) if ended else "")
            self._received.add({
                "received": at.isoformat(timespec="seconds"), "kind": kind, "status": alert.status,
                "ended": words if ended else None, "labels": alert.labels,
                "annotations": alert.annotations or {}, "starts_at": alert.starts_at, "ends_at": alert.ends_at},
                alert.size)
            if is_news:
                news.append((alert, words))
        for line in lines(kind, self._time(), news):
            self._say(line)

    def _end(self, alert: Alert, now: float) -> str:
        """What to say where this alert ends: without a heartbeat, Alertmanager ends what it no longer hears of."""
        if not self._heartbeats.blind(alert.labels.get("fleet"), now):
            return ENDED
        return f"{ENDED}, to be proved by a heartbeat" if alert.name in COVERING else UNWATCHED

    def _time(self) -> str:
        return self._clock().strftime("%H:%M:%S")

    def _say(self, line: str) -> None:
        self._said += 1
        self._lines.append((self._said, line))
        self._emit(line)


def create_app(pager: Pager, close: Callable[[], None] = lambda: None, doors: Doors | None = None,
               links: Mapping[str, str] | None = None) -> Flask:
    """The pager's application. doors: who may enter (default: everybody). links: addresses by title, at the foot of the
    page."""
    doors = doors or Doors(NAME)
    registry = CollectorRegistry()
    registry.register(doors)
    views = Blueprint("pager", __name__)

    def body(kind: str) -> bytes:
        """The body of a webhook. Browsers do not let pages of other origins send this content type."""
        if request.mimetype != "application/json":
            given = request.mimetype or "none"
            problem = f"Content-Type: expected application/json, found {given}"
            raise RequestError(problem, "Content-Type", "application/json", status=415)
        try:
            return request.get_data(cache=False)
        except RequestEntityTooLarge as error:
            refused = too_large(f"{LARGEST >> 20} MiB")
            pager.refuse(kind, refused)
            raise refused from error

    @views.post("/page")
    @needs("write")
    def take_page() -> Response:
        """Alertmanager's webhook (version 4, application/json, up to 32 MiB): alerts that wake somebody."""
        return jsonify({"alerts": pager.receive("PAGE", body("PAGE"))})

    @views.post("/ticket")
    @needs("write")
    def take_ticket() -> Response:
        """Alertmanager's webhook: alerts that can wait."""
        return jsonify({"alerts": pager.receive("TICKET", body("TICKET"))})

    @views.post("/heartbeat")
    @needs("write")
    def take_heartbeat() -> Response:
        """Alertmanager's webhook: the watchdogs of the fleets. A fleet without a new one for 90 s is paged about."""
        return jsonify({"alerts": pager.beat(body("PAGE"))})

    @views.get("/received")
    def received() -> Response:
        """The last 100 alerts as JSON, oldest first, and how many before them are not kept (`dropped`)."""
        kept, dropped = pager.received()
        return jsonify({"received": kept, "dropped": dropped})

    @views.get("/metrics")
    def metrics() -> Response:
        """The pager's own series, for Prometheus."""
        return metrics_response(registry, b"", request.headers)

    site = Site("Fleetcast", [pager_view(pager.situation, pager.version)], ("stack",),
                (("/received", "Received, as JSON"),), clock=pager.now, elsewhere=links)

    def end() -> None:
        site.close()
        close()

    service = Service(NAME, "What Alertmanager sent.", landing=lambda: site.page("pager"), close=end)
    return create_web_app(service, views, site.blueprint(), max_request_bytes=LARGEST, doors=doors)


def watched(pager: Pager, doors: Doors | None = None, links: Mapping[str, str] | None = None) -> Flask:
    """The application of a pager whose heartbeats are checked every second until it closes."""
    closed = threading.Event()

    def watch() -> None:
        while not closed.wait(1.0):
            try:
                pager.check()
            except Exception:
                log.exception("the heartbeats could not be checked")

    threading.Thread(target=watch, name="heartbeats", daemon=True).start()
    return create_app(pager, closed.set, doors, links)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or Ctrl-C."""
    log_to_stderr()
    parser = argparse.ArgumentParser(prog="python -m stack.pager", description="Print the alerts of Alertmanager.")
    parser.add_argument("--web.listen-address", dest="listen", default="127.0.0.1:8003", metavar="HOST:PORT",
                        help="address to listen on (default: %(default)s)")
    parser.add_argument("--heartbeat.timeout", dest="timeout", type=float, default=TIMEOUT, metavar="SECONDS",
                        help="page about a fleet whose heartbeat is not heard for so long (default: %(default)s)")
    WebOptions.add_flags(parser)
    add_flag(parser)
    Doors.add_flags(parser)
    options = parser.parse_args(arguments)
    try:
        doors = Doors.of(options, NAME)
    except SettingsError as error:
        for line in str(error).splitlines():
            print(f"{NAME}: {line}", file=sys.stderr)
        return 1
    pager = Pager(say, lambda: datetime.now(UTC).astimezone(), time.monotonic, options.timeout)
    serve(lambda: watched(pager, doors, options.links), options.listen, NAME, doors.tls, WebOptions.of(options),
          doors.traffic)
    return 0


if __name__ == "__main__":
    sys.exit(main())
