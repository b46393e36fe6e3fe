"""Since when what fills up is P1 or P2, and whether an alert of it goes on, followed from pass to pass.

As in prometheus/rules/capacity.yml: a P1 fires after 15 minutes and a P2 after an hour, what is full at once. One that
fired goes on while p50 has its date within twice the time that the priority means, as a chance moves around its limit.
Until it fires, a P1 or P2 is pending.

Letters: N entities; the last axis is P1, P2.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forecaster.capacity.past import HOUR, Bools, Wide

FIRES = (900.0, 3600.0)  # s, the `for` of FleetcastCapacityP1 and FleetcastCapacityP2
HELD = (8 * HOUR, 48 * HOUR)  # s
FULL, P1, P2 = 4, 3, 2  # of urgency
Urgency = npt.NDArray[np.int8]  # (N,), as entity:capacity_urgency:max: FULL, P1, P2, 1 for P3, 0 for none


@dataclass(frozen=True, eq=False)
class Lasting:
    """Of the entities of one pass."""

    since: Wide  # (N, 2) Unix s since when it is P1, and P2 or P1, without a break; NaN where it is not
    rings: Bools  # (N, 2) whether the alert goes on, as far as is known

    @classmethod
    def resumed(cls, keys: Sequence[tuple[str, str]], paged: Collection[tuple[str, str]],
                ticketed: Collection[tuple[str, str]]) -> Lasting:
        """After a restart: of these entities, where a page, and a ticket, was open."""
        rings = np.array([[key in paged, key in ticketed] for key in keys], bool).reshape(-1, 2)
        return cls(np.full((len(keys), 2), np.nan), rings)

    def of(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Lasting:
        """That of these rows, -1 for one that is not known."""
        return Lasting(np.vstack([self.since, [np.nan, np.nan]])[[*rows]],
                       np.vstack([self.rings, [False, False]])[[*rows]])

    def then(self, now: float, urgency: Urgency, date: Wide) -> Lasting:
        """After the pass that is published at `now` (Unix s). date: (N,) at which p50 is full, Unix s."""
        at = np.stack([urgency == P1, (urgency == P1) | (urgency == P2)], 1)
        held = np.stack([urgency >= P1, urgency >= P2], 1)
        held |= (date > now)[:, None] & (date[:, None] < now + np.array(HELD))
        rings = held & (self.rings | (now - self.since >= np.array(FIRES)))
        rings[:, 0] |= urgency == FULL
        return Lasting(np.where(at, np.where(self.since <= now, self.since, now), np.nan), rings)

    def pending(self, now: float, urgency: Urgency) -> Wide:
        """float64 (N, 2): since when it is P1 or P2, and until when that has to last for its alert, Unix s; NaN where
        it is neither, has lasted, or its alert or a higher one goes on."""
        place = np.where(urgency == P1, 0, 1)
        since = np.take_along_axis(self.since, place[:, None], 1)[:, 0]
        until = since + np.array(FIRES)[place]
        waits = (urgency == P1) | (urgency == P2) & ~self.rings[:, 1]
        waits &= (now < until) & ~self.rings[:, 0]
        return np.where(waits[:, None], np.stack([since, until], 1), np.nan)
