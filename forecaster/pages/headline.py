"""What the Fleet page says first, and the states as all pages show them.

A state is that of `forecast_state`, but for a P1 or P2 that has only begun: it is PENDING, in the colour of LIKELY,
until it has lasted for as long as its alert takes. A page never asks for more than the alert would.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecaster.publish.result import Result
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
    """The servers of which one thing is said. text: {0} is their number, {1} and {2} "was" and "is" of them."""

    state: State
    text: str
    rows: Rows
    pending: bool = False


def _kinds(result: Result) -> Iterator[_Kind]:
    """The kinds that there are, the most urgent first; none of them promises more than its state says."""
    waits, points = _pending(result), result.risk.by_points
    p1, p2 = (result.state == state for state in (State.ACT_NOW, State.LIKELY))
    for kind in (
            _Kind(State.ACT_NOW, "Act now: {0} at P1", p1 & ~waits),
            _Kind(State.ACT_NOW, "Not sure yet: {0} at P1", p1 & waits, pending=True),
            _Kind(State.LIKELY, "An incident is on or likely on {0}", p2 & ~points),
            _Kind(State.LIKELY, "At risk: {0} at P2", p2 & points & ~waits),
            _Kind(State.LIKELY, "Not sure yet: {0} at P2", p2 & waits, pending=True),
            _Kind(State.CLEARING, "Getting better: {0} {1} at P1 or P2 and {2} not clear yet",
                  result.state == State.CLEARING),
            _Kind(State.WATCH, "Nothing urgent; watch {0}", result.state == State.WATCH),
            _Kind(State.SAFE, "Quiet: no incident is on or expected within 8 hours", result.state == State.SAFE)):
        if kind.rows.any():
            yield kind


def headline(result: Result) -> tuple[Badge, str, list[str]]:
    """(the fleet's state, what it comes to in a sentence without its full stop, and further ones).

    What is less urgent is left to the counts, unless the first may wait or most servers are BLIND: then it is all that
    one can act on.
    """
    if not result.servers:
        return badge(State.BLIND), "Blind: no server is known", []
    state, blind, kinds = of_fleet(result.state), result.state == State.BLIND, [*_kinds(result)]
    if state is State.BLIND:
        first = _Kind(state, "Blind: {0} cannot be judged", blind)
    elif kinds[0].state < state:  # it is WATCH because of those that are BLIND
        first = _Kind(state, "Nothing urgent, but not every server is seen", blind)
    else:
        first = kinds[0]
    unsure = first.pending or state is State.BLIND
    text, *more = _said(result, first)
    for kind in kinds:
        if kind is not first and (kind.state is state or unsure and kind.state >= State.CLEARING):
            more += _said(result, kind, besides=True)
    if state is not State.BLIND and blind.any():
        more.append(f"{servers(blind)} cannot be judged (BLIND)")
    return badge(state, first.pending), text, [f"{sentence}." for sentence in more]


def _said(result: Result, kind: _Kind, besides: bool = False) -> list[str]:
    """The sentences about one kind, without their full stops. besides: whether servers were counted before."""
    found = np.flatnonzero(kind.rows)
    text = kind.text.format(servers(kind.rows, besides), *(("was", "is") if len(found) == 1 else ("were", "are")))
    more = []
    if kind.pending:
        since, fires = result.begun(int(found[result.pending[found, 0].argmin()]))
        text += f" {since}" if len(found) == 1 else f", the first {since}"
        more = [f"{'Its' if len(found) == 1 else 'The first'} alert {fires}"]
    if (points := kind.rows & result.risk.by_points).any():
        whose = "By" if points.sum() == len(found) else f"{points.sum()} of them by"
        more.append(f"{whose} the risk score alone: {result.risk.chance(*np.flatnonzero(points).tolist())}")
    return [text, *more]


def servers(rows: Rows, besides: bool = False) -> str:
    """How many servers these rows are, bool (S,)."""
    number = int(rows.sum())
    return f"{number} {'more ' if besides else ''}server{'s' if number != 1 else ''}"


def _pending(result: Result) -> Rows:
    """bool (S,): servers that are shown as PENDING. A P2 that a chance speaks for is LIKELY from its beginning."""
    found: Rows = result.waits & ((result.state == State.ACT_NOW) | result.risk.by_points)
    return found
