"""The network as pytorch-forecasting builds it: the source of initial weights.

Training and serving run the same weights through models/network.py; the library's own pass is compared with it in
tests. """

from __future__ import annotations

import warnings
from typing import Any

import torch
from pytorch_forecasting import TemporalFusionTransformer
from pytorch_forecasting.metrics import QuantileLoss
from torch import Tensor

from forecaster.models.artifact import Architecture
from forecaster.models.features import Encoding, Variables
from forecaster.models.network import ANCHORS, LAGS, SKIP_BIAS, SKIP_WEIGHT
from forecaster.models.series import SeriesEncoding


class LibraryNetwork(TemporalFusionTransformer):  # type: ignore[misc]  # the library has no types
    """The library's network; its output stays in model units, since only models/features.py scales."""

    def transform_output(self, prediction: Any, target_scale: Any, loss: Any = None) -> Any:
        """The prediction, unscaled."""
        return prediction


def build_network(names: Variables, architecture: Architecture, encoder_steps: int, outputs: int) -> LibraryNetwork:
    """A network with random weights for these inputs, with ``outputs`` values per decoder position."""
    with warnings.catch_warnings():  # the library warns about how it saves its own loss
        warnings.filterwarnings("ignore", "Attribute '(loss|logging_metrics)' is an instance of", UserWarning)
        return LibraryNetwork(
            hidden_size=architecture.hidden, attention_head_size=architecture.heads, dropout=architecture.dropout,
            hidden_continuous_size=architecture.continuous, lstm_layers=1, output_size=outputs,
            loss=QuantileLoss(list(architecture.quantiles)), max_encoder_length=encoder_steps,
            static_categoricals=[*names.static_categories], static_reals=[*names.static_reals],
            time_varying_categoricals_encoder=[*names.known_categories],
            time_varying_categoricals_decoder=[*names.known_categories],
            time_varying_reals_encoder=[*names.known_reals, *names.observed],
            time_varying_reals_decoder=[*names.known_reals],
            x_reals=[*names.reals], x_categoricals=[*names.categories],
            embedding_sizes={n: (size, min(round(1.6 * size**0.56), 12)) for n, size in names.categories.items()},
            embedding_labels={}, learning_rate=1e-3, log_interval=-1,
        )


def initial_weights(encoding: Encoding | SeriesEncoding, architecture: Architecture, outputs: int) -> dict[str, Tensor]:
    """The library's initial weights by the names they are stored under, each parameter once."""
    library = build_network(encoding.variables, architecture, encoding.encoder_steps, outputs)
    return {k: v.detach().clone() for k, v in library.named_parameters() if "variable_selection.prescalers" not in k}


def fresh_weights(encoding: Encoding, architecture: Architecture) -> dict[str, Tensor]:
    """Initial weights of a fleet's model: the library's, and zeros for the autoregression."""
    signals = len(encoding.signals)
    weights = initial_weights(encoding, architecture, signals * len(architecture.quantiles))
    weights[SKIP_WEIGHT] = torch.zeros(LAGS * len(encoding.variables.observed), signals * len(ANCHORS))
    weights[SKIP_BIAS] = torch.zeros(signals * len(ANCHORS))
    return weights
