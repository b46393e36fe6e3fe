"""Checks before the start that every port is free, and finds the process that holds a port in use."""

import errno
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from stack import PortTaken
from stack.layout import HOST
from stack.parts import Part

_LISTENING = "0A"


def check_ports(parts: Iterable[Part]) -> None:
    """Raises PortTaken with a line per port in use: the port, the part that needs it, its holder and the remedy."""
    taken = [part for part in parts if not is_free(part.port)]
    if taken:
        raise PortTaken("\n".join(describe(part) for part in taken))


def is_free(port: int) -> bool:
    """Whether a server can listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignores connections that are closing
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def describe(part: Part) -> str:
    """One line about a port in use."""
    line = f"port {part.port} is in use, {part.name} needs it"
    holder = find_holder(part.port)
    if holder is None:
        command = f"ss -ltnp 'sport = :{part.port}'"
        return f"{line}; stop the program that holds it (as root, `{command}` shows it), then start again"
    pid, name = holder
    return f"{line}; {name} (pid {pid}) holds it; stop it (`kill {pid}`), then start again"


def find_holder(port: int) -> tuple[int, str] | None:
    """(pid, first words of the command) of the process that listens on the port; None if it is unknown."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for fields in (line.split() for line in _lines(table)[1:]):
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(link) in inodes for link in (process / "fd").iterdir()):
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                return int(process.name), " ".join(Path(word).name for word in words[:3]).strip()
        except OSError:  # the process has ended or belongs to another user
            continue
    return None


def _lines(path: str) -> list[str]:
    """The lines of a file in /proc; none if there is no such file."""
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
