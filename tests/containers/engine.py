"""podman, with images, containers, volumes and networks in a folder of its own, apart from those of the machine."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROGRAMS = {  # by program: the Debian package that has it
    "podman": "podman", "debootstrap": "debootstrap", "netavark": "netavark", "aardvark-dns": "aardvark-dns",
}
_UNSAID = "unable to get systemd connection"  # podman runs no health checks by itself without systemd: we do
RUNTIMES = ("crun", "runc")
# Explicit limits, as a service manager may have given this process less than podman asks for by default.
_CONFIG = """[containers]
default_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]
[engine]
runtime = "{runtime}"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""
_STORAGE = """[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""


class Failed(Exception):
    """A command failed; the message has the command and the end of what it said."""


def missing(programs: Mapping[str, str] = PROGRAMS) -> list[str]:
    """What a run lacks on this machine, each with its remedy."""
    lacks = [f"{name} is not installed: apt-get install {package}" for name, package in programs.items()
             if _found(name) is None]
    if not any(map(_found, RUNTIMES)):
        lacks.append("neither crun nor runc is installed: apt-get install crun, or runc where cgroups are of version 1")
    if os.geteuid() != 0:
        lacks.append("debootstrap and the look into the containers need root: sudo make containers")
    return lacks


def _found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/podman:/usr/libexec/podman")


class Engine:
    """podman and podman-compose with everything of theirs in ``folder``."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # crun, podman's default, has no packaged support for the first version of cgroups.
        first = RUNTIMES if Path("/sys/fs/cgroup/cgroup.controllers").exists() else RUNTIMES[::-1]
        runtime = next(name for name in first if _found(name))
        for name, text in (("containers.conf", _CONFIG), ("storage.conf", _STORAGE)):
            (folder / name).write_text(text.format(folder=folder, runtime=runtime))
        self._environment = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "GRAFANA_ADMIN_PASSWORD": "not-used",  # the file does not load without it
        }

    def run(self, command: Sequence[str | Path], timeout: float, log: Path | None = None) -> str:
        """The output of a command; Failed with the end of it if it fails. log: a file that has the output, too."""
        try:
            done = subprocess.run([*map(str, command)], env=self._environment, capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, timeout=timeout, check=False)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"`{_short(command)}` takes longer than {timeout:.0f} s") from error
        if log is not None:
            log.write_text(done.stdout + done.stderr)
        if done.returncode:
            lines = [line for line in (done.stderr or done.stdout).strip().splitlines() if _UNSAID not in line]
            said = "\n".join(lines[-15:])
            raise Failed(f"`{_short(command)}` ended with {done.returncode}:\n{said}")
        return done.stdout

    def podman(self, *arguments: str | Path, timeout: float = 60, log: Path | None = None) -> str:
        """The output of podman."""
        return self.run(["podman", *arguments], timeout, log)

    def close(self) -> None:
        """Unmounts what podman keeps mounted for the next command, so that the folder can be removed."""
        kept = self.folder / "storage" / "overlay"
        if kept.is_mount():
            self.run(["umount", kept], 30)

    def has(self, image: str) -> bool:
        """Whether an image is there."""
        try:
            self.podman("image", "exists", image)
        except Failed:
            return False
        return True

    def inspect(self, container: str) -> dict[str, Any]:
        """What podman knows of a container."""
        found: list[dict[str, Any]] = json.loads(self.podman("container", "inspect", container))
        return found[0]


def _short(command: Sequence[str | Path]) -> str:
    text = " ".join(map(str, command))
    return text if len(text) < 160 else f"{text[:157]}..."
