"""A real Prometheus that is killed or frozen, and a real Alertmanager that hears of it from the forecaster alone."""

import contextlib
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
import yaml

from forecaster.config import load_config
from forecaster.service.app import Forecaster
from forecaster.sources.clock import SourceClock
from tests.grafana_stack import await_true
from tests.local_server import local_server
from tests.tools import tool

pytestmark = pytest.mark.slow

CONFIG = {
    "source": {"server_label": "instance", "profile_label": None, "timeout": "500ms", "retries": 0},
    "signals": {"goroutines": {"query": "max by (instance) (avg_over_time(go_goroutines[$step]))", "unit": "count"}},
    "model": None, "refresh": "500ms", "step": "4s", "warmup": {"samples": 2, "sample_interval": "1s"},
    "forecast_ttl": "8s", "stale_after": "60s",
    "alertmanager": {"fleet": "rehearsal", "after": "3s", "end_after": "3s"},
}


class Stack:
    """Prometheus, Alertmanager and a forecaster on loopback."""

    def __init__(self, folder: Path, processes: contextlib.ExitStack):
        with contextlib.ExitStack() as held:
            ports = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
            self.prometheus_at, self.alertmanager_at = (f"127.0.0.1:{one.getsockname()[1]}" for one in ports)
        (folder / "prometheus.yml").write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": [
            {"job_name": "prometheus", "static_configs": [{"targets": [self.prometheus_at]}]}]}))
        pager = processes.enter_context(local_server(lambda request: request.answer(200, "")))
        self.delivered = pager.seen
        (folder / "alertmanager.yml").write_text(yaml.safe_dump({
            "route": {"receiver": "pager", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"},
            "receivers": [{"name": "pager", "webhook_configs": [{"url": pager.url}]}]}))
        (folder / "forecaster.yml").write_text(yaml.safe_dump(CONFIG))
        self._folder, self._processes = folder, processes
        self.alertmanager = self._run(
            "alertmanager", "--config.file=alertmanager.yml", "--storage.path=alerts", "--cluster.listen-address=",
            f"--web.listen-address={self.alertmanager_at}")
        self.prometheus = self.start_prometheus()
        self._given = {"source.url": f"http://{self.prometheus_at}", "alertmanager.url": f"http://{self.alertmanager_at}"}
        self.start_forecaster()

    def start_forecaster(self) -> None:
        self.forecaster = Forecaster(lambda: load_config(self._folder / "forecaster.yml", self._given), SourceClock())
        self._processes.callback(self.forecaster.close)
        self.forecaster.start()

    def start_prometheus(self) -> subprocess.Popen:
        self.prometheus = self._run("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
                                    f"--web.listen-address={self.prometheus_at}")
        return self.prometheus

    def _run(self, program: str, *flags: str) -> subprocess.Popen:
        log = self._processes.enter_context((self._folder / f"{program}.log").open("ab"))
        process = subprocess.Popen([tool(program), *flags], cwd=self._folder, stdout=log, stderr=log)
        self._processes.callback(process.wait, 20)
        self._processes.callback(process.kill)  # a frozen process does not hear terminate()
        return process

    @property
    def alerts(self) -> list[dict]:
        """What is active in Alertmanager."""
        try:
            return requests.get(f"http://{self.alertmanager_at}/api/v2/alerts", timeout=5).json()
        except requests.ConnectionError:
            return []

    def send(self, **alert: object) -> None:
        """Gives Alertmanager an alert of its own."""
        requests.post(f"http://{self.alertmanager_at}/api/v2/alerts", json=[alert], timeout=5).raise_for_status()

    @property
    def pages(self) -> list[str]:
        """What the pager got: firing and resolved."""
        return [json.loads(request.body)["status"] for request in self.delivered]

    @property
    def named(self) -> set[str]:
        """The alerts that the pager has heard of."""
        return {alert["labels"]["alertname"]
                for request in self.delivered for alert in json.loads(request.body)["alerts"]}

    @property
    def forecasts(self) -> bool:
        """Whether forecasts are current."""
        board = self.forecaster.parts.board
        return board.last is not None and board.last.age(time.time()) < 3


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Iterator[Stack]:
    with contextlib.ExitStack() as processes:
        yield Stack(tmp_path_factory.mktemp("gone"), processes)


def kill(stack: Stack) -> Callable[[], object]:
    stack.prometheus.kill()
    stack.prometheus.wait(20)
    return stack.start_prometheus


def freeze(stack: Stack) -> Callable[[], object]:
    frozen = stack.prometheus
    frozen.send_signal(signal.SIGSTOP)
    return lambda: frozen.send_signal(signal.SIGCONT)


def test_nobody_hears_of_a_forecaster_that_starts_while_all_is_well(stack):
    errors = stack.forecaster.parts.cycle.errors
    await_true(lambda: "alertmanager" in errors, 60, "it has said that there is no alert")
    assert errors["alertmanager"] is None and stack.alerts == []
    stack.send(labels={"alertname": "Later"})
    await_true(lambda: "firing" in stack.pages, 10, "Alertmanager delivers what came later")
    stack.send(labels={"alertname": "Later"}, endsAt=datetime.now(UTC).isoformat())
    await_true(lambda: "resolved" in stack.pages, 10, "and its end, an interval of groups later")
    assert stack.named == {"Later"} and stack.alerts == []


@pytest.mark.parametrize("fault", [kill, freeze])
def test_alertmanager_hears_that_prometheus_is_gone_and_that_it_is_back(stack, fault):
    await_true(lambda: stack.forecasts, 60, "it forecasts")
    assert stack.alerts == []
    before, repair = len(stack.pages), fault(stack)
    try:
        await_true(lambda: stack.alerts, 20, "the alert is active")
        [alert] = stack.alerts
        assert alert["labels"] | {"instance": ""} == {
            "alertname": "FleetcastPrometheusDown", "job": "forecaster", "fleet": "rehearsal", "instance": "",
            "priority": "P1", "severity": "critical"}
        answered, heard = (datetime.fromisoformat(alert[at]) for at in ("startsAt", "updatedAt"))
        assert stack.prometheus_at in alert["annotations"]["summary"] and heard - answered >= timedelta(seconds=2.9)
        status = stack.forecaster.app.test_client().get("/status").json["errors"]
        assert status["query"] and status["alertmanager"] is None
    finally:
        repair()
    await_true(lambda: stack.forecasts, 30, "it forecasts again")
    assert stack.alerts, "it has just come back"
    await_true(lambda: not stack.alerts, 30, "the alert has ended")
    assert stack.forecasts
    await_true(lambda: "resolved" in stack.pages[before:], 10, "the end is delivered")
    assert set(stack.pages[before:-1]) == {"firing"}


def test_an_alert_of_a_forecaster_that_was_restarted_ends_too(stack):
    await_true(lambda: stack.forecasts and not stack.alerts, 60, "all is well")
    repair = freeze(stack)
    try:
        await_true(lambda: stack.alerts, 20, "the alert is active")
        stack.forecaster.close()
    finally:
        repair()
    assert stack.alerts, "Alertmanager still has it"
    stack.start_forecaster()
    await_true(lambda: not stack.alerts, 30, "the alert has ended")


def test_an_alertmanager_that_is_frozen_as_well_is_told_of_later_and_costs_no_cycle(stack):
    await_true(lambda: stack.forecasts and not stack.alerts, 60, "all is well")
    repair = freeze(stack)
    stack.alertmanager.send_signal(signal.SIGSTOP)
    errors = stack.forecaster.parts.cycle.errors
    try:
        await_true(lambda: errors.get("alertmanager"), 30, "it is tried")
        assert "no answer within 2s" in errors["alertmanager"]
        repair()
        await_true(lambda: stack.forecasts, 30, "forecasts go on without it")
    finally:
        stack.alertmanager.send_signal(signal.SIGCONT)
        repair()
    await_true(lambda: errors["alertmanager"] is None and not stack.alerts, 30, "it is told that all is well")
