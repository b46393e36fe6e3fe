"""The averages of weights in training, and the result before it is evaluated and written (evaluation/acceptance.py)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from forecaster.models.artifact import Architecture
from forecaster.models.features import Encoding
from forecaster.models.model import Model
from forecaster.models.series import SeriesEncoding
from forecaster.training.dataset import Floats


@dataclass(frozen=True)
class Trained:
    """Weights float32 by name and all that is needed to serve them; ``figures``: epochs or steps, seconds,
    parameters."""

    encoding: Encoding | SeriesEncoding
    architecture: Architecture
    weights: dict[str, Floats]
    facts: dict[str, Any]
    figures: dict[str, Any]
    device: torch.device

    def model(self, facts: dict[str, Any] | None = None) -> Model:
        """The model as it is served, with ``facts`` added to those it has."""
        facts = self.facts | {"weights_sha256": ""} | (facts or {})
        return Model(self.encoding, self.architecture, self.weights, facts, {}, self.device)


def average(means: list[Tensor], values: list[Tensor], step: int, keep: float) -> None:
    """Moves the exponential averages of weights towards the values of ``step``, where they are: on a card in one
    operation. keep: the share of the mean that stays, less in the first steps."""
    get_ema_multi_avg_fn(min(keep, (1 + step) / (10 + step)))(means, values, step)  # type: ignore[no-untyped-call]
