"""A model: a loaded artifact with an engine. It forecasts a fleet in one batched forward pass.

Letters: S servers, C signals, T encoder steps, H horizon steps, Q quantiles.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forecaster.models import features, series
from forecaster.models.artifact import SAID, Architecture, ModelError, architecture_of, encoding_of, read_packed, unpack
from forecaster.models.choice import choose
from forecaster.models.eager import Eager
from forecaster.models.engine import Engine
from forecaster.models.features import MIN_STEPS, Encoding
from forecaster.models.network import ANCHORS, between_anchors, build
from forecaster.models.series import SeriesEncoding
from forecaster.signals import Signal

PUBLISHED = (0.1, 0.5, 0.9)
SHOWN = 100  # characters of a fact in a label


def choose_device(wanted: str) -> torch.device:
    """ "auto" is CUDA where available, else the CPU; ModelError for "cuda" without CUDA."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ModelError("device: cuda is not available to PyTorch; install a CUDA build or set device: auto")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


class Model:
    """A loaded artifact with an engine. Thread-safe: no state between calls."""

    def __init__(
        self, encoding: Encoding | SeriesEncoding, architecture: Architecture, weights: dict[str, np.ndarray],
        facts: dict[str, Any], report: dict[str, Any], device: torch.device,
    ):
        self.encoding, self.architecture, self.device = encoding, architecture, device
        self.facts, self.report, self.weights = facts, report, weights
        try:
            tensors = {name: torch.as_tensor(value, device=device) for name, value in weights.items()}
            network = build(tensors, encoding, architecture.heads)
            self._eager = Eager(network, device)
            self.engine: Engine = self._eager
            self._widening = _widening(facts, encoding)
            self._published = [architecture.quantiles.index(q) for q in PUBLISHED]
            self._middle = architecture.quantiles.index(0.5)
            made = self.engine(self._rehearsal())  # parts that do not fit fail here and not at every refresh
            expected = (*made.shape[:-2], encoding.horizon, len(architecture.quantiles))
            if made.shape != expected:
                raise ValueError(f"forecasts are {made.shape}, expected {expected}")
        except Exception as error:  # parts that do not fit raise a dozen kinds
            raise ModelError(f"weights, architecture and encoding do not fit: {str(error)[:SAID]}; "
                             "train the model anew") from error

    def _rehearsal(self) -> dict[str, np.ndarray]:
        """Inputs as in serving, for names unseen in training and for the last name of each vocabulary."""
        rows, encoding = 2, self.encoding
        window = np.linspace(1, 2, rows * encoding.encoder_steps, dtype=np.float32).reshape(rows, -1)
        if isinstance(encoding, SeriesEncoding):
            filled, known = series.fill(window)
            last = np.full(rows, np.argmax(encoding.places))
            return series.batch(encoding, filled, known, last, np.zeros(rows))
        window = np.repeat(window[:, None], len(encoding.signals), 1)
        identity = np.array([[features.UNKNOWN, features.UNKNOWN], [len(encoding.profiles), len(encoding.servers)]])
        return features.batch(encoding, window, encoding.encoder_steps, np.zeros(1), identity)

    @classmethod
    def load(
        cls, folder: Path, device: str = "auto", timezone: str | None = None,
        signals: Mapping[str, Signal] | None = None, loaded: Model | None = None,
    ) -> Model:
        """Read an artifact folder; raises ModelError. ``timezone`` is the clock of the servers' days and weeks, None
        for the one of the training data. ``signals`` as in ``encoding_of``. ``loaded`` is returned if it is the same:
        compiling takes seconds."""
        facts, packed, report = read_packed(folder)
        encoding = encoding_of(folder, facts, signals)
        encoding = replace(encoding, timezone=timezone or encoding.timezone)
        architecture, chosen = architecture_of(folder, facts), choose_device(device)
        if loaded is not None and (facts, report, encoding, chosen) == (
                loaded.facts, loaded.report, loaded.encoding, loaded.device):
            return loaded
        weights = unpack(folder, packed)
        try:
            model = cls(encoding, architecture, weights, facts, report, chosen)
        except ModelError as error:
            raise ModelError(f"{folder}: {error}") from error
        model.engine = choose(model._eager, model._rehearsal())
        return model

    def close(self) -> None:
        """Ends its threads; another forecast starts new ones."""
        self.engine.close()

    @property
    def info(self) -> dict[str, str]:
        """Short facts for labels and /status."""
        return {
            "model": str(self.facts.get("name", "unnamed"))[:SHOWN],
            "trained": str(self.facts.get("trained", "unknown"))[:SHOWN],
            "weights": self.facts["weights_sha256"][:12],
            "device": self.device.type,
            "engine": self.engine.name,
        }

    @property
    def context_steps(self) -> int:
        """Steps of history that it reads."""
        encoding = self.encoding
        return encoding.context_steps if isinstance(encoding, SeriesEncoding) else encoding.encoder_steps

    def forecast(
        self, window: np.ndarray, instant: float | np.ndarray, servers: tuple[str, ...], profiles: tuple[str, ...],
        earlier: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """p10, p50 and p90 of ``quantiles``: (values float32 (S, C, H, 3), done bool (S, C))."""
        values, done = self.quantiles(window, instant, servers, profiles, earlier)
        return self.published(values), done

    def published(self, values: np.ndarray) -> np.ndarray:
        """p10, p50 and p90 of all quantiles (..., Q)."""
        return values[..., self._published]

    def arranged(self, values: np.ndarray, signals: Sequence[str]) -> np.ndarray:
        """Values float32 (S, signals, ...) in the order of the model's signals, NaN for those not among ``signals``."""
        own = self.encoding.signals
        if own == tuple(signals):
            return values
        out = np.full((len(values), len(own), *values.shape[2:]), np.nan, np.float32)
        for column, name in enumerate(own):
            if name in signals:
                out[:, column] = values[:, signals.index(name)]
        return out

    def quantiles(
        self, window: np.ndarray, instant: float | np.ndarray, servers: tuple[str, ...], profiles: tuple[str, ...],
        earlier: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """window float32 (S, C, T) in signal units, newest step last -> (values float32 (S, C, H, Q), done bool (S,
        C)).

        instant: Unix seconds of the newest step, one for all or float64 (S,). earlier: as in ``features.batch``, (S, C,
        T).

        done is True for what the model forecasts: signals with at least MIN_STEPS usable steps and finite forecasts;
        otherwise values are NaN or not finite. A missing signal leaves the server's others their forecasts. Servers
        with equally long histories share one forward pass; normally that is the whole fleet.
        """
        encoding = self.encoding
        if isinstance(encoding, SeriesEncoding):
            return self._of_series(encoding, window, instant)
        window, there, steps = features.usable(window[..., -encoding.encoder_steps :])
        shape = *there.shape, encoding.horizon, len(self.architecture.quantiles)
        values = np.empty(shape, np.float32)
        instants = np.atleast_1d(np.asarray(instant, np.float64))
        identity = encoding.identify(servers, profiles)
        for length in np.unique(steps[steps > 0]).tolist():
            rows = np.flatnonzero(steps == length)
            own = instants[rows] if len(instants) > 1 else instants
            before = None if earlier is None else earlier[rows]
            made = self.engine(features.batch(encoding, window[rows], length, own, identity[rows], before))
            if self._widening is not None:
                made = self._widened(made)
                for column, scaling in enumerate(encoding.scalings):
                    made[:, column] = np.clip(made[:, column], scaling.low, scaling.high)
            if len(rows) == len(window):  # the usual case, without a copy of 21 MB for 1,000 servers
                values = made
            else:
                values[rows] = made
        values[~there] = np.nan
        done: NDArray[np.bool] = np.all(np.isfinite(values), axis=(2, 3))  # where not, the caller takes the heuristic
        return values, done

    def _of_series(
        self, encoding: SeriesEncoding, window: np.ndarray, instant: float | np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """As ``quantiles``, one row per server and signal, each independent of the others."""
        servers, signals = window.shape[:2]
        filled, known = series.fill(window.reshape(-1, window.shape[-1]))
        shape = servers * signals, encoding.horizon, len(self.architecture.quantiles)
        values = np.full(shape, np.nan, np.float32)
        instants = np.repeat(np.broadcast_to(np.asarray(instant, np.float64), servers), signals)
        column = np.tile(np.arange(signals), servers)
        low, high = filled.min(-1), filled.max(-1)
        idle = (known >= MIN_STEPS) & (low == high)  # all views of such a series are its value, and so is the forecast
        values[idle] = high[idle, None, None]
        usable = np.flatnonzero((known >= MIN_STEPS) & ~idle)
        blocks = [usable[begin : begin + series.ROWS] for begin in range(0, len(usable), series.ROWS)]

        def inputs(rows: np.ndarray) -> dict[str, np.ndarray]:
            return series.batch(encoding, filled[rows], known[rows], column[rows], instants[rows])

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # numpy sorts without the interpreter's lock
            for rows, made in zip(blocks, pool.map(inputs, blocks), strict=True):
                values[rows] = self.engine(made)
        values = values.reshape(servers, signals, *values.shape[1:])
        lowest, highest = (
            np.array([np.nan if bound is None else bound for bound in bounds], np.float32)[:, None, None]
            for bounds in (encoding.low, encoding.high)
        )
        highest = np.maximum(highest, high.reshape(servers, signals, 1, 1))  # or the largest measured value
        values = np.fmin(np.fmax(self._widened(values), lowest), highest) + 0 * values  # keeps NaN
        return values, np.isfinite(values).all((2, 3))

    def _widened(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Distances from the median times the factors calibrated after training; values (S, C, H, Q)."""
        if self._widening is None:
            return values
        middle: NDArray[np.float32] = values[..., self._middle, None]
        return middle + (values - middle) * self._widening[..., None]


def _widening(facts: dict[str, Any], encoding: Encoding | SeriesEncoding) -> NDArray[np.float32] | None:
    """float32 (C, H) factors on the half-bands, from those stored at ANCHORS for the signals of the training; None if
    none are stored."""
    stored = facts.get("widening")
    if stored is None:
        return None
    places = encoding.places if isinstance(encoding, SeriesEncoding) else tuple(range(len(encoding.signals)))
    factors, trained = np.array(stored, np.float32), max(places) + 1
    if factors.shape != (trained, len(ANCHORS)) or not (np.isfinite(factors) & (factors > 0)).all():
        raise ValueError(f"widening is {factors.shape}, expected positive ({trained}, {len(ANCHORS)})")
    everywhere: NDArray[np.float32] = factors[list(places)] @ between_anchors(encoding.horizon)
    return everywhere
