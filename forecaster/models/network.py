"""The network that is trained and served: the transformer beside a linear autoregression, or beside mixed views.

The autoregression forecasts all signals at a few anchor steps by a linear filter of the newest steps, and interpolates
between anchors along the logarithm of the step. It carries the exact present, which matters most within minutes; the
transformer adds what is not linear, the clock, the profile and the spread (the skip connection of Lai et al., LSTNet,
arXiv 1703.07015).

Letters: B rows, C signals, T encoder steps, H horizon steps, Q quantiles, A anchors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from forecaster.models.features import Encoding
from forecaster.models.series import PATCH, SeriesEncoding
from forecaster.models.tft import Tft
from forecaster.models.views import HOUR, MOVES, VIEWS

ANCHORS = (1, 2, 3, 4, 6, 9, 12, 24, 48, 96)
LAGS = 6  # newest steps that the linear filter reads
SKIP_WEIGHT, SKIP_BIAS = "skip.weight", "skip.bias"


def lags(observed: Tensor) -> Tensor:
    """The newest LAGS steps of (B, T, V) side by side: (B, LAGS x V); a shorter past repeats its oldest step."""
    short = LAGS - observed.shape[1]
    if short > 0:
        observed = torch.cat([observed[:, :1].expand(-1, short, -1), observed], 1)
    return observed[:, -LAGS:].flatten(1)


def sparsemax(x: Tensor, dim: int) -> Tensor:
    """Weights that sum to 1 along ``dim``: the point of the simplex nearest to x. Unlike softmax, many are exactly 0
    (Martins and Astudillo, ICML 2016)."""
    ordered = x.sort(dim, descending=True).values
    shape = [1] * x.ndim
    shape[dim] = -1
    rank = torch.arange(1, x.shape[dim] + 1, device=x.device, dtype=x.dtype).view(shape)
    total = ordered.cumsum(dim) - 1
    support = (rank * ordered > total).sum(dim, keepdim=True).clamp(min=1)  # it is 0 where x is NaN
    return (x - total.gather(dim, support - 1) / support).clamp(min=0)


def between_anchors(horizon: int) -> np.ndarray:
    """float32 (A, H): weights that interpolate the anchors' values to all steps."""
    return interpolation(tuple(a for a in ANCHORS if a <= horizon), horizon)


def interpolation(places: tuple[int, ...], horizon: int) -> np.ndarray:
    """float32 (places, H): weights that interpolate values at some steps to all steps, linear in log step."""
    steps = np.log(np.arange(1, horizon + 1))
    return np.stack([np.interp(steps, np.log(places), row) for row in np.eye(len(places))]).astype(np.float32)


@lru_cache
@torch.inference_mode(mode=False)  # what was made in serving can be used in training, too
def _constant(device: torch.device, make: Callable[..., np.ndarray], *of: Any) -> Tensor:
    """``make(*of)`` on a device, copied there once: training builds the network anew in every step, and a card that is
    sent something from the processor's memory has to be waited for."""
    return torch.as_tensor(make(*of), device=device)


def _round(horizon: int, period: int) -> np.ndarray:
    """int64 (H,): the place of each step in a period that repeats."""
    return np.arange(horizon) % period


def build(tensors: Mapping[str, Tensor], encoding: Encoding | SeriesEncoding, heads: int) -> Network | SeriesNetwork:
    """The network of the kind that an encoding is for."""
    if isinstance(encoding, SeriesEncoding):
        return SeriesNetwork(tensors, encoding, heads)
    return Network(tensors, encoding, heads)


class Network:
    """Callable on ``features.batch`` tensors; differentiable in ``tensors``. dtype is that of the transformer alone:
    the autoregression carries the exact present and stays in full precision."""

    def __init__(
        self, tensors: Mapping[str, Tensor], encoding: Encoding, heads: int, dtype: torch.dtype = torch.float32
    ):
        self._made_of, self.encoding, self.dtype = (tensors, encoding, heads), encoding, dtype
        self.signals = len(encoding.signals)
        self.tft = Tft({k: v.to(dtype) for k, v in tensors.items()}, encoding.variables, heads)
        self.weight, self.bias = tensors[SKIP_WEIGHT], tensors[SKIP_BIAS]
        self.draw = _constant(self.weight.device, between_anchors, encoding.horizon)

    def __call__(self, x: Mapping[str, Tensor]) -> Tensor:
        """(B, C, H, Q) in model units."""
        cast = {k: v.to(self.dtype) if v.is_floating_point() else v for k, v in x.items()}
        out = torch.unflatten(self.tft(cast).to(self.weight.dtype), -1, (self.signals, -1)).transpose(1, 2)
        anchors = torch.unflatten(lags(x["observed"]) @ self.weight + self.bias, -1, (self.signals, -1))
        return out + (anchors @ self.draw)[..., None]

    def in_half(self) -> Network:
        """The same network with its transformer in half precision."""
        return Network(*self._made_of, torch.float16)


class SeriesNetwork:
    """Callable on ``series.batch`` tensors; differentiable in ``tensors``.

    Every quantile is a weighted mean of the same quantile of all views, plus a correction in units of how far the views
    differ; the transformer chooses weights and correction for each decoder position. Small weights and corrections are
    exactly 0: the forecast of an idle server is exactly idle although some view, such as the quantiles of the week,
    contains a burst.
    """

    CORRECTION = 0.2  # of the views' difference, for an output of 1
    DEAD = 0.25  # outputs up to this size make no correction

    def __init__(self, tensors: Mapping[str, Tensor], encoding: SeriesEncoding, heads: int):
        self.tft, self.encoding, self.levels = Tft(tensors, encoding.variables, heads), encoding, len(encoding.levels)
        self.outer = encoding.levels.index(0.1), encoding.levels.index(0.9)
        device, horizon = next(iter(tensors.values())).device, encoding.horizon
        self.hour, self.two_hours = (_constant(device, _round, horizon, period) for period in (HOUR, 2 * HOUR))
        self.draw = _constant(device, interpolation, MOVES, horizon)

    def __call__(self, x: Mapping[str, Tensor]) -> Tensor:
        """(B, H, Q) in signal units."""
        return self.mix(self.tft(x), x)

    def mix(self, out: Tensor, x: Mapping[str, Tensor]) -> Tensor:
        """(B, H, Q) in signal units, from the transformer's outputs (B, P, (K + PATCH) x Q)."""
        views = self.views(x)
        rows, positions, split = len(out), out.shape[1], VIEWS * self.levels
        weights = sparsemax(torch.unflatten(out[..., :split], -1, (VIEWS, self.levels)), 2)
        patched = torch.unflatten(views, 1, (positions, PATCH))
        heaviest = weights.argmax(2)[:, :, None, None]
        base = patched.gather(3, heaviest.expand(-1, -1, PATCH, -1, -1))
        mixed = base[:, :, :, 0] + torch.einsum("bnkq,bnpkq->bnpq", weights, patched - base)  # exact where views agree
        low, high = self.outer
        apart = (views[..., high].amax(2) - views[..., low].amin(2))[..., None]
        correction = F.softshrink(out[..., split:].reshape(rows, -1, self.levels), self.DEAD)
        return mixed.flatten(1, 2) + correction * apart * self.CORRECTION

    def views(self, x: Mapping[str, Tensor]) -> Tensor:
        """(B, H, K, Q) in signal units."""
        flat = x["flat"][:, None].expand(-1, len(self.hour), -1, -1)
        hours = x["hours"][:, :, self.hour].transpose(1, 2)
        moves = torch.einsum("bmq,mh->bhq", x["moves"], self.draw)[:, :, None]
        parts = [flat, hours, x["two_hours"][:, self.two_hours][:, :, None], x["days"].transpose(1, 2), moves]
        return torch.cat([*parts, x["analogs"].transpose(1, 2)], 2)


AnyNetwork = TypeVar("AnyNetwork", bound=Network | SeriesNetwork)
