"""The state of a server in one word, followed from cycle to cycle; a fleet's is made of its servers'.

    ACT NOW    it is P1
    LIKELY     it is P2, or an incident that may give more than P3 is on or has a chance of p2_chance within 8 hours
    CLEARING   it was P1 or P2 for as long as an alert takes to fire, and not for long enough since
    WATCH      an incident is on or has a chance of POSSIBLE within 8 hours, or no chance is known, a signal was lost,
               or something of it fills up as P1 or P2 or is full (capacity)
    SAFE       none of it
    BLIND      it has no forecast, or sends no samples

After P1, CLEARING goes before LIKELY, and takes the place of that after P2: who is CLEARING right after ACT NOW has an
open page, who is so after LIKELY a ticket. Time in which a server is BLIND, lacks a signal that it had, or has no
chance where it had one brings nothing closer to its end: silence is not recovery.

A P1 or P2 that has not lasted for as long as its alert takes to fire is pending. Its state is that of one that has: the
gauge says what is, and the alert waits by itself; what people read says that it has just begun.

Letters: S servers.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from forecaster.risk.score import Risk
from forecaster.risk.thresholds import Priorities

POSSIBLE = 0.1  # chance within 8 hours from which on an incident is watched
MARGIN = 15.0  # s by which p1_confirm and p2_confirm are less than the `for` of their alerts
SILENT_REFRESHES = 4  # without a sample, after which a server is BLIND: one or two lost scrapes are nothing

States = NDArray[np.int64]


class State(IntEnum):
    """The states as numbers: the larger the more urgent, and what is known of a server before BLIND."""

    BLIND = -1
    SAFE = 0
    WATCH = 1
    CLEARING = 2
    LIKELY = 3
    ACT_NOW = 4

    @property
    def word(self) -> str:
        """As it is shown."""
        return self.name.replace("_", " ")


def by_risk(risk: Risk, limits: Priorities) -> States:
    """int64 (S,): the states by one forecast alone, without CLEARING; BLIND where it gives no priority."""
    found, later = risk.incidents, risk.severe.get("8h", np.full(len(risk.priority), np.nan))
    priority, largest = np.array(risk.priority, object), later
    if found is not None:
        later = found.any("8h")
        largest = np.where(found.on.any(1), 1.0, np.fmax.reduce(found.chance["8h"], axis=1, initial=np.nan))
    safe = (priority == "P3") & (largest < POSSIBLE)
    levels = priority == "P1", (priority == "P2") | (later >= limits.p2_chance), safe, priority == "P3"
    states: States = np.select(levels, (State.ACT_NOW, State.LIKELY, State.SAFE, State.WATCH), State.BLIND)
    return states


class Course:
    """Follows the states of servers through the cycles, in seconds that each was seen; ``refresh``: s between two."""

    _NEW = (-1.0, -1.0, 0.0, 0.0, 0.0, -1.0, -1.0)

    def __init__(self, limits: Priorities, refresh: float):
        self._limits, self._refresh, self._silence = limits, refresh, SILENT_REFRESHES * refresh
        self._confirm = np.array([[limits.p1_confirm], [limits.p2_confirm]])
        self._fires = self._confirm + MARGIN
        self._clear = np.array([[limits.p1_clear], [limits.p2_clear]])
        self._now: float | None = None
        self._servers: dict[str, int] = {}  # name -> column
        # s for which it is P1, P2 without a break, -1 for not; s that it must be better for, after P1, P2; whether a
        # chance was known when it was last P1 or P2; s for which the alert of P1, P2 waits, infinite where it goes on,
        # -1 for neither
        self._kept = np.zeros((len(self._NEW), 0))

    def step(self, now: float, servers: tuple[str, ...], last_seen: NDArray[np.float64], risk: Risk,
             lost: NDArray[np.bool_] | bool = False) -> States:
        """int64 (S,): the states at an instant (Unix s). last_seen: float64 (S,), Unix s of the latest samples; lost:
        bool (S,), whether a signal that a server had is not forecast."""
        blind, fresh = ~(now - last_seen <= self._silence), now - last_seen < self._refresh
        # after a longer pause of the cycles, the rest was not seen
        elapsed = 0.0 if self._now is None else min(max(now - self._now, 0.0), self._silence)
        self._now = now
        self._follow(servers)
        rung, (lasts, left, was_sure, waits) = self.rung, np.split(self._kept, [2, 4, 5])
        state = np.where(blind, State.BLIND, by_risk(risk, self._limits))
        state = np.where(lost & (state == State.SAFE), State.WATCH, state)
        seen, priority = state != State.BLIND, np.array(risk.priority, object)
        chances = risk.incidents.chance["8h"] if risk.incidents is not None else np.full((len(state), 1), np.nan)
        known = np.isfinite(chances).any(1)  # of an incident that is on by the trend, none is
        at = seen & np.array([priority == "P1", priority == "P2"])
        waits = np.where(waits >= 0, waits + elapsed, np.where(rung, np.inf, 0.0))
        waits = np.where(waits + self._refresh <= self._fires, waits, np.inf)  # else it may fire before the next step
        waits = np.where(at, waits, -1.0)
        at[1] &= left[0] == 0
        lasts = np.where(at & (lasts >= 0), lasts + elapsed, np.where(at, 0.0, -1.0))
        confirmed = lasts >= self._confirm
        left = np.where(confirmed, self._clear, left)
        left[1, confirmed[0]] = 0.0  # the page takes the ticket's place
        sure = np.where(at.any(0), known, was_sure > 0)
        page = seen & (state < State.ACT_NOW) & (left[0] > 0)
        ticket = seen & ~page & (state < State.LIKELY) & (left[1] > 0)
        better = np.array([seen & (state < State.ACT_NOW), seen & ~page & (state < State.LIKELY)])
        better &= fresh & ~(lost | sure & ~known)
        left = np.where(better, np.maximum(left - elapsed, 0.0), left)
        self._kept = np.vstack([lasts, left, sure, waits])
        return np.where(page | ticket, State.CLEARING, state).astype(np.int64)

    @property
    def rung(self) -> NDArray[np.bool_]:
        """bool (2, S): of the servers of the latest step, whether the alert of P1 goes on, and that of P2 or P1."""
        on = (self._kept[:2] >= self._confirm) | (self._kept[2:4] > 0)
        return np.stack([on[0], on.any(0)])

    @property
    def pending(self) -> NDArray[np.float64]:
        """float64 (S, 2): of the servers of the latest step, since when it is P1 or P2, and until when that has to last
        for its alert, Unix s; NaN where it is neither, or its alert goes on, or may fire before the next step."""
        waits, now = self._kept[5:], np.nan if self._now is None else self._now
        since = np.where((waits >= 0) & np.isfinite(waits), now - waits, np.nan)
        both: NDArray[np.float64] = np.fmax.reduce([since, since + self._fires], axis=1).T
        return both

    @property
    def begun(self) -> bool:
        """Whether there was a step."""
        return self._now is not None

    def resume(self, paged: Collection[str], ticketed: Collection[str]) -> None:
        """Begins after a restart, where the alert of P1, and of P2 or P1, of these servers went on: for how long they
        were better nobody knows, so that what they have to be better for begins anew."""
        if self._now is None:
            self._servers = {name: place for place, name in enumerate(sorted({*paged, *ticketed}))}
            self._kept = np.tile(np.array(self._NEW)[:, None], len(self._servers))
            page = np.array([name in paged for name in self._servers], bool)
            self._kept[2:4] = np.where([page, ~page], self._clear, 0.0)

    def keep(self, old: "Course") -> None:
        """Goes on where another one ended, with its own limits."""
        self._now, self._servers, self._kept = old._now, old._servers, old._kept

    def _follow(self, servers: tuple[str, ...]) -> None:
        """Brings the columns into the order of these servers; new ones begin anew, others are forgotten."""
        if tuple(self._servers) != servers:
            kept = np.column_stack([self._kept, self._NEW])
            self._kept = kept[:, [self._servers.get(name, -1) for name in servers]]
            self._servers = {name: place for place, name in enumerate(servers)}


def watched(states: States, servers: Sequence[str], names: Collection[str]) -> States:
    """The states (S,) of servers, at least WATCH for those of these names; BLIND ones stay so."""
    safe = (states == State.SAFE) & np.array([server in names for server in servers], bool)
    found: States = np.where(safe, State.WATCH, states)
    return found


def of_fleet(states: States) -> State:
    """The state of a fleet of these servers, BLIND ones included: ACT NOW if any is; BLIND if there is none, or more
    than half are BLIND; else the most urgent, at least WATCH where one is BLIND."""
    blind, worst = int((states == State.BLIND).sum()), State(int(states.max(initial=State.BLIND)))
    if worst != State.ACT_NOW and 2 * blind > len(states) or not len(states):
        return State.BLIND
    return max(worst, State.WATCH) if blind else worst


def counts(states: States) -> Mapping[str, int]:
    """How many servers are in each state, by word, the most urgent first."""
    return {state.word: int((states == state).sum()) for state in sorted(State, reverse=True)}
