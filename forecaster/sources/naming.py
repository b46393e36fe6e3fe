"""Which series belongs to which server: what the label sets of instant answers say, worked out once and remembered.

From cycle to cycle the label sets of a fleet hardly ever change, only the numbers beside them. As long as they are the same
in the same order, so is all that follows from them: who is ambiguous, which server stands in which row, its profile.

S servers, C signals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from forecaster.readings import Labels, SourceNonsense


@dataclass(frozen=True, eq=False)
class Named:
    """One signal's series by their label sets, in the order of the answer."""

    labels: Sequence[Mapping[str, str]]
    servers: frozenset[str]
    profiles: Mapping[str, str]               # server -> the first one it names, where it names one
    doubled: Mapping[str, SourceNonsense]     # servers with several series, and the error that says so
    places: Mapping[str, int]                 # the other servers -> where in the answer their series is

    @classmethod
    def of(cls, labels: Sequence[Mapping[str, str]], names: Labels, what: str) -> Named:
        """SourceNonsense, `what` saying where, for a series that names no server."""
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
    """The servers of all signals' answers: names sorted, profiles (S,); of each signal the rows (n,) of its n values and
    their places (n,) in the answer, int64."""

    signals: Sequence[Named]
    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    rows: Sequence[np.ndarray]
    places: Sequence[np.ndarray]

    @classmethod
    def of(cls, signals: Sequence[Named], names: Labels) -> Roster:
        """Where signals name different profiles of a server, the first signal's counts."""
        servers = tuple(sorted(frozenset().union(*(named.servers for named in signals))))
        row = {server: number for number, server in enumerate(servers)}
        profiles = dict(chain.from_iterable(named.profiles.items() for named in reversed(signals)))
        rows = [np.array([row[server] for server in named.places], np.int64) for named in signals]
        places = [np.array([*named.places.values()], np.int64) for named in signals]
        return cls(signals, servers, names.profiles(servers, profiles), rows, places)

    def holds(self, signals: Sequence[Named]) -> bool:
        """Whether it was made of these."""
        return all(one is other for one, other in zip(signals, self.signals, strict=True))

    def values(self, numbers: Sequence[np.ndarray]) -> np.ndarray:
        """float32 (S, C) of the numbers of each signal's series, in the order of the answer; NaN where there is none."""
        values = np.full((len(self.servers), len(numbers)), np.nan, np.float32)
        for c, (of, rows, places) in enumerate(zip(numbers, self.rows, self.places, strict=True)):
            values[rows, c] = of[places]
        return values
