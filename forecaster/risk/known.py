"""Figures over what is known: NaN is left out."""

import numpy as np


def largest(values: np.ndarray, axis: int) -> np.ndarray:
    """The largest along an axis, NaN left out: halves laid over each other are several times as fast as fmax.reduce."""
    values = np.moveaxis(values, axis, 0)
    while (steps := len(values)) > 1:
        half = (steps + 1) // 2
        values = np.fmax(values[:half], values[steps - half :])
    return values[0]


def mean_known(chances: np.ndarray) -> float:
    """Mean of what is known of (S,), NaN where nothing is."""
    known = chances[~np.isnan(chances)]
    return round(float(known.mean()), 12) if known.size else float("nan")
