"""What a training run ends with, before it is judged and written (evaluation/acceptance.py)."""

from dataclasses import dataclass

import numpy as np
import torch

from forecaster.models.artifact import Architecture
from forecaster.models.features import Encoding
from forecaster.models.model import Model
from forecaster.models.series import SeriesEncoding


@dataclass(frozen=True)
class Trained:
    """Weights float32 by name, and all it takes to serve them; ``figures`` say how the training went."""

    encoding: Encoding | SeriesEncoding
    architecture: Architecture
    weights: dict[str, np.ndarray]
    facts: dict[str, object]
    figures: dict[str, object]
    device: torch.device

    def model(self, facts: dict[str, object] | None = None) -> Model:
        """The model as it will be served; ``facts`` beside those it has."""
        facts = self.facts | {"weights_sha256": ""} | (facts or {})
        return Model(self.encoding, self.architecture, self.weights, facts, {}, self.device)
