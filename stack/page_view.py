"""The pager's page for people: conversations, the open ones on top, and the heartbeats. It is whole without JavaScript.

Fragments (serving.page.view): the headline, a group of open alerts, the names of those of a group that are not shown
one by one, an alert that is over, a heartbeat, a line.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b

from serving.page.site import environment
from serving.page.view import Asked, Shown, View
from serving.refusals import RequestError
from stack.conversation import Conversation
from stack.heartbeat import LOST, Beat
from stack.open_alerts import MOST

KINDS = {"": "pages and tickets", "page": "pages", "ticket": "tickets"}  # the filter `kind`
_HUES = {"page": "ACT NOW", "ticket": "LIKELY", "blind": "BLIND", "quiet": "SAFE"}  # of page.css, by state
_ONE_BY_ONE = 10  # alerts of a group that are shown with what was said of them; the others are named
_TEXT = 100  # characters of the filter `text`
_BEATS = 50  # heartbeats that are shown, those that are late first
_TTL = 30.0  # seconds after which what a page shows is old


@dataclass
class Group:
    """Open alerts of one kind, name and fleet, newest first."""

    kind: str
    name: str
    fleet: str
    alerts: list[Conversation] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The id of its element."""
        return _hash(self.kind, self.name, self.fleet)

    @property
    def began(self) -> float:
        """When the first began, in Unix seconds."""
        return min(one.began for one in self.alerts)

    def link(self, name: str) -> str:
        """An address that its alerts have; empty without one."""
        return next((one.links[name] for one in self.alerts if name in one.links), "")


@dataclass(frozen=True)
class Situation:
    """What the pager knows. beats: heartbeat, its age in seconds, whether it is late or lost, and why."""

    now: datetime
    open: Sequence[Conversation]
    over: Sequence[Conversation]  # newest first
    left_out: int
    beats: Sequence[tuple[Beat, float, bool, str]]
    lines: Sequence[tuple[int, str]]  # number and text, newest first
    dropped: int = 0  # alerts that fired and are not kept
    over_dropped: int = 0  # that ended before those of `over`


def pager_view(situation: Callable[[], Situation], version: Callable[[], object]) -> View:
    """The view at `/`."""
    pages = environment("stack")
    pages.globals.update(age=age, clock=clock, rest=rest, iso=iso, hues=_HUES)
    parts = pages.get_template("pager_parts.html").module

    def show(asked: Asked) -> Shown:
        kind, text = asked.query.get("kind", ""), asked.query.get("text", "")
        if len(text) > _TEXT:
            raise RequestError("the text is too long", "text", f"at most {_TEXT} characters")
        if kind not in KINDS:
            raise RequestError(f"there is no kind {kind[:100]!r}", "kind", "page or ticket, or without kind for both")
        return _Rendering(parts, situation()).shown(kind.upper(), text)

    def more(shown: Shown, query: Mapping[str, str]) -> Mapping[str, object]:
        return {"kinds": KINDS}

    about = "Conversations, open ones first, heartbeats and the last notifications; `?text=` and `?kind=` filter."
    return View("pager", "/", "Pager", about, show, version, ("kind", "text"), more, ("pager.js",), ("pager.css",))


class _Rendering:
    """The fragments of a situation."""

    def __init__(self, parts: object, situation: Situation):
        self._parts, self._situation = parts, situation
        self._fragments: dict[str, str] = {}
        self._lists: dict[str, list[str]] = {name: [] for name in ("open", "over", "beats", "lines")}

    def shown(self, kind: str, text: str) -> Shown:
        """With those conversations that the filters let through."""
        now, of = self._situation.now, self._situation
        found = [one for one in of.open if matches(one, kind, text)]
        for group in grouped(found):
            self._add("open", f"g-{group.id}", "group", group, group.alerts[:_ONE_BY_ONE], now)
            if rest := group.alerts[_ONE_BY_ONE:]:
                self._add("open", f"n-{group.id}", "names", rest)
        over = [one for one in of.over if matches(one, kind, text)]
        for one in over:
            self._add("over", f"c-{one.id}-{one.ended:.0f}", "ended", one, now)
        beats = sorted(of.beats, key=lambda beat: not beat[2])
        for beat in beats[:_BEATS]:
            self._add("beats", f"b-{_hash(beat[0].job, beat[0].fleet)}", "heartbeat", *beat)
        for number, line in of.lines:
            self._add("lines", f"l-{number}", "line", line)
        state, words = headline(of)
        self._put("headline", "headline", state, words, now)
        filtered = bool(kind or text.split())
        self._put("open-note", "open_note", of, len(found), filtered)
        self._put("over-note", "over_note", of, len(over), filtered)
        self._put("beats-note", "beats_note", len(of.beats), _BEATS)
        self._put("lines-note", "lines_note", len(of.lines))
        return Shown(now.timestamp(), _TTL, self._fragments, self._lists)

    def _add(self, name: str, key: str, macro: str, *given: object) -> None:
        self._put(key, macro, key, *given)
        self._lists[name].append(key)

    def _put(self, key: str, macro: str, *given: object) -> None:
        self._fragments[key] = str(getattr(self._parts, macro)(*given)).strip()


def matches(one: Conversation, kind: str, text: str) -> bool:
    """Whether an alert is of this kind (any: empty) and has the text in its name, place, fleet, priority or summary."""
    if kind not in ("", one.kind):
        return False
    texts = (one.name, one.where, one.fleet, one.priority, one.summary)
    return all(any(word in of.casefold() for of in texts) for word in text.casefold().split())


def grouped(alerts: Iterable[Conversation]) -> list[Group]:
    """Open alerts by kind, name and fleet: pages first, among them those of lost heartbeats, then the newest group."""
    groups: dict[tuple[str, str, str], Group] = {}
    for one in sorted(alerts, key=lambda one: (-one.came, one.where)):
        key = one.kind, one.name, one.fleet
        groups.setdefault(key, Group(*key)).alerts.append(one)
    return sorted(groups.values(), key=lambda group: (group.kind, group.name != LOST, -group.alerts[0].came))


def headline(of: Situation) -> tuple[str, str]:
    """The state and a sentence. That nothing is open is good news only while all heartbeats are heard."""
    number = {kind: sum(one.kind == kind for one in of.open) for kind in ("PAGE", "TICKET")}
    told = [f"{count:,} {kind.lower()}{'s' if count > 1 else ''}" for kind, count in number.items() if count]
    if told:
        words = f"{' and '.join(told)} open" + (f" ({MOST:,} are kept)" if len(of.open) >= MOST else "")
        return "page" if number["PAGE"] else "ticket", words
    if not of.beats:
        return "blind", "Nothing is open, and no heartbeat has been received"
    if blind := [beat.fleet for beat, _, late, _ in of.beats if late]:
        return "blind", f"Nothing is open, and the heartbeat of {', '.join(blind)} is awaited"
    return "quiet", "Nothing is open, and every heartbeat is heard"


def age(seconds: float) -> str:
    """A length of time as people say it, to the minute; it changes as seldom as it can."""
    minutes = max(0, int(seconds // 60))
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 2880:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes // 60 % 24} h"


def clock(at: float, now: datetime) -> str:
    """A time in the zone of `now`, with the day where it is another."""
    then = datetime.fromtimestamp(at, now.tzinfo)
    return f"{then:%H:%M:%S}" if then.date() == now.date() else f"{then:%d %b %H:%M}"


def iso(at: float) -> str:
    """A time for programs."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def rest(one: Conversation) -> str:
    """The summary after the name of what it is about, with which most summaries begin."""
    found = one.summary.removeprefix(one.where)
    return f": {found}" if found == one.summary != "" else found


def _hash(*texts: str) -> str:
    return blake2b("\n".join(texts).encode(), digest_size=8).hexdigest()
