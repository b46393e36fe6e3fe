"""What the Fleet page says first, and the states as all pages show them.

A state is that of `forecast_state`, but for a P1 or P2 that has only begun: it is PENDING, in the colour of LIKELY,
until it has lasted for as long as its alert takes. A page never asks for more than the alert would.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecaster.publish.result import Result
from forecaster.risk.state import State, of_fleet

_TEXTS = {  # of the fleet's state; none of them promises more than the state says
    State.ACT_NOW: "Act now: {} at P1",
    State.LIKELY: "An incident is on or likely, on {}",
    State.CLEARING: "Getting better: {} was at P1 or P2 and is not clear yet",
    State.WATCH: "Nothing urgent; watch {}",
    State.SAFE: "Quiet: no incident is on or expected within 8 hours",
    State.BLIND: "Blind: {} cannot be judged",
}


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


def headline(result: Result) -> tuple[Badge, str, list[str]]:
    """(the fleet's state, what it comes to in a sentence without its full stop, and further ones)."""
    state = of_fleet(result.state)
    at, urgent = result.state == state, state >= State.LIKELY
    pending = _pending(result)
    points, waits = (urgent & at & of for of in (result.risk.by_points, pending))
    weak = points if state is State.LIKELY else waits
    if not result.servers:
        text = "Blind: no server is known"
    elif state is State.WATCH and not at.any():
        text = "Nothing urgent, but not every server is seen"  # it is because of those that are BLIND
    elif not urgent or (at & ~weak).any():
        text = _TEXTS[state].format(servers(at & ~weak))
    else:
        text = f"{'At risk' if (at & ~waits).any() else 'Not sure yet'}: {_at(result, at)[0]}"
    more: list[str] = []
    if weak.any():
        said, then = _at(result, weak)
        if (at & ~weak).any():
            more.append(f"Besides, {said}{then and ', '}{then}.")
        elif then:
            more.append(f"{then[0].upper()}{then[1:]}.")
    if points.any():
        alike = result.risk.chance(*np.flatnonzero(points).tolist())
        whose = "By" if points[at].all() else f"{servers(points)} by"
        more.append(f"{whose} the risk score alone: {alike}.")
    only_begun = bool(urgent and not (at & ~waits).any())
    if only_begun and (likely := (result.state == State.LIKELY) & ~pending).any():  # what may wait hides nothing
        more.append(f"LIKELY: {servers(likely)}.")
    return badge(state, only_begun), text, more


def servers(rows: NDArray[np.bool_]) -> str:
    """How many servers these rows are, bool (S,)."""
    return f"{number} servers" if (number := int(rows.sum())) != 1 else "1 server"


def _pending(result: Result) -> NDArray[np.bool_]:
    """bool (S,): servers that are shown as PENDING. A P2 that a chance speaks for is LIKELY from its beginning."""
    found: NDArray[np.bool_] = result.waits & ((result.state == State.ACT_NOW) | result.risk.by_points)
    return found


def _at(result: Result, rows: NDArray[np.bool_]) -> tuple[str, str]:
    """How many servers of one priority these rows are; where none has been for long enough, since when and what
    follows, else ""."""
    found = np.flatnonzero(rows)
    said = f"{servers(rows)} at {result.risk.priority[found[0]]}"
    if not result.waits[found].all():
        return said, ""
    since, then = result.begun(int(found[result.pending[found, 0].argmin()]))
    return f"{said}{', the first' if len(found) > 1 else ''} {since}", then
