"""The pager of the demo, fed by a real Alertmanager and by hand."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from stack.pager import KEPT, BadWebhook, Pager, PagerServer, parse
from tests.tools import tool

NOW = datetime(2025, 10, 13, 10, 30, 5, tzinfo=UTC)
ALERT = {
    "status": "firing",
    "labels": {"alertname": "FleetcastServerP1", "server": "ppdb001"},
    "annotations": {"summary": "ppdb001 is about to fail"},
    "startsAt": "2025-10-13T10:30:00Z",
}


class Served:
    def __init__(self):
        self.lines: list[str] = []
        self.server = PagerServer(("127.0.0.1", 0), Pager(self.lines.append, lambda: NOW))
        self.url = f"http://127.0.0.1:{self.server.port}"

    def post(self, path: str, body, content_type: str | None = "application/json") -> requests.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return requests.post(self.url + path, data=data, headers={"Content-Type": content_type}, timeout=5)

    def received(self) -> list[dict]:
        return requests.get(self.url + "/received", timeout=5).json()["received"]


@pytest.fixture
def pager() -> Iterator[Served]:
    served = Served()
    thread = threading.Thread(target=served.server.serve_forever, args=(0.02,))
    thread.start()
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


@pytest.fixture
def alertmanager(pager: Served, tmp_path: Path, free_port: int) -> Iterator[str]:
    """The address of an Alertmanager that sends everything to the pager at once."""
    config = tmp_path / "alertmanager.yml"
    config.write_text(f"""
route: {{receiver: pager, group_wait: 0s, group_interval: 1s}}
receivers: [{{name: pager, webhook_configs: [{{url: "{pager.url}/page", send_resolved: true}}]}}]
""")
    url = f"http://127.0.0.1:{free_port}"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [
                tool("alertmanager"),
                f"--config.file={config}",
                f"--storage.path={tmp_path / 'state'}",
                f"--web.listen-address=127.0.0.1:{free_port}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        for _ in range(200):
            try:
                if requests.get(url + "/-/ready", timeout=5).ok:
                    break
            except requests.ConnectionError:
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def test_an_alert_from_a_real_alertmanager_is_printed_and_remembered(pager: Served, alertmanager: str):
    alert = {"labels": ALERT["labels"], "annotations": ALERT["annotations"]}
    requests.post(alertmanager + "/api/v2/alerts", json=[alert], timeout=5).raise_for_status()
    deadline = time.monotonic() + 20
    while not pager.lines and time.monotonic() < deadline:
        time.sleep(0.05)
    assert pager.lines == ["PAGE 10:30:05 firing FleetcastServerP1 ppdb001: ppdb001 is about to fail"]
    (entry,) = pager.received()
    assert (entry["kind"], entry["status"], entry["labels"]) == ("PAGE", "firing", ALERT["labels"])
    assert entry["annotations"] == ALERT["annotations"]


def test_tickets_and_resolved_alerts_say_so(pager: Served):
    assert pager.post("/ticket", {"alerts": [ALERT, {**ALERT, "status": "resolved"}]}).json() == {"alerts": 2}
    assert [line.split()[:3] for line in pager.lines] == [
        ["TICKET", "10:30:05", "firing"],
        ["TICKET", "10:30:05", "resolved"],
    ]


def test_a_group_that_is_sent_again_prints_only_what_is_new(pager: Served):
    other = {**ALERT, "labels": {**ALERT["labels"], "server": "ppdb002"}}
    pager.post("/page", {"alerts": [ALERT]})
    pager.post("/page", {"alerts": [ALERT, other]})
    pager.post("/page", {"alerts": [{**ALERT, "status": "resolved"}, other]})
    assert [line.split()[2:5:2] for line in pager.lines] == [
        ["firing", "ppdb001:"],
        ["firing", "ppdb002:"],
        ["resolved", "ppdb001:"],
    ]
    assert pager.lines[-1].endswith(": over") and len(pager.received()) == 5


def test_an_alert_without_server_or_summary_is_still_one_line(pager: Served):
    pager.post("/page", {"alerts": [{"status": "firing", "labels": {"alertname": "Watchdog"}}]})
    pager.post("/page", {"alerts": [{**ALERT, "annotations": {"summary": "two\nlines"}}]})
    assert pager.lines[0] == "PAGE 10:30:05 firing Watchdog the fleet"
    assert pager.lines[1].endswith("ppdb001: two lines")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"not json", "body: expected a webhook of Alertmanager as JSON"),
        (b"[]", "alerts: expected a list with at least one alert"),
        (b'{"alerts": []}', "alerts: expected a list with at least one alert"),
        (
            b'{"alerts": [{"status": "firing", "labels": {}}, {"status": "odd", "labels": {}}]}',
            "alerts[1].status",
        ),
        (b'{"alerts": [{"status": "firing"}]}', "alerts[0].labels: expected an object"),
        (b'{"alerts": [{"status": "firing", "labels": {}, "annotations": 3}]}', "alerts[0].annotations"),
        (b"\xff\xfe", "body: expected a webhook of Alertmanager as JSON"),
    ],
)
def test_a_body_that_is_no_webhook_is_refused_with_the_field_and_nothing_is_kept(
    pager: Served, body, message
):
    with pytest.raises(BadWebhook):
        parse(body)
    answer = pager.post("/page", body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(message)
    assert pager.received() == []


@pytest.mark.parametrize("given", ["text/plain", "application/x-www-form-urlencoded", None])
def test_another_content_type_is_refused_by_name_and_nothing_is_kept(pager: Served, given: str | None):
    answer = pager.post("/page", {"alerts": [ALERT]}, given)
    assert answer.status_code == 415
    assert answer.json()["error"] == f"Content-Type: expected application/json, found {given or 'none'}"
    assert (pager.received(), pager.lines) == ([], [])


def test_a_content_type_with_a_character_set_is_taken(pager: Served):
    assert pager.post("/page", {"alerts": [ALERT]}, "Application/JSON; charset=utf-8").status_code == 200


def test_an_unknown_address_names_the_known_ones(pager: Served):
    assert pager.post("/pages", {}).json()["error"] == "/pages: expected POST /page or /ticket"
    answer = requests.get(pager.url + "/", timeout=5)
    assert answer.status_code == 404
    assert "/received" in answer.json()["error"]


def test_only_the_newest_are_kept(pager: Served):
    for number in range(KEPT // 50 + 1):
        pager.post("/page", {"alerts": [{**ALERT, "labels": {"alertname": f"a{number}"}}] * 50})
    received = pager.received()
    assert len(received) == KEPT
    assert received[0]["labels"]["alertname"] == "a1"
