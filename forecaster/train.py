"""Training: pytorch-forecasting's TFT under Lightning on array batches; writes one artifact folder.

Heavy imports stay in this module, out of serving's way.
"""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, TQDMProgressBar
from pytorch_forecasting import TemporalFusionTransformer
from pytorch_forecasting.metrics import QuantileLoss
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from forecaster import features
from forecaster.dataset import Windows, training_batches
from forecaster.features import Encoding, Variables
from forecaster.model import Architecture, choose_device, write_artifact

QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
CORE_WEIGHT, OTHER_WEIGHT = 1.0, 0.5  # the four signals that drive risk weigh twice in the loss
CORE = ("cpu_pct", "mem_pct", "disk_io_mb_s", "latency_ms")
log = logging.getLogger(__name__)


class Network(TemporalFusionTransformer):
    """The library's network; its output stays in model units, since features.py alone scales."""

    def transform_output(self, prediction, target_scale, loss=None):
        return prediction


def build_network(names: Variables, architecture: Architecture, encoder_steps: int, outputs: int) -> Network:
    """A fresh network for these inputs, with ``outputs`` values per decoder position."""
    with warnings.catch_warnings():  # the library warns about its own way of saving its loss
        warnings.filterwarnings("ignore", "Attribute '(loss|logging_metrics)' is an instance of", UserWarning)
        return Network(
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
    """Mean pinball loss x 2 in model units. prediction (B, C, H, Q), target (B, C, H) with NaN unobserved."""
    error = target.nan_to_num()[..., None] - prediction
    loss = 2 * torch.maximum(quantiles * error, (quantiles - 1) * error).mean(-1)
    weight = weights[:, None] * target.isfinite()
    return (loss * weight).sum() / weight.sum()


class Training(pl.LightningModule):
    """Loss, optimizer and learning rate schedule (one cycle) around the library's network."""

    def __init__(self, encoding: Encoding, architecture: Architecture, learning_rate: float, steps: int):
        super().__init__()
        self.encoding, self.learning_rate, self.steps = encoding, learning_rate, steps
        self.network = build_network(
            encoding.variables, architecture, encoding.encoder_steps, len(encoding.signals) * len(architecture.quantiles)
        )
        self.shape = (len(encoding.signals), len(architecture.quantiles))
        self.register_buffer("quantiles", torch.tensor(architecture.quantiles))
        self.register_buffer(
            "weights", torch.tensor([CORE_WEIGHT if s in CORE else OTHER_WEIGHT for s in encoding.signals])
        )

    def loss(self, batch: tuple[dict[str, Tensor], Tensor]) -> Tensor:
        inputs, target = batch
        out = self.network(library_inputs(inputs))["prediction"]
        return pinball(out.unflatten(-1, self.shape).transpose(1, 2), target, self.quantiles, self.weights)

    def training_step(self, batch, _):
        loss = self.loss(batch)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", self.loss(batch), prog_bar=True, on_epoch=True, batch_size=len(batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=self.steps, pct_start=0.15
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _Batches(IterableDataset):
    def __init__(self, windows: Windows, rows: int, count: int, seed: int, fresh: bool):
        self.windows, self.rows, self.count, self.seed, self.fresh, self.epoch = windows, rows, count, seed, fresh, 0

    def __iter__(self):
        seed = self.seed + 1000 * self.epoch
        self.epoch += self.fresh  # training draws new rows every epoch, validation always the same
        for inputs, target in training_batches(self.windows, self.rows, self.count, seed):
            yield {k: torch.as_tensor(v) for k, v in inputs.items()}, torch.as_tensor(target)


def fit(
    training: Windows,
    validation: Windows,
    architecture: Architecture,
    folder: Path,
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
) -> dict:
    """Train, evaluate on the validation windows and write the artifact; returns its accuracy report.

    epochs x batches steps of ``rows`` windows each; stops after ``patience`` epochs without a better validation loss.
    start: weights of an earlier artifact with the same encoding to go on from.
    """
    pl.seed_everything(seed, workers=True, verbose=False)
    encoding, chosen = training.encoding, choose_device(device)
    module = Training(encoding, architecture, learning_rate, epochs * batches)
    if start is not None:
        module.network.load_state_dict({k: torch.as_tensor(v) for k, v in start.items()}, strict=False)
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
            DataLoader(_Batches(training, rows, batches, seed, True), batch_size=None),
            DataLoader(_Batches(validation, rows, 12, seed + 7, False), batch_size=None),
        )
    module.network.load_state_dict(best.weights)
    network = module.network.to(chosen).eval()
    report = evaluate(network, encoding, architecture, validation, seed, 4 * rows) | {
        "val_loss": round(best.loss, 5),
        "epochs": trainer.current_epoch,
        "seconds": round(time.monotonic() - started),
        "parameters": sum(p.numel() for p in network.parameters()),
    }
    tensors = {
        k: v.detach().cpu().numpy().astype(np.float32)
        for k, v in network.state_dict().items()
        if "variable_selection.prescalers" not in k
    }
    write_artifact(folder, tensors, encoding, architecture, report, about | {"seed": seed, "device": chosen.type})
    return report


class _KeepBest(pl.Callback):
    """Holds the weights of the epoch with the lowest validation loss."""

    def __init__(self):
        self.loss, self.weights = float("inf"), None

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
            self.weights = {k: v.detach().cpu().clone() for k, v in module.network.state_dict().items()}


@torch.no_grad()
def evaluate(
    network: Network, encoding: Encoding, architecture: Architecture, windows: Windows, seed: int, rows: int
) -> dict:
    """Accuracy on 8 x ``rows`` random validation windows in signal units, full encoder: weighted quantile loss over p10/p50/p90,
    80 % band coverage, and CPU accuracy (100 - MAPE) at 30 minutes and over 8 hours."""
    rng, total = np.random.default_rng(seed + 11), []
    at = [architecture.quantiles.index(q) for q in (0.1, 0.5, 0.9)]
    device = next(network.parameters()).device
    for _ in range(8):
        past, future, instants, identity = windows.sample(rows, rng)
        past, steps = features.usable(past)
        keep = steps >= encoding.encoder_steps
        inputs = features.batch(encoding, past[keep], encoding.encoder_steps, instants[keep], identity[keep])
        tensors = library_inputs({k: torch.as_tensor(v, device=device) for k, v in inputs.items()})
        out = network(tensors)["prediction"].unflatten(-1, (len(encoding.signals), -1)).transpose(1, 2)
        values = np.stack([encoding.unscale(out[..., q].cpu().numpy()) for q in at], -1)
        total.append((np.sort(values, -1), future[keep]))
    forecast, truth = (np.concatenate(part) for part in zip(*total, strict=True))
    error = truth[..., None] - forecast
    levels = np.array([0.1, 0.5, 0.9])
    loss = 2 * np.maximum(levels * error, (levels - 1) * error)
    inside = (forecast[..., 0] <= truth) & (truth <= forecast[..., 2])
    report: dict = {"windows": len(truth), "signals": {}}
    for i, name in enumerate(encoding.signals):
        report["signals"][name] = {
            f"{figure}_{label}": round(float(value), 4)
            for label, k in (("30m", 6), ("8h", encoding.horizon))
            for figure, value in (
                ("wql", np.nanmean(loss[:, i, :k]) / np.nanmean(np.abs(truth[:, i, :k]))),
                ("coverage80", np.nanmean(inside[:, i, :k])),
            )
        }
        if name == "cpu_pct":
            for label, k in (("30m", 6), ("8h", encoding.horizon)):
                mape = np.nanmean(np.abs(error[:, i, k - 1, 1]) / np.maximum(np.abs(truth[:, i, k - 1]), 1.0))
                report[f"cpu_accuracy_{label}"] = round(100 * (1 - float(mape)), 2)
    return report
