"""docker-compose.yml, started by podman-compose: what the file says, and what the started containers are."""

import json
import re
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack import compose
from stack.certificates import AUTHORITY
from stack.layout import PORTS, ROOT
from stack.secure import PASSWORD, open_url
from tests import compose_files
from tests.containers import bases
from tests.containers.engine import Engine, Failed
from tests.containers.pip_settings import build_arguments

PROJECT = "fleetcast"
LEFT_OUT = {"grafana"}  # Debian has no package of it to make a stand-in of
ONE_SHOT = {"history", "keys"}


def services(secure: bool = False) -> dict[str, dict[str, Any]]:
    """The services of docker-compose.yml by name, with TLS and a login or without."""
    found = compose_files.read(compose_files.SECURE if secure else compose_files.PLAIN)["services"]
    return {name: service for name, service in found.items() if name not in LEFT_OUT}


# With TLS and a login, the lasting ones have the same user, limits, networks and places to write to.
SERVICES = services()
LASTING = [name for name in SERVICES if name not in ONE_SHOT]
DEADLINE = 600.0  # s until a service is ready, on a busy machine
PYTORCH = "https://download.pytorch.org/whl/cpu"  # as TORCH_INDEX in the Dockerfile


@dataclass(frozen=True)
class Container:
    """A container that runs. pid: of its first process, on this machine; addresses: one for each network."""

    service: str
    pid: int
    addresses: tuple[str, ...]
    published: tuple[tuple[str, int], ...]


class Composed:
    """The services of docker-compose.yml, but for LEFT_OUT, in an engine of their own. secure: with TLS and a login."""

    def __init__(self, engine: Engine, secure: bool = False):
        self.engine, self.services = engine, services(secure)
        self._files = compose_files.SECURE if secure else compose_files.PLAIN
        self.client: Path | None = engine.folder / "client" if secure else None  # what asks them

    def build(self) -> None:
        """Builds the image, with what pip of this machine is configured to use."""
        options = build_arguments(self.engine.folder)
        if not _reachable(PYTORCH):
            options.append("--build-arg=TORCH_INDEX=")
        self.engine.podman("build", "--network=host", *options, "--tag", SERVICES["exporter"]["image"],
                           "--file", self._copy(ROOT / "Dockerfile"), ROOT,
                           timeout=3600, log=self.engine.folder / "build.log")

    def up(self) -> str:
        """Creates and starts the services, each once its dependencies are as far as the file wants; seconds by service.

        podman-compose does not wait for health with podman before 4.6, and podman before 5.6 starts nothing whose
        dependencies have dependencies (containers/podman-compose#921). So dependencies are left to this function.
        """
        begin, started = time.monotonic(), dict[str, float]()
        for name in sorted(self.services, key=self._depth):
            for other, need in self.services[name].get("depends_on", {}).items():
                self._await(other, need["condition"])
            self._compose("up", "--detach", "--no-build", "--no-deps", name, timeout=180)
            started[name] = time.monotonic() - begin
        if self.client is not None:
            self.client.mkdir(mode=0o700, exist_ok=True)
            for file in (AUTHORITY, PASSWORD):  # as docs/tls-and-logins.md says
                place = f"{compose.FOLDER / compose.CLIENT / file}"
                (self.client / file).write_text(self.engine.podman("exec", _name("pager"), "cat", place))
        return _seconds(started)

    def get(self, service: str, path: str, body: Any = None) -> Any:
        """The JSON at a path of a service, as it is published; with a body, that of a POST."""
        scheme = "http" if self.client is None else "https"
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"{scheme}://127.0.0.1:{PORTS[service]}{path}", data,
                                       {"Content-Type": "application/json"})
        with open_url(self.client, asked, 20) as response:
            return json.load(response)

    def down(self) -> None:
        """Stops and removes the containers; volumes stay."""
        self._compose("down", timeout=180)

    def stop(self) -> dict[str, int]:
        """Stops every service as `docker compose stop` does; exit code by service."""
        self._compose("stop", timeout=180)
        return {name: self._exit_code(name) for name in LASTING}

    def remove(self) -> None:
        """Removes every container, volume and network; everything in the engine is of this run."""
        self.engine.podman("rm", "--all", "--force", "--volumes", "--time=10", timeout=180)
        self.engine.podman("volume", "rm", "--all", "--force")
        self.engine.podman("network", "prune", "--force")
        self.engine.close()

    def wait_ready(self) -> str:
        """Runs the health check of every service until it succeeds; seconds by service."""
        begin, took = time.monotonic(), dict[str, float]()
        for name in LASTING:
            self._await(name, "service_healthy")
            took[name] = time.monotonic() - begin
        return _seconds(took)

    def containers(self) -> list[Container]:
        """The lasting services as they run."""
        return [self._container(name) for name in LASTING]

    def log(self, service: str, lines: int = 15) -> str:
        """The end of what a service wrote."""
        try:
            return self.engine.run(["sh", "-c", 'podman logs --tail "$1" "$0" 2>&1', _name(service), str(lines)], 30)
        except Failed as error:
            return str(error)

    def _await(self, service: str, condition: str) -> None:
        """Waits until a service is as another's dependency on it wants it; Failed, with its log, if it never is."""

        def so() -> bool:
            if condition == "service_started":
                return True
            if condition == "service_healthy":
                self.engine.podman("healthcheck", "run", _name(service), timeout=30)
                return True
            assert condition == "service_completed_successfully", condition
            return bool(self.engine.inspect(_name(service))["State"]["Status"] == "exited")

        try:
            await_true(f"{service}, {condition}", so, DEADLINE)
        except Failed as error:
            raise Failed(f"{error}\n{self.log(service)}") from error
        if condition == "service_completed_successfully" and (code := self._exit_code(service)):
            raise Failed(f"{service} ended with {code}:\n{self.log(service)}")

    def _exit_code(self, service: str) -> int:
        return int(self.engine.inspect(_name(service))["State"]["ExitCode"])

    def _compose(self, *arguments: str, timeout: float) -> None:
        files = [word for file in self._files for word in ("--file", str(self._copy(file)))]
        given = ["--in-pod=false", "--project-name", PROJECT, *files, *arguments]
        log = self.engine.folder / f"compose-{arguments[0]}.log"
        self.engine.run([sys.executable, "-m", "podman_compose", *given], timeout, log)

    def _copy(self, file: Path) -> Path:
        """A copy with the images as they are here, by tag: stand-ins have other digests. Paths are absolute in it."""
        copy = self.engine.folder / file.name
        copy.write_text(bases.by_tag(file.read_text()).replace("- ./", f"- {ROOT}/"))
        return copy

    def _depth(self, service: str) -> int:
        """How many services have to be there before, one after the other."""
        return max((1 + self._depth(other) for other in self.services[service].get("depends_on", ())), default=0)

    def _container(self, service: str) -> Container:
        found = self.engine.inspect(_name(service))
        if not found["State"]["Running"]:
            raise Failed(f"{service} does not run, it ended with {found['State']['ExitCode']}:\n{self.log(service)}")
        network = found["NetworkSettings"]
        published = tuple((one["HostIp"], int(one["HostPort"]))
                          for ports in network["Ports"].values() for one in ports or ())
        addresses = tuple(one["IPAddress"] for one in network["Networks"].values())
        return Container(service, found["State"]["Pid"], addresses, published)


def _seconds(took: dict[str, float]) -> str:
    return ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items())


def await_true(what: str, condition: Callable[[], bool], deadline: float, pause: float = 1.0) -> float:
    """Seconds until a condition, which may fail to be read, is true. Failed after the deadline."""
    begin, why = time.monotonic(), "it is not so"
    while time.monotonic() - begin < deadline:
        try:
            if condition():
                return time.monotonic() - begin
        except (Failed, OSError, LookupError, ValueError) as error:
            why = str(error)
        time.sleep(pause)
    raise Failed(f"{what}: {why} after {deadline:.0f} s")


def size(text: str) -> int:
    """Bytes of a size as compose has it: 256m, 1g."""
    number, unit = re.fullmatch(r"(\d+)([kmg])", text).groups()  # type: ignore[union-attr]  # another form is our bug
    return int(number) << {"k": 10, "m": 20, "g": 30}[unit]


def writable(service: str) -> set[str]:
    """The paths in a container that the file lets it write to."""
    mounts = {text.split(":")[1] for text in SERVICES[service].get("volumes", ()) if not text.split(":")[2:]}
    return mounts | {text.partition(":")[0] for text in SERVICES[service].get("tmpfs", ())}


def _name(service: str) -> str:
    return f"{PROJECT}_{service}_1"


def _reachable(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False
