"""Tells the record of pages what a cycle has found, and the latest pass over what fills up."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forecaster.capacity.outlook import Outlook
from forecaster.capacity.relief import relieved
from forecaster.memory.memory import Present
from forecaster.memory.pages import Pages
from forecaster.risk.incidents import Incidents
from forecaster.risk.state import Course, State, States


def count(pages: Pages, present: Present, found: Incidents, state: States, course: Course,
          filling: Outlook | None) -> npt.NDArray[np.int64]:
    """Pages.counts after this cycle. filling: the latest outlook that is current."""
    seen = state != State.BLIND  # of one that is silent, incidents are as they were
    pages.cycle(present.instant, present.servers, course.rung, seen, found.on, found.known & seen[:, None])
    if filling is not None and filling.instant != pages.passed:
        keys = [one.key for one in filling.entities]
        rung = np.stack([filling.priority == 1, (filling.priority == 1) | (filling.priority == 2)])
        pages.capacity(filling.instant, keys, rung, ~filling.lost, filling.full, relieved(filling))
    return pages.counts()
