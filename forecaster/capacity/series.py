"""The series of a resource's answers as entities: named by labels, cleaned, doubled ones joined.

Left out are series without a server, those that `ignore` names, values that are no number or no share, and sizes not
above 0. Of several series of one entity at one instant the largest value counts. Entities of one server that lie on the
same thing with the same size and use (bind mounts) are one, under the shortest name. Where a name lies on two things,
the one that was seen last counts, and of two that are there, the one that came last.

Letters: n entities of one answer, T instants.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import re2
from numpy.typing import NDArray

from forecaster.capacity.past import Bools, Floats, Wide
from forecaster.capacity.settings import Resource
from forecaster.limits import Limits
from forecaster.readings import Labels
from forecaster.sources.answers import TOO_MANY, UNREADABLE, Parsed, place
from forecaster.sources.notes import Notes
from forecaster.sources.shard import Shard

Ints = NDArray[np.int64]
_Key = tuple[tuple[str, str], ...]  # labels and values of a series

LOWEST, HIGHEST = -0.02, 2.0  # beyond them a value is no used share: a percentage, or a wrong query
SAME_SIZE = 1e-3  # relative
SAME_USE = 1e-3  # used share, at the same instants
PRESENT = 3  # newest columns of which one must have a value: a lost scrape is nothing
NO_SHARE = f"values beyond {LOWEST:g}..{HIGHEST:g} are left out (expected a used share of 0 to 1)"


class Named(NamedTuple):
    """An entity of a server, and what it lies on ("": not known)."""

    server: str
    name: str
    backing: str


@dataclass(frozen=True, eq=False)
class Stretch:
    """What was read of a resource's entities. A name may lie on several things only in history."""

    instants: Wide  # (T,)
    entities: list[Named]  # n
    profiles: list[str]  # n, "" where not known
    used: Floats  # (n, T)
    size: Floats  # (n, T), NaN where not known

    @property
    def present(self) -> Bools:
        """bool (n,): those with a value within the newest PRESENT columns."""
        found: Bools = np.any(np.isfinite(self.used[:, -PRESENT:]), axis=1)
        return found

    def rows(self, chosen: list[int]) -> Stretch:
        """That of some entities."""
        return Stretch(self.instants, [self.entities[n] for n in chosen], [self.profiles[n] for n in chosen],
                       self.used[chosen], self.size[chosen])


class Naming:
    """Names the series of one resource; of one answer `most` are used, those that are ignored or of other shards not
    counted."""

    def __init__(self, name: str, resource: Resource, labels: Labels, shard: Shard, most: int = Limits().series):
        self._name, self._resource, self._labels, self._shard, self._most = name, resource, labels, shard, most
        self._ignored = [(label, re2.compile(pattern)) for label, pattern in resource.ignore.items()]
        self._known: dict[_Key, tuple[Named | None, str] | None] = {}  # of the last answers
        self._fresh = self._known
        self.left_out = 0  # series that `ignore` names, of the last answer

    def read(self, used: Parsed, size: Parsed | None, instants: Wide, step: float) -> tuple[Stretch, Notes]:
        """All series of the answers to a range query over these instants, and notes on what is left out."""
        notes, self._fresh = used.notes, {}
        entities, profiles, shares = self._table(used, instants, step, notes)
        outside: Bools = (shares < LOWEST) | (shares > HIGHEST)
        if outside.any():
            notes.add(NO_SHARE, (f"{shares[n][outside[n]][0]:g} of {entities[n]}" for n in
                                 np.flatnonzero(outside.any(1)).tolist()), int(outside.any(1).sum()))
        known: Floats = np.where(outside, np.nan, np.maximum(shares, 0)).astype(np.float32)
        sizes = np.full(known.shape, np.nan, np.float32)
        if size is not None:
            named, _, values = self._table(size, instants, step, notes)
            row = {entity: n for n, entity in enumerate(named)}
            found = [(n, row[entity]) for n, entity in enumerate(entities) if entity in row]
            if found:
                here, there = np.array(found).T
                sizes[here] = np.where(values[there] > 0, values[there], np.nan)
        self._known = self._fresh
        return Stretch(instants, entities, profiles, known, sizes), notes

    def _table(self, parsed: Parsed, instants: Wide, step: float, notes: Notes) -> tuple[list[Named], list[str], Wide]:
        """(entities (n,), profiles (n,), values (n, T)) of the series."""
        usable: list[tuple[_Key, Named, str, Any]] = []
        known, fresh, self.left_out = self._known, self._fresh, 0
        for labels, of in zip(parsed.labels, parsed.values, strict=True):
            if (reason := self._labels.refusal(labels)) is not None:
                notes.add(reason, [labels], 1)
                continue
            key = tuple(labels.items())  # label sets rarely change from one pass to the next
            found = known[key] if key in known else self._named(labels)
            if found is None or found[0] is None:
                fresh[key] = found
                self.left_out += found is not None
            elif max(map(len, found[0])) > self._labels.longest:
                notes.add(f"entities with a name of more than {self._labels.longest} characters are left out "
                          "(limits.name_length)", [labels], 1)
            else:
                usable.append((key, found[0], found[1], of))
        if len(usable) > self._most:  # those of the last answers first
            order = sorted(range(len(usable)), key=lambda n: (usable[n][0] not in known, usable[n][1]))
            notes.add(TOO_MANY, (dict(usable[n][0]) for n in order[self._most:]), len(usable) - self._most)
            usable = [usable[n] for n in sorted(order[:self._most])]
        row: dict[Named, int] = {}
        profiles: list[str] = []
        for key, entity, profile, _ in usable:
            fresh[key] = entity, profile
            if entity not in row:
                row[entity] = len(row)
                profiles.append("")
            profiles[row[entity]] = profiles[row[entity]] or profile
        rows, samples = [row[entity] for _, entity, _, _ in usable], [of for *_, of in usable]
        table = np.full((len(row), len(instants)), np.nan)
        for at, values, of_rows in _placed(rows, samples, instants, step, notes):
            values[~np.isfinite(values)] = np.nan
            np.fmax.at(table, (of_rows, at), values)
        return list(row), profiles, table

    def _named(self, labels: Mapping[str, str]) -> tuple[Named | None, str] | None:
        """(entity, None where `ignore` names it; profile "" where not known) of a series; None for one of another
        shard."""
        server = labels[self._labels.server]
        if not self._shard.owns(server):
            return None
        if any(pattern.fullmatch(labels.get(label, "")) for label, pattern in self._ignored):
            return None, ""
        entity = Named(server, self._entity(labels), labels.get(self._resource.backing or "", ""))
        return entity, self._labels.profile_of(labels) or ""

    def _entity(self, labels: Mapping[str, str]) -> str:
        return " ".join(filter(None, (labels.get(label) for label in self._resource.entity))) or self._name


def _placed(rows: list[int], samples: list[Any], instants: Wide, step: float,
            notes: Notes) -> Iterator[tuple[Ints, Wide, Ints]]:
    """(places among the instants, values, rows), each (samples,), of the series of these rows: of all at once, or where
    some cannot be read, of one after the other."""
    if not rows:
        return
    try:
        places, values = place(list(chain.from_iterable(samples)), instants, step)
        yield places, values, np.repeat(rows, [len(of) for of in samples])
    except (TypeError, ValueError):
        for row, of in zip(rows, samples, strict=True):
            try:
                places, values = place(of, instants, step)
            except (TypeError, ValueError) as error:
                notes.add(UNREADABLE, [str(error)], 1)
            else:
                yield places, values, np.full(len(places), row)


def settled(stretch: Stretch) -> Stretch:
    """Those of now: each name once, and once what lies on the same thing; sorted by name."""
    known = np.isfinite(stretch.used)
    width = known.shape[1]
    last = np.where(known.any(1), width - known[:, ::-1].argmax(1), 0)
    first = known.argmax(1)
    best: dict[tuple[str, str], int] = {}
    for n, one in enumerate(stretch.entities):
        held = best.get((one.server, one.name))
        if last[n] and (held is None or (last[n], first[n]) > (last[held], first[held])):
            best[one.server, one.name] = n
    return stretch.rows(sorted(_once(stretch, best.values()), key=lambda n: stretch.entities[n]))


def _once(stretch: Stretch, rows: Iterable[int]) -> list[int]:
    """Of those of a server that lie on the same thing with the same size and use, the one with the shortest name.
    Directories with quotas of one size lie on one thing, too, and each fills up by itself."""
    kept: list[int] = []
    groups: dict[tuple[str, str], list[int]] = {}
    for n in rows:
        one = stretch.entities[n]
        if one.backing:
            groups.setdefault((one.server, one.backing), []).append(n)
        else:
            kept.append(n)
    present = stretch.present
    for group in groups.values():
        if len(group) == 1:
            kept += group
            continue
        others: list[int] = []
        for n in sorted(group, key=lambda n: (not present[n], len(stretch.entities[n].name), stretch.entities[n].name)):
            if not any(_alike(stretch, n, other) for other in others):
                others.append(n)
        kept += others
    return kept


def _alike(stretch: Stretch, one: int, other: int) -> bool:
    """Whether two rows have the same size, and the same use wherever both are known."""
    differs = np.abs(stretch.used[one] - stretch.used[other]) > SAME_USE
    return same(newest(stretch.size[one]), newest(stretch.size[other])) and not differs.any()


def newest(values: Floats) -> float:
    """The last known of values (T,); NaN without any."""
    known = values[np.isfinite(values)]
    return float(known[-1]) if known.size else np.nan


def same(size: float, other: float) -> bool:
    """Whether two sizes are the same, or one is not known."""
    return not abs(size - other) > SAME_SIZE * max(abs(size), abs(other))
