"""What an engine is: a callable that computes a model's quantiles from its inputs.

`eager` computes with PyTorch on the CPU or a GPU, `compiled` with machine code on the CPU; `choice` takes the fastest
that works. Letters: B rows, C signals, H horizon steps, Q quantiles.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

CEILING = 60.0  # of the exponent of a signal with a logarithmic scale, as in features.Scaling

Inputs = Mapping[str, np.ndarray]  # as from features.batch or series.batch


class Engine(Protocol):
    """Computes quantiles from inputs."""

    @property
    def name(self) -> str:
        """Its name in labels and /status."""

    def close(self) -> None:
        """Ends its threads; another call starts new ones."""

    def __call__(self, x: Inputs) -> np.ndarray:
        """Quantiles in signal units, rising along Q: float32 (B, C, H, Q), or (B, H, Q) of single series."""
