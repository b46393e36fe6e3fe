"""The pages and tickets of the last weeks: episodes (see there) of servers and of what fills up.

Kept for DAYS, at most MOST of them. Letters: S servers, I incidents, E episodes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from forecaster.memory.episodes import JOINED, OPEN, RULES, TRUE, TURNED, Episode, Fact, Rule
from forecaster.memory.ring import Flags
from forecaster.memory.snapshot import load, save, unusable

VERSION = 1
DAYS, DAY, WEEK, HOUR = 28, 86400.0, 7 * 86400.0, 3600.0
MOST = 2000  # episodes: about 1 MB
MASKED = 62  # incidents of a server that are told apart

Key = tuple[str, str]  # server, entity


@dataclass
class _Servers:
    """What is followed of servers that are known."""

    names: tuple[str, ...] = ()
    since: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # (S,) beginning of the latest incident
    until: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # (S,) when one was last on, NaN: never
    seconds: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, DAYS), np.float32))  # seen, by day
    gone: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(DAYS))  # of servers that are no more

    def follow(self, names: tuple[str, ...]) -> None:
        """Brings the rows into the order of these servers."""
        if names == self.names:
            return
        place = {name: row for row, name in enumerate(self.names)}
        rows = np.array([place.get(name, -1) for name in names], np.int64)
        left = np.ones(len(self.names) + 1, bool)
        left[rows] = False
        self.gone = self.gone + self.seconds[left[:-1]].sum(0)
        self.since, self.until = (np.append(of, np.nan)[rows] for of in (self.since, self.until))
        self.seconds = np.concatenate([self.seconds, np.zeros((1, DAYS), np.float32)])[rows]
        self.names = names


class Pages:
    """The pages of one forecaster. step: s; identity names what they are made by; every: s between two passes over what
    fills up."""

    def __init__(self, step: float, identity: str = "", incidents: Sequence[str] = (), every: float = 600.0):
        self.step, self.identity, self.incidents = float(step), identity, tuple(incidents)
        own = 0.0, step, 2 * step  # for how long it must hold, Course knows
        full = 6 * HOUR, max(HOUR, 3 * every)
        self.rules = (Rule(*RULES[0], 6 * step, *own), Rule(*RULES[1], 96 * step, *own),
                      Rule(*RULES[2], 5 * HOUR, HOUR / 4, *full),  # windows of 4 h and 24 h, and a quarter,
                      Rule(*RULES[3], 30 * HOUR, HOUR, *full))     # as backtest has them
        self._held: list[Episode] = []  # in the order of their beginnings
        self._active: list[Episode] = []  # of them, those that still ring, or of which it is open how they turn out
        self._holding: dict[tuple[int, str, str], float] = {}  # since when, of what is not confirmed
        self._servers = _Servers()
        self._full: dict[Key, tuple[float, float]] = {}  # since when, and until when, an entity was full
        self._now: dict[str, float] = {}  # of the latest step, by Rule.of

    # -- what comes -----------------------------------------------------------------------------------------------

    def cycle(self, now: float, names: tuple[str, ...], rung: Flags, seen: Flags, on: Flags, known: Flags) -> None:
        """One cycle. rung: bool (2, S), whether the alert of P1, and of P2 or P1, goes on; seen: bool (S,), whether
        there is a forecast; on, known: bool (S, I)."""
        elapsed, mine = self._elapsed("server", now), self._servers
        mine.follow(names)
        any_on = np.any(on, axis=1)
        began = any_on & ~(now - mine.until <= JOINED * self.step)
        mine.since, mine.until = np.where(began, now, mine.since), np.where(any_on, now, mine.until)
        mine.seconds[seen, int(now // DAY) % DAYS] += min(elapsed, self.step)
        bits = known[:, :MASKED] @ (1 << np.arange(known[:, :MASKED].shape[1], dtype=np.int64))
        place = {name: row for row, name in enumerate(names)}

        def fact(key: Key) -> Fact | None:
            row = place.get(key[0])
            if row is None:
                return None
            what = ", ".join(np.array(self.incidents)[on[row]].tolist()) if any_on[row] else ""
            return Fact(bool(seen[row]), int(bits[row]), float(mine.since[row]) if what else np.nan, what)

        ringing = [{(names[row], "") for row in np.flatnonzero(of).tolist()} for of in rung]
        self._go("server", now, elapsed, ringing, fact)

    def capacity(self, now: float, keys: Sequence[Key], rung: Flags, seen: Flags, full: Flags, relieved: Flags) -> None:
        """One pass over what fills up, N entities. rung: bool (2, N), what is P1, and what is P2 or P1; seen, full,
        relieved: bool (N,), relieved where somebody made room within the last hour."""
        elapsed = self._elapsed("capacity", now)
        for key in [key for key, (_, until) in self._full.items() if now - until > self.rules[-1].quiet]:
            del self._full[key]
        for row in np.flatnonzero(full).tolist():
            self._full[keys[row]] = self._full.get(keys[row], (now, now))[0], now
        place = {key: row for row, key in enumerate(keys)}

        def fact(key: Key) -> Fact | None:
            if (row := place.get(key)) is None:
                return None
            since = self._full[key][0] if full[row] else np.nan
            return Fact(bool(seen[row]), int(seen[row]), since, "full" if full[row] else "", bool(relieved[row]))

        self._go("capacity", now, elapsed, [{keys[row] for row in np.flatnonzero(of).tolist()} for of in rung], fact)

    def _elapsed(self, of: str, now: float) -> float:
        """Seconds since the latest step; a clock that was set back makes the past unknown."""
        before = self._now.get(of, now)
        self._now[of] = now
        if now < before:
            for one in {id(one): one for one in (*self._held, *self._active) if self.rules[one.rule].of == of}.values():
                one.set_back(now, before - now)
            if of == "server":
                late = self._servers.until > now
                self._servers.until[late], self._servers.since[late] = now, np.minimum(self._servers.since, now)[late]
            else:
                self._full = {key: (min(since, now), now) for key, (since, _) in self._full.items()}
            self._holding = {key: at for key, at in self._holding.items() if at <= now}
        if of == "server":
            for day in range(int(before // DAY) + 1, min(int(now // DAY), int(before // DAY) + DAYS) + 1):
                self._servers.seconds[:, day % DAYS] = self._servers.gone[day % DAYS] = 0
        return max(now - before, 0.0)

    def _go(self, of: str, now: float, elapsed: float, rung: Sequence[Collection[Key]],
            fact: Callable[[Key], Fact | None]) -> None:
        ringing = dict(zip((k for k, rule in enumerate(self.rules) if rule.of == of), rung, strict=True))
        open_ones = {(one.rule, one.server, one.entity) for one in self._active if not one.over}
        holding = {(k, *key) for k, keys in ringing.items() for key in keys} - open_ones
        self._holding = {key: at for key, at in self._holding.items() if key in holding or key[0] not in ringing}
        for key in sorted(holding):
            first = self._holding.setdefault(key, now)
            if now - first < self.rules[key[0]].confirm or len(self._active) >= MOST:
                continue
            if (there := fact(key[1:])) is not None:
                del self._holding[key]
                self._active.append(Episode(key[0], *key[1:], now, now, now, there.known))
                self._held.append(self._active[-1])
        for one in self._active:
            if one.rule in ringing:
                key_of = one.server, one.entity
                one.follow(self.rules[one.rule], now, elapsed, key_of in ringing[one.rule], fact(key_of))
        oldest = now - DAYS * DAY
        self._active = [one for one in self._active if one.last > oldest and (not one.over or one.turned == OPEN)]
        self._held = [one for one in self._held
                      if one.begin > oldest or not one.over and one.last > oldest][-MOST:]

    @property
    def full(self) -> bool:
        """Whether there is no room for all of DAYS."""
        return len(self._held) >= MOST

    @property
    def passed(self) -> float:
        """The instant of the latest pass over what fills up, NaN before the first."""
        return self._now.get("capacity", np.nan)

    # -- what is asked --------------------------------------------------------------------------------------------

    def of(self, servers: Collection[str] | None = None) -> list[Episode]:
        """Copies of the episodes of these servers (None: all), the newest first."""
        return [replace(one) for one in reversed(self._held) if servers is None or one.server in servers]

    def ringing(self, now: float) -> tuple[set[str], set[str]]:
        """(servers whose P1 rang at the latest step, those whose P2 or P1 did); none where that is longer ago than an
        hour, after which a Prometheus that was away forgets them, too."""
        p1, p2 = ({one.server for one in self._open(now, rule) if not one.quiet} for rule in (0, 1))
        return p1, p2

    def filling(self, now: float) -> tuple[set[Key], set[Key]]:
        """(entities of which a page of P1 is not over, those of which a ticket of P2 or P1 is not): their alerts may go
        on although they have another priority now; none after an hour, as well."""
        p1, p2 = ({(one.server, one.entity) for one in self._open(now, rule)} for rule in (2, 3))
        return p1, p2

    def _open(self, now: float, rule: int) -> list[Episode]:
        recent = now - self._now.get(self.rules[rule].of, -np.inf) <= HOUR
        return [one for one in self._active if one.rule == rule and recent and not one.over]

    def weeks(self, servers: Collection[str] | None = None) -> float:
        """Weeks of a server in which there was a forecast, of these together (None: all)."""
        mine = self._servers
        if servers is None:
            return float(mine.seconds.sum() + mine.gone.sum()) / WEEK
        rows = [row for row, name in enumerate(mine.names) if name in servers]
        return float(mine.seconds[rows].sum()) / WEEK

    def counts(self) -> npt.NDArray[np.int64]:
        """int64 (rules, TURNED): how many there are."""
        found = np.zeros((len(self.rules), len(TURNED)), np.int64)
        for one in self._held:
            found[one.rule, TURNED.index(one.turned)] += 1
        return found

    # -- snapshots ------------------------------------------------------------------------------------------------

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Writes everything, atomically; OSError if that fails."""
        mine = self._servers
        columns: dict[str, npt.NDArray[Any]] = {
            name: np.array([getattr(one, name) for one in self._held], kind) for name, kind in _COLUMNS.items()}
        save(path, version=VERSION, identity=np.array(self._fingerprint), names=np.array(mine.names, np.str_),
             incident_since=mine.since, incident_until=mine.until, seconds=mine.seconds, gone=mine.gone,
             now=np.array([self._now.get(of, np.nan) for of in ("server", "capacity")]), **columns)

    def restore(self, path: str | os.PathLike[str], now: float) -> str | None:
        """Restores a snapshot; None, or why it does not fit. SnapshotError if it is damaged. The pages are left as they
        were unless all of the snapshot is restored."""
        head = load(path, {"version": ("int64", ()), "identity": ("str", ())})
        if (version := head["version"].tolist()) != VERSION:
            return f"{path} has version {version}, expected {VERSION}"
        if str(head["identity"]) != self._fingerprint:
            return f"{path} holds the pages of another model, source or settings"
        held = load(path, {name: (_NAMED[kind], "E") for name, kind in _COLUMNS.items()} | {
            "names": ("str", "S"), "incident_since": ("float64", "S"), "incident_until": ("float64", "S"),
            "seconds": ("float32", ("S", DAYS)), "gone": ("float64", (DAYS,)), "now": ("float64", (2,))})
        latest = now + HOUR  # the source's clock may be ahead of this machine's, which its first answer tells
        if any(at > latest for at in held["now"].tolist()):
            return f"{path} is of a time that has not come yet"
        episodes = [Episode(*row) for row in zip(*(held[name].tolist() for name in _COLUMNS), strict=True)]
        if not (held["seconds"] >= 0).all() or not (held["gone"] >= 0).all() or len(episodes) > MOST or any(
                not 0 <= one.rule < len(self.rules) or one.turned not in TURNED
                or not 0 <= one.begin <= one.last <= latest
                or not one.quiet >= 0 or np.isnan(one.watched) or (one.turned == TRUE) and not one.lead > 0
                for one in episodes):
            raise unusable(path, "its parts do not fit together")
        self._held = episodes
        self._active = [one for one in episodes if not one.over or one.turned == OPEN]
        self._servers = _Servers(tuple(held["names"].tolist()), held["incident_since"], held["incident_until"],
                                 held["seconds"], held["gone"])
        self._now = {of: at for of, at in zip(("server", "capacity"), held["now"].tolist(), strict=True)
                     if np.isfinite(at)}
        return None

    def same(self, other: Pages) -> bool:
        """Whether the other's episodes can be continued under this one's settings."""
        return self._fingerprint == other._fingerprint

    @property
    def _fingerprint(self) -> str:
        return repr((self.identity, self.incidents, self.step))


_KINDS: Mapping[object, type] = {"int": np.int64, "str": np.str_, "float": np.float64, "bool": np.bool_}
_NAMED = {np.int64: "int64", np.str_: "str", np.float64: "float64", np.bool_: "bool"}
_COLUMNS = {one.name: _KINDS[one.type] for one in fields(Episode)}  # of a snapshot
