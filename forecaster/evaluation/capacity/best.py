"""The best possible forecast of simulated mounts: quantiles and shares of many futures, from their hidden state.

The futures are drawn from the distribution of the future given the state: all that a forecaster could ever learn of a
mount, even what no measurement has shown yet. When something will end and when a device will be replaced, which nothing
shows before, is not part of it.
"""

from __future__ import annotations

import numpy as np

from forecaster.capacity.courses import until_full
from forecaster.evaluation.capacity.courses import HOUR, Courses, Ints
from forecaster.evaluation.capacity.yardsticks import AHEAD, WINDOWS, Said
from forecaster.evaluation.scoring import LEVELS, Floats

FIRST_STREAM = 1000
DAY = 24  # hours


def said(courses: Courses, rows: Ints, paths: int) -> Said:
    """At K instants, from ``paths`` futures of a week each; the date is no later than that week."""
    used, chance, hours = zip(*(_of(courses, int(row), paths) for row in rows), strict=True)
    return Said(np.stack(used, 1), np.stack(chance, 1), np.stack(hours, 1))


def _of(courses: Courses, row: int, paths: int) -> tuple[Floats, Floats, Floats]:
    futures = until_full(_futures(courses, row, max(AHEAD), paths), courses.limit)  # (R, N, H)
    used = np.moveaxis(np.quantile(futures[..., np.array(AHEAD) - 1], LEVELS, axis=0), 0, -1)
    full = (futures >= courses.limit[:, None]).mean(0)
    hours = np.where(full[:, -1] >= 0.5, (full >= 0.5).argmax(1) + 1.0, np.inf)
    chance = np.stack([full[:, w - 1] if w <= full.shape[1] else np.full(len(full), np.nan) for w in WINDOWS], -1)
    return used.astype(np.float32), chance.astype(np.float32), hours


def _futures(courses: Courses, row: int, hours: int, paths: int) -> Floats:
    assert courses.mounts is not None
    instant = float(courses.unix(np.array([row]))[0])
    futures: Floats = courses.mounts.futures(instant, hours, paths, FIRST_STREAM + row)
    return futures


def foresaw(courses: Courses, entity: int, row: int, paths: int = 200) -> bool:
    """Whether at the whole hour before a row and an hour earlier, full within DAY was more likely than not: then an
    alert on the best possible chance, held for an hour, is on."""
    hour = row // HOUR * HOUR
    return all((_futures(courses, at, DAY, paths)[:, entity] >= courses.limit[entity]).any(1).mean() >= 0.5
               for at in (hour - HOUR, hour))
