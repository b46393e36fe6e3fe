"""Bursts: the latest steep rise of some hours, a copy or a log that runs wild; its files may be deleted again.

Letters: N entities, T hours of history.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecaster.capacity.past import Floats, Wide
from forecaster.capacity.teeth import FLOOR

STEEP, STEEPS_OF_NOISE = 0.006, 6.0  # smallest rise within an hour: used share, and times the typical hour
ENDED, BEGUN = 72, 48  # hours since a burst ended, and since it began, beyond which it does not matter how long ago
TRAITS = 8


@dataclass(frozen=True, eq=False)
class Burst:
    """Of each entity."""

    before: Floats  # (N,) used share before it, relative to now; 0 without any
    # (N,) each: hours since it ended and began, its height, what is left of it, its speed, how many there were, and the
    # hours once more, evenly: a logarithmic scale is too coarse where files stay for a day or two
    traits: tuple[Floats | Wide, ...]


def latest(z: Floats, moves: Floats, noise: Floats) -> Burst:
    """The latest of hourly shares z (N, T); noise: (N,) the size of a typical move."""
    rows, t = moves.shape
    steep = moves > np.maximum(STEEP, STEEPS_OF_NOISE * noise)[:, None]
    some, each = steep.any(1), np.arange(rows)
    last = np.where(some, t - 1 - steep[:, ::-1].argmax(1), t - 1)  # its last hour
    calm = ~steep & (np.arange(t) < last[:, None])
    first = np.where(calm.any(1), t - calm[:, ::-1].argmax(1), 0)
    begun = np.where(some, np.minimum(first, last), t)
    low, high = z[each, begun], z[each, np.where(some, last + 1, t)]
    height = np.maximum(high - low, FLOOR)
    left = np.where(some, np.clip((z[:, -1] - low) / height, -1, 2), 0)
    speed = np.where(some, height, 0) / np.maximum(last + 1 - begun, 1)
    return Burst((low - z[:, -1]).astype(np.float32), (
        np.log1p(t - 1 - last), np.log1p(t - begun), np.where(some, np.log(height), np.log(FLOOR)), left,
        np.arcsinh(1e3 * speed), np.log1p((steep[:, 1:] & ~steep[:, :-1]).sum(1)),
        np.where(some, np.minimum(t - 1 - last, ENDED), ENDED) / 24,
        np.where(some, np.minimum(t - begun, BEGUN), BEGUN) / 12))
