"""Episodes: pages and tickets as a person counts them, and how they turn out.

    page        begins when its alert has held for as long as it must to fire, ends when it is over for `quiet` seconds
    incident    begins where any incident of the server is on, ends after JOINED steps without; of capacity: is full
    true        an incident begins during the page, or within its reach after its beginning
    on already  an incident was on when the page began
    room made   of capacity: none of these, and within its reach somebody made room
    false       none came, and all of that time was watched
    unknown     none was seen, and for longer than `gap` nobody looked: silence is not health

`backtest --episodes` counts in the same way (`comes`), on weeks that have passed; there, what is on already counts as
true. Time in which a server is not seen brings no page closer to its end, and a restart does not end one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

JOINED = 6  # steps without an incident that end it
TRUE, ON_ALREADY, ROOM, FALSE, OPEN, UNKNOWN = TURNED = (
    "true", "on_already", "room_made", "false", "open", "unknown")
RULES = (("server", "P1"), ("server", "P2"), ("capacity", "P1"), ("capacity", "P2"))  # P2: or P1


def comes(begin: float, end: float, reach: float, first: float, last: float) -> bool:
    """Whether an incident from `first` to `last` makes a page from `begin` to `end` true, or was on when it began."""
    return first <= max(end, begin + reach) and last >= begin


@dataclass(frozen=True)
class Rule:
    """What is counted as a page; times in seconds."""

    of: str         # "server" or "capacity"
    priority: str   # it, or a higher one
    reach: float    # within which an incident is expected
    confirm: float  # for which it must hold before its alert fires
    quiet: float    # without, after which it is over
    gap: float      # in which nobody looked, from which on nothing is known of the time between


@dataclass(frozen=True)
class Fact:
    """What is known of a server or entity now."""

    seen: bool              # there is a forecast of it
    known: int              # bits of the incidents whose state is known
    since: float = np.nan   # when the incident began that is on now, NaN for none
    what: str = ""
    relieved: bool = False


@dataclass
class Episode:
    """One page or ticket; times in Unix seconds."""

    rule: int
    server: str
    entity: str  # of capacity: "resource name", else ""
    begin: float
    last: float  # when it last rang
    watched: float  # when all that it needs was last known
    needs: int = 0  # bits of the incidents that were known when it began
    since: float = np.nan  # when the incident began that it is judged by
    what: str = ""  # that incident
    quiet: float = 0.0  # seconds that it was seen without
    over: bool = False
    missed: bool = False  # nobody looked for longer than `gap`
    relieved: bool = False  # somebody made room
    turned: str = OPEN

    @property
    def lead(self) -> float:
        """Seconds from its beginning to the incident, NaN where none came after it."""
        return self.since - self.begin if self.turned == TRUE else np.nan

    def follow(self, rule: Rule, now: float, elapsed: float, rings: bool, fact: Fact | None) -> None:
        """One step at `now`, `elapsed` seconds after the one before. fact: None where there is no such server or entity
        any more; its alert ends then."""
        if not self.over:
            if rings:
                self.last, self.quiet = now, 0.0
            elif fact is None or fact.seen:
                self.quiet += min(elapsed, rule.quiet / 4)  # after a pause, the rest was not seen
                self.over = self.quiet >= rule.quiet
        if self.turned == OPEN:
            self._judge(rule, now, fact)

    def set_back(self, now: float, by: float) -> None:
        """The clock was set back to `now` by so many seconds: nothing is later, and how an open one turns out nobody
        knows."""
        self.missed |= self.turned == OPEN
        if self.begin > now:
            self.begin, self.last, self.watched, self.since = (
                at - by for at in (self.begin, self.last, self.watched, self.since))
        else:
            self.last, self.watched = min(self.last, now), min(self.watched, now)

    def _judge(self, rule: Rule, now: float, fact: Fact | None) -> None:
        if fact is not None:
            if self.needs and fact.known & self.needs == self.needs:
                self.missed |= now - self.watched > rule.gap
                self.watched = now
            self.relieved |= fact.relieved and now <= self.begin + rule.reach
            if np.isfinite(fact.since) and comes(self.begin, self.last, rule.reach, fact.since, now):
                self.turned = TRUE if fact.since > self.begin else ON_ALREADY
                self.since, self.what = fact.since, fact.what
                return
        if self.over and now > self.begin + rule.reach:
            unseen = self.missed or not self.needs or now - self.watched > rule.gap
            self.turned = UNKNOWN if unseen else ROOM if self.relieved else FALSE
