"""Who is forecast by what: warm servers by the model, all others by the trend heuristic.

S servers, C signals, H horizon steps, Q quantiles. Values are in signal units, NaN where nothing is forecast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from forecaster.memory.memory import Present
from forecaster.models import heuristic
from forecaster.models.model import PUBLISHED, Model
from forecaster.signals import HORIZON_STEPS, Signal


@dataclass(frozen=True, eq=False)
class Quantiles:
    """All quantiles of the servers that the model forecasts."""

    values: np.ndarray  # float32 (servers by model, C, H, Q), rising along Q
    levels: tuple[float, ...]  # Q
    signals: tuple[str, ...]  # C


@dataclass(frozen=True, eq=False)
class Forecast:
    """What is published, and what made it."""

    values: np.ndarray  # float32 (S, C, H, 3): p10, p50, p90
    by_model: np.ndarray  # bool (S,)
    quantiles: Quantiles | None = None  # None if the model forecasts no server

    @property
    def method(self) -> tuple[str, ...]:
        """"tft" or "heuristic" of each server."""
        return tuple("tft" if is_model else "heuristic" for is_model in self.by_model)


def nothing(present: Present) -> Forecast:
    """A forecast without values: NaN for every server."""
    shape = *present.observed.shape, HORIZON_STEPS, len(PUBLISHED)
    return Forecast(np.full(shape, np.nan, np.float32), np.zeros(len(present.servers), bool))


def by_model(model: Model, signals: tuple[str, ...], present: Present, context: np.ndarray,
             earlier: np.ndarray | None) -> Forecast:
    """The model's forecasts of warm servers; the others are NaN.

    signals: the C names. context: float32 (S, C, steps), newest step last. earlier: as in ``features.batch``.
    """
    forecast, rows = nothing(present), np.flatnonzero(present.warm)
    if not rows.size:
        return forecast
    columns = [signals.index(name) for name in model.encoding.signals]
    names = tuple(present.servers[i] for i in rows), tuple(present.profiles[i] for i in rows)
    before = None if earlier is None else earlier[rows][:, columns]
    values, finished = model.quantiles(context[rows][:, columns], present.instant, *names, before)
    published, done = model.published(values), forecast.by_model
    done[rows[finished]] = True
    if not (done.all() and columns == list(range(len(signals)))):  # mostly both hold, and 30 MB need no copy
        forecast.values[np.ix_(rows[finished], columns)] = published[finished]
        values, published = values[finished], forecast.values
    return Forecast(published, done, Quantiles(values, model.architecture.quantiles, tuple(model.encoding.signals)))


def add_trend(forecast: Forecast, present: Present, signals: Mapping[str, Signal]) -> None:
    """Fills in, in place, the trend of every signal that the model does not forecast, of servers that are not stale."""
    rows = np.flatnonzero(~present.stale & np.isnan(forecast.values[:, :, 0, 0]).any(1))
    if rows.size:
        drawn = heuristic.forecast(present.encoder[rows], signals)
        forecast.values[rows] = np.where(np.isnan(forecast.values[rows]), drawn, forecast.values[rows])
