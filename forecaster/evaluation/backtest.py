"""Rolling-origin evaluation: forecasts are made as in serving, at instants of the past, and held against what came.

A window is one server at one instant ("now"): its context is everything observed until now, at most CONTEXT_STEPS, and
its targets are the HORIZON_STEPS steps after. Letters: N windows, C signals, T context steps, H horizon steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from forecaster.evaluation import scoring
from forecaster.evaluation.yardsticks import by_heuristic, named
from forecaster.models.features import MOTION_SHARE
from forecaster.models.forecast import Forecast, Quantiles
from forecaster.models.model import Model
from forecaster.risk import score
from forecaster.risk.chance import Calibration
from forecaster.risk.thresholds import RiskConfig
from forecaster.signals import HORIZON_STEPS, STEP_MINUTES, Signal
from forecaster.training.dataset import DatasetError, History, day_ago_error

CONTEXT_STEPS = 7 * scoring.DAY  # a week: what a forecaster holds at most
RECENT_STEPS = 24  # a window is drawn only where its newest steps are observed
BATCH = 256


@dataclass(frozen=True)
class Windows:
    """Where a history is cut: ``place`` int64 (N, 2), server and row of "now"; ``stride`` rows are one step."""

    history: History
    place: np.ndarray
    stride: int

    def __len__(self) -> int:
        return len(self.place)

    def context(self, rows: slice, steps: int = CONTEXT_STEPS) -> np.ndarray:
        """float32 (n, C, steps), newest last, NaN before the history begins."""
        return self._cut(rows, np.arange(1 - steps, 1))

    def earlier(self, rows: slice) -> np.ndarray | None:
        """The newest RECENT_STEPS of the context MOTION_SHARE of a step before; None on a grid too coarse for it."""
        back = MOTION_SHARE * self.stride
        return self._cut(rows, np.arange(1 - RECENT_STEPS, 1), int(back)) if back == int(back) else None

    def truth(self, rows: slice = slice(None)) -> np.ndarray:
        """float32 (n, C, H)."""
        return self._cut(rows, np.arange(1, HORIZON_STEPS + 1))

    def instants(self, rows: slice = slice(None)) -> np.ndarray:
        """float64 (n,): Unix seconds of each window's now."""
        return self.history.start + self.place[rows, 1] * self.history.resolution

    def names(self, rows: slice) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Server and profile of each window."""
        h, servers = self.history, self.place[rows, 0].tolist()
        return tuple(h.servers[i] for i in servers), tuple(h.profiles[i] for i in servers)

    def _cut(self, rows: slice, steps: np.ndarray, back: int = 0) -> np.ndarray:
        values = self.history.values
        server, now = self.place[rows, 0], self.place[rows, 1]
        at = now[:, None] + steps * self.stride - back
        held = (at >= 0) & (at < len(values))
        cut = values[np.clip(at, 0, len(values) - 1), server[:, None]].astype(np.float32)
        return np.where(held[..., None], cut, np.float32(np.nan)).transpose(0, 2, 1)


def stride_of(history: History, step: float) -> int:
    """Rows of the history's grid in one step; raises DatasetError where they do not fit."""
    stride = round(step / history.resolution)
    if stride < 1 or abs(stride * history.resolution - step) > 1e-6:
        raise DatasetError(f"resolution {history.resolution:g} s does not divide the step of {step:g} s")
    return stride


def draw(history: History, step: float, per_server: int, seed: int, first: float | None = None) -> Windows:
    """Up to ``per_server`` seeded windows of every server, not before the instant ``first``: their newest RECENT_STEPS
    steps and at least 95 % of their targets are observed in the first signal, and a day lies before them."""
    stride, rng, place = stride_of(history, step), np.random.default_rng(seed), []
    begin = scoring.DAY * stride
    if first is not None:
        begin = max(begin, int(np.ceil((first - history.start) / history.resolution)))
    seen = np.isfinite(history.values[:, :, 0])
    candidates = np.arange(begin, len(history.values) - HORIZON_STEPS * stride)
    for server in range(len(history.servers)):
        if not len(candidates):
            break
        column = seen[:, server].astype(np.float64)
        past = _trailing(column, stride, RECENT_STEPS)[candidates]
        future = _trailing(column, stride, HORIZON_STEPS)[candidates + HORIZON_STEPS * stride]
        usable = candidates[(past == RECENT_STEPS) & (future > 0.95 * HORIZON_STEPS)]
        chosen = rng.choice(usable, min(per_server, len(usable)), replace=False)
        place += [(server, now) for now in np.sort(chosen)]
    if not place:
        need = (scoring.DAY + HORIZON_STEPS) * step / 3600
        raise DatasetError(
            f"no window can be cut from {len(history.values) * history.resolution / 3600:.1f} h of {len(history.servers)} "
            f"servers; expected at least {need:.0f} h with few gaps"
        )
    return Windows(history, np.array(place, np.int64), stride)


def _trailing(column: np.ndarray, stride: int, steps: int) -> np.ndarray:
    """Sum over the ``steps`` values at distance ``stride`` that end at each row."""
    total = np.zeros(len(column))
    for k in range(steps):
        shift = k * stride
        if shift < len(column):
            total[shift:] += column[: len(column) - shift]
    return total


def at_origins(history: History, step: float, pairs: np.ndarray) -> Windows:
    """Windows of int (N, 2) pairs (server index, first target's row) on a grid of whole steps."""
    stride = stride_of(history, step)
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer) or not len(pairs):
        raise DatasetError(f"windows are {pairs.dtype} {pairs.shape}; expected integers (N, 2): server index, origin")
    server, origin = pairs[:, 0], pairs[:, 1]
    bad = (server < 0) | (server >= len(history.servers)) | (origin < 1) | (origin > len(history.values))
    if bad.any():
        row = int(bad.argmax())
        raise DatasetError(
            f"window {row} is (server {server[row]}, origin {origin[row]}); expected servers 0..{len(history.servers) - 1} "
            f"and origins 1..{len(history.values)}"
        )
    place = np.stack([server, origin - stride], 1).astype(np.int64)
    return Windows(history, place, stride)


class Forecaster:
    """A model or yardstick under a name, asked in batches; counts the rows it had to leave to the heuristic."""

    def __init__(
        self, name: str, signals: Mapping[str, Signal], source: Model | str, settings: RiskConfig | None = None,
        calibration: Calibration | None = None,
    ):
        """source: a model, or a yardstick's name. calibration: of the model's chances."""
        self.name, self.left_to_heuristic, self.settings = name, 0, settings or RiskConfig()
        self._calibration = calibration
        self._chances: list[dict[str, np.ndarray]] = []
        self.signals, self._model = dict(signals), source if isinstance(source, Model) else None
        self._heuristic = by_heuristic(self.signals)
        self._yardstick = None if self._model else named(self.signals)[str(source)]
        columns = list(self.signals)
        if self._model:
            missing = [s for s in self._model.encoding.signals if s not in columns]
            if missing:
                raise DatasetError(f"model {name} needs the signals {', '.join(missing)}, which the data lacks")
            self._columns = [columns.index(s) for s in self._model.encoding.signals]

    @property
    def is_model(self) -> bool:
        """Whether it is a trained model, not a yardstick."""
        return self._model is not None

    @property
    def unknown(self) -> list[str]:
        """Signals of the data that this forecaster says nothing of."""
        return [s for s in self.signals if self._model and s not in self._model.encoding.signals]

    @property
    def chances(self) -> dict[str, np.ndarray]:
        """Calibrated chances of an incident of all rows forecast so far, float64 (N,) by window; NaN where the heuristic
        stood in, and nothing at all without a calibrated model."""
        return {label: np.concatenate([part[label] for part in self._chances]) for label in dict(*self._chances[:1])}

    def forecast(
        self,
        context: np.ndarray,
        instants: np.ndarray,
        servers: Sequence[str],
        profiles: Sequence[str],
        earlier: np.ndarray | None = None,
    ) -> np.ndarray:
        """float32 (n, C, H, 3) for contexts (n, C, T), and earlier as in Model.forecast; NaN for unknown signals."""
        if self._yardstick:
            return self._yardstick(context)
        values = np.full((*context.shape[:2], HORIZON_STEPS, 3), np.nan, np.float32)
        if earlier is not None:
            earlier = earlier[:, self._columns]
        names = tuple(servers), tuple(profiles)
        quantiles, done = self._model.quantiles(context[:, self._columns], instants, *names, earlier)
        made = self._model.published(quantiles)
        if self._calibration:
            said = Quantiles(quantiles[done], self._model.architecture.quantiles, tuple(self._model.encoding.signals))
            chances = self._calibration.of_forecast(Forecast(made, done, said), self.settings, scoring.SPANS)
            self._chances.append(chances[0])
        if not done.all():  # as in a cycle: the heuristic stands in
            self.left_to_heuristic += int((~done).sum())
            made[~done] = self._heuristic(context[~done])[:, self._columns]
        values[:, self._columns] = made
        return values


def run(
    forecaster: Forecaster, windows: Windows, progress: Callable[[Iterable[int]], Iterable[int]] = iter
) -> np.ndarray:
    """All windows' forecasts: float32 (N, C, H, 3)."""
    parts = []
    for begin in progress(range(0, len(windows), BATCH)):
        rows = slice(begin, min(begin + BATCH, len(windows)))
        parts.append(forecaster.forecast(windows.context(rows), windows.instants(rows), *windows.names(rows),
                                         windows.earlier(rows)))
    return np.concatenate(parts)


def scale(windows: Windows) -> np.ndarray:
    """float64 (N, C): ``dataset.day_ago_error`` of every window."""
    parts = [windows.context(slice(b, b + BATCH)) for b in range(0, len(windows), BATCH)]
    return np.concatenate([day_ago_error(part) for part in parts])


class Joined:
    """The windows of several histories under one index."""

    def __init__(self, parts: Sequence[Windows]):
        self._parts, self._ends = tuple(parts), np.cumsum([len(part) for part in parts])

    def context(self, index: int) -> np.ndarray:
        """float32 (C, CONTEXT_STEPS) of one window."""
        part, rows = self._find(index)
        return part.context(rows)[0]

    def title(self, index: int) -> str:
        """Server and time of one window's now."""
        part, rows = self._find(index)
        when = datetime.fromtimestamp(part.instants(rows)[0], UTC)
        return f"{part.names(rows)[0][0]}, {when:%Y-%m-%d %H:%M} UTC"

    def _find(self, index: int) -> tuple[Windows, slice]:
        place = int(np.searchsorted(self._ends, index, side="right"))
        row = index - int(self._ends[place]) + len(self._parts[place])
        return self._parts[place], slice(row, row + 1)


def evaluate(forecaster: Forecaster, forecast: np.ndarray, truth: np.ndarray, scale: np.ndarray) -> dict[str, object]:
    """All figures of what a forecaster made of all windows, (N, C, H, 3); signals it does not know have no part in them."""
    signals = list(forecaster.signals)
    known = [i for i, name in enumerate(signals) if name not in forecaster.unknown]
    found = scoring.figures(forecast[:, known], truth[:, known], scale[:, known], [signals[i] for i in known])
    return found | {
        "left_to_heuristic": forecaster.left_to_heuristic,
        "incidents": incidents(forecast, truth, signals, forecaster.settings, forecaster.chances),
    }


def incidents(
    forecast: np.ndarray,
    truth: np.ndarray,
    signals: Sequence[str],
    config: RiskConfig,
    chances: Mapping[str, np.ndarray] | None = None,
) -> dict[str, object]:
    """Incident figures of both windows and alarm figures of P1 and P2; empty where no signal plays a role.

    {"thresholds": .., "weighted_30m": figures and reliability, "calibrated_30m": the same for ``chances`` (window -> (N,)),
    .., "P1_30m": alarms, "P2_30m": alarms of P1 or P2, ..}. A priority is what the score at the origin would have been.
    An incident is a severe threshold crossed by what came. A server already beyond it at the origin counts: it is in
    trouble within the window, and a forecaster that says so is right.
    """
    columns = {role: list(signals).index(name) for role, name in config.roles if name in signals}
    severe = {role: limit for role, limit in config.severe if role in columns}
    if not severe:
        return {}
    assessed = score.assess(forecast, signals, config.model_copy(update={"method": "weighted"}))
    out: dict[str, object] = {"thresholds": severe}
    for method, said in (("weighted", assessed.probability), ("calibrated", chances or {})):
        for label, steps in scoring.SPANS.items():
            if label in said:
                first = scoring.crossing(truth, columns, severe, steps)
                known = ~np.isnan(first) & np.isfinite(said[label])
                p, came = said[label][known], np.isfinite(first[known])
                out[f"{method}_{label}"] = scoring.probability_figures(p, came) | {
                    "reliability": scoring.reliability(p, came)
                }
    for priority, names in (("P1", ("P1",)), ("P2", ("P1", "P2"))):
        raised = np.array([p in names for p in assessed.priority])
        for label, steps in scoring.SPANS.items():
            first = scoring.crossing(truth, columns, severe, steps)
            out[f"{priority}_{label}"] = scoring.alarm_figures(raised, first, STEP_MINUTES)
    return out
