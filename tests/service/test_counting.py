"""What the record of pages is told by a cycle, and by a pass over what fills up."""

from types import SimpleNamespace

import numpy as np
import pytest

from forecaster.capacity.relief import relieved
from forecaster.memory.episodes import TURNED
from forecaster.memory.pages import Pages
from forecaster.risk.state import State
from forecaster.service.counting import count
from tests.outlooks import INSTANT, entity, make_outlook

STEP = 300.0


def turned(pages: Pages, blind=(), minutes: int = 60) -> dict[str, int]:
    """How the pages of a server turned out whose P1 rings from minute 5 to 10, and that is BLIND in these minutes."""
    for minute in range(minutes):
        state = np.array([State.BLIND if minute in blind else State.SAFE])
        found = SimpleNamespace(on=np.zeros((1, 1), bool), known=np.ones((1, 1), bool))
        course = SimpleNamespace(rung=np.array([[5 <= minute < 10]] * 2))
        made = count(pages, SimpleNamespace(instant=INSTANT + 60.0 * minute, servers=("web1",)), found, state, course,
                     None)
    return dict(zip(TURNED, made[0].tolist(), strict=True))


@pytest.mark.parametrize(("blind", "kind"), [((), "false"), (range(20, 29), "false"), (range(20, 32), "unknown")])
def test_a_page_of_a_server_that_fell_silent_is_not_called_false(blind, kind):
    assert turned(Pages(STEP, "", ("cpu_saturated",)), blind)[kind] == 1


def test_a_pass_counts_once_however_often_it_is_seen():
    pages, state = Pages(STEP, "", ("cpu_saturated",)), np.array([State.SAFE])
    found = SimpleNamespace(on=np.zeros((1, 1), bool), known=np.ones((1, 1), bool))
    for minute in range(21):
        outlook = make_outlook(priority=2, instant=INSTANT + 600 * (minute // 10))
        made = count(pages, SimpleNamespace(instant=INSTANT + 60.0 * minute, servers=("web1",)), found, state,
                     SimpleNamespace(rung=np.zeros((2, 1), bool)), outlook)
    assert pages.passed == INSTANT + 1200 and made[2:].sum() == 0, "a ticket needs an hour"
    for minute in (40, 60, 80):
        made = count(pages, SimpleNamespace(instant=INSTANT + 60.0 * minute, servers=("web1",)), found, state,
                     SimpleNamespace(rung=np.zeros((2, 1), bool)),
                     make_outlook(priority=2, instant=INSTANT + 60 * minute))
    assert made[3].sum() == 1 and made[2].sum() == 0
    assert pages.of()[0].entity == "filesystem /data"


def test_room_is_made_by_a_fall_that_is_no_rotation():
    names = [entity("web1", f"/{n}") for n in range(4)]
    outlook = make_outlook(names, used=[0.7, 0.7, 0.88, 0.7])
    week = np.full((4, 168), 0.9, np.float32)
    week[1, 40:80] = 0.75  # it fell as much before
    week[3, -2:] = 0.72  # it fell earlier
    object.__setattr__(outlook, "week", week)
    assert relieved(outlook).tolist() == [True, False, False, False]
    object.__setattr__(outlook, "week", None)
    assert not relieved(outlook).any()
