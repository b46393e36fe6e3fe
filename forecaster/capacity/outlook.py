"""The immutable outcome of a pass over everything that fills up, and the board on which publishers find the latest.

Letters: N entities, sorted by server, resource and name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from forecaster.capacity.forecast import HORIZON, WINDOWS, Filling
from forecaster.capacity.growth import WEEK
from forecaster.capacity.lasting import FULL, P2, Lasting, Urgency
from forecaster.capacity.past import HOUR, Bools, Floats, Wide

PERCENTILES = ("p10", "p50", "p90")
PRIORITIES = ("P1", "P2", "P3")
MEDIAN = PERCENTILES.index("p50")


@dataclass(frozen=True)
class Entity:
    """One thing that fills up."""

    server: str
    resource: str
    name: str
    profile: str

    @property
    def key(self) -> tuple[str, str]:
        """As the record of pages names it."""
        return self.server, f"{self.resource} {self.name}"


@dataclass(frozen=True)
class About:
    """A resource as people read it."""

    title: str
    unit: str
    highest: str | None = "P1"  # priority that it may have, None for none


@dataclass(frozen=True, eq=False)
class Outlook:
    """What a pass found; it never changes. Shares are of the size of today."""

    instant: float  # Unix seconds of the pass
    entities: tuple[Entity, ...]  # N
    resources: Mapping[str, About]
    used: Floats  # (N,) used share when it was last seen
    limit: Floats  # (N,) used share that counts as full
    size: Wide  # (N,) the limit in the resource's unit; NaN where it is not known
    last_seen: Wide  # (N,) Unix seconds
    issued: Wide  # (N,) instant that the forecast starts from: that of the pass, or an earlier one where it is lost
    lost: Bools  # (N,) whether the server is silent; the forecast is then the last one
    filling: Filling
    priority: npt.NDArray[np.int8]  # (N,) 1 P1, 2 P2, 3 P3, 0 none
    full: Bools  # (N,) at its limit now, and not for the whole week
    week: Floats | None = None  # (N, WEEK) used share at the whole hours up to the pass, NaN where unknown
    lasting: Lasting | None = None  # None: all has lasted, as far as is known
    unread: tuple[str, ...] = ()  # resources that could not be read in the pass; their entities keep what was
    waits_for: tuple[str, ...] = ()  # resources whose history is being read: their entities come with it

    def __post_init__(self) -> None:
        rows = len(self.entities)
        for name in ("used", "limit", "size", "last_seen", "issued", "lost", "priority", "full"):
            found = getattr(self, name).shape
            assert found == (rows,), f"{name}: shape {found}, expected ({rows},)"
        assert self.week is None or self.week.shape == (rows, WEEK), f"week: {self.week.shape}"
        assert self.filling.used.shape == (rows, HORIZON, len(PERCENTILES)), self.filling.used.shape

    def age(self, now: float) -> float:
        """Seconds since the pass, at least 0 (a clock may be set back)."""
        return max(0.0, now - self.instant)

    def only(self, servers: Collection[str]) -> Outlook:
        """That of the entities of these servers."""
        rows = np.flatnonzero(np.array([one.server in servers for one in self.entities], bool))
        return replace(
            self, entities=tuple(self.entities[row] for row in rows.tolist()), used=self.used[rows],
            limit=self.limit[rows], size=self.size[rows], last_seen=self.last_seen[rows], issued=self.issued[rows],
            lost=self.lost[rows], filling=self.filling.only(rows), priority=self.priority[rows], full=self.full[rows],
            week=None if self.week is None else self.week[rows],
            lasting=None if self.lasting is None else self.lasting.of(rows.tolist()))

    @cached_property
    def meant(self) -> Bools:
        """bool (N,): full, and for the whole week, so that it is meant to be; it has no date."""
        return ~self.full & (self.filling.full_at[:, MEDIAN] <= self.issued)

    @cached_property
    def empty(self) -> tuple[str, ...]:
        """Resources that were read and have no entity."""
        known = {one.resource for one in self.entities}
        return tuple(name for name in self.resources if name not in known
                     and name not in (*self.unread, *self.waits_for))

    @cached_property
    def urgency(self) -> Urgency:
        """int8 (N,): what alerts go by; what is full has the highest priority that its resource may have, and the top
        where that is P1."""
        ranks = {"P1": FULL} | {name: len(PRIORITIES) - place for place, name in enumerate(PRIORITIES) if place}
        full = [ranks.get(self.resources[one.resource].highest or "", 0) for one in self.entities]
        expected = np.where(self.priority > 0, len(PRIORITIES) + 1 - self.priority, 0)
        return np.where(self.full, np.array(full, np.int8), expected).astype(np.int8)

    def pending(self, now: float) -> Wide:
        """float64 (N, 2), as Lasting.pending."""
        if self.lasting is None:
            return np.full((len(self.entities), 2), np.nan)
        return self.lasting.pending(now, self.urgency)

    def waits(self, now: float) -> Bools:
        """bool (N,): what is pending."""
        found: Bools = np.isfinite(self.pending(now)[:, 0])
        return found

    @cached_property
    def places(self) -> Mapping[tuple[str, str, str], int]:
        """(server, resource, name) -> row."""
        return {(one.server, one.resource, one.name): row for row, one in enumerate(self.entities)}

    @cached_property
    def order(self) -> list[int]:
        """Rows: what is full now, then by the date at which p50 is full, then by chance, the nearest window first."""
        date = np.where(np.isnan(self.filling.full_at[:, MEDIAN]), np.inf, self.filling.full_at[:, MEDIAN])
        chances = [-np.nan_to_num(self.filling.chance[:, w]) for w in range(len(WINDOWS))]
        keys = (*reversed(chances), date, ~self.full)
        found: list[int] = np.lexsort(keys).tolist()
        return found

    @cached_property
    def urgent(self) -> frozenset[str]:
        """Servers with an entity of P1 or P2, or one that is full and may be so."""
        return frozenset(self.entities[row].server for row in np.flatnonzero(self.urgency >= P2))

    @cached_property
    def worst(self) -> Mapping[str, int]:
        """Server -> the row of the entity that matters most: by priority, full now, date and chance. Of what is full,
        the highest priority that its resource may have counts."""
        found: dict[str, int] = {}
        ranks = {None: len(PRIORITIES) + 1} | {name: number for number, name in enumerate(PRIORITIES, 1)}
        highest = np.array([ranks[self.resources[one.resource].highest] for one in self.entities])
        expected = np.where(self.priority == 0, ranks[None], self.priority)
        rank = np.where(self.full, np.minimum(highest, expected) - 0.5, expected).tolist()
        for row in self.order:
            server = self.entities[row].server
            if server not in found or rank[row] < rank[found[server]]:
                found[server] = row
        return found

    def instants(self, row: int) -> Wide:
        """float64 (HORIZON,): the times of its curves, Unix seconds."""
        found: Wide = self.issued[row] + HOUR * np.arange(1, HORIZON + 1)
        return found
