"""The real stack in fast motion: two exporters, two shards of a forecaster, Prometheus, Alertmanager and the pager."""

import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import yaml

from forecaster.config import ForecasterConfig
from tests.season import fast
from tests.season.exporter import SIGNALS
from tests.season.programs import Program, await_all, free_ports, python
from tests.season.world import BIG, SHARDS, SMALL, World
from tests.tools import tool

FLEET = "season"
EXPORTERS = {BIG: "exporter-big", SMALL: "exporter-small"}
FORECASTERS = tuple(f"forecaster-{number}" for number in range(SHARDS))
NAMES = (*EXPORTERS.values(), *FORECASTERS, "prometheus", "alertmanager", "pager")
UNITS = {"cpu_pct": ("percent", 100), "mem_pct": ("percent", 100), "latency_ms": ("milliseconds", None)}
# The forecaster's own durations.
DIVIDED = ("source.timeout", "forecast_ttl", "stale_after", "drop_after", "alertmanager.after",
           "alertmanager.end_after", "risk.priorities.p1_confirm", "risk.priorities.p1_clear",
           "risk.priorities.p2_confirm", "risk.priorities.p2_clear")
HEARTBEAT = 90.0  # s, the pager's default
BROKEN = ": not YAML [\n"


class Stack:
    """The programs by name, each with its file; `clock` gives fast seconds."""

    def __init__(self, folder: Path, factor: float):
        self.folder, self.factor, self._started = folder, factor, time.monotonic()
        self.world = World(folder / "world.json", self.clock)
        self.ports = dict(zip(NAMES, free_ports(len(NAMES)), strict=True))
        self.files: dict[str, Path] = {}
        self.programs: dict[str, Program] = {}
        for number, name in enumerate(FORECASTERS):
            self._write(name, f"{name}.yml", self.forecaster(number))
            self.shift(number, 0.0)
        fast.rules(factor, folder / "rules")
        (folder / "targets").mkdir()
        (folder / "targets" / "forecaster.yml").write_text(yaml.safe_dump(
            [{"targets": [self.address(name) for name in FORECASTERS], "labels": {"fleet": FLEET}}]))
        self._write("prometheus", "prometheus.yml", fast.prometheus(factor, {
            "fleet-exporter": [self.address(name) for name in EXPORTERS.values()],
            "prometheus": [self.address("prometheus")], "alertmanager": [self.address("alertmanager")],
        }, self.address("alertmanager")))
        self._write("alertmanager", "alertmanager.yml", fast.alertmanager(factor, f"http://{self.address('pager')}"))
        self._make()

    def clock(self) -> float:
        """Fast seconds since the season began."""
        return (time.monotonic() - self._started) * self.factor

    def address(self, name: str) -> str:
        """host:port of a program."""
        return f"127.0.0.1:{self.ports[name]}"

    def start(self) -> None:
        """Starts everything and waits until it is whole."""
        for program in self.programs.values():
            program.start()
        await_all(self.programs)
        self.until(self.whole, "the stack is whole")

    def close(self) -> None:
        """Ends everything."""
        for program in self.programs.values():
            program.stop()

    def until(self, condition: Callable[[], bool], what: str, patience: float = 30.0) -> None:
        """Waits for a condition, at most `patience` seconds."""
        deadline = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < deadline, f"not within {patience:.0f} s: {what}"
            time.sleep(0.05)

    def whole(self, since: float = 0.0) -> bool:
        """Whether every target has answered and both shards have forecast since then (Unix seconds)."""
        targets = len(NAMES) - 1  # the pager is no target
        return (self.query(f"count(up == 1 and timestamp(up) > {since:.3f})") == targets
                and self.query(f"count(count by (shard_ordinal) (forecaster_shard_ordinal and on (instance) "
                               f"forecaster_last_success_timestamp_seconds > {since + 1:.3f}))") == SHARDS)

    def query(self, promql: str) -> float | None:
        """The one value of a query; None where there is none or Prometheus does not answer."""
        try:
            answer = requests.get(f"http://{self.address('prometheus')}/api/v1/query", {"query": promql}, timeout=1)
            found = answer.json()["data"]["result"]
            return float(found[0]["value"][1]) if found else None
        except (requests.RequestException, ValueError, KeyError):
            return None

    def change(self, name: str, text: str) -> None:
        """Gives a program another configuration and has it read it."""
        self.files[name].write_text(text)
        self.programs[name].send(signal.SIGHUP, master=True)

    def received(self) -> list[dict[str, Any]]:
        """What the pager holds."""
        return requests.get(f"http://{self.address('pager')}/received", timeout=5).json()["received"]

    # -- files ------------------------------------------------------------------------------------------------------

    def forecaster(self, number: int, shard: int | None = None) -> str:
        """The configuration of a forecaster, by default of its own shard."""
        signals = {name: {"query": f"season_{name} * on (server) group_left () season_{name}_factor",
                          "unit": UNITS[name][0], "max": UNITS[name][1]} for name in SIGNALS}
        defaults = ForecasterConfig.model_validate({"signals": signals, "model": None})

        def default(key: str) -> float:
            value: Any = defaults
            for name in key.split("."):
                value = getattr(value, name)
            return value

        config = {"listen": self.address(FORECASTERS[number]), "model": None, "total_shards": SHARDS,
                  "shard": number if shard is None else shard, "refresh": 15 / self.factor, "step": 300 / self.factor,
                  "warmup": {"samples": 10, "sample_interval": 15 / self.factor}, "signals": signals}
        for key, value in fast.divided(default, self.factor, *DIVIDED).items():
            config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
        config["source"] |= {"url": f"http://{self.address('prometheus')}", "scrape_interval": fast.SCRAPE}
        config["alertmanager"] |= {"url": f"http://{self.address('alertmanager')}", "fleet": FLEET}
        return yaml.safe_dump(config, sort_keys=False)

    def shift(self, number: int, seconds: float) -> None:
        """Puts the clock of a forecaster off by so many seconds."""
        file = self.folder / f"clock-{number}"
        with file.open("r+b" if file.exists() else "wb") as opened:  # in place: it is mapped
            opened.write(struct.pack("d", seconds))

    def _write(self, name: str, file: str, text: str) -> None:
        self.files[name] = self.folder / file
        self.files[name].write_text(text)

    def _make(self) -> None:
        folder = self.folder
        commands = {name: [sys.executable, str(Path(__file__).with_name("exporter.py")), str(self.ports[name]),
                           "world.json", share] for share, name in EXPORTERS.items()}
        commands |= {name: python("tests.season.shifted", f"clock-{number}", "serve", "--config.file", f"{name}.yml",
                                  "--storage.path", f"storage-{number}") for number, name in enumerate(FORECASTERS)}
        commands["pager"] = python("stack.pager", "--web.listen-address", self.address("pager"),
                                   "--heartbeat.timeout", f"{HEARTBEAT / self.factor}")
        commands["prometheus"] = [
            tool("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb",
            f"--web.listen-address={self.address('prometheus')}", "--log.level=warn", *fast.flags(self.factor)]
        commands["alertmanager"] = [
            tool("alertmanager"), "--config.file=alertmanager.yml", "--storage.path=notified",
            f"--web.listen-address={self.address('alertmanager')}", "--cluster.listen-address=", "--log.level=warn"]
        ready = dict.fromkeys(NAMES, "-/ready") | dict.fromkeys(EXPORTERS.values(), "metrics")
        ready |= dict.fromkeys(FORECASTERS, "-/healthy")
        self.programs = {name: Program(name, commands[name], f"http://{self.address(name)}/{ready[name]}", folder)
                         for name in commands}
