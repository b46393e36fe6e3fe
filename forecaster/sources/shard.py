"""Shards: several forecasters divide one fleet between them by the names of its servers.

A server's shard is the number that Prometheus' relabelling action `hashmod` gives its name: the last 8 of the 16
bytes of its MD5, read big-endian, modulo the number of shards. A scrape configuration can therefore put the same
number into a label, and the signals' queries can select it by $shard and $total_shards.

Shards are counted from 0. Each server belongs to exactly one, which depends only on its name and the total.
S servers, C signals, N instants.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from forecaster.readings import Labels, Reading, Readings

_CACHED_NAMES = 1 << 18

R = TypeVar("R", Reading, Readings)


@lru_cache(maxsize=_CACHED_NAMES)
def number(server: str) -> int:
    """The 64 bits of a server's name that decide its shard."""
    return int.from_bytes(hashlib.md5(server.encode(), usedforsecurity=False).digest()[8:], "big")


def ordinal(given: Any) -> Any:
    """A shard's number from the name of a StatefulSet's pod, such as 3 from "forecaster-3"; anything else unchanged."""
    found = re.fullmatch(r"(?:[a-z0-9.-]*-)?(\d+)", given) if isinstance(given, str) else None
    return int(found[1]) if found else given


@dataclass(frozen=True)
class Shard:
    """Shard `ordinal` of `total`; with a total of 1 it owns every server."""

    ordinal: int = 0
    total: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.ordinal < self.total:
            raise ValueError(f"shard {self.ordinal} of {self.total}: expected 0 <= shard < total_shards")

    def owns(self, server: str) -> bool:
        """Whether the server of this name belongs to this shard."""
        return self.total == 1 or number(server) % self.total == self.ordinal

    def fill(self, query: str) -> str:
        """The query with $shard and $total_shards filled in."""
        return re.sub(r"\$total_shards\b", str(self.total), re.sub(r"\$shard\b", str(self.ordinal), query))

    def owned(self, labels: Sequence[Mapping[str, str]], names: Labels) -> list[int]:
        """Which of these label sets name a server of this shard, or no server."""
        return [n for n, one in enumerate(labels) if not (server := names.server_of(one)) or self.owns(server)]

    def share(self, read: R) -> R:
        """The reading with this shard's servers only: values float32 (S, C) or (N, S, C)."""
        if self.total == 1:
            return read
        rows = [row for row, server in enumerate(read.servers) if self.owns(server)]
        return replace(
            read,
            servers=tuple(read.servers[row] for row in rows),
            profiles=tuple(read.profiles[row] for row in rows),
            values=read.values[..., rows, :],
        )


WHOLE = Shard()
