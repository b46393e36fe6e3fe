"""Pages that were sent and how they turned out: figures and a list, for the views Record and Server."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from forecaster.memory.episodes import FALSE, ON_ALREADY, OPEN, ROOM, RULES, TRUE, UNKNOWN, Episode
from forecaster.memory.pages import MOST
from forecaster.pages import words
from forecaster.pages.seen import Seen

TITLES = {("server", "P1"): "Pages of servers (P1)", ("server", "P2"): "Tickets of servers (P2 or P1)",
          ("capacity", "P1"): "Pages of what fills up (P1)", ("capacity", "P2"): "Tickets of what fills up (P2 or P1)"}
REACHES = ("30 minutes", "8 hours", "4 hours", "24 hours")  # of RULES; of capacity and a quarter
SAID = {ON_ALREADY: "on already", ROOM: "room was made", FALSE: "false", OPEN: "open", UNKNOWN: "not known"}


@dataclass(frozen=True)
class Tally:
    """The pages of one rule."""

    title: str
    reach: str
    pages: int
    turned: dict[str, int]  # by how they turned out
    lead: float             # s, the median between page and incident of those that came true, NaN without
    rate: float             # pages a server and week, NaN where not known


@dataclass(frozen=True)
class Line:
    """One page of the list."""

    at: float
    server: str
    linked: bool  # there is a view of that server
    title: str    # "P1", "P1 filesystem /data"
    what: str     # the incident
    said: str
    turned: str


def of(seen: Seen, server: str | None = None) -> tuple[list[Episode], float] | None:
    """(the episodes that the viewer may see, of `server` or of all, the newest first; weeks of a server, NaN where some
    of that time's episodes are no longer kept); None without a record."""
    memory = seen.memory
    if memory is None or memory.pages is None:
        return None
    with memory.lock:
        names = None if seen.whole else known(seen)
        if server is not None:
            names = {server} if names is None else {server} & names
        episodes, weeks = memory.pages.of(names), memory.pages.weeks(names)
        full = memory.pages.full
    return episodes, np.nan if full else weeks


def known(seen: Seen) -> set[str]:
    """Servers that have a view."""
    last, outlook = seen.last, seen.outlook
    own = {*last.servers, *last.unforecast} if last is not None else set()
    return own | ({one.server for one in outlook.entities} if outlook is not None else set())


def tallies(episodes: Sequence[Episode], weeks: float, watched: bool) -> list[Tally]:
    """One for each rule; those of what fills up where anything is `watched`."""
    found = []
    for number, rule in enumerate(RULES):
        mine = [one for one in episodes if one.rule == number]
        if rule[0] == "server" or watched or mine:
            leads = [one.lead for one in mine if one.turned == TRUE]
            turned = {word: sum(one.turned == word for one in mine) for word in (TRUE, *SAID)}
            found.append(Tally(TITLES[rule], REACHES[number], len(mine), turned,
                               float(np.median(leads)) if leads else np.nan,
                               len(mine) / weeks if weeks >= 1 / 7 else np.nan))
    return found


def lines(episodes: Sequence[Episode], servers: Collection[str], most: int) -> list[Line]:
    """The newest. A ticket that was a page as well within its time stands once, as the page."""
    episodes = sorted(episodes, key=lambda one: -one.begin)
    pages = [one for one in episodes if RULES[one.rule][1] == "P1"]
    shown = (one for one in episodes if RULES[one.rule][1] == "P1" or not any(
        page.rule == one.rule - 1 and (page.server, page.entity) == (one.server, one.entity)
        and one.begin <= page.begin <= one.last for page in pages))
    return [Line(one.begin, one.server, one.server in servers, f"{RULES[one.rule][1]} {one.entity}".strip(), one.what,
                 said(one), one.turned) for one in islice(shown, most)]


def said(one: Episode) -> str:
    """How it turned out, in words."""
    rings = "" if one.over else ", still on"
    if one.turned == TRUE:
        return f"true, {words.span(one.lead)} before{rings}"
    return f"{SAID[one.turned]}{rings if one.turned != OPEN else ''}"


def limited() -> str:
    """What is said where not all are kept."""
    return f"Only the newest {MOST:,} are kept."
