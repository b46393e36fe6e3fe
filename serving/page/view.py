"""A view: a page that is a set of fragments, each the HTML of one element, and what changed between two of them.

The same fragments make the first page and the updates, so that both cannot differ.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson


@dataclass(frozen=True)
class Asked:
    """What a client asked for: those parameters of the query that the view has as keys, and who asks (Site.viewer)."""

    query: Mapping[str, str] = field(default_factory=dict)
    viewer: frozenset[str] | None = None

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.query.items())), self.viewer))


@dataclass(frozen=True)
class Shown:
    """What a view shows at one instant; the HTML is made by Jinja with autoescape, or by markupsafe.

    issued: Unix seconds of what is shown, None where there is nothing yet. ttl: the age in seconds from which on it is
    stale. fragments: id -> the whole element of this id. lists: id of an element -> the ids
    of its children, in their order; each is a fragment. data: name -> JSON that a script of the view draws.
    """

    issued: float | None
    ttl: float
    fragments: Mapping[str, str]
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    data: Mapping[str, object] = field(default_factory=dict)

    def age(self, now: float) -> float | None:
        """Seconds since it was issued, in tenths."""
        return None if self.issued is None else round(max(0.0, now - self.issued), 1)

    def since(self, before: "Shown | None", now: float) -> dict[str, object]:
        """The message that brings a page from `before` (None: from anything) to this: issued, age and ttl, and what
        changed: `set` has new and changed fragments, `gone` the ids that are no more, `lists` the changed ones as in
        moves(), `data` the changed ones."""
        old = before or Shown(None, 0.0, {})
        found: dict[str, object] = {"issued": self.issued, "age": self.age(now), "ttl": self.ttl}
        found["set"] = {key: html for key, html in self.fragments.items() if old.fragments.get(key) != html}
        found["gone"] = [key for key in old.fragments if key not in self.fragments]
        found["lists"] = {key: moves(old.lists.get(key, ()), ids) for key, ids in self.lists.items()
                          if old.lists.get(key) != ids}
        found["data"] = {key: value for key, value in self.data.items() if old.data.get(key) != value}
        return {key: value for key, value in found.items() if value or key in ("issued", "age", "ttl")}


def moves(old: Sequence[str], ids: Sequence[str]) -> list[str | list[int]]:
    """The ids in terms of the old ones: [begin, end] for a stretch of those, or the id of one that is new."""
    places = {one: place for place, one in enumerate(old)}
    found: list[str | list[int]] = []
    for one in ids:
        at = places.get(one)
        if at is None:
            found.append(one)
        elif found and isinstance(last := found[-1], list) and last[1] == at:
            last[1] += 1
        else:
            found.append([at, at + 1])
    return found


@dataclass(frozen=True)
class View:
    """A page of a site; the template NAME.html extends layout.html.

    path: its address. title: in the navigation and the browser's title. about: one sentence for the reference.
    show: what it shows now; RequestError where the query is wrong. It may take its time, and is called once for all who
    ask the same. version: any value that changes when there is something new to show; called every second on the event
    loop, so it only reads memory. keys: the parameters that `show` reads. more: further variables of the template, from
    the whole query. scripts, styles: names of assets that the page loads. listed: whether the navigation has it.
    """

    name: str
    path: str
    title: str
    about: str
    show: Callable[[Asked], Shown]
    version: Callable[[], object]
    keys: tuple[str, ...] = ()
    more: Callable[[Shown, Mapping[str, str]], Mapping[str, object]] = lambda shown, query: {}
    scripts: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    listed: bool = True


@dataclass(frozen=True)
class Kept:
    """One rendering: its number, the version that it was made of, and the one before it."""

    number: str
    version: object
    shown: Shown
    before: "tuple[str, Shown] | None" = None

    def message(self, since: str, listener: Shown | None, now: float) -> bytes:
        """Server-sent event for a listener that has the rendering `since`, or `listener`."""
        old = listener
        if old is None and self.before is not None and since == self.before[0]:
            old = self.before[1]
        return b"id: %s\ndata: %s\n\n" % (self.number.encode(), orjson.dumps(self.shown.since(old, now)))


def numbered(count: int, started: int = time.time_ns()) -> str:
    """The name of a rendering; that of another process is another."""
    return f"{started:x}-{count}"
