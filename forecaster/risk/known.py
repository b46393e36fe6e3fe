"""Maxima, means and names without unknown values."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

AnyFloat = TypeVar("AnyFloat", bound=np.floating)


def largest(values: NDArray[AnyFloat], axis: int) -> NDArray[AnyFloat]:
    """The largest along an axis, without NaN. Comparing halves is several times as fast as fmax.reduce."""
    values = np.moveaxis(values, axis, 0)
    while (steps := len(values)) > 1:
        half = (steps + 1) // 2
        values = np.fmax(values[:half], values[steps - half :])
    first: NDArray[AnyFloat] = values[0]
    return first


def mean_known(chances: np.ndarray) -> float:
    """Mean of (S,) without NaN; NaN if all are."""
    known = chances[~np.isnan(chances)]
    return round(float(known.mean()), 12) if known.size else float("nan")


def named(names: Sequence[str], index: np.ndarray) -> tuple[str | None, ...]:
    """The names at an index (S,), None at -1."""
    return tuple(np.array([*names, None], object)[index].tolist())
