"""Which series of an instant answer belongs to which server.

The label sets of a fleet rarely change from one cycle to the next. What follows from them (ambiguous servers, rows,
profiles) is therefore kept until they do.

S servers, C signals, n series of one answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from forecaster.readings import Labels, SourceNonsense


@dataclass(frozen=True, eq=False)
class Named:
    """Servers of one signal's series, from their label sets in the order of the answer."""

    labels: Sequence[Mapping[str, str]]
    servers: frozenset[str]
    profiles: Mapping[str, str]               # server -> profile, of the first series that has one
    doubled: Mapping[str, SourceNonsense]     # server with several series -> the error for it
    places: Mapping[str, int]                 # every other server -> index of its series in the answer

    @classmethod
    def of(cls, labels: Sequence[Mapping[str, str]], names: Labels, what: str) -> Named:
        """SourceNonsense for a series without the server label; `what` names source and signal."""
        places: dict[str, int] = {}
        profiles: dict[str, str] = {}
        doubled: dict[str, SourceNonsense] = {}
        for place, one in enumerate(labels):
            server = names.server_of(what, one)
            if server in places:
                doubled.setdefault(server, names.ambiguous(what, server, labels[places[server]], one))
            else:
                places[server] = place
            if profile := names.profile_of(one):
                profiles.setdefault(server, profile)
        single = {server: place for server, place in places.items() if server not in doubled}
        return cls(labels, frozenset(places), profiles, doubled, single)


@dataclass(frozen=True, eq=False)
class Roster:
    """The servers of all signals' answers, sorted, and their profiles (S,). For each signal: the rows (n,) int64 of its
    servers, and the indices (n,) int64 of their series in the answer."""

    signals: Sequence[Named]
    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    rows: Sequence[np.ndarray]
    places: Sequence[np.ndarray]

    @classmethod
    def of(cls, signals: Sequence[Named], names: Labels) -> Roster:
        """Where signals disagree on a server's profile, the first signal's is used."""
        servers = tuple(sorted(frozenset().union(*(named.servers for named in signals))))
        row = {server: number for number, server in enumerate(servers)}
        profiles = dict(chain.from_iterable(named.profiles.items() for named in reversed(signals)))
        rows = [np.array([row[server] for server in named.places], np.int64) for named in signals]
        places = [np.array([*named.places.values()], np.int64) for named in signals]
        return cls(signals, servers, names.profiles(servers, profiles), rows, places)

    def holds(self, signals: Sequence[Named]) -> bool:
        """Whether it was made of these objects."""
        return all(one is other for one, other in zip(signals, self.signals, strict=True))

    def values(self, numbers: Sequence[np.ndarray]) -> np.ndarray:
        """float32 (S, C), NaN where there is no value, from each signal's numbers (n,) in the order of its answer."""
        values = np.full((len(self.servers), len(numbers)), np.nan, np.float32)
        for c, (of, rows, places) in enumerate(zip(numbers, self.rows, self.places, strict=True)):
            values[rows, c] = of[places]
        return values
