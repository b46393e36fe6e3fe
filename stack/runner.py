"""Runs the parts under supervisor: a part that ends is restarted alone, and all parts end together.

supervisord is a child of this process and ends with it, even if this process is killed. The parts are children of
supervisord and end with it in the same way. Each part has its own log file. `Runner` asks supervisor over its socket,
as `supervisorctl` does.
"""

import ctypes
import hashlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable
from configparser import ConfigParser
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Self

from supervisor.supervisord import main as supervisord
from supervisor.xmlrpc import Faults, SupervisorTransport

from stack import PartFailed, leftovers
from stack.layout import Layout
from stack.parts import Part, environment

STOP_SECONDS = 7  # how long a part has to end after SIGTERM; the stack has at most three times that
_SOCKET_LENGTH = 90  # bytes; the system allows about 107, and supervisor adds a suffix while it binds
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class State:
    """A part's state in supervisor: RUNNING, STARTING, BACKOFF, STOPPED, EXITED, FATAL …"""

    state: str
    pid: int
    description: str


def config_file(layout: Layout) -> Path:
    """supervisor's configuration file, also for `supervisorctl -c`."""
    return layout.data / "supervisord.conf"


def log_file(layout: Layout, part: str) -> Path:
    """The log file of a part."""
    return layout.data / "logs" / f"{part}.log"


def socket_path(layout: Layout) -> Path:
    """supervisor's socket: in the data folder, or in the temporary folder if that path is too long for a socket."""
    path = layout.data / "supervisor.sock"
    if len(os.fsencode(path)) <= _SOCKET_LENGTH:
        return path
    return Path(tempfile.gettempdir(), f"fleetcast-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock")


def render_config(layout: Layout, parts: Iterable[Part]) -> str:
    """supervisor's configuration for the parts."""
    sections: dict[str, dict[str, object]] = {
        "supervisord": {
            "nodaemon": "true",
            "silent": "true",
            "logfile": log_file(layout, "supervisord"),
            "logfile_maxbytes": "1MB",
            "logfile_backups": 1,
            "pidfile": layout.data / "supervisord.pid",
            "childlogdir": layout.data / "logs",
        },
        "unix_http_server": {"file": socket_path(layout), "chmod": "0700"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface",
        },
        "supervisorctl": {"serverurl": f"unix://{socket_path(layout)}"},
    }
    for part in parts:
        sections[f"program:{part.name}"] = {
            "command": shlex.join(part.command),
            "directory": layout.root,
            "autorestart": "true",
            "startsecs": 2,
            "startretries": 3,
            "stopwaitsecs": STOP_SECONDS,
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": log_file(layout, part.name),
            "stdout_logfile_maxbytes": "5MB",
            "stdout_logfile_backups": 1,
        }
    config = ConfigParser(interpolation=None)
    for name, values in sections.items():  # supervisor expands %(name)s everywhere
        config[name] = {key: str(value).replace("%", "%%") for key, value in values.items()}
    text = StringIO()
    config.write(text, space_around_delimiters=False)
    return text.getvalue()


class Runner:
    """The running parts. A context manager: leaving it stops them."""

    def __init__(self, layout: Layout, parts: Iterable[Part]):
        self.layout = layout
        self.parts = tuple(parts)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts supervisord with all parts and returns once it answers; PartFailed if it does not."""
        (self.layout.data / "logs").mkdir(parents=True, exist_ok=True)
        config_file(self.layout).write_text(render_config(self.layout, self.parts))
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", "stack.runner", str(os.getpid()), "-c", str(config_file(self.layout))],
            cwd=self.layout.root,
            env=environment(self.layout),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if self._ask("getPID") == process.pid:
                    return
            except OSError:  # it does not listen yet
                pass
            time.sleep(0.05)
        said = "" if process.poll() is None else process.communicate()[1].strip()
        self.stop()
        raise PartFailed(f"supervisord does not answer; see {log_file(self.layout, 'supervisord')}. {said}")

    def running_elsewhere(self) -> int | None:
        """The pid of a supervisord that another process started for this layout; None if there is none."""
        try:
            pid: int = self._ask("getPID")
        except OSError:
            return None
        return None if self._process is not None and self._process.pid == pid else pid

    def states(self) -> dict[str, State]:
        """State by part; OSError if supervisord does not answer."""
        return {
            info["name"]: State(info["statename"], info["pid"], info["description"])
            for info in self._ask("getAllProcessInfo")
        }

    def stop_part(self, name: str) -> None:
        """Stops a part and waits for its end; it stays stopped until `start_part`."""
        self._ask("stopProcess", name)

    def start_part(self, name: str) -> None:
        """Starts a stopped part."""
        self._ask("startProcess", name)

    def last_lines(self, name: str, count: int = 12) -> str:
        """The end of a part's log, indented."""
        try:
            lines = log_file(self.layout, name).read_text(errors="replace").splitlines()[-count:]
        except OSError:
            lines = []
        return "\n".join(f"    {line[:300]}" for line in lines) or "    (it wrote nothing)"

    @property
    def alive(self) -> bool:
        """Whether supervisord runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Ends all parts with SIGTERM, and after STOP_SECONDS with SIGKILL. Returns when they have ended, even if
        supervisord was killed before."""
        if self._process is None:
            return
        with self._process as process:
            process.terminate()
            try:
                process.wait(2 * STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        leftovers.end(socket_path(self.layout), STOP_SECONDS)
        socket_path(self.layout).unlink(missing_ok=True)

    def _ask(self, method: str, *arguments: str) -> Any:
        """One call of supervisor's API, on its own connection, because a connection that failed cannot be reused."""
        transport = SupervisorTransport(None, None, f"unix://{socket_path(self.layout)}")
        try:
            server = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
            return getattr(server.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == Faults.SHUTDOWN_STATE:  # told to end by another process, as AlreadyRunning says how
                raise ConnectionAbortedError("supervisord is ending") from fault
            raise
        finally:
            transport.close()


def main(arguments: list[str]) -> None:
    """Runs supervisord. It gets SIGTERM when its parent, the process `arguments[0]`, ends; the parts get SIGTERM when
    supervisord ends."""
    if sys.platform == "linux":
        prctl, own = ctypes.CDLL(None).prctl, os.getpid()

        def end_with(parent: int) -> None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # the parent ended before prctl, so there is no signal
                os._exit(1)

        end_with(int(arguments[0]))
        os.register_at_fork(after_in_child=lambda: end_with(own))  # fork() clears it, exec() does not
    if os.getppid() == int(arguments[0]):
        supervisord(arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
