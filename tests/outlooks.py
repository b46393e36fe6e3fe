"""Small Outlooks of what fills up, for tests."""

import numpy as np

from forecaster.board import Board
from forecaster.capacity.forecast import HORIZON, Filling
from forecaster.capacity.growth import WEEK
from forecaster.capacity.lasting import Lasting
from forecaster.capacity.outlook import About, Entity, Outlook

INSTANT = 1_760_000_400.0  # a multiple of 300
DAY = 86400.0
ABOUT = {"filesystem": About("File systems", "bytes"), "memory": About("Memory", "bytes")}


def entity(server="web1", name="/data", resource="filesystem", profile="web"):
    return Entity(server, resource, name, profile)


ONE = (entity(),)


def make_outlook(entities=ONE, used=0.5, priority=0, chance=(0.0, 0.0, 0.0, 0.0), full_at=np.nan, ahead=0.6,
                 instant=INSTANT, full=False, lost=False, size=1e11, last_seen=None,
                 since=None, rings=False) -> Outlook:
    """Each argument one for all, or one for each entity; p10 and p90 are 0.1 below and above `ahead`, which stays;
    all dates of full are those of p50, a day apart. since: Unix s since when it is P1 or P2, None where all has lasted;
    rings: whether its alerts go on."""
    rows = len(entities)

    def each(value, dtype=np.float64) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, dtype), (rows,)).copy()

    curves = np.stack([each(ahead) + by for by in (-0.1, 0.0, 0.1)], 1)
    filling = Filling(
        used=np.repeat(curves[:, None], HORIZON, 1).astype(np.float32),
        full_at=np.stack([each(full_at) + by for by in (DAY, 0.0, -DAY)], 1),
        chance=np.broadcast_to(np.asarray(chance, np.float32), (rows, 4)).copy(), growth=each(0.01),
        growth_before=each(0.001), changed_at=each(instant - 3 * DAY), step=each(0.02), step_at=each(instant - 3600))
    lasting = None if since is None else Lasting(*(np.stack([of] * 2, 1) for of in (each(since), each(rings, bool))))
    seen = each(instant if last_seen is None else last_seen)
    return Outlook(instant=instant, entities=tuple(entities), resources=ABOUT, used=each(used, np.float32),
                   limit=each(1.0, np.float32), size=each(size), last_seen=seen,
                   issued=each(instant), lost=each(lost, bool), filling=filling, priority=each(priority, np.int8),
                   full=each(full, bool), week=np.repeat(each(used, np.float32)[:, None], WEEK, 1), lasting=lasting)


def board_of(outlook: Outlook | None, ttl: float = 1920.0) -> Board[Outlook]:
    board = Board[Outlook](ttl)
    if outlook is not None:
        board.publish(outlook)
    return board
