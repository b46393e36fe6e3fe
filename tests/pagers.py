"""A pager whose clocks a test moves, asked without a network."""

import json
from datetime import UTC, datetime, timedelta

from stack.pager import Pager, create_app

NOW = datetime(2025, 10, 13, 10, 30, 5, tzinfo=UTC)
LABELS = {"alertname": "FleetcastServerP1", "fleet": "web", "server": "ppdb001"}


def alert(status: str = "firing", summary: str = "ppdb001 is about to fail", starts: str = "2025-10-13T10:30:00Z",
          **labels: str | None) -> dict:
    """An alert of a webhook; `labels` are those that differ from LABELS, without those that are None."""
    own = {name: value for name, value in {**LABELS, **labels}.items() if value is not None}
    return {"status": status, "labels": own, "annotations": {"summary": summary}, "startsAt": starts}


def servers(number: int, status: str = "firing", first: int = 0) -> list[dict]:
    """Alerts of that many servers."""
    return [alert(status, f"web{n:05} fails", server=f"web{n:05}") for n in range(first, first + number)]


def watchdog(time: str | None, status: str = "firing", fleet: str = "web") -> dict:
    annotations = {"summary": "alive", "runbook_url": "http://127.0.0.1:8000/runbook#fleetcastwatchdog"}
    return {"status": status, "labels": {"alertname": "FleetcastWatchdog", "job": "forecaster", "fleet": fleet},
            "annotations": annotations | ({"time": time} if time else {})}


class Asked:
    """A pager with its lines; `passes` moves both clocks and checks the heartbeats each second."""

    def __init__(self):
        self.lines: list[str] = []
        self.ticks = 1000.0
        self.pager = Pager(self.lines.append, lambda: NOW + timedelta(seconds=self.ticks - 1000), lambda: self.ticks)
        self.client = create_app(self.pager).test_client()

    def post(self, path: str, *alerts: dict, **more):
        return self.send(path, json.dumps({"version": "4", "alerts": alerts, **more}).encode())

    def send(self, path: str, body: bytes, content_type: str | None = "application/json"):
        return self.client.post(path, data=body, content_type=content_type)

    def new(self) -> list[str]:
        """The lines since the last call."""
        said = [*self.lines]
        self.lines.clear()
        return said

    def received(self) -> list[dict]:
        return self.client.get("/received").json["received"]

    def page(self) -> str:
        return self.client.get("/").text

    def passes(self, seconds: int) -> None:
        for _ in range(seconds):
            self.ticks += 1
            self.pager.check()
