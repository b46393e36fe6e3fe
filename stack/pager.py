"""A pager for the demo: receives Alertmanager's webhooks, prints one line per alert and keeps the last 100.

    POST /page, POST /ticket   Alertmanager's webhook body (version 4), as application/json
    GET /received              {"received": [...]}, oldest first

To replace it, write the address of your on-call service into prometheus/alertmanager.yml.
"""

import argparse
import json
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NotRequired, TypedDict

KINDS = {"/page": "PAGE", "/ticket": "TICKET"}
SHOWN = {"/received": "The last 100 alerts as JSON, oldest first.", "/-/ready": "200 while the pager answers.",
         "/-/healthy": "200 while the pager answers."}
KEPT = 100
_LARGEST_BODY = 8 << 20  # bytes; a group of hundreds of alerts is much smaller


class BadWebhook(ValueError):
    """A body that is not a webhook of Alertmanager; the message names what was expected."""


class Alert(TypedDict):
    """An alert of a webhook, with the keys that are read here."""

    status: str
    labels: dict[str, str]
    annotations: NotRequired[dict[str, str] | None]
    startsAt: NotRequired[str]
    endsAt: NotRequired[str]


class Entry(TypedDict):
    """A received alert, as GET /received shows it."""

    received: str
    kind: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str | None
    ends_at: str | None


class Pager:
    """The received alerts. Safe to use from several threads."""

    def __init__(self, emit: Callable[[str], None], clock: Callable[[], datetime]):
        self._emit = emit
        self._clock = clock
        self._lock = threading.Lock()
        self._received: deque[Entry] = deque(maxlen=KEPT)
        self._last: dict[str, str] = {}  # labels -> status of every alert received so far

    def receive(self, kind: str, body: bytes) -> int:
        """Takes the body of a webhook and returns the number of its alerts; BadWebhook if it is invalid."""
        entries = [self._entry(kind, alert) for alert in parse(body)]
        with self._lock:
            for entry in entries:
                self._received.append(entry)
                known = json.dumps(entry["labels"], sort_keys=True)
                if self._last.get(known) != entry["status"]:  # unchanged alerts of a group are sent again
                    self._emit(line(entry))
                self._last[known] = entry["status"]
        return len(entries)

    def received(self) -> list[Entry]:
        """The last alerts, oldest first."""
        with self._lock:
            return list(self._received)

    def _entry(self, kind: str, alert: Alert) -> Entry:
        return {
            "received": self._clock().isoformat(timespec="seconds"),
            "kind": kind,
            "status": alert["status"],
            "labels": alert["labels"],
            "annotations": alert.get("annotations") or {},
            "starts_at": alert.get("startsAt"),
            "ends_at": alert.get("endsAt"),
        }


def parse(body: bytes) -> list[Alert]:
    """The alerts of a webhook body; BadWebhook names the invalid field."""
    try:
        message = json.loads(body)
    except ValueError as error:
        raise BadWebhook(f"body: expected a webhook of Alertmanager as JSON, found something else ({error})") from error
    alerts = message.get("alerts") if isinstance(message, dict) else None
    if not isinstance(alerts, list) or not alerts:
        raise BadWebhook("alerts: expected a list with at least one alert")
    for index, alert in enumerate(alerts):
        if not isinstance(alert, dict) or alert.get("status") not in ("firing", "resolved"):
            raise BadWebhook(f"alerts[{index}].status: expected firing or resolved")
        for name in ("labels", "annotations"):
            if not isinstance(alert.get(name, {}), dict) or (name == "labels" and "labels" not in alert):
                raise BadWebhook(f"alerts[{index}].{name}: expected an object of names and values")
    return alerts


def line(entry: Entry) -> str:
    """One line: kind, time, status, alert name, server and summary."""
    labels, annotations = entry["labels"], entry["annotations"]
    where = labels.get("server") or labels.get("instance") or labels.get("fleet") or "the fleet"
    words = annotations.get("summary") or annotations.get("description") or ""
    if entry["status"] == "resolved":  # the summary describes the firing alert
        words = "over"
    text = f"{entry['kind']} {entry['received'][11:19]} {entry['status']} {labels.get('alertname', '?')} {where}"
    return " ".join((f"{text}: {words}" if words else text).split())


class Handler(BaseHTTPRequestHandler):
    """The HTTP interface of the server's `pager`."""

    server: "PagerServer"

    def do_POST(self) -> None:
        """Alertmanager's webhook (version 4), as application/json."""
        kind = KINDS.get(self.path)
        if kind is None:
            self._answer(404, {"error": f"{self.path}: expected POST {' or '.join(KINDS)}"})
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _LARGEST_BODY:
            self.close_connection = True
            self._answer(400, {"error": f"Content-Length: expected a number up to {_LARGEST_BODY}, found {length!r}"})
            return
        body = self.rfile.read(int(length))
        # Browsers do not let pages of other origins send this type.
        if self.headers.get_content_type() != "application/json":
            given = self.headers.get("Content-Type", "none")
            self._answer(415, {"error": f"Content-Type: expected application/json, found {given}"})
            return
        try:
            self._answer(200, {"alerts": self.server.pager.receive(kind, body)})
        except BadWebhook as error:
            self._answer(400, {"error": str(error)})

    def do_GET(self) -> None:
        """What stands in SHOWN."""
        if self.path == "/received":
            self._answer(200, {"received": self.server.pager.received()})
        elif self.path in SHOWN:
            self._answer(200, {"status": "ready"})
        else:
            self._answer(404, {"error": f"{self.path}: expected GET {' or '.join(SHOWN)}"})

    def _answer(self, status: int, body: Mapping[str, object]) -> None:
        text = json.dumps(body, indent=2).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words: object) -> None:
        """Requests are not logged; the output has one line per alert."""


class PagerServer(ThreadingHTTPServer):
    """A server for the pager on (host, port); port 0 means any free port."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], pager: Pager):
        super().__init__(address, Handler)
        self.pager = pager

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.server_address[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m stack.pager", description="Print the alerts of Alertmanager.")
    parser.add_argument("--web.listen-address", dest="listen", default="127.0.0.1:8003", metavar="HOST:PORT")
    host, _, port = parser.parse_args(arguments).listen.rpartition(":")
    if not (host and port.isdigit() and int(port) < 65536):
        parser.error("--web.listen-address: expected HOST:PORT, e.g. 127.0.0.1:8003")
    pager = Pager(lambda text: print(text, flush=True), lambda: datetime.now(UTC).astimezone())
    try:
        server = PagerServer((host, int(port)), pager)
    except OSError as error:
        problem = f"cannot listen on {host}:{port}: {error.strerror}"
        print(f"pager: {problem}; choose another --web.listen-address", file=sys.stderr)
        return 1
    # shutdown() waits for serve_forever, which runs in this thread
    signal.signal(signal.SIGTERM, lambda number, frame: threading.Thread(target=server.shutdown).start())
    with server, suppress(KeyboardInterrupt):
        server.serve_forever(poll_interval=0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
