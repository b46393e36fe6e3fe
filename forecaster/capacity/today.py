"""Used shares of the size that a thing had, as shares of the size of today.

Letters: N entities, T instants.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from forecaster.capacity.past import Floats

RESIZE = 0.02  # relative jump of a size between two readings


def of_today(used: Floats, sizes: Floats) -> Floats:
    """float32 (N, T): the used shares (N, T) as shares of the last known of the sizes (N, T + 1).

    Only jumps of more than RESIZE between two known sizes count, so that a size that drifts, as that of a ZFS dataset,
    whose pool is shared, is no resize. Where no size is known, shares stay as they are.
    """
    with np.errstate(all="ignore"):
        largest, least = np.fmax.reduce(sizes, axis=1), np.fmin.reduce(sizes, axis=1)
        rows = np.flatnonzero(largest > least * (1 + RESIZE))
    found = used.copy()
    if not rows.size:
        return found
    some = sizes[rows].astype(np.float64)
    known = np.isfinite(some)
    at = np.maximum.accumulate(np.where(known, np.arange(some.shape[1]), -1), axis=1)
    at = np.where(at < 0, known.argmax(1)[:, None], at)  # the first known stands for those before
    some = np.take_along_axis(some, at, 1)
    ratio = some[:, :-1] / some[:, 1:]
    ratio[np.abs(ratio - 1) <= RESIZE] = 1.0
    found[rows] *= np.cumprod(ratio[:, ::-1], axis=1)[:, ::-1].astype(np.float32)
    return found


def shifted(values: npt.NDArray[Any], by: int, empty: float | bool) -> npt.NDArray[Any]:
    """A copy of columns (N, T), `by` places to the left (to the right where negative), with `empty` in the new ones."""
    if by == 0:
        return values.copy()
    found = np.full_like(values, empty)
    width = values.shape[1]
    if abs(by) < width:
        if by > 0:
            found[:, :width - by] = values[:, by:]
        else:
            found[:, -by:] = values[:, :width + by]
    return found
