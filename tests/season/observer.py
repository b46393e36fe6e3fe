"""The independent observer: it hears what the pager says, knows what was so, and holds the one against the other.

All times are fast seconds since the season began. The observer reads the pager's JSON and nothing else of the stack.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.season.stretches import Stretch, covered, length, overlap, union, without

# Pages that say that nothing, or not everything, is seen, by what is away.
NO_FORECASTS = frozenset({"FleetcastForecasterDown", "FleetcastForecastsStale", "FleetcastShardMissing",
                          "FleetcastHeartbeatLost"})
NO_PROMETHEUS = frozenset({"FleetcastPrometheusDown", "FleetcastHeartbeatLost"})
# A page from before that says that nothing is seen: the pager has no second one.
NO_CHAIN = NO_PROMETHEUS | {"FleetcastForecasterDown", "FleetcastForecastsStale"}
NO_SAMPLES = frozenset({"FleetcastFleetBlind"})
BLIND = NO_CHAIN | NO_FORECASTS | NO_SAMPLES
OF_SERVERS = frozenset({"FleetcastServerP1", "FleetcastServerP2"})
OF_FLEETS = frozenset({"FleetcastFleetCritical"})
LOST = "lost sight of"  # in the words of a page whose server is not known
OVER = "over"  # how the pager ends an alert that is well again; "no longer watched" is no all-clear

DELIVERY = 120.0   # s for which what was so may still be delivered: a group's interval, an evaluation, a refresh
CLEARING = 300.0   # s for which a page goes on after the last forecast of P1
ANNOUNCED = 120.0  # s in which blindness has to be announced
PAGED = 240.0      # s in which an incident that can be seen has to be paged
PASSING = 45.0     # s: a shorter outage is none


@dataclass(frozen=True)
class Said:
    """One entry of the pager: when it came, PAGE or TICKET, its status (firing, resolved or another end), its labels
    and words."""

    at: float
    kind: str
    status: str
    labels: dict[str, str]
    words: str

    @property
    def name(self) -> str:
        """The alert's name."""
        return self.labels.get("alertname", "?")

    @property
    def server(self) -> str | None:
        """The server it is about, if it is about one."""
        return self.labels.get("server")


@dataclass
class Trouble:
    """A fault as it was: from its begin until it was repaired, and until the stack was whole again.

    announced: the pages of which one has to say it, none where it need not be said. blinds: the servers of which
    nothing can be learned meanwhile. holds_back: it is known, but does not reach the pager.
    """

    name: str
    announced: frozenset[str]
    blinds: frozenset[str]
    begin: float
    repaired: float = float("inf")
    whole: float = float("inf")
    holds_back: bool = False


class Ear:
    """Collects what the pager says: every entry once, and of an alert only what changes."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self._seen: list[dict[str, Any]] = []
        self._last: dict[tuple[tuple[str, str], ...], Said] = {}

    def hear(self, now: float, received: list[dict[str, Any]]) -> list[Said]:
        """What is new in the pager's list, which holds the latest entries, oldest first."""
        known = next(n for n in range(min(len(self._seen), len(received)), -1, -1)
                     if self._seen[len(self._seen) - n:] == received[:n])
        self._seen = received
        new = [one for entry in received[known:] if (one := self._change(now, entry)) is not None]
        self.said += new
        return new

    def open(self, name: str, server: str | None = None) -> bool:
        """Whether an alert of this name, about this server if one is given, is firing by what was heard."""
        return any(one.status == "firing" and one.name == name and server in (None, one.server)
                   for one in self._last.values())

    def _change(self, now: float, entry: dict[str, Any]) -> Said | None:
        key = tuple(sorted(entry["labels"].items()))
        before = self._last.get(key)
        words, status = entry["annotations"].get("summary", ""), entry["status"]
        if status == "resolved" and entry["ended"] != OVER:
            status = entry["ended"]
        said = Said(now, entry["kind"], status, entry["labels"], words)
        self._last[key] = said
        same = before is not None and before.status == status and (LOST in before.words) == (LOST in words)
        return None if same else said


@dataclass(frozen=True)
class Season:
    """What was so, what was said, and when it ended; `slack`: fast seconds that the machine itself may be late."""

    overloaded: dict[str, list[Stretch]]
    silent: dict[str, list[Stretch]]
    troubles: Sequence[Trouble]
    said: Sequence[Said]
    end: float
    slack: float

    def wrong(self) -> list[str]:
        """Everything that was said and not so, or so and not said; empty after a good season."""
        found = [*self._false_all_clears(), *self._false_pages(), *self._unannounced(), *self._blindness(),
                 *self._left_open()]
        return [text for _, text in sorted(found)]

    def incidents(self) -> int:
        """How often a server was overloaded."""
        return sum(map(len, self.overloaded.values()))

    def announced(self) -> int:
        """The incidents during which a page about their server was open."""
        return sum(bool(overlap(self._open(name="FleetcastServerP1", server=server), *one))
                   for server, stretches in self.overloaded.items() for one in stretches)

    # -- what was said and not so -----------------------------------------------------------------------------------

    def _false_all_clears(self) -> Iterable[tuple[float, str]]:
        for one in self.said:
            if one.status != "resolved" or one.name not in OF_SERVERS:
                continue
            since = one.at - DELIVERY - self.slack
            if covered(self._unwell(one.server), since, one.at):
                yield one.at, f"{_at(one.at)} all-clear of {one.name} for {one.server}, which is not well"
            elif covered(self._unknown(one.server), since, one.at):
                yield one.at, f"{_at(one.at)} all-clear of {one.name} for {one.server}, of which nothing is known"

    def _false_pages(self) -> Iterable[tuple[float, str]]:
        for one in self._opened():
            if one.kind != "PAGE":
                continue
            if one.server is not None:
                since = self._back(one.server, one.at, CLEARING + DELIVERY + self.slack)
                if not overlap(self.overloaded[one.server], since, one.at):
                    yield one.at, f"{_at(one.at)} page {one.name} for {one.server}, which is well: {one.words}"
            elif one.name not in BLIND:
                if one.name not in OF_FLEETS:
                    yield one.at, f"{_at(one.at)} page {one.name}, which nothing here should set off: {one.words}"
            elif not any(t.whole - t.begin > PASSING and t.begin <= one.at <= t.whole + DELIVERY + self.slack
                         for t in self.troubles if t.announced or t.whole - t.repaired > PASSING):
                yield one.at, f"{_at(one.at)} page {one.name}, and nothing is away: {one.words}"

    # -- what was so and not said -----------------------------------------------------------------------------------

    def _unannounced(self) -> Iterable[tuple[float, str]]:
        """An incident has to be paged once it could be seen for long enough without a break."""
        for server, stretches in self.overloaded.items():
            paged = self._open(name="FleetcastServerP1", server=server)
            for one in stretches:
                dues = [start + PAGED + self.slack for start, end in without([one], self._hidden(server))
                        if start + PAGED + self.slack <= min(end, self.end)]
                if dues and not overlap(paged, one[0], dues[0]):
                    yield dues[0], f"{_at(dues[0])} {server} is overloaded since {_at(one[0])}, and there is no page"

    def _blindness(self) -> Iterable[tuple[float, str]]:
        for trouble in self.troubles:
            told = union(*(self._open(name=name) for name in trouble.announced))
            due = trouble.begin + ANNOUNCED + self.slack
            if trouble.announced and due < trouble.repaired and not covered(told, due, trouble.repaired):
                when = ", ".join(f"{_at(a)} to {_at(b)}" for a, b in overlap(told, trouble.begin, trouble.repaired))
                yield due, (f"{_at(due)} {trouble.name} since {_at(trouble.begin)}: nobody is told from here to "
                            f"{_at(trouble.repaired)} (told: {when or 'never'})")

    def _left_open(self) -> Iterable[tuple[float, str]]:
        last = {tuple(sorted(one.labels.items())): one for one in self.said}
        for one in last.values():
            if one.status == "firing" and one.kind == "PAGE":
                yield self.end, f"{_at(self.end)} page {one.name} {one.server or ''} of {_at(one.at)} never ended"

    # -- what was so ------------------------------------------------------------------------------------------------

    def _unwell(self, server: str) -> list[Stretch]:
        return union(self.overloaded[server], self.silent[server])

    def _blind(self, server: str) -> list[Stretch]:
        return union([(t.begin, t.whole) for t in self.troubles if server in t.blinds])

    def _unknown(self, server: str) -> list[Stretch]:
        """When nothing new could be known of a server; what Alertmanager holds back was known before."""
        return union([(t.begin, t.repaired) for t in self.troubles if server in t.blinds and not t.holds_back])

    def _hidden(self, server: str) -> list[Stretch]:
        """When nothing could be learned of a server, by a fault or as it was silent."""
        return union(self._blind(server), self.silent[server])

    def _back(self, server: str, at: float, seen: float) -> float:
        """The time since which the server was seen for `seen` seconds before `at`."""
        since, hidden = at - seen, self._hidden(server)
        while (earlier := at - seen - length(overlap(hidden, since, at))) < since:
            since = earlier
        return since

    def _opened(self) -> Iterable[Said]:
        """What began to fire, without new words about what fires."""
        firing: set[tuple[tuple[str, str], ...]] = set()
        for one in self.said:
            key = tuple(sorted(one.labels.items()))
            if one.status == "firing" and key not in firing:
                yield one
            (firing.add if one.status == "firing" else firing.discard)(key)

    def _open(self, name: str, server: str | None = None) -> list[Stretch]:
        """When an alert of this name was firing by what was said."""
        alerts: dict[tuple[tuple[str, str], ...], list[Stretch]] = {}
        for one in self.said:
            if one.name == name and server in (None, one.server):
                found = alerts.setdefault(tuple(sorted(one.labels.items())), [])
                lasting = bool(found) and found[-1][1] == float("inf")
                if one.status == "firing" and not lasting:
                    found.append((one.at, float("inf")))
                elif one.status != "firing" and lasting:
                    found[-1] = found[-1][0], one.at
        return union(*alerts.values())


def _at(seconds: float) -> str:
    """Minutes and seconds of fast time, as the chronicle has them."""
    return f"{int(seconds) // 60:3d}:{int(seconds) % 60:02d}"
