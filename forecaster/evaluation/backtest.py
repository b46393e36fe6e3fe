"""Rolling-origin evaluation: forecasts of past windows, made as in serving and compared with the actual values.

Letters: N windows, C signals, T context steps, H horizon steps; the last axis of a forecast is p10, p50, p90.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forecaster.config import ForecasterConfig
from forecaster.evaluation import scoring
from forecaster.evaluation.scoring import Figures, Floats
from forecaster.evaluation.windows import Windows
from forecaster.evaluation.yardsticks import NAMES, by_heuristic, named
from forecaster.models.artifact import ModelError, folder_of
from forecaster.models.forecast import Forecast, Quantiles
from forecaster.models.model import Model
from forecaster.risk import score
from forecaster.risk.chance import Calibration
from forecaster.risk.thresholds import RiskConfig
from forecaster.signals import HORIZON_STEPS, STEP_MINUTES, Signal
from forecaster.training.dataset import DatasetError, Progress


def load(name: str, config: ForecasterConfig) -> tuple[Model | str, Calibration | None]:
    """A model as serving loads it and its calibration, or a yardstick's name and None; raises ModelError."""
    from forecaster.service.assembly import load_calibration, load_model

    if name in NAMES:
        return name, None
    config = config.model_copy(update={"model": name})
    model = load_model(config) if name and folder_of(name).is_dir() else None
    if model is None:
        raise ModelError(f"--model {name}: no such shipped model, folder or yardstick; expected default, servers, a "
                         f"model folder, or one of {', '.join(NAMES)}")
    return model, load_calibration(config, model)


class Forecaster:
    """A model or yardstick under a name, which forecasts batches of windows."""

    def __init__(
        self, name: str, signals: Mapping[str, Signal], source: Model | str, settings: RiskConfig | None = None,
        calibration: Calibration | None = None,
    ):
        """source: a model, or a yardstick's name. calibration: of the model's incident probabilities. Raises
        DatasetError where the model knows none of ``signals``."""
        self.name, self.signals, self.settings = name, dict(signals), settings or RiskConfig()
        self.left_to_heuristic = 0  # windows too short for the model
        self._calibration = calibration
        self._chances: list[tuple[int, dict[str, npt.NDArray[np.float64]]]] = []
        self._model = source if isinstance(source, Model) else None
        self._heuristic = by_heuristic(self.signals)
        self._yardstick = None if isinstance(source, Model) else named(self.signals)[source]
        known = self._model.encoding.signals if self._model else tuple(self.signals)
        self.unknown = [s for s in self.signals if s not in known]  # signals of the data that are not forecast
        if len(self.unknown) == len(self.signals):
            raise DatasetError(f"model {name} forecasts {', '.join(known)}; the data has {', '.join(self.signals)}: "
                               "expected a signal in common")

    @property
    def is_model(self) -> bool:
        """Whether it is a trained model, not a yardstick."""
        return self._model is not None

    @property
    def chances(self) -> dict[str, npt.NDArray[np.float64]]:
        """Calibrated incident probabilities of all rows forecast so far: float64 (N,) by window, NaN where the
        heuristic was used; empty without a calibration."""
        labels = dict.fromkeys(label for _, part in self._chances for label in part)
        return {label: np.concatenate([part.get(label, np.full(rows, np.nan)) for rows, part in self._chances])
                for label in labels}

    def forecast(
        self, context: Floats, instants: Floats, servers: Sequence[str], profiles: Sequence[str],
        earlier: Floats | None = None,
    ) -> Floats:
        """float32 (n, C, H, 3) for contexts (n, C, T), and earlier as in Model.forecast; NaN for unknown signals."""
        if self._model is None:
            assert self._yardstick is not None
            return self._yardstick(context)
        signals, known, names = tuple(self.signals), self._model.encoding.signals, (tuple(servers), tuple(profiles))
        before = None if earlier is None else self._model.arranged(earlier, signals)
        quantiles, done = self._model.quantiles(self._model.arranged(context, signals), instants, *names, before)
        made = self._model.published(quantiles)
        if self._calibration:
            quantiles[~done] = np.nan
            by_model = quantiles[done.any(1)]
            all_of_done = Quantiles(by_model, self._model.architecture.quantiles, known)
            forecast = Forecast(made, done, all_of_done)
            by_server, _ = self._calibration.of_forecast(forecast, known, self.settings, scoring.SPANS)
            self._chances.append((len(done), by_server))
        self.left_to_heuristic += int((~done.any(1)).sum())
        values = np.full((*context.shape[:2], HORIZON_STEPS, 3), np.nan, np.float32)
        for column, name in enumerate(known):
            if name in signals:
                values[:, signals.index(name)] = made[:, column]
                rows = np.flatnonzero(~done[:, column])
                if rows.size:  # the heuristic takes over, as in a cycle
                    values[rows, signals.index(name)] = self._heuristic(context[rows])[:, signals.index(name)]
        return values


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
    forecasts = {
        forecaster.name: np.concatenate([run(forecaster, part, progress(forecaster.name)) for part in parts])
        for forecaster in forecasters
    }
    figures = {one.name: evaluate(one, forecasts[one.name], truth, scale) for one in forecasters}
    return Backtest(forecasts, figures, truth, scale)


def evaluate(forecaster: Forecaster, forecast: Floats, truth: Floats, scale: Floats) -> Figures:
    """All figures of one forecaster's forecasts (N, C, H, 3), without the signals it does not know."""
    signals = list(forecaster.signals)
    known = [i for i, name in enumerate(signals) if name not in forecaster.unknown]
    found = scoring.figures(forecast[:, known], truth[:, known], scale[:, known], [signals[i] for i in known])
    return found | {
        "left_to_heuristic": forecaster.left_to_heuristic,
        "incidents": incidents(forecast, truth, signals, forecaster.settings, forecaster.chances),
    }


def incidents(
    forecast: Floats, truth: Floats, signals: Sequence[str], config: RiskConfig,
    chances: Mapping[str, Floats] | None = None,
) -> Figures:
    """Incident figures of both windows and alarm figures of P1 and P2; empty where no signal has a role.

    {"thresholds": .., "weighted_30m": figures and reliability, "calibrated_30m": the same for ``chances`` (window ->
    (N,)), .., "P1_30m": alarms, "P2_30m": alarms of P1 or P2, ..}. Priorities are those of the score at the origin. An
    incident is an actual value above a severe threshold within the window, also where it was above it at the origin
    already. """
    columns = {role: list(signals).index(name) for role, name in config.roles if name in signals}
    severe = {role: limit for role, limit in config.severe if role in columns}
    if not severe:
        return {}
    assessed = score.assess(forecast, signals, config.model_copy(update={"method": "weighted"}))
    out: Figures = {"thresholds": severe}
    firsts = {label: scoring.crossing(truth, columns, severe, steps) for label, steps in scoring.SPANS.items()}
    for method, probability in (("weighted", assessed.probability), ("calibrated", chances or {})):
        for label in [label for label in firsts if label in probability]:
            known = ~np.isnan(firsts[label]) & np.isfinite(probability[label])
            p, outcome = probability[label][known], np.isfinite(firsts[label][known])
            figures = scoring.probability_figures(p, outcome)
            out[f"{method}_{label}"] = figures | {"reliability": scoring.reliability(p, outcome)}
    for priority, names in (("P1", ("P1",)), ("P2", ("P1", "P2"))):
        raised = np.array([p in names for p in assessed.priority])
        for label, first in firsts.items():
            out[f"{priority}_{label}"] = scoring.alarm_figures(raised, first, STEP_MINUTES)
    return out
