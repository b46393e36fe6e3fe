"""What the Fleet page says first, and the states as all pages show them.

A state is that of `forecast_state`, but for a P1 or P2 that has only begun: it is PENDING, in the colour of LIKELY,
until it has lasted for as long as its alert takes. A page never asks for more than the alert would.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo

import numpy as np
from numpy.typing import NDArray

from forecaster.capacity.lasting import FULL, P1
from forecaster.capacity.outlook import Outlook
from forecaster.publish.result import Result
from forecaster.publish.values import begun
from forecaster.risk.state import State, of_fleet

Rows = NDArray[np.bool_]  # (S,)


@dataclass(frozen=True)
class Badge:
    """A state as it is shown."""

    word: str
    hue: str  # the state whose colour it has


def badge(state: State, pending: bool = False) -> Badge:
    """A state; pending: whether it rests on what has only begun."""
    return Badge("PENDING", State.LIKELY.word) if pending else Badge(state.word, state.word)


def badges(result: Result) -> list[Badge]:
    """Of every server."""
    return [badge(State(state), waits) for state, waits in
            zip(result.state.tolist(), _pending(result).tolist(), strict=True)]


def counts(result: Result) -> list[tuple[Badge, int]]:
    """The states that servers are in, and how many are: the most urgent first, pending after what is not."""
    found = Counter(zip((-result.state).tolist(), _pending(result).tolist(), strict=True))
    return [(badge(State(-state), waits), number) for (state, waits), number in sorted(found.items())]


@dataclass(frozen=True)
class _Kind:
    """Servers, or what fills up, of which one thing is said. text: {0} is who, {1} and {2} "was" and "is" of them."""

    state: State
    text: str
    number: int = 0
    who: str = ""  # of what fills up; servers are counted
    pending: tuple[str, str] | None = None  # since when the first is, and when its alert fires
    points: str = ""  # a sentence about what only the risk score speaks for

    def said(self, besides: bool = False) -> list[str]:
        """The sentences, without their full stops. besides: whether servers were counted before."""
        one = self.number == 1
        who = self.who or f"{self.number} {'more ' if besides else ''}server{'' if one else 's'}"
        text, more = self.text.format(who, *(("was", "is") if one else ("were", "are"))), []
        if self.pending:
            text += f"{'' if one else ', the first'} {self.pending[0]}"
            more = [f"{'Its' if one else 'The first'} alert {self.pending[1]}"]
        return [text, *more, *([self.points] if self.points else [])]


def _of_servers(result: Result) -> Iterator[_Kind]:
    """The kinds of servers; none of them promises more than its state says."""
    p1, p2 = (result.state == state for state in (State.ACT_NOW, State.LIKELY))
    waits, points = _pending(result), result.risk.by_points & (p1 | p2)
    for state, text, rows in (
            (State.ACT_NOW, "Act now: {0} at P1", p1 & ~waits),
            (State.ACT_NOW, "Not sure yet: {0} at P1", p1 & waits),
            (State.LIKELY, "An incident is on or likely on {0}", p2 & ~points),
            (State.LIKELY, "At risk: {0} at P2", p2 & points & ~waits),
            (State.LIKELY, "Not sure yet: {0} at P2", p2 & waits),
            (State.CLEARING, "Getting better: {0} {1} at P1 or P2 and {2} not clear yet",
             result.state == State.CLEARING),
            (State.WATCH, "Nothing urgent; watch {0}", result.state == State.WATCH),
            (State.SAFE, "Quiet: no incident is on or expected within 8 hours", result.state == State.SAFE)):
        if number := int(rows.sum()):
            found, scored = np.flatnonzero(rows), np.flatnonzero(rows & points).tolist()
            whose = "By" if len(scored) == number else f"{len(scored)} of them by"
            first = int(found[np.nan_to_num(result.pending[found, 0]).argmin()])
            yield _Kind(state, text, number, pending=result.begun(first) if (rows & waits).any() else None,
                        points=f"{whose} the risk score alone: {result.risk.chance(*scored)}" if scored else "")


def _of_filling(outlook: Outlook, now: float, zone: tzinfo) -> Iterator[_Kind]:
    """The kinds of what fills up that page somebody: what is full, or P1, or was it until a moment ago."""
    pending, at = outlook.pending(now), outlook.urgency
    waits, full = np.isfinite(pending[:, 0]) & (at == P1), at == FULL
    rings = np.zeros(len(at), bool) if outlook.lasting is None else outlook.lasting.rings[:, 0]
    sure = full | (at == P1) & ~waits
    what = "full" if not (sure & ~full).any() else "full or about to be (P1)" if full.any() else "about to be full (P1)"
    for state, text, rows in (
            (State.ACT_NOW, f"Act now: {{0}} {{2}} {what}", sure),
            (State.ACT_NOW, "Not sure yet: {0} at P1", waits),
            (State.CLEARING, "Getting better: {0} {1} full or about to be and {2} not clear yet", rings & (at < P1))):
        if rows.any():
            found = [row for row in outlook.order if rows[row]]
            one, more = outlook.entities[found[0]], len(found) - 1
            since, until = min(pending[found].tolist())
            yield _Kind(state, text, len(found), f"{one.name} of {one.server}{f' and {more} more' if more else ''}",
                        begun(since, until, zone) if rows is waits else None)


def headline(result: Result | None, outlook: Outlook | None, now: float, zone: tzinfo,
             unknown: str = "Blind: no server is known") -> tuple[Badge, str, list[str]]:
    """(the state of what comes first, what it comes to in a sentence without its full stop, and further ones).

    What is less urgent is left to the counts, unless the first may wait or most servers are BLIND: then it is all that
    one can act on. now: Unix s, for what fills up; unknown: what is said where there is no result.
    """
    blind = result.state == State.BLIND if result is not None else np.zeros(0, bool)
    kinds = [*(_of_servers(result) if result is not None else ()),
             *(_of_filling(outlook, now, zone) if outlook is not None else ())]
    kinds.sort(key=lambda kind: (-kind.state, kind.pending is not None))
    state = of_fleet(result.state) if result is not None else State.BLIND
    most = kinds[0].state if kinds else State.BLIND
    unseen = _Kind(State.BLIND, "Blind: {0} cannot be judged" if blind.any() else unknown, int(blind.sum()))
    if state is State.BLIND and (most < State.ACT_NOW or kinds[0].pending):
        first = unseen
    elif most < state:  # it is WATCH because of those that are BLIND
        first = _Kind(state, "Nothing urgent, but not every server is seen")
    else:
        first = kinds[0]
    unsure = first.pending is not None or first is unseen
    text, *more = first.said()
    for kind in kinds:
        if kind is not first and (kind.state is first.state or unsure and kind.state >= State.CLEARING):
            more += kind.said(besides=not first.who)
    if first is not unseen and blind.any():
        more.append(f"{unseen.said()[0].removeprefix('Blind: ')} (BLIND)")
    elif first is not unseen and state is State.BLIND:
        more.append(unknown)
    return badge(first.state, first.pending is not None), text, [f"{sentence}." for sentence in more]


def _pending(result: Result) -> Rows:
    """bool (S,): servers that are shown as PENDING. A P2 that a chance speaks for is LIKELY from its beginning."""
    found: Rows = result.waits & ((result.state == State.ACT_NOW) | result.risk.by_points)
    return found
