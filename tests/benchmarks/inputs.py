"""Made-up inputs of any number of servers for the default model's forward pass."""

import numpy as np

from forecaster.models import features
from forecaster.models.model import Model


def inputs(model: Model, rows: int) -> dict[str, np.ndarray]:
    """As ``features.batch`` makes them: plausible values, full encoders, one clock for all."""
    rng, steps = np.random.default_rng(0), model.encoding.encoder_steps
    window = np.stack([s.inverse(rng.normal(size=(rows, steps))) for s in model.encoding.scalings], 1).astype(
        np.float32
    )
    identity = np.stack([rng.integers(0, len(model.encoding.profiles) + 1, rows), rng.integers(0, 5, rows)], 1)
    return features.batch(model.encoding, window, steps, np.array([1.79e9]), identity, window)
