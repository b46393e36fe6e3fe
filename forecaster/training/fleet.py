"""Training of a model of one fleet's signals: Lightning on array batches, from windows to weights."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, TQDMProgressBar
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from forecaster.models.artifact import Architecture
from forecaster.models.features import Encoding
from forecaster.models.model import choose_device
from forecaster.models.network import ANCHORS, SKIP_BIAS, SKIP_WEIGHT, Network, lags
from forecaster.training.dataset import CORE, Array, Floats, Windows, training_batches
from forecaster.training.library import fresh_weights
from forecaster.training.trained import Trained, average

CORE_WEIGHT, OTHER_WEIGHT = 1.0, 0.25  # the four signals that drive risk weigh four times in the loss
NEAR_WEIGHT, NEAR_STEPS = 40.0, 4.0  # the next half hour decides priorities; few forecasts of far steps can be improved
LEVEL_WEIGHTS = 0.5, 4.0  # limits of the weight that the latest level of a signal on a logarithmic scale may have
RENEW_BATCHES = 600  # after so many, new training windows replace the old ones, which the network would memorize
AVERAGE = 0.995  # weights are averaged exponentially over about the last 200 steps (Polyak and Juditsky, 1992)
RIDGE = 1e-4
log = logging.getLogger(__name__)

Batch = tuple[dict[str, Tensor], Tensor]  # inputs as from features.batch, targets (B, C, H) in model units


def pinball(prediction: Tensor, target: Tensor, quantiles: Tensor, weights: Tensor) -> Tensor:
    """Mean pinball loss x 2 in model units. prediction (B, C, H, Q), target (B, C, H) with NaN unobserved, weights
    (C, H) or (B, C, H)."""
    error = target.nan_to_num()[..., None] - prediction
    loss = 2 * torch.maximum(quantiles * error, (quantiles - 1) * error).mean(-1)
    weight = weights * target.isfinite()
    return (loss * weight).sum() / weight.sum()


def autoregression(encoding: Encoding, batches: Iterable[tuple[dict[str, Array], Floats]]) -> tuple[Tensor, Tensor]:
    """Ridge regression for the linear part: (weight, bias), from batches of full-length encoders."""
    left, right = [], []
    for inputs, target in batches:
        wanted = target[:, :, np.array(ANCHORS) - 1]
        known = np.flatnonzero(np.isfinite(wanted).all((1, 2)))
        left.append(lags(torch.as_tensor(inputs["observed"]))[known].double())
        right.append(torch.as_tensor(wanted[known]).flatten(1).double())
    x = torch.cat(left)
    x, y = torch.cat([x, torch.ones(len(x), 1)], 1), torch.cat(right)
    gram = x.T @ x + RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    solved = torch.linalg.solve(gram, x.T @ y).float()
    return solved[:-1], solved[-1]


class Training(pl.LightningModule):
    """Loss, optimizer, learning rate schedule (one cycle) and averaged weights around the served network."""

    quantiles: Tensor
    weights: Tensor

    def __init__(
        self, encoding: Encoding, architecture: Architecture, weights: Mapping[str, Tensor], learning_rate: float,
        steps: int,
    ):
        super().__init__()
        self.encoding, self.heads, self.learning_rate, self.steps = encoding, architecture.heads, learning_rate, steps
        self.names = list(weights)
        given = [w.contiguous() for w in weights.values()]  # the fused optimizer takes numbers as they lie in memory
        self.values = torch.nn.ParameterList([torch.nn.Parameter(w) for w in given])
        means = (torch.nn.Parameter(w.detach().clone(), requires_grad=False) for w in given)
        self.averaged = torch.nn.ParameterList(means)  # so that they move to the device with the others
        self.register_buffer("quantiles", torch.tensor(architecture.quantiles))
        by_signal = torch.tensor([CORE_WEIGHT if s in CORE else OTHER_WEIGHT for s in encoding.signals])
        near = 1 + NEAR_WEIGHT * torch.exp(-torch.arange(encoding.horizon) / NEAR_STEPS)
        self.register_buffer("weights", by_signal[:, None] * near)

    def forward(self, inputs: dict[str, Tensor], averaged: bool = False) -> Tensor:
        """The served pass on the latest or the averaged weights: (B, C, H, Q) in model units."""
        values = self.averaged if averaged else self.values
        out: Tensor = Network(dict(zip(self.names, values, strict=True)), self.encoding, self.heads)(inputs)
        return out

    def loss(self, batch: Batch, averaged: bool = False) -> Tensor:
        """The weighted pinball loss of a batch."""
        inputs, target = batch
        weights = self.weights * self.levels(inputs["observed"])
        return pinball(self(inputs, averaged), target, self.quantiles, weights)

    def levels(self, observed: Tensor) -> Tensor:
        """(B, C, 1): the latest level over its mean, for signals on a logarithmic scale; 1 for the others.

        On a logarithmic scale an error counts relative to the level; weighted with the level, it counts as in the
        signal's unit. The weight depends on the past alone and therefore leaves the optimal quantiles unchanged. """
        weights = torch.ones(len(observed), len(self.encoding.signals), 1, device=observed.device)
        for column, scaling in enumerate(self.encoding.scalings):
            if scaling.log:
                level = torch.exp(observed[:, -1, column] * scaling.scale - scaling.scale**2 / 2)
                weights[:, column, 0] = level.clamp(*LEVEL_WEIGHTS)
        return weights

    def training_step(self, batch: Batch, _: int) -> Tensor:
        return self.loss(batch)  # not logged: the progress bar would wait for a card in every step

    def on_train_batch_end(self, *_: Any) -> None:
        """Updates the averaged weights."""
        average([*self.averaged], [*self.values], self.global_step, AVERAGE)

    def validation_step(self, batch: Batch, _: int) -> None:
        self.log("val_loss", self.loss(batch, averaged=True), prog_bar=True, on_epoch=True, batch_size=len(batch[1]))

    def configure_optimizers(self) -> Any:
        """AdamW with one learning rate cycle."""
        optimizer = torch.optim.AdamW(self.values, lr=self.learning_rate, weight_decay=1e-4, fused=True)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, self.steps, pct_start=0.15)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


class _Batches(IterableDataset[Batch]):
    """The batches of one epoch: with ``fresh`` other ones every epoch (training), else always the same (validation)."""

    def __init__(
        self, windows: Windows, rows: int, count: int, seed: int, fresh: bool,
        renew: Callable[[int], Windows] | None = None,
    ):
        self.windows, self.rows, self.count, self.seed, self.fresh, self.epoch = windows, rows, count, seed, fresh, 0
        self._renew, self._every = renew, -(-RENEW_BATCHES // count)

    def __iter__(self) -> Iterator[Batch]:
        seed = self.seed + 1000 * self.epoch
        if self._renew and self.epoch and self.epoch % self._every == 0:
            del self.windows  # frees the old windows before the new ones are made
            self.windows = self._renew(self.epoch // self._every)
        self.epoch += self.fresh
        for inputs, target in training_batches(self.windows, self.rows, self.count, seed):
            yield {k: torch.as_tensor(v) for k, v in inputs.items()}, torch.as_tensor(target)


def fit(
    training: Windows, validation: Windows, architecture: Architecture, *, epochs: int, batches: int, rows: int,
    learning_rate: float, patience: int, seed: int, device: str, progress: bool, about: Mapping[str, Any],
    start: Mapping[str, Floats] | None = None, renew: Callable[[int], Windows] | None = None,
) -> Trained:
    """Trains; the weights are those of the epoch with the lowest validation loss.

    Each of ``epochs`` has ``batches`` steps of ``rows`` windows; training stops after ``patience`` epochs without a
    lower validation loss. start: weights of an earlier artifact with the same encoding. renew(n): the n-th replacement
    of the training windows, with the same encoding, called every RENEW_BATCHES. """
    pl.seed_everything(seed, workers=True, verbose=False)
    encoding, chosen = training.encoding, choose_device(device)
    weights = fresh_weights(encoding, architecture)
    if start is not None:
        weights |= {k: torch.as_tensor(v) for k, v in start.items() if k in weights}
    else:
        sample = training_batches(training, 4 * rows, 24, seed + 3, shorten=False)
        weights[SKIP_WEIGHT], weights[SKIP_BIAS] = autoregression(encoding, sample)
    module, best = Training(encoding, architecture, weights, learning_rate, epochs * batches), _KeepBest()
    started = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            accelerator="gpu" if chosen.type == "cuda" else "cpu", devices=1, max_epochs=epochs, gradient_clip_val=1.0,
            callbacks=[EarlyStopping("val_loss", patience=patience), best,
                       *([TQDMProgressBar(refresh_rate=10)] if progress else [])],
            enable_progress_bar=progress, enable_checkpointing=False, enable_model_summary=False, logger=False,
            num_sanity_val_steps=0, limit_train_batches=batches,
        )
        # without workers: this process makes the next batch while a card, which page-locked memory keeps from waiting,
        # computes; workers would each have their own windows to renew
        load = partial(DataLoader, batch_size=None, pin_memory=chosen.type == "cuda")
        trainer.fit(module, load(_Batches(training, rows, batches, seed, True, renew)),
                    load(_Batches(validation, rows, 12, seed + 7, False)))
    figures = {
        "val_loss": round(best.loss, 5),
        "epochs": trainer.current_epoch,
        "seconds": round(time.monotonic() - started),
        "parameters": sum(w.size for w in best.weights.values()),
    }
    facts = {**about, "seed": seed, "device": chosen.type}
    return Trained(encoding, architecture, best.weights, facts, figures, chosen)


class _KeepBest(pl.Callback):
    """Keeps the averaged weights of the epoch with the lowest validation loss."""

    def __init__(self) -> None:
        self.loss, self.weights = float("inf"), dict[str, Floats]()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        loss = float(trainer.callback_metrics["val_loss"])
        log.info("epoch %d: validation loss %.4f%s", trainer.current_epoch + 1, loss,
                 ", the lowest so far" * (loss < self.loss))
        if loss < self.loss and isinstance(module, Training):
            self.loss = loss
            pairs = zip(module.names, module.averaged, strict=True)
            self.weights = {k: v.detach().cpu().numpy().astype(np.float32).copy() for k, v in pairs}
