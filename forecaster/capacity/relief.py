"""Where somebody has made room: a fall of the used share that is no rotation of logs or images."""

from __future__ import annotations

import numpy as np

from forecaster.capacity.outlook import Outlook
from forecaster.capacity.past import Bools

FALL = 0.05  # of the limit, within an hour


def relieved(outlook: Outlook) -> Bools:
    """bool (N,): the used share fell by FALL of the limit in the last one or two hours, and within no hour of the week
    before by half as much: what falls again and again nobody has to make room for."""
    week = outlook.week
    if week is None:
        return np.zeros(len(outlook.entities), bool)
    fell = outlook.used - np.fmax(week[:, -1], week[:, -2])
    before = np.fmin.reduce(np.diff(week[:, :-1], axis=1), axis=1)
    found: Bools = (fell <= -FALL * outlook.limit) & ~(before <= fell / 2)
    return found
