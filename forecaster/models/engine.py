"""What every engine is: a callable that makes a model's inputs into its quantiles.

An engine turns ``features.batch`` or ``series.batch`` arrays into quantiles in signal units, ascending, float32
(B, C, H, Q) or (B, H, Q): `eager` runs PyTorch on the CPU or a card, `compiled` machine code on the CPU, and `choice` takes
the fastest that works.

Letters: B rows, C signals, H horizon steps, Q quantiles.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

CEILING = 60.0  # of the exponent of a signal with a logarithmic scale, as in features.Scaling

Inputs = Mapping[str, np.ndarray]


class Engine(Protocol):
    """Makes inputs into quantiles, and says what it is."""

    @property
    def name(self) -> str:
        """Its name in labels and /status."""

    def __call__(self, x: Inputs) -> np.ndarray:
        """float32 (B, C, H, Q), or (B, H, Q) of series."""
