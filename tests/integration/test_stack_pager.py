"""The pager of the demo as it is run, fed by a real Alertmanager."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from stack.layout import ROOT, free_ports
from tests.benchmarks.measure import resident_mib
from tests.stack_rehearsal import await_true
from tests.tools import tool

ROUTES = """
route:
  {{receiver: pager, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 1h, routes: [
    {{matchers: [alertname="FleetcastWatchdog"], receiver: heartbeat, group_wait: 0s, repeat_interval: 1ms}},
    {{matchers: [alertname="Truncated"], receiver: truncated}}]}}
receivers:
  - {{name: pager, webhook_configs: [{{url: "{pager}/page", send_resolved: true}}]}}
  - {{name: truncated, webhook_configs: [{{url: "{pager}/page", send_resolved: true, max_alerts: 4}}]}}
  - {{name: heartbeat, webhook_configs: [{{url: "{pager}/heartbeat", send_resolved: true}}]}}
"""
STORM = 10_000


class Chain:
    """An Alertmanager and the pager that it sends to."""

    def __init__(self, folder: Path):
        ports = free_ports()
        self.pager, self.alertmanager = (f"http://127.0.0.1:{ports[name]}" for name in ("pager", "alertmanager"))
        self._log, config = folder / "pager.log", folder / "alertmanager.yml"
        config.write_text(ROUTES.format(pager=self.pager))
        listen = [f"--web.listen-address={url.removeprefix('http://')}" for url in (self.pager, self.alertmanager)]
        self._processes = [
            self._start(self._log, sys.executable, "-m", "stack.pager", listen[0], "--heartbeat.timeout=3"),
            self._start(folder / "alertmanager.log", tool("alertmanager"), f"--config.file={config}", listen[1],
                        f"--storage.path={folder / 'state'}", "--cluster.listen-address=")]
        for url in (self.pager, self.alertmanager):
            await_true(lambda url=url: requests.get(f"{url}/-/ready", timeout=5).ok, 30, f"{url} is ready")

    def _start(self, log: Path, *command: str) -> subprocess.Popen:
        with log.open("w") as output:
            return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(10)

    def post(self, *alerts: dict) -> None:
        """Sends alerts to Alertmanager as Prometheus does."""
        requests.post(f"{self.alertmanager}/api/v2/alerts", json=alerts, timeout=30).raise_for_status()

    def lines(self, name: str) -> list[str]:
        """What the pager printed about an alert, without kind and time."""
        return [line.split(maxsplit=2)[2] for line in self._log.read_text().splitlines() if f" {name} " in line]

    def resident(self) -> float:
        """MiB of the pager."""
        return resident_mib(self._processes[0].pid)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    made = Chain(tmp_path_factory.mktemp("chain"))
    yield made
    made.close()


def alert(name: str, server: str, minutes: float = 10, fleet: str = "web", **annotations: str) -> dict:
    """An alert as Prometheus sends it, with texts of the usual length; it has ended where minutes are negative."""
    now = datetime.now(UTC)
    return {"labels": {"alertname": name, "priority": "P1", "severity": "critical", "fleet": fleet, "job": "forecaster",
                       "profile": "generic", "server": server},
            "annotations": {"summary": f"{server} is about to fail", "description": "cpu " * 40,
                            "runbook_url": f"http://127.0.0.1:8000/runbook#{name.lower()}", **annotations},
            "startsAt": (now - timedelta(hours=1)).isoformat(),
            "endsAt": (now + timedelta(minutes=minutes)).isoformat(),
            "generatorURL": "http://127.0.0.1:9090/graph?g0.expr=" + "x" * 200}


def test_an_alert_from_a_real_alertmanager_is_printed_and_remembered(chain):
    sent = alert("One", "ppdb001")
    chain.post(sent)
    await_true(lambda: chain.lines("One"), 20, "the alert is printed")
    chain.post(alert("One", "ppdb001", minutes=-1))
    await_true(lambda: len(chain.lines("One")) > 1, 20, "its end is printed")
    assert chain.lines("One") == ["firing One ppdb001: ppdb001 is about to fail", "resolved One ppdb001: over"]
    received = requests.get(f"{chain.pager}/received", timeout=5).json()["received"]
    firing, resolved = [one for one in received if one["labels"]["alertname"] == "One"]
    assert (firing["kind"], firing["status"], resolved["status"]) == ("PAGE", "firing", "resolved")
    assert firing["labels"] == sent["labels"] and firing["annotations"] == sent["annotations"]


def test_what_alertmanager_leaves_out_of_a_group_is_told(chain):
    chain.post(*(alert("Truncated", f"web{n:02}") for n in range(15)))
    told = "firing Truncated ... and 11 more that Alertmanager left out"
    await_true(lambda: told in chain.lines("Truncated"), 20, "the whole group was sent")
    assert sum("is about to fail" in line for line in chain.lines("Truncated")) == 4


def test_a_storm_of_ten_thousand_alerts_is_a_few_lines_and_ends_in_a_few(chain):
    before = chain.resident()
    for first in range(0, STORM, 1000):
        chain.post(*(alert("Storm", f"node-{n:05}.example") for n in range(first, first + 1000)))

    def told() -> int:
        firing = (line.partition(" more: ")[0].split() for line in chain.lines("Storm") if line.startswith("firing"))
        return sum(int(words[-1].replace(",", "")) if words[2] == "..." else 1 for words in firing)

    await_true(lambda: told() == STORM, 60, "every alert is printed or counted")
    assert len(chain.lines("Storm")) <= 6 * 10 and chain.resident() - before < 200
    page = requests.get(chain.pager, timeout=10).text
    assert f"{STORM:,} alerts since" in page and f"node-{STORM - 1:05}.example" in page
    for first in range(0, STORM, 1000):
        chain.post(*(alert("Storm", f"node-{n:05}.example", minutes=-1) for n in range(first, first + 1000)))
    await_true(lambda: "PAGE</b> Storm, fleet" not in requests.get(chain.pager, timeout=10).text, 60, "all are over")
    ends = [line for line in chain.lines("Storm") if line.startswith("resolved")]
    assert len(ends) <= 6 * 10 and all("over" in line for line in ends)


def test_a_heartbeat_that_ends_is_paged_about_and_so_is_its_return(chain):
    def beat() -> None:
        chain.post(alert("FleetcastWatchdog", "", fleet="beating", time=str(datetime.now(UTC))))

    def beating() -> bool:
        beat()
        return "ALIVE" in requests.get(chain.pager, timeout=5).text

    await_true(beating, 20, "a heartbeat has arrived")
    await_true(lambda: chain.lines("FleetcastHeartbeatLost"), 20, "the same heartbeat, sent again, is not one")
    assert "the same heartbeat for " in chain.lines("FleetcastHeartbeatLost")[0]
    await_true(lambda: beat() or len(chain.lines("FleetcastHeartbeatLost")) > 1, 20, "it is back")
    assert chain.lines("FleetcastHeartbeatLost")[1] == "resolved FleetcastHeartbeatLost beating: over"
