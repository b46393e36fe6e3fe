"""The incidents that are on or expected, in the order in which they come."""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

import numpy as np

from forecaster.pages import words
from forecaster.pages.headline import badges
from forecaster.publish.result import Result
from forecaster.risk.priority import PRIORITIES
from forecaster.risk.state import State


@dataclass(frozen=True)
class Coming:
    """One incident of one server."""

    server: str
    text: str      # "CPU above 95%"
    on: bool
    at: float      # Unix seconds at which it is expected; of one that is on, those of the forecast
    when: str      # "now", "at 09:08 UTC"
    chance: str    # within 8 hours; of one that is on, that it goes on
    priority: str  # may be empty
    hue: str       # the colour of the server's state


def coming(result: Result) -> tuple[Coming, ...]:
    """Those on now by urgency, then those expected by time; none of servers that are BLIND."""
    found = result.risk.incidents
    if found is None:
        return ()
    seen = (result.state != State.BLIND) & result.live
    there = found.known & seen[:, None] & (found.on | np.isfinite(found.expected))
    chance, made, hues = found.chance["8h"], [], badges(result)
    for s, i in np.argwhere(there).tolist():
        on, rank = bool(found.on[s, i]), int(found.ranks[s, i])
        at = result.issued if on else float(found.expected[s, i])
        likely = chance[s, i]
        said = "unknown" if np.isnan(likely) else words.chance(likely)
        order = not on, 0.0 if on else at, rank if rank >= 0 else len(PRIORITIES), -np.nan_to_num(likely), s
        made.append((order, Coming(
            result.servers[s], found.texts[i], on, at, "now" if on else f"at {moment(at, found.zone)}", said,
            PRIORITIES[rank] if rank >= 0 else "", hues[s].hue)))
    return tuple(one for _, one in sorted(made, key=lambda pair: pair[0]))


def moment(instant: float, zone: tzinfo | None, day: bool = False) -> str:
    """A time as people read it: "09:08 UTC", with the day "Thu 09 Oct 09:08 UTC"."""
    return f"{datetime.fromtimestamp(instant, zone or UTC):{'%a %d %b ' if day else ''}%H:%M %Z}"
