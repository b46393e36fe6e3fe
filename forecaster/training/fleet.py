"""Training: pytorch-forecasting's TFT under Lightning on array batches; from windows to weights.

Heavy imports stay in this module, out of serving's way.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterable

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, TQDMProgressBar
from pytorch_forecasting import TemporalFusionTransformer
from pytorch_forecasting.metrics import QuantileLoss
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from forecaster.models.artifact import Architecture
from forecaster.models.features import Encoding, Variables
from forecaster.models.model import choose_device
from forecaster.models.network import ANCHORS, LAGS, SKIP_BIAS, SKIP_WEIGHT, Network, lags
from forecaster.training.dataset import Windows, training_batches
from forecaster.training.trained import Trained

QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
CORE_WEIGHT, OTHER_WEIGHT = 1.0, 0.25  # the four signals that drive risk weigh four times in the loss
NEAR_WEIGHT, NEAR_STEPS = 40.0, 4.0  # the next half hour decides priorities; far steps are easily as good as can be
LEVEL_WEIGHTS = 0.5, 4.0  # least and most that the present level of a signal on a logarithmic scale may weigh
RENEW_BATCHES = 600  # after so many the training data is made anew, where it can be: episodes are learnt by heart otherwise
AVERAGE = 0.995  # weights are averaged exponentially over about the last 200 steps (Polyak and Juditsky, 1992)
RIDGE = 1e-4
CORE = ("cpu_pct", "mem_pct", "disk_io_mb_s", "latency_ms")
log = logging.getLogger(__name__)


class LibraryNetwork(TemporalFusionTransformer):
    """The library's network; its output stays in model units, since features.py alone scales."""

    def transform_output(self, prediction, target_scale, loss=None):
        return prediction


def build_network(names: Variables, architecture: Architecture, encoder_steps: int, outputs: int) -> LibraryNetwork:
    """A fresh network for these inputs, with ``outputs`` values per decoder position."""
    with warnings.catch_warnings():  # the library warns about its own way of saving its loss
        warnings.filterwarnings("ignore", "Attribute '(loss|logging_metrics)' is an instance of", UserWarning)
        return LibraryNetwork(
            hidden_size=architecture.hidden,
            attention_head_size=architecture.heads,
            dropout=architecture.dropout,
            hidden_continuous_size=architecture.continuous,
            lstm_layers=1,
            output_size=outputs,
            loss=QuantileLoss(list(architecture.quantiles)),
            max_encoder_length=encoder_steps,
            static_categoricals=[*names.static_categories],
            static_reals=[*names.static_reals],
            time_varying_categoricals_encoder=[*names.known_categories],
            time_varying_categoricals_decoder=[*names.known_categories],
            time_varying_reals_encoder=[*names.known_reals, *names.observed],
            time_varying_reals_decoder=[*names.known_reals],
            x_reals=[*names.reals],
            x_categoricals=[*names.categories],
            embedding_sizes={n: (size, min(round(1.6 * size**0.56), 12)) for n, size in names.categories.items()},
            embedding_labels={},
            learning_rate=1e-3,
            log_interval=-1,
        )


def library_inputs(x: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of features.py in the layout of pytorch-forecasting's forward()."""
    rows, steps, _ = x["observed"].shape
    total = x["known"].shape[1]
    observed = torch.nn.functional.pad(x["observed"], (0, 0, 0, total - steps))
    known, calendar = x["known"].expand(rows, -1, -1), x["calendar"].expand(rows, -1, -1)
    reals = torch.cat([x["static_reals"][:, None].expand(-1, total, -1), known, observed], -1)
    cats = torch.cat([x["static"][:, None].expand(-1, total, -1), calendar], -1)
    return {
        "encoder_cont": reals[:, :steps],
        "decoder_cont": reals[:, steps:],
        "encoder_cat": cats[:, :steps],
        "decoder_cat": cats[:, steps:],
        "encoder_lengths": torch.full((rows,), steps, device=reals.device),
        "decoder_lengths": torch.full((rows,), total - steps, device=reals.device),
        "target_scale": torch.ones(rows, 2, device=reals.device),
    }


def pinball(prediction: Tensor, target: Tensor, quantiles: Tensor, weights: Tensor) -> Tensor:
    """Mean pinball loss x 2 in model units. prediction (B, C, H, Q), target (B, C, H) with NaN unobserved, weights
    (C, H) or (B, C, H)."""
    error = target.nan_to_num()[..., None] - prediction
    loss = 2 * torch.maximum(quantiles * error, (quantiles - 1) * error).mean(-1)
    weight = weights * target.isfinite()
    return (loss * weight).sum() / weight.sum()


def fresh_weights(encoding: Encoding, architecture: Architecture) -> dict[str, Tensor]:
    """The library's initial weights and an autoregression that says nothing yet, by the names they are stored under."""
    signals = len(encoding.signals)
    library = build_network(
        encoding.variables, architecture, encoding.encoder_steps, signals * len(architecture.quantiles)
    )
    own = dict(library.named_parameters())  # the library lists some under two names, which would drift apart in training
    weights = {k: v.detach().clone() for k, v in own.items() if "variable_selection.prescalers" not in k}
    weights[SKIP_WEIGHT] = torch.zeros(LAGS * len(encoding.variables.observed), signals * len(ANCHORS))
    weights[SKIP_BIAS] = torch.zeros(signals * len(ANCHORS))
    return weights


def autoregression(encoding: Encoding, batches: Iterable[tuple[dict, np.ndarray]]) -> tuple[Tensor, Tensor]:
    """Least squares with a little ridge for the linear part: (weight, bias), from batches of full-length encoders."""
    left, right = [], []
    for inputs, target in batches:
        wanted = target[:, :, np.array(ANCHORS) - 1]
        known = np.isfinite(wanted).all((1, 2))
        left.append(lags(torch.as_tensor(inputs["observed"]))[known].double())
        right.append(torch.as_tensor(wanted[known]).flatten(1).double())
    x = torch.cat(left)
    x, y = torch.cat([x, torch.ones(len(x), 1)], 1), torch.cat(right)
    gram = x.T @ x + RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    solved = torch.linalg.solve(gram, x.T @ y).float()
    return solved[:-1], solved[-1]


class Training(pl.LightningModule):
    """Loss, optimizer, learning rate schedule (one cycle) and averaged weights around the served network."""

    def __init__(
        self, encoding: Encoding, architecture: Architecture, weights: dict[str, Tensor], learning_rate: float, steps: int
    ):
        super().__init__()
        self.encoding, self.heads, self.learning_rate, self.steps = encoding, architecture.heads, learning_rate, steps
        self.names = list(weights)
        self.values = torch.nn.ParameterList([torch.nn.Parameter(w) for w in weights.values()])
        self.averaged = [w.detach().clone() for w in weights.values()]
        self.register_buffer("quantiles", torch.tensor(architecture.quantiles))
        by_signal = torch.tensor([CORE_WEIGHT if s in CORE else OTHER_WEIGHT for s in encoding.signals])
        near = 1 + NEAR_WEIGHT * torch.exp(-torch.arange(encoding.horizon) / NEAR_STEPS)
        self.register_buffer("weights", by_signal[:, None] * near)

    def forward(self, inputs: dict[str, Tensor], averaged: bool = False) -> Tensor:
        """The served pass on the present or the averaged weights: (B, C, H, Q) in model units."""
        values = [w.to(self.device) for w in self.averaged] if averaged else self.values
        return Network(dict(zip(self.names, values, strict=True)), self.encoding, self.heads)(inputs)

    def loss(self, batch: tuple[dict[str, Tensor], Tensor], averaged: bool = False) -> Tensor:
        inputs, target = batch
        return pinball(self(inputs, averaged), target, self.quantiles, self.weights * self.levels(inputs["observed"]))

    def levels(self, observed: Tensor) -> Tensor:
        """(B, C, 1): the present level over its mean. On a logarithmic scale an error counts relative to the level; weighed
        with it, it counts as much as in the signal's unit. It rests on the past alone, so it moves no quantile."""
        weights = torch.ones(len(observed), len(self.encoding.signals), 1, device=observed.device)
        for column, scaling in enumerate(self.encoding.scalings):
            if scaling.log:
                level = torch.exp(observed[:, -1, column] * scaling.scale - scaling.scale**2 / 2)
                weights[:, column, 0] = level.clamp(*LEVEL_WEIGHTS)
        return weights

    def training_step(self, batch, _):
        loss = self.loss(batch)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def on_train_batch_end(self, *_):
        keep = min(AVERAGE, (1 + self.global_step) / (10 + self.global_step))
        with torch.no_grad():
            for mean, value in zip(self.averaged, self.values, strict=True):
                mean.lerp_(value.detach().cpu(), 1 - keep)

    def validation_step(self, batch, _):
        self.log("val_loss", self.loss(batch, averaged=True), prog_bar=True, on_epoch=True, batch_size=len(batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=self.steps, pct_start=0.15
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _Batches(IterableDataset):
    def __init__(
        self, windows: Windows, rows: int, count: int, seed: int, fresh: bool, renew: Callable[[int], Windows] | None = None
    ):
        self.windows, self.rows, self.count, self.seed, self.fresh, self.epoch = windows, rows, count, seed, fresh, 0
        self._renew, self._every = renew, -(-RENEW_BATCHES // count)

    def __iter__(self):
        seed = self.seed + 1000 * self.epoch
        if self._renew is not None and self.epoch and self.epoch % self._every == 0:
            self.windows = None  # the old data goes before the new comes
            self.windows = self._renew(self.epoch // self._every)
        self.epoch += self.fresh  # training draws new rows every epoch, validation always the same
        for inputs, target in training_batches(self.windows, self.rows, self.count, seed):
            yield {k: torch.as_tensor(v) for k, v in inputs.items()}, torch.as_tensor(target)


def fit(
    training: Windows,
    validation: Windows,
    architecture: Architecture,
    *,
    epochs: int,
    batches: int,
    rows: int,
    learning_rate: float,
    patience: int,
    seed: int,
    device: str,
    progress: bool,
    about: dict,
    start: dict[str, np.ndarray] | None = None,
    renew: Callable[[int], Windows] | None = None,
) -> Trained:
    """Train; the weights are those of the epoch with the lowest validation loss.

    epochs x batches steps of ``rows`` windows each; stops after ``patience`` epochs without a better validation loss.
    start: weights of an earlier artifact with the same encoding to go on from. renew(n): the n-th other training windows, of
    the same encoding, to go on with every RENEW_BATCHES.
    """
    pl.seed_everything(seed, workers=True, verbose=False)
    encoding, chosen = training.encoding, choose_device(device)
    weights = fresh_weights(encoding, architecture)
    if start is not None:
        weights |= {k: torch.as_tensor(v) for k, v in start.items() if k in weights}
    else:
        sample = training_batches(training, 4 * rows, 24, seed + 3, shorten=False)
        weights[SKIP_WEIGHT], weights[SKIP_BIAS] = autoregression(encoding, sample)
    module = Training(encoding, architecture, weights, learning_rate, epochs * batches)
    best = _KeepBest()
    bar = [TQDMProgressBar(refresh_rate=10)] if progress else []
    started = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            accelerator="gpu" if chosen.type == "cuda" else "cpu",
            devices=1,
            max_epochs=epochs,
            gradient_clip_val=1.0,
            callbacks=[EarlyStopping("val_loss", patience=patience), best, *bar],
            enable_progress_bar=progress,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_train_batches=batches,
        )
        trainer.fit(
            module,
            DataLoader(_Batches(training, rows, batches, seed, True, renew), batch_size=None),
            DataLoader(_Batches(validation, rows, 12, seed + 7, False), batch_size=None),
        )
    return Trained(
        encoding,
        architecture,
        best.weights,
        about | {"seed": seed, "device": chosen.type},
        {
            "val_loss": round(best.loss, 5),
            "epochs": trainer.current_epoch,
            "seconds": round(time.monotonic() - started),
            "parameters": sum(w.size for w in best.weights.values()),
        },
        chosen,
    )


class _KeepBest(pl.Callback):
    """Holds the averaged weights of the epoch with the lowest validation loss."""

    def __init__(self):
        self.loss, self.weights = float("inf"), {}

    def on_validation_end(self, trainer, module):
        loss = float(trainer.callback_metrics["val_loss"])
        log.info(
            "epoch %d: validation loss %.4f%s",
            trainer.current_epoch + 1,
            loss,
            ", the best so far" * (loss < self.loss),
        )
        if loss < self.loss:
            self.loss = loss
            self.weights = {
                k: v.detach().cpu().numpy().astype(np.float32).copy()
                for k, v in zip(module.names, module.averaged, strict=True)
            }
