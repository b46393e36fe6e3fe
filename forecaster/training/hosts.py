"""Training of a model of single series (models/series.py) from recorded servers.

Some servers and the last weeks are kept out of training, to evaluate the model on.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from forecaster.models import series, views
from forecaster.models.artifact import Architecture
from forecaster.models.model import choose_device
from forecaster.models.network import SeriesNetwork
from forecaster.models.series import SeriesEncoding
from forecaster.models.views import CONTEXT
from forecaster.signals import HORIZON_STEPS, Signal
from forecaster.training.dataset import DAY, Array, DatasetError, Floats, History, day_ago_error
from forecaster.training.library import initial_weights
from forecaster.training.trained import Trained, average

KEPT_OUT = 5  # every fifth server
KEPT_DAYS = 21
SHORTENED = 0.2  # share of rows with less than a week of context
LOG_FLOOR = 3e-5  # added to a loss in day-ago errors: limits the gain of an exact forecast
ABSOLUTE = 0.3  # weight of the loss in the signal's own unit, where large hosts count more
AVERAGE = 0.998  # weights are averaged exponentially over about the last 500 steps
WARM_UP = 200  # steps
LOG_STEPS = 200  # between two lines of the log
WEIGHT_DECAY = 1e-3
log = logging.getLogger(__name__)


def encoding_of(
    history: History, signals: Mapping[str, Signal], timezone: str, quantiles: tuple[float, ...]
) -> SeriesEncoding:
    """The encoding of these signals."""
    return SeriesEncoding(
        signals=history.signals,
        floors=tuple(series.FLOORS.get(signals[name].unit, series.OTHER_FLOOR) for name in history.signals),
        low=tuple(signals[name].min for name in history.signals),
        high=tuple(signals[name].max for name in history.signals),
        levels=quantiles, step=history.resolution, horizon=HORIZON_STEPS, timezone=timezone,
    )


def rows(
    history: History, servers: Array, until: int, count: int, encoding: SeriesEncoding, seed: int,
    workers: int | None = None,
) -> dict[str, Array]:
    """About ``count`` random rows of these servers whose targets end before row ``until``: inputs, ``target`` (B, H),
    ``error`` (B,) the day-ago error, ``level`` (B,) the last day's mean magnitude, ``usual`` (B,) the signal's mean
    level. ``workers`` processes prepare them, by default one for each processor; the rows are the same for any number
    of them. Raises DatasetError where the history is too short."""
    last = min(until, len(history.values)) - HORIZON_STEPS
    if last <= CONTEXT:
        need = (CONTEXT + HORIZON_STEPS) * history.resolution / DAY + KEPT_DAYS
        raise DatasetError(f"the data holds {history.hours / 24:.1f} days; expected more than {need:.0f}: a week of "
                           f"context, 8 h of targets, and {KEPT_DAYS} days kept out")
    chunks, draw = range(-(-count // series.ROWS)), partial(_draw, history, servers, last, encoding, seed)
    workers = min(workers or len(os.sched_getaffinity(0)), len(chunks))
    if workers > 1:
        with ProcessPoolExecutor(workers, initializer=_begin, initargs=(draw,)) as pool:
            whole = _joined(pool.map(_work, chunks), len(chunks) * series.ROWS)
    else:
        whole = _joined(map(draw, chunks), len(chunks) * series.ROWS)
    of = whole["static"][:, 0]
    usual = np.bincount(of, whole["level"]) / np.maximum(np.bincount(of), 1)
    return whole | {"usual": np.maximum(usual[of], 1e-12).astype(np.float32)}


def _draw(
    history: History, servers: Array, last: int, encoding: SeriesEncoding, seed: int, chunk: int
) -> dict[str, Array]:
    """The rows of one chunk, ROWS at most; their origins lie before row ``last``."""
    rng = np.random.default_rng([seed, chunk])
    server, signal = rng.choice(servers, series.ROWS), rng.integers(0, len(history.signals), series.ROWS)
    origin = rng.integers(CONTEXT, last, series.ROWS)
    cut = history.values[origin[:, None] + np.arange(-CONTEXT, HORIZON_STEPS), server[:, None], signal[:, None]]
    return prepare(cut, signal, history.start + (origin - 1) * history.resolution, encoding, rng)


_given: list[Callable[[int], dict[str, Array]]] = []  # to a worker process once, since it holds the history


def _begin(draw: Callable[[int], dict[str, Array]]) -> None:
    _given[:] = [draw]


def _work(chunk: int) -> dict[str, Array]:
    return _given[0](chunk)


def _joined(parts: Iterable[dict[str, Array]], most: int) -> dict[str, Array]:
    """Up to ``most`` rows in parts, each copied to its place when it comes, so that memory holds them once."""
    whole, done = dict[str, Array](), 0
    for part in parts:
        if not whole:
            whole = {key: np.empty((most, *values.shape[1:]), values.dtype) for key, values in part.items()}
        begin, done = done, done + len(part["target"])
        for key, values in part.items():
            whole[key][begin:done] = values
    return {key: values[:done] for key, values in whole.items()}


def prepare(
    cut: Floats, signal: Array, instants: Array, encoding: SeriesEncoding, rng: np.random.Generator | None
) -> dict[str, Array]:
    """Rows cut (B, CONTEXT + H) as inputs and targets, without rows of too few observed steps; with ``rng``, some get
    less than a week of context."""
    context, target = cut[:, :CONTEXT].astype(np.float32), cut[:, CONTEXT:].astype(np.float32)
    error = day_ago_error(context)
    error = np.where(np.isfinite(error), error, 1.0)
    level = np.abs(np.nan_to_num(context[:, -views.DAY :])).mean(1)
    if rng is not None:
        length = np.exp(rng.uniform(np.log(series.MIN_STEPS), np.log(CONTEXT), len(context)))
        length[rng.random(len(context)) > SHORTENED] = CONTEXT
        context = np.where(np.arange(CONTEXT) >= CONTEXT - length[:, None], context, np.nan)
    filled, known = series.fill(context)
    keep = (known >= series.MIN_STEPS) & (np.isfinite(target).mean(1) > 0.9)
    made = series.batch(encoding, filled[keep], known[keep], signal[keep], instants[keep])
    error, level = error[keep].astype(np.float32), level[keep].astype(np.float32)
    return made | {"target": target[keep], "error": error, "level": level}


def row_loss(prediction: Tensor, target: Tensor, quantiles: Tensor) -> Tensor:
    """(B,): each row's mean pinball loss x 2 in signal units. prediction (B, H, Q), target (B, H), NaN unobserved."""
    known = target.isfinite()
    error = target.nan_to_num()[..., None] - prediction
    loss = 2 * torch.maximum(quantiles * error, (quantiles - 1) * error).mean(-1) * known
    return loss.sum(-1) / known.sum(-1).clamp(min=1)


def objective(loss: Tensor, error: Tensor, level: Tensor, usual: Tensor) -> Tensor:
    """Mean over rows (B,) of three terms: the logarithm of the loss over the row's day-ago error, in which idle and
    busy servers count alike; the loss over the row's level; and the loss over the signal's mean level, in which large
    hosts count more."""
    relative = torch.log(loss / error + LOG_FLOOR).mean()
    return relative + (loss / (level + error)).clamp(max=20).mean() + ABSOLUTE * (loss / usual).clamp(max=30).mean()


def fit(
    history: History, signals: Mapping[str, Signal], architecture: Architecture, *, steps: int, rows_per_batch: int,
    examples: int, learning_rate: float, seed: int, device: str, timezone: str, about: Mapping[str, Any],
) -> Trained:
    """Trains on the servers and weeks that ``split`` does not keep out."""
    encoding, chosen = encoding_of(history, signals, timezone, architecture.quantiles), choose_device(device)
    _, others, until = split(history)
    started = time.monotonic()
    held = rows(history, others, until, examples, encoding, seed)
    data = {k: torch.as_tensor(v, device=chosen) for k, v in held.items()}
    log.info("%d rows of %d servers", len(data["target"]), len(others))
    weights = _initial(encoding, architecture, chosen, seed)
    values = list(weights.values())
    averaged = [v.detach().clone() for v in values]
    optimizer = torch.optim.AdamW(values, lr=learning_rate, weight_decay=WEIGHT_DECAY, fused=True)
    # nothing in a step waits for a card: all batches are drawn before, and losses are read for the log alone
    drawn = np.random.default_rng(seed + 1).integers(0, len(data["target"]), (steps, rows_per_batch))
    quantiles, recent = torch.tensor(architecture.quantiles, device=chosen), torch.zeros((), device=chosen)
    for step, batch in enumerate(torch.as_tensor(drawn, device=chosen)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * _rate(step, steps)
        part = {k: v[batch] for k, v in data.items()}
        out = SeriesNetwork(weights, encoding, architecture.heads)(part)
        loss = objective(row_loss(out, part["target"], quantiles), part["error"], part["level"], part["usual"])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(values, 1.0)
        optimizer.step()
        average(averaged, values, step, AVERAGE)
        recent += loss.detach()
        if (step + 1) % LOG_STEPS == 0:
            log.info("step %d of %d: loss %.4f, %.0f s", step + 1, steps, recent.item() / LOG_STEPS,
                     time.monotonic() - started)
            recent.zero_()
    arrays = {k: v.cpu().numpy().astype(np.float32) for k, v in zip(weights, averaged, strict=True)}
    figures = {"seconds": round(time.monotonic() - started), "steps": steps,
               "parameters": sum(w.size for w in arrays.values())}
    facts = {**about, "seed": seed, "device": chosen.type}
    return Trained(encoding, architecture, arrays, facts, figures, torch.device("cpu"))


def _initial(
    encoding: SeriesEncoding, architecture: Architecture, device: torch.device, seed: int
) -> dict[str, Tensor]:
    """Weights to train, by name; the first forecasts lie near the mean of the views."""
    torch.manual_seed(seed)
    weights = initial_weights(encoding, architecture, encoding.outputs)
    weights["output_layer.weight"] *= 0.5
    weights["output_layer.bias"] *= 0
    return {k: v.to(device).requires_grad_() for k, v in weights.items()}


def _rate(step: int, steps: int) -> float:
    """Share of the peak learning rate: linear warm-up, then a cosine down to 1 %."""
    return min(1, (step + 1) / WARM_UP) * max(0.5 * (1 + math.cos(math.pi * step / steps)), 0.01)


def split(history: History) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """(kept-out servers, the others, first kept-out row)."""
    everyone = np.arange(len(history.servers))
    kept = everyone[::KEPT_OUT]
    return kept, np.setdiff1d(everyone, kept), len(history.values) - round(KEPT_DAYS * DAY / history.resolution)
