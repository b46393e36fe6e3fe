"""Which series of an instant answer belongs to which server.

The label sets of a fleet rarely change from one cycle to the next. What follows from them (unnamed series, servers with
several, rows, profiles) is therefore kept until they do.

S servers, C signals, n series of one answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from forecaster.readings import Labels
from forecaster.sources.notes import Notes


@dataclass(frozen=True, eq=False)
class Named:
    """Servers of one signal's series, from their label sets in the order of the answer."""

    labels: Sequence[Mapping[str, str]]
    profiles: Mapping[str, str]        # server -> profile, of the first series that has one
    places: Mapping[str, int]          # server -> index of its first series in the answer
    further: Sequence[tuple[str, int]]  # of servers with several: the others
    notes: Notes                       # series without a server, servers with several series

    @classmethod
    def of(cls, labels: Sequence[Mapping[str, str]], names: Labels) -> Named:
        """Of these label sets; a series that does not name its server, or not in a usable way, belongs to none."""
        places: dict[str, int] = {}
        profiles: dict[str, str] = {}
        further: list[tuple[str, int]] = []
        notes = Notes()
        for place, one in enumerate(labels):
            if (reason := names.refusal(one)) is not None:
                notes.add(reason, [one], 1)
                continue
            server = one[names.server]
            if server in places:
                further.append((server, place))
            else:
                places[server] = place
            if profile := names.profile_of(one):
                profiles.setdefault(server, profile)
        if further:
            pairs = dict(further)
            notes.add(names.doubled, (f"{server!r} has {labels[places[server]]} and {labels[n]}"
                                      for server, n in pairs.items()), len(pairs), left_out=False)
        return cls(labels, profiles, places, further, notes)


@dataclass(frozen=True, eq=False)
class Roster:
    """The servers of all signals' answers, sorted, and their profiles (S,). For each signal: the rows (n,) int64 of its
    servers, and the indices (n,) int64 of their series in the answer; and the same of servers' further series."""

    signals: Sequence[Named]
    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    rows: Sequence[np.ndarray]
    places: Sequence[np.ndarray]
    further: Sequence[tuple[np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, signals: Sequence[Named], names: Labels) -> Roster:
        """Where signals disagree on a server's profile, the first signal's is used."""
        servers = tuple(sorted(frozenset().union(*(named.places for named in signals))))
        row = {server: number for number, server in enumerate(servers)}
        profiles = dict(chain.from_iterable(named.profiles.items() for named in reversed(signals)))
        rows = [np.array([row[server] for server in named.places], np.int64) for named in signals]
        places = [np.array([*named.places.values()], np.int64) for named in signals]
        further = [(np.array([row[server] for server, _ in named.further], np.int64),
                    np.array([place for _, place in named.further], np.int64)) for named in signals]
        return cls(signals, servers, names.profiles(servers, profiles), rows, places, further)

    def holds(self, signals: Sequence[Named]) -> bool:
        """Whether it was made of these objects."""
        return all(one is other for one, other in zip(signals, self.signals, strict=True))

    def values(self, numbers: Sequence[np.ndarray]) -> np.ndarray:
        """float32 (S, C), NaN where there is no value, from each signal's numbers (n,) in the order of its answer.

        Of several series of one server the largest number counts: the worst, and no sum of the same thing twice.
        """
        values = np.full((len(self.servers), len(numbers)), np.nan, np.float32)
        for c, (of, rows, places, (again, others)) in enumerate(
                zip(numbers, self.rows, self.places, self.further, strict=True)):
            values[rows, c] = of[places]
            if again.size:
                np.fmax.at(values[:, c], again, of[others])
        return values
