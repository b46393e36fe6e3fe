"""Rolling-origin evaluation: forecasts of past windows, made as in serving and compared with the actual values.

Letters: N windows, C signals, T context steps, H horizon steps; the last axis of a forecast is p10, p50, p90.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from forecaster.config import ForecasterConfig
from forecaster.evaluation import incidents, scoring
from forecaster.evaluation.chances import Exceedance
from forecaster.evaluation.incidents import Outcomes
from forecaster.evaluation.scoring import Figures, Floats
from forecaster.evaluation.windows import Windows
from forecaster.evaluation.yardsticks import NAMES, by_heuristic, named
from forecaster.models.artifact import ModelError, folder_of
from forecaster.models.forecast import Forecast, Quantiles
from forecaster.models.model import Model
from forecaster.models.series import SeriesEncoding
from forecaster.risk import score
from forecaster.risk.chances import WINDOWS, Chances
from forecaster.risk.incidents import find
from forecaster.signals import HORIZON_STEPS, STEP_MINUTES, Signal
from forecaster.training.dataset import DatasetError, History, Progress

LEVELS = (0.1, 0.5, 0.9)  # of a yardstick's forecast
WEEK = 7 * 86400.0

Wide = npt.NDArray[np.float64]


def load(name: str, config: ForecasterConfig) -> tuple[Model | str, Chances | None]:
    """A model as serving loads it and its chances of incidents, or a yardstick's name and None; raises ModelError."""
    from forecaster.service.assembly import load_chances, load_model

    if name in NAMES:
        return name, None
    config = config.model_copy(update={"model": name})
    model = load_model(config) if name and folder_of(name).is_dir() else None
    if model is None:
        raise ModelError(f"--model {name}: no such shipped model, folder or yardstick; expected default, servers, a "
                         f"model folder, or one of {', '.join(NAMES)}")
    return model, load_chances(config, model)[0]


@dataclass(frozen=True, eq=False)
class Said:
    """What would have been published of incidents in each window."""

    chance: Mapping[str, Wide]  # window -> (N, I), NaN where unknown
    priority: npt.NDArray[np.object_]  # (N,): P1, P2, P3 or None
    weighted: Mapping[str, Wide]  # window -> (N,): the weighted incident probability

    @classmethod
    def joined(cls, parts: Sequence[Said]) -> Said:
        """One after the other."""
        def all_of(key: str) -> dict[str, Wide]:
            return {label: np.concatenate([getattr(part, key)[label] for part in parts])
                    for label in getattr(parts[0], key)}

        return cls(all_of("chance"), np.concatenate([part.priority for part in parts]), all_of("weighted"))


class Forecaster:
    """A model or yardstick under a name, which forecasts batches of windows and keeps what it said of incidents."""

    def __init__(
        self, name: str, signals: Mapping[str, Signal], source: Model | str, config: ForecasterConfig | None = None,
        chances: Chances | None = None,
    ):
        """source: a model, or a yardstick's name. config: with the incidents to look for, None for none. chances: of
        the model. Raises DatasetError where the model knows none of ``signals``."""
        self.name, self.signals = name, dict(signals)
        self.left_to_heuristic = 0  # windows too short for the model
        self._config = config
        self.conditions = incidents.conditions_of(config.risk.conditions(signals), signals) if config else {}
        self._said: list[Said] = []
        self._model = source if isinstance(source, Model) else None
        self._chances = chances if self._model else Exceedance()
        self._yardstick = None if isinstance(source, Model) else named(self.signals)[source]
        self._with_chances = source != "heuristic"  # the trend has none, as in serving
        known = self._model.encoding.signals if self._model else tuple(self.signals)
        self.unknown = [s for s in self.signals if s not in known]  # signals of the data that are not forecast
        if len(self.unknown) == len(self.signals):
            raise DatasetError(f"model {name} forecasts {', '.join(known)}; the data has {', '.join(self.signals)}: "
                               "expected a signal in common")

    @property
    def is_model(self) -> bool:
        """Whether it is a trained model, not a yardstick."""
        return self._model is not None

    def said(self) -> Said | None:
        """Of all windows forecast since the last call; None without incidents."""
        parts, self._said = self._said, []
        return Said.joined(parts) if parts else None

    def needed(self, history: History) -> History:
        """The history without the values that chances and priorities do not depend on: where signals are forecast one
        by one, those of other signals."""
        if self._model is not None and not isinstance(self._model.encoding, SeriesEncoding):
            return history
        read = {one.signal for one in self.conditions.values()}
        if self._config is not None and self._config.risk.priorities.by != "chance":
            read |= {getattr(self._config.risk.roles, role) for role in score.COMPONENTS}
        unread = [name not in read for name in history.signals]
        return replace(history, values=np.where(unread, np.float32(np.nan), history.values)) if any(unread) else history

    def forecast(
        self, context: Floats, instants: Floats, servers: Sequence[str], profiles: Sequence[str],
        earlier: Floats | None = None,
    ) -> Floats:
        """float32 (n, C, H, 3) for contexts (n, C, T), and earlier as in Model.forecast; NaN for unknown signals."""
        names = tuple(servers), tuple(profiles)
        made = self._made(context, instants, names, earlier)
        if self._config is not None and self.conditions:
            self._said.append(self._of_incidents(self._config, made, context, instants, names))
        return made.values

    def _made(self, context: Floats, instants: Floats, names: tuple[tuple[str, ...], tuple[str, ...]],
              earlier: Floats | None) -> Forecast:
        """The forecast as in a cycle."""
        signals = tuple(self.signals)
        if self._model is None:
            assert self._yardstick is not None
            values = self._yardstick(context)
            by_model = np.full(context.shape[:2], self._with_chances)
            return Forecast(values, by_model, Quantiles(values[by_model.any(1)], LEVELS, signals))
        known = self._model.encoding.signals
        before = None if earlier is None else self._model.arranged(earlier, signals)
        quantiles, done = self._model.quantiles(self._model.arranged(context, signals), instants, *names, before)
        made = self._model.published(quantiles)
        self.left_to_heuristic += int((~done.any(1)).sum())
        values = np.full((*context.shape[:2], HORIZON_STEPS, 3), np.nan, np.float32)
        by_model = np.zeros(context.shape[:2], bool)
        for column, name in enumerate(known):
            if name in signals:
                place = signals.index(name)
                values[:, place], by_model[:, place] = made[:, column], done[:, column]
                rows = np.flatnonzero(~done[:, column])
                if rows.size:  # the heuristic takes over, as in a cycle
                    values[rows, place] = by_heuristic({name: self.signals[name]})(context[rows, place, None])[:, 0]
        if not self.conditions:
            return Forecast(values, by_model)
        quantiles[~done] = np.nan
        return Forecast(values, by_model,
                        Quantiles(quantiles[by_model.any(1)], self._model.architecture.quantiles, known))

    def _of_incidents(self, config: ForecasterConfig, made: Forecast, context: Floats, instants: Floats,
                      names: tuple[tuple[str, ...], tuple[str, ...]]) -> Said:
        """What a cycle at each instant would publish."""
        risk, signals = config.risk.model_copy(update={"method": "weighted"}), list(self.signals)
        shape, place = (len(context), len(self.conditions)), np.cumsum(made.servers_by_model) - 1
        chance = {label: np.full(shape, np.nan) for label in WINDOWS}
        weighted = {label: np.full(len(context), np.nan) for label in risk.incident}
        priority = np.full(len(context), None, object)
        zone = ZoneInfo(config.timezone)
        for rows in by_clock(instants, zone):
            quantiles = made.quantiles and Quantiles(
                made.quantiles.values[place[rows[made.servers_by_model[rows]]]], made.quantiles.levels,
                made.quantiles.signals)
            part = Forecast(made.values[rows], made.by_model[rows], quantiles)
            own = tuple(names[0][row] for row in rows), tuple(names[1][row] for row in rows)
            found = find(self.conditions, self._chances, part, self.signals, own, context[rows],
                         float(instants[rows[0]]), config.step, zone, risk.priorities)
            assessed = score.assess(part.values, signals, risk, incidents=found, by_model=part.by_model)
            priority[rows] = assessed.priority
            for label, values in chance.items():
                values[rows] = found.chance[label]
            for label, of_any in weighted.items():
                of_any[rows] = assessed.probability[label]
        return Said(chance, priority, weighted)


def by_clock(instants: Floats, zone: ZoneInfo) -> Iterator[npt.NDArray[np.int64]]:
    """Rows (n,) in groups that can be assessed together: what is said of an instant depends on the local times of the
    week before and of the horizon, which differ only around a change of the clock."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row, instant in enumerate(np.asarray(instants, np.float64).tolist()):
        before, after = (datetime.fromtimestamp(instant + away, zone).utcoffset() for away in (-WEEK, WEEK / 7))
        groups.setdefault((before, after, None if before == after else instant), []).append(row)
    return (np.array(rows) for rows in groups.values())


def run(forecaster: Forecaster, windows: Windows, progress: Progress = iter) -> Floats:
    """All windows' forecasts: float32 (N, C, H, 3)."""
    return np.concatenate([
        forecaster.forecast(windows.context(rows), windows.instants(rows), *windows.names(rows), windows.earlier(rows))
        for rows in progress(windows.batches())
    ])


@dataclass(frozen=True)
class Backtest:
    """Forecasts float32 (N, C, H, 3) and figures by forecaster; truth (N, C, H), scale (N, C)."""

    forecasts: dict[str, npt.NDArray[np.float64]]
    figures: dict[str, Figures]
    truth: Floats
    scale: Floats


def measure(
    forecasters: Sequence[Forecaster], parts: Sequence[Windows], progress: Callable[[str], Progress]
) -> Backtest:
    """Every forecaster on the same windows, of one or several histories."""
    truth, scale = np.concatenate([part.truth() for part in parts]), np.concatenate([part.scale() for part in parts])
    came = incidents.outcomes(parts, forecasters[0].conditions)
    forecasts, figures = {}, {}
    for one in forecasters:
        made = np.concatenate([run(one, part, progress(one.name)) for part in parts])
        forecasts[one.name], figures[one.name] = made, evaluate(one, made, truth, scale, came)
    return Backtest(forecasts, figures, truth, scale)


def evaluate(forecaster: Forecaster, forecast: Floats, truth: Floats, scale: Floats, came: Outcomes) -> Figures:
    """All figures of one forecaster's forecasts (N, C, H, 3), without the signals it does not know."""
    signals = list(forecaster.signals)
    known = [i for i, name in enumerate(signals) if name not in forecaster.unknown]
    found = scoring.figures(forecast[:, known], truth[:, known], scale[:, known], [signals[i] for i in known])
    said = forecaster.said()
    return found | {
        "left_to_heuristic": forecaster.left_to_heuristic,
        "incidents": of_incidents(said, came) if said is not None else {},
    }


def of_incidents(said: Said, came: Outcomes) -> Figures:
    """{"weighted_30m": figures, .., "chances": ``incidents.figures``, "P1_30m": alarms, "P2_30m": alarms of P1 or P2,
    ..}. Alarms are the priorities at the origin, against any incident within the window."""
    out: Figures = {f"weighted_{label}": incidents.of_any(label, said.weighted[label], came)
                    for label in scoring.SPANS if label in said.weighted}
    out["chances"] = incidents.figures(said.chance, came)
    for name, names in (("P1", ("P1",)), ("P2", ("P1", "P2"))):
        raised = np.array([priority in names for priority in said.priority])
        for label in scoring.SPANS:
            out[f"{name}_{label}"] = scoring.alarm_figures(raised, came.first_of_any(label), STEP_MINUTES)
    return out


def said_of(forecaster: Forecaster, parts: Sequence[Windows], progress: Progress = iter) -> Said:
    """What it says of incidents in these windows; the forecasts are not kept. It has conditions."""
    for part in parts:
        read = replace(part, history=forecaster.needed(part.history))
        for rows in progress(read.batches()):
            forecaster.forecast(read.context(rows), read.instants(rows), *read.names(rows), read.earlier(rows))
    said = forecaster.said()
    assert said is not None
    return said
