"""Which share of a fleet a forecaster forecasts, where several divide one fleet between them.

A server's shard is the number that Prometheus' relabelling action hashmod gives its name: the last 8 of the 16 bytes of
its MD5, read big-endian, modulo the number of shards. Who wants Prometheus to divide the work can therefore put the same
number into a label at scrape time and ask for it in the signals' queries, by $shard and $total_shards.

Shards are counted from 0. Each server belongs to exactly one, which depends on nothing but its name and the total.
S servers, C signals, N instants.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from forecaster.readings import Reading, Readings

_REMEMBERED = 1 << 18  # names whose number is kept, so that a cycle hashes none anew


@lru_cache(maxsize=_REMEMBERED)
def number(server: str) -> int:
    """The 64 bits of a server's name that decide its shard."""
    return int.from_bytes(hashlib.md5(server.encode(), usedforsecurity=False).digest()[8:], "big")


def ordinal(given: Any) -> Any:
    """A shard's number from what a StatefulSet calls its pods, "forecaster-3": 3; anything else as it is."""
    found = re.fullmatch(r"(?:[a-z0-9.-]*-)?(\d+)", given) if isinstance(given, str) else None
    return int(found[1]) if found else given


@dataclass(frozen=True)
class Shard:
    """Shard `ordinal` of `total`; the only one of one shard owns every server."""

    ordinal: int = 0
    total: int = 1

    def __post_init__(self):
        if not 0 <= self.ordinal < self.total:
            raise ValueError(f"shard {self.ordinal} of {self.total}: expected 0 <= shard < total_shards")

    def owns(self, server: str) -> bool:
        """Whether the server of this name is this shard's."""
        return self.total == 1 or number(server) % self.total == self.ordinal

    def fill(self, query: str) -> str:
        """The query with $shard and $total_shards filled in."""
        return re.sub(r"\$total_shards\b", str(self.total), re.sub(r"\$shard\b", str(self.ordinal), query))

    def owned(self, series: Sequence[tuple[Mapping[str, str], Any]], label: str) -> list[tuple[Mapping[str, str], Any]]:
        """The (labels, value) pairs whose server, named by `label`, is this shard's, and those that name none."""
        if self.total == 1:
            return list(series)
        return [pair for pair in series if not (server := pair[0].get(label)) or self.owns(server)]

    def share(self, read: Reading | Readings) -> Reading | Readings:
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
