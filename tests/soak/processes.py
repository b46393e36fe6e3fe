"""What a process and those it started use, as Linux' /proc tells (proc(5))."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """Threads, open descriptors, and resident memory in MB (2^20 bytes)."""

    threads: int
    descriptors: int
    megabytes: float


def usage(pid: int) -> Usage | None:
    """Of a process with all below it; None if there is none."""
    found = [one for process in family(pid) if (one := _usage(process)) is not None]
    if not found:
        return None
    return Usage(sum(one.threads for one in found), sum(one.descriptors for one in found),
                 sum(one.megabytes for one in found))


def family(pid: int) -> Iterator[int]:
    """The process and those it started, and they in turn."""
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                for child in (task / "children").read_text().split():
                    yield from family(int(child))


def _usage(pid: int) -> Usage | None:
    folder = Path(f"/proc/{pid}")
    try:
        resident = int((folder / "statm").read_text().split()[1]) * PAGE
        return Usage(len(os.listdir(folder / "task")), len(os.listdir(folder / "fd")), resident / (1 << 20))
    except OSError:
        return None
