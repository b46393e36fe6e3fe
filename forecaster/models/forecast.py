"""Who is forecast by what: signals of warm servers by the model, all others by the trend heuristic.

A server is forecast by what it has: the model forecasts each signal it can, the trend the others, and a signal without
any value has no forecast. S servers, C signals, H horizon steps, Q quantiles. Values are in signal units, NaN where
nothing is forecast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecaster.memory.memory import Present
from forecaster.models import heuristic
from forecaster.models.features import CARRY_STEPS
from forecaster.models.model import PUBLISHED, Model
from forecaster.signals import HORIZON_STEPS, Signal


@dataclass(frozen=True, eq=False)
class Quantiles:
    """All quantiles of the servers of which the model forecasts any signal."""

    values: np.ndarray  # float32 (servers by model, signals, H, Q), rising along Q; NaN where not by the model
    levels: tuple[float, ...]  # Q
    signals: tuple[str, ...]  # the model's


@dataclass(frozen=True, eq=False)
class Forecast:
    """What is published, and what made it."""

    values: np.ndarray  # float32 (S, C, H, 3): p10, p50, p90
    by_model: NDArray[np.bool]  # (S, C)
    quantiles: Quantiles | None = None  # None if the model forecasts no server

    @property
    def method(self) -> tuple[str, ...]:
        """"tft" of each server of which the model forecasts any signal, else "heuristic"."""
        return tuple("tft" if is_model else "heuristic" for is_model in self.servers_by_model)

    @property
    def servers_by_model(self) -> NDArray[np.bool]:
        """bool (S,): the servers of which the model forecasts any signal."""
        any_signal: NDArray[np.bool] = np.any(self.by_model, axis=1)
        return any_signal


def nothing(present: Present) -> Forecast:
    """A forecast without values: NaN for every server."""
    shape = *present.observed.shape, HORIZON_STEPS, len(PUBLISHED)
    return Forecast(np.full(shape, np.nan, np.float32), np.zeros(present.observed.shape, bool))


def by_model(model: Model, signals: tuple[str, ...], present: Present, context: np.ndarray,
             earlier: np.ndarray | None) -> Forecast:
    """The model's forecasts of the signals of warm servers; the others are NaN.

    signals: the C names. context: float32 (S, C, steps), newest step last. earlier: as in ``features.batch``.
    """
    forecast, rows = nothing(present), np.flatnonzero(present.warm)
    if not rows.size:
        return forecast
    names = tuple(present.servers[i] for i in rows), tuple(present.profiles[i] for i in rows)
    before = None if earlier is None else model.arranged(earlier[rows], signals)
    values, done = model.quantiles(model.arranged(context[rows], signals), present.instant, *names, before)
    levels, known = model.architecture.quantiles, model.encoding.signals
    if done.all() and len(rows) == len(present.servers) and known == signals:  # mostly, and 30 MB need no copy
        return Forecast(model.published(values), done, Quantiles(values, levels, known))
    values[~done] = np.nan
    own = [column for column, name in enumerate(known) if name in signals]
    place = np.ix_(rows, np.array([signals.index(known[column]) for column in own], np.int64))
    forecast.values[place], forecast.by_model[place] = model.published(values)[:, own], done[:, own]
    return Forecast(forecast.values, forecast.by_model, Quantiles(values[done.any(1)], levels, known))


def add_trend(forecast: Forecast, present: Present, signals: Mapping[str, Signal]) -> None:
    """Fills in, in place, the trend of every signal that the model does not forecast, of servers that are not stale; a
    signal without a value in the last CARRY_STEPS stays NaN, as for the model."""
    recent: NDArray[np.bool] = np.any(np.isfinite(present.encoder[..., -CARRY_STEPS - 1 :]), axis=-1)
    lacking = ~forecast.by_model & ~present.stale[:, None] & recent
    for column, signal in enumerate(signals.values()):
        rows = np.flatnonzero(lacking[:, column])
        if rows.size:
            forecast.values[rows, column] = heuristic.forecast(present.encoder[rows, column, None], (signal,))[:, 0]
