"""alertmanager.yml: the file by amtool, its behaviour by a real Alertmanager and a real webhook."""

import json
import re
import socket
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
import yaml

from stack.pager import COVERING
from tests.tools import tool

PROMETHEUS = Path(__file__).resolve().parents[2] / "prometheus"
CONFIG = PROMETHEUS / "alertmanager.yml"
RULES = [rule for file in sorted((PROMETHEUS / "rules").glob("*.yml"))
         for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule["labels"] for rule in RULES if "alert" in rule} | {
    "FleetcastPrometheusDown": {"priority": "P1", "severity": "critical", "job": "forecaster"}}  # a forecaster sends it
RECEIVER_OF = {"P1": "pager", "P2": "ticket", "P3": "null", None: "heartbeat"}
FLEET, HOST = "simulated", "hosts"
PATIENCE = 20.0  # seconds until an awaited condition counts as missed


def amtool(*arguments: str) -> subprocess.CompletedProcess:
    command = [tool("amtool"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


# the file

def test_amtool_accepts_the_configuration():
    result = amtool("check-config", str(CONFIG))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 receivers" in result.stdout


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_goes_where_its_priority_says(name):
    labels = {"alertname": name, "fleet": FLEET, **ALERTS[name]}
    daily = name == "FleetcastCapacityP3"  # a ticket a day
    receiver = "ticket" if daily else RECEIVER_OF[ALERTS[name].get("priority")]
    result = amtool("config", "routes", "test", f"--config.file={CONFIG}", f"--verify.receivers={receiver}",
                    *(f"{label}={value}" for label, value in labels.items()))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("labels", "receiver"), [
    ({"alertname": "SomebodyElses", "priority": "P1"}, "pager"),
    ({"alertname": "SomebodyElses", "priority": "P2"}, "ticket"),
    ({"alertname": "SomebodyElses", "priority": "P3"}, "null"),
    ({"alertname": "SomebodyElses", "severity": "critical"}, "null"),
])
def test_an_alert_without_a_rule_of_ours_is_routed_by_priority_alone(labels, receiver):
    result = amtool("config", "routes", "test", f"--config.file={CONFIG}",
                    *(f"{label}={value}" for label, value in labels.items()))
    assert result.stdout.strip() == receiver


def test_each_address_is_set_in_one_place():
    assert re.findall(r"\burl: (\S+)", CONFIG.read_text()) == [
        "http://127.0.0.1:8003/page", "http://127.0.0.1:8003/ticket", "http://127.0.0.1:8003/heartbeat"]


def test_pages_are_grouped_by_alert_and_fleet_and_repeated_once_a_shift():
    route = yaml.safe_load(CONFIG.read_text())["route"]
    assert route["group_by"] == ["alertname", "fleet", "instance"]
    _, pager = (child for child in route["routes"] if child["receiver"] == "pager")
    assert (pager["group_wait"], pager["group_interval"], pager["repeat_interval"]) == ("10s", "30s", "4h")


def test_a_page_that_a_fleet_is_not_watched_does_not_wait_for_the_interval_of_an_earlier_one():
    route = yaml.safe_load(CONFIG.read_text())["route"]
    blind, _ = (child for child in route["routes"] if child["receiver"] == "pager")
    assert (blind["group_wait"], blind["group_interval"], blind["repeat_interval"]) == ("10s", "10s", "4h")
    named = {*re.findall(r"Fleetcast\w+", *blind["matchers"])}
    assert named == {*COVERING, "FleetcastFleetBlind", "FleetcastShardMissing"}


def test_every_inhibition_stays_within_one_fleet_and_names_alerts_that_exist():
    rules = yaml.safe_load(CONFIG.read_text())["inhibit_rules"]
    assert rules
    assert all("fleet" in rule.get("equal", ()) or 'fleet=""' in rule["target_matchers"] for rule in rules)
    matchers = [matcher for rule in rules for matcher in rule["source_matchers"] + rule["target_matchers"]]
    named = {name for matcher in matchers for name in re.findall(r"Fleetcast\w+", matcher)}
    assert named
    assert named <= set(ALERTS)


# a real Alertmanager

class Webhook:
    """Keeps what Alertmanager delivers: a list of (path, notification)."""

    def __init__(self) -> None:
        self.deliveries: list[tuple[str, dict]] = []
        self._arrival = threading.Condition()
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with webhook._arrival:
                    webhook.deliveries.append((self.path, body))
                    webhook._arrival.notify_all()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def about(self, path: str, status: str = "firing", **labels: str) -> list[dict]:
        """Notifications to `path` with an alert of this status that carries these labels."""
        return [body for where, body in self.deliveries if where == path
                if any(alert["status"] == status and labels.items() <= alert["labels"].items()
                       for alert in body["alerts"])]

    def wait_for(self, path: str, status: str = "firing", **labels: str) -> dict:
        with self._arrival:
            arrived = self._arrival.wait_for(lambda: self.about(path, status, **labels), timeout=PATIENCE)
            assert arrived, f"no {status} {labels} at {path}; delivered: {self.deliveries}"
            return self.about(path, status, **labels)[0]

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


class Alertmanager:
    """The shipped configuration with seconds shortened and addresses changed, in a real Alertmanager."""

    def __init__(self, folder: Path, webhook: Webhook) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        (folder / "alertmanager.yml").write_text(self._shortened(webhook))
        command = [tool("alertmanager"), f"--config.file={folder / 'alertmanager.yml'}",
                   f"--storage.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
                   "--cluster.listen-address="]
        with (folder / "alertmanager.log").open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            await_condition(self._ready, f"Alertmanager is ready; see {folder / 'alertmanager.log'}")
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _shortened(webhook: Webhook) -> str:
        config = yaml.safe_load(CONFIG.read_text())
        for route in [config["route"], *config["route"]["routes"]]:
            beats = route["receiver"] == "heartbeat"
            route.update(group_wait="500ms", group_interval="500ms", **({"repeat_interval": "1s"} if beats else {}))
        for receiver in config["receivers"]:
            for target in receiver.get("webhook_configs", []):
                target["url"] = target["url"].replace("http://127.0.0.1:8003", webhook.url)
        return yaml.safe_dump(config)

    def _ready(self) -> bool:
        assert self._process.poll() is None, "Alertmanager ended instead of starting; see alertmanager.log"
        try:
            return requests.get(f"{self.url}/-/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    def post(self, *alerts: dict[str, str], resolved: bool = False) -> None:
        """Alerts by name, with the labels of their rule, that start now, or end now where `resolved`."""
        now = datetime.now(UTC)  # an alert that started before the waiting time would be sent without waiting
        starts, ends = (now - timedelta(seconds=1), now) if resolved else (now, now + timedelta(hours=1))
        body = [{"labels": {**ALERTS.get(alert["alertname"], {}), **alert}, "startsAt": starts.isoformat(),
                 "endsAt": ends.isoformat()}
                for alert in alerts]
        answer = requests.post(f"{self.url}/api/v2/alerts", json=body, timeout=5)
        assert answer.ok, answer.text

    def status(self, **labels: str) -> dict:
        """Status of the one alert with these labels: {"state", "inhibitedBy", "silencedBy"}."""
        found = [alert for alert in requests.get(f"{self.url}/api/v2/alerts", timeout=5).json()
                 if labels.items() <= alert["labels"].items()]
        assert len(found) == 1, f"{len(found)} alerts with {labels}, expected one"
        return found[0]["status"]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)


def await_condition(condition, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def webhook():
    webhook = Webhook()
    yield webhook
    webhook.close()


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory, webhook):
    alertmanager = Alertmanager(tmp_path_factory.mktemp("alertmanager"), webhook)
    yield alertmanager
    alertmanager.close()


def test_a_p1_inhibits_the_p2_of_the_same_server_and_of_no_other(alertmanager, webhook):
    p1 = {"alertname": "FleetcastServerP1", "fleet": FLEET, "server": "ppdb001"}
    same = {"alertname": "FleetcastServerP2", "fleet": FLEET, "server": "ppdb001"}
    other = {"alertname": "FleetcastServerP2", "fleet": FLEET, "server": "ppdb002"}
    namesake = {"alertname": "FleetcastServerP2", "fleet": HOST, "server": "ppdb001"}
    alertmanager.post(p1)
    webhook.wait_for("/page", server="ppdb001")
    alertmanager.post(same, other, namesake)
    await_condition(lambda: alertmanager.status(**same)["state"] == "suppressed", "the P2 is inhibited")
    assert alertmanager.status(**same)["inhibitedBy"]
    webhook.wait_for("/ticket", server="ppdb002")
    webhook.wait_for("/ticket", fleet=HOST, server="ppdb001")
    assert alertmanager.status(**other)["state"] == "active"
    assert alertmanager.status(**namesake)["state"] == "active"
    assert not webhook.about("/ticket", fleet=FLEET, server="ppdb001")

    alertmanager.post(p1, resolved=True)
    webhook.wait_for("/page", status="resolved", server="ppdb001")
    webhook.wait_for("/ticket", fleet=FLEET, server="ppdb001")


def test_what_is_full_inhibits_what_is_to_be_full_of_the_same_entity_alone_and_all_of_it_ends(alertmanager, webhook):
    entity = {"fleet": "filling", "server": "web03", "resource": "disk", "entity": "/data"}
    later, sooner, page, full = ({"alertname": f"FleetcastCapacity{name}", **entity}
                                 for name in ("P3", "P2", "P1", "Full"))
    others = [{**sooner, "entity": "/"}, {**sooner, "server": "web04"}, {**sooner, "resource": "inodes"},
              {"alertname": "FleetcastServerP2", "fleet": "filling", "server": "web03"}]
    for alert in (later, sooner, page, full):
        alertmanager.post(alert)
        webhook.wait_for("/page" if alert in (page, full) else "/ticket", **alert)
    for alert in (later, sooner, page):
        await_condition(lambda alert=alert: alertmanager.status(**alert)["inhibitedBy"], f"{alert} is inhibited")
    assert alertmanager.status(**full)["state"] == "active"
    alertmanager.post(*others)
    for alert in others:
        webhook.wait_for("/ticket", **alert)
    alertmanager.post(full, page, sooner, later, resolved=True)
    for alert in (full, page, sooner, later):
        webhook.wait_for("/page" if alert in (page, full) else "/ticket", status="resolved", **alert)


def test_what_is_full_within_a_week_is_looked_at_once_a_day_and_told_again_as_often():
    routes = yaml.safe_load(CONFIG.read_text())["route"]["routes"]
    (daily,) = (route for route in routes if 'alertname="FleetcastCapacityP3"' in route["matchers"])
    assert (daily["group_interval"], daily["repeat_interval"]) == ("24h", "23h")


def test_a_fleet_wide_event_is_one_page_with_all_servers_and_one_all_clear(alertmanager, webhook):
    servers = ["ppweb001", "ppweb002", "ppml001", "ppetl001", "pprisk001"]
    alerts = [{"alertname": "FleetcastServerP1", "fleet": "fleet-wide", "server": server,
               "profile": server[2:-3]} for server in servers]
    alertmanager.post(*alerts)
    page = webhook.wait_for("/page", fleet="fleet-wide")
    assert sorted(alert["labels"]["server"] for alert in page["alerts"]) == sorted(servers)
    alertmanager.post(*alerts, resolved=True)
    end = webhook.wait_for("/page", status="resolved", fleet="fleet-wide")
    assert end["status"] == "resolved"
    assert len(end["alerts"]) == len(servers)
    assert len(webhook.about("/page", fleet="fleet-wide")) == 1


def test_nobody_hears_of_p3(alertmanager, webhook):
    alertmanager.post({"alertname": "FleetcastWarmUpOverdue", "fleet": "quiet", "server": "ppgen001"})
    alertmanager.post({"alertname": "FleetcastFleetWarning", "fleet": "quiet"})
    webhook.wait_for("/ticket", fleet="quiet")  # sent after the other, with the same waiting time
    heard = {alert["labels"]["alertname"] for _, body in webhook.deliveries for alert in body["alerts"]}
    assert "FleetcastWarmUpOverdue" not in heard


def test_each_fleet_has_its_heartbeat_which_is_sent_again_and_again_and_no_more_once_it_ends(alertmanager, webhook):
    beats = [{"alertname": "FleetcastWatchdog", "job": "forecaster", "fleet": fleet} for fleet in ("beats", "stops")]
    alertmanager.post(*beats)
    for fleet in ("beats", "stops"):
        await_condition(lambda fleet=fleet: len(webhook.about("/heartbeat", fleet=fleet)) >= 2, "a second heartbeat")
    for body in webhook.about("/heartbeat"):
        assert len({alert["labels"]["fleet"] for alert in body["alerts"]}) == 1
    alertmanager.post(beats[1], resolved=True)
    webhook.wait_for("/heartbeat", status="resolved", fleet="stops")
    sent = len(webhook.about("/heartbeat", fleet="stops"))
    more = len(webhook.about("/heartbeat", fleet="beats")) + 2
    await_condition(lambda: len(webhook.about("/heartbeat", fleet="beats")) >= more, "the other goes on")
    assert len(webhook.about("/heartbeat", fleet="stops")) == sent
    assert not webhook.about("/heartbeat", status="resolved", fleet="beats")


def test_a_server_that_is_gone_is_said_to_be_although_it_is_p1(alertmanager, webhook):
    alertmanager.post({"alertname": "FleetcastServerP1", "fleet": "gone", "server": "ppdb001"})
    webhook.wait_for("/page", fleet="gone")
    alertmanager.post({"alertname": "FleetcastServerGone", "fleet": "gone", "server": "ppdb001"})
    webhook.wait_for("/ticket", alertname="FleetcastServerGone", fleet="gone")


def test_what_a_dead_prometheus_no_longer_sends_is_not_said_to_be_over(alertmanager, webhook):
    mine = {"alertname": "FleetcastServerP1", "fleet": "dead", "server": "ppdb001"}
    nobodys = {"alertname": "FleetcastAlertmanagerUnreachable", "instance": "127.0.0.1:9090", "job": "prometheus"}
    elses, other = {"alertname": "Unrelated", "priority": "P1"}, {**mine, "fleet": "alive"}
    alertmanager.post(mine, nobodys, elses, other)
    for alert, path in ((mine, "/page"), (nobodys, "/ticket"), (elses, "/page"), (other, "/page")):
        webhook.wait_for(path, **alert)
    dead = {"alertname": "FleetcastPrometheusDown", "fleet": "dead", "instance": "127.0.0.1:8000"}
    alertmanager.post(dead)
    webhook.wait_for("/page", **dead)
    for alert in (mine, nobodys):
        await_condition(lambda alert=alert: alertmanager.status(**alert)["inhibitedBy"], f"{alert} is inhibited")
    assert not any(alertmanager.status(**alert)["inhibitedBy"] for alert in (dead, elses, other))
    alertmanager.post(mine, nobodys, other, resolved=True)
    webhook.wait_for("/page", status="resolved", **other)
    assert not webhook.about("/page", status="resolved", **mine)
    alertmanager.post(mine)  # the Prometheus that is back
    alertmanager.post(dead, elses, resolved=True)
    webhook.wait_for("/page", status="resolved", **dead)
    assert alertmanager.status(**mine)["state"] == "active"
    assert not webhook.about("/page", status="resolved", **mine)
    assert not webhook.about("/ticket", status="resolved", **nobodys)


def test_a_forecaster_that_is_down_inhibits_what_it_sets_off_and_no_page_about_a_server(alertmanager):
    set_off = ["FleetcastClockOff", "FleetcastCycleFailures", "FleetcastModelFallback", "FleetcastSignalFailing"]
    alertmanager.post({"alertname": "FleetcastForecasterDown", "instance": "down"})
    of_servers = ["FleetcastServerP1", "FleetcastServerGone", "FleetcastForecastsStale"]
    alertmanager.post(*({"alertname": name, "instance": "down"} for name in [*set_off, *of_servers]),
                      *({"alertname": name, "instance": "up"} for name in set_off[1:3]))
    for name in set_off:
        alert = {"alertname": name, "instance": "down"}
        await_condition(lambda alert=alert: alertmanager.status(**alert)["inhibitedBy"], name)
    assert alertmanager.status(alertname="FleetcastForecasterDown", instance="down")["state"] == "active"
    for name, instance in [*((name, "down") for name in of_servers), (set_off[1], "up"), (set_off[2], "up")]:
        assert not alertmanager.status(alertname=name, instance=instance)["inhibitedBy"]


@pytest.mark.parametrize(("cause", "set_off"), [
    ("FleetcastFleetCritical", "FleetcastFleetWarning"),
    ("FleetcastForecastsStale", "FleetcastCycleFailures"),
    ("FleetcastShardMismatch", "FleetcastShardMissing"),
])
def test_the_cause_inhibits_what_follows_from_it_in_the_same_fleet(alertmanager, cause, set_off):
    alertmanager.post({"alertname": cause, "fleet": f"{set_off}-1"})
    here = {"alertname": set_off, "fleet": f"{set_off}-1"}
    elsewhere = {"alertname": set_off, "fleet": f"{set_off}-2"}
    alertmanager.post(here, elsewhere)
    await_condition(lambda: alertmanager.status(**here)["inhibitedBy"], f"{set_off} is inhibited")
    assert not alertmanager.status(**elsewhere)["inhibitedBy"]


@pytest.mark.parametrize("name", sorted(ALERTS.keys() - {"FleetcastWatchdog"}))
def test_the_silence_in_the_runbook_silences_its_alert(alertmanager, name):
    runbook = (PROMETHEUS / "runbook.md").read_text()
    command = re.search(rf"`(amtool [^`]*alertname={name} [^`]*)`", runbook).group(1)
    labels = dict(re.findall(r"(alertname|server|entity|fleet|instance|job|reason)=(\S+)", command))
    labels = {"fleet": "silenced", **labels}
    alertmanager.post(labels)
    line = command.replace("amtool", tool("amtool"), 1).replace("http://127.0.0.1:9093", alertmanager.url)
    result = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stderr
    silence = result.stdout.strip()
    await_condition(lambda: alertmanager.status(**labels)["silencedBy"] == [silence], f"{name} is silenced")
