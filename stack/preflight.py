"""Before anything starts: is every port free, and if not, who holds it?"""

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
    """Raises PortTaken with a line for every taken port: the port, who wants it, who holds it, the remedy."""
    taken = [part for part in parts if not is_free(part.port)]
    if taken:
        raise PortTaken("\n".join(describe(part) for part in taken))


def is_free(port: int) -> bool:
    """Whether a server could listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # connections that are closing do not count
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def describe(part: Part) -> str:
    """One line about a taken port."""
    line = f"port {part.port} is taken, {part.name} needs it"
    holder = find_holder(part.port)
    if holder is None:
        return f"{line}; free it (`ss -ltnp 'sport = :{part.port}'` as root tells who holds it), then start again"
    pid, name = holder
    return f"{line}; {name} (pid {pid}) holds it: stop that (`kill {pid}`), then start again"


def find_holder(port: int) -> tuple[int, str] | None:
    """(pid, first words of its command) of who listens on the port; None where the system does not tell."""
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
        except OSError:  # it has ended, or belongs to somebody else
            continue
    return None


def _lines(path: str) -> list[str]:
    """The lines of a file of /proc; none where there is no such file."""
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
