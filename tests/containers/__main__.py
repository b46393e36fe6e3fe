"""docker-compose.yml on real containers: builds the image, starts every service but Grafana, and checks them.

    python -m tests.containers [--secure] [--fresh]

It takes root, podman, a runtime, debootstrap and the ports of the stack. Everything is kept in .data/containers, apart
from the machine's own images and containers, and nothing runs when it ends. Images stay for the next run.

Exit code: 0 all is as it should be, 1 something is not, 2 this machine lacks something (each named, with the remedy).
"""

import argparse
import fcntl
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

from stack.layout import PORTS, ROOT
from tests.containers import bases, checks, engine
from tests.containers.composed import LASTING, SERVICES, Composed, await_true, size
from tests.containers.engine import Engine, Failed

FOLDER = ROOT / ".data" / "containers"
SERVERS = 20  # of the simulated fleet
CURVES = 'count(count by (server) (max_over_time(forecast_cpu_pct{source="curve",percentile="p90"}[8h] offset -8h)))'


class Report:
    """Prints what is checked, how long it took, and keeps what is wrong."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def say(self, line: str) -> None:
        """A line that is no result."""
        print(f"      {line}", flush=True)

    def check(self, what: str, look: Callable[[], object]) -> None:
        """Runs one check: it returns what is wrong as a list, or raises Failed; anything else it returns is shown."""
        begin = time.monotonic()
        try:
            found = look()
        except (Failed, OSError, LookupError, ValueError) as error:
            found = [f"{type(error).__name__}: {error}" if not isinstance(error, Failed) else str(error)]
        wrong = found if isinstance(found, list) else []
        self.wrong += [f"{what}: {one}" for one in wrong]
        shown = f" ({found})" if isinstance(found, str) else ""
        print(f"{'FAIL' if wrong else 'ok':4}  {what}{shown}, {time.monotonic() - begin:.0f} s", flush=True)
        for one in wrong:
            print(f"      {one}", flush=True)

    def need(self, what: str, look: Callable[[], object]) -> None:
        """Like `check`; what is wrong ends the run."""
        before = len(self.wrong)
        self.check(what, look)
        if len(self.wrong) > before:
            raise Failed("the rest was not checked")


class Asked:
    """What the services that run say."""

    def __init__(self, composed: Composed) -> None:
        self.get = composed.get

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """What Prometheus answers to an instant query."""
        when = "" if at is None else f"&time={at:.0f}"
        answer = self.get("prometheus", f"/api/v1/query?query={quote(expression)}{when}")
        return [*answer["data"]["result"]]

    def number(self, expression: str, at: float | None = None) -> float:
        """The value of a query that has one; 0 where it has none."""
        found = self.query(expression, at)
        return float(found[0]["value"][1]) if found else 0.0

    def scraped(self) -> bool:
        """True once Prometheus scrapes every service; Failed says which it does."""
        reached = sorted(one["metric"]["instance"] for one in self.query("up == 1"))
        if len(reached) < len(LASTING):
            raise Failed(f"only {', '.join(reached)} are up")
        return True

    def paged(self) -> list[str]:
        """The servers that the pager was told of; a page about a service that starts slowly is none."""
        return sorted({one["labels"]["server"] for one in self.get("pager", "/received")["received"]
                       if one["labels"]["alertname"] == "FleetcastServerP1" and one["status"] == "firing"})

    def page(self) -> str:
        """Makes the fleet critical and waits for a page about one of its servers."""
        affected = self.get("exporter", "/scenario/set", {"scenario": "critical"})["affected_server_names"]
        took = await_true("no page came", lambda: bool({*self.paged()} & {*affected}), 600, 2.0)
        return f"{', '.join(self.paged())} after {took:.0f} s"


def story(composed: Composed, report: Report) -> None:
    """From the first start to the second one with the same volumes."""
    asked = Asked(composed)
    number = asked.number
    report.need("docker-compose.yml is started", composed.up)
    report.need("every service is ready, by its own health check", composed.wait_ready)
    running = composed.containers()
    report.check("nothing runs as root or may become it", lambda: checks.rights(running))
    report.check("nothing can be written but volumes and /tmp", lambda: checks.mounts(running))
    report.check("memory, processes and CPUs are limited", lambda: checks.limits(running))
    report.check("ports are published on loopback only", lambda: checks.published(running))
    report.check("who shares no network cannot reach each other", lambda: checks.walls(running))
    if composed.client is not None:
        client = composed.client
        report.check("every port speaks TLS, and answers with the login only", lambda: checks.doors(running, client))
    report.check("Prometheus scrapes every service", lambda: _later("it does not", asked.scraped))
    report.check("the past is loaded", lambda: _later("no samples", lambda: number(
        'count(count_over_time(server_cpu_utilization_ratio[1h] offset 7d))') == SERVERS))
    report.check(f"{SERVERS} servers are forecast by the model", lambda: _later("not all", lambda: number(
        'count(forecast_method{method="tft"} == 1)') >= SERVERS))
    report.check("their curves can be read for the next 8 hours", lambda: _later("not all", lambda: (
        number(CURVES) >= SERVERS)))
    report.check("this machine is forecast", lambda: _later("not yet", lambda: (
        number('count(forecast_cpu_pct{fleet="127.0.0.1:8002"})') > 0), 600))
    report.check("no server of a healthy fleet is paged", asked.paged)
    report.check("servers of a critical fleet are paged", asked.page)
    report.say("memory at most, with the page cache: " + ", ".join(
        f"{one.service} {checks.largest(one) >> 20} of {size(SERVICES[one.service]['mem_limit']) >> 20} MiB"
        for one in running))
    before = time.time()
    samples = number('count_over_time(up{job="forecaster"}[5m])', before)
    report.check("every service ends when it is told to", lambda: [
        f"{name} had to be killed" for name, code in composed.stop().items() if code == 137])
    report.need("all is removed, but for the volumes", composed.down)
    report.need("it is started again with the same volumes", composed.up)
    report.need("every service is ready again", composed.wait_ready)
    report.check("Prometheus has its samples still", lambda: [] if samples and number(
        'count_over_time(up{job="forecaster"}[5m])', before) >= samples else ["they are gone"])
    report.check("the exporter's scenario is still set", lambda: [] if asked.get("exporter", "/status")["scenario"]
                 == "critical" else ["it is not"])
    report.check("the forecasters have their memory still", lambda: [
        f"{name} restored nothing:\n{composed.log(name)}" for name in ("forecaster", "forecaster-node")
        if "restored" not in composed.log(name, 1000)])


def _later(what: str, condition: Callable[[], bool], deadline: float = 120) -> None:
    await_true(what, condition, deadline)


def _taken() -> list[str]:
    """The ports of the stack that something else listens on."""
    taken = []
    for name in LASTING:
        if name != "node-exporter":
            with socket.socket() as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    one.bind(("127.0.0.1", PORTS[name]))
                except OSError:
                    taken.append(f"port {PORTS[name]} ({name}) is in use: stop what listens there, `make up` perhaps")
    return taken


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the folder; Failed where another run has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Failed(f"another run uses {folder}: wait for its end") from error
        yield


def _lacking(what: list[str]) -> int:
    print("\n".join(f"containers: {one}" for one in what), file=sys.stderr)
    return 2


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(composed: Composed, fresh: bool, report: Report) -> None:
    """Everything, and takes down whatever it started, also where it fails or is interrupted."""
    if fresh:
        composed.engine.podman("rmi", "--all", "--force", timeout=300)
    images = base_images()
    report.need("the images to start from are there", lambda: bases.prepare(composed.engine, images, report.say))
    try:
        report.need("the image is built", composed.build)
        story(composed, report)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave half of it
        logs = FOLDER / "logs"
        logs.mkdir(exist_ok=True)
        for name in composed.services:
            (logs / f"{name}.log").write_text(composed.log(name, 100_000))
        report.check("all is taken down", composed.remove)
        if made := bases.stand_ins(composed.engine, images):
            report.say(f"checked with stand-ins made of Debian's packages, not with the originals: {', '.join(made)}")


def base_images() -> list[str]:
    """The images that are not built here: those of the Dockerfile, and of services without a build."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    named = {line.split()[1] for line in lines if line.startswith("FROM ")}
    return sorted(named | {one["image"] for one in SERVICES.values() if "build" not in one})


def main() -> int:
    """Prints each check as it is made; see the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m tests.containers", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secure", action="store_true", help="with TLS and a login: deploy/compose/secure.yml")
    parser.add_argument("--fresh", action="store_true", help="make or pull every image anew")
    given, begin, report = parser.parse_args(), time.monotonic(), Report()
    if lacks := engine.missing():
        return _lacking(lacks)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        with _alone(FOLDER):
            composed = Composed(Engine(FOLDER), given.secure)
            composed.remove()  # what a killed run left
            if taken := _taken():
                return _lacking(taken)
            run(composed, given.fresh, report)
    except Failed as error:
        report.wrong.append(str(error))
    except KeyboardInterrupt:
        print("interrupted: everything that was started is taken down", file=sys.stderr)
        return 130
    print(f"\n{time.monotonic() - begin:.0f} s; logs in {FOLDER / 'logs'}")
    wrong = [one.partition("\n")[0] for one in report.wrong]
    print("\n".join([f"{len(wrong)} wrong:", *wrong] if wrong else ["all is as it should be"]))
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
