"""`backtest --model gbm`: an ordinary gradient-boosted classifier on features of the history.

A yardstick of chances. It is trained within the backtest, on servers and weeks that the first model did not keep out,
one classifier for each incident and window. Letters: N windows, C signals, I incidents, T context steps, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from forecaster.evaluation.incidents import Wide, beyond, outcomes
from forecaster.evaluation.scoring import DAY, SPANS, Bools, Floats
from forecaster.evaluation.windows import Windows, draw
from forecaster.evaluation.yardsticks import bridge
from forecaster.risk.conditions import Condition
from forecaster.training.dataset import DatasetError, History, Progress

NAME = "gbm"
PER_SERVER = 150  # windows of each server that train it
BACK = (3, 6, 12, 24, 96, DAY, 7 * DAY)
LEAST = 20  # windows of either outcome, below which the classifier is the base rate
OPTIONS = {"max_iter": 250, "learning_rate": 0.05, "max_leaf_nodes": 15, "min_samples_leaf": 100,
           "l2_regularization": 5.0, "early_stopping": False}

Probability = Callable[[Floats], Wide]


class Boosted:
    """The classifiers, trained; their chances of windows."""

    def __init__(self, history: History, step: float, conditions: Mapping[str, Condition], seed: int,
                 progress: Progress = iter):
        """history: of the servers and weeks to train on. Raises DatasetError without scikit-learn or windows."""
        _classifier(seed)
        self._conditions = dict(conditions)
        windows = draw(history, step, PER_SERVER, seed)
        came, features = outcomes([windows], conditions), self._features([windows], progress)
        self._fits = {
            (name, label): fit(features[i], came.within(label)[:, i], seed)
            for i, name in enumerate(self._conditions) for label in SPANS
        }

    def chances(self, parts: Sequence[Windows], progress: Progress = iter) -> dict[str, Wide]:
        """{window: (N, I)}."""
        found = self._features(parts, progress)
        return {label: np.stack([self._fits[name, label](found[i]) for i, name in enumerate(self._conditions)], 1)
                for label in SPANS}

    def _features(self, parts: Sequence[Windows], progress: Progress) -> list[Floats]:
        """I times (N, F)."""
        made: list[list[Floats]] = [[] for _ in self._conditions]
        for cut, rows in progress([(part, rows) for part in parts for rows in part.batches()]):
            context, instants = cut.context(rows), cut.instants(rows)
            for kept, one in zip(made, self._conditions.values(), strict=True):
                kept.append(features(context, one, cut.history.signals, instants))
        return [np.concatenate(kept) for kept in made]


def features(context: Floats, condition: Condition, signals: Sequence[str], instants: Wide) -> Floats:
    """float32 (n, F) of contexts (n, C, T) in which the condition's signal is one of ``signals``."""
    on = beyond(context, condition, signals)
    column = list(signals).index(condition.signal)
    above: Floats = condition.sign * bridge(context[:, column]) - condition.limit
    steps = above.shape[1]
    out: list[npt.NDArray[Any]] = [above[:, -lag] for lag in (1, 2, 3, 6, 12) if lag <= steps]
    for back in BACK:
        out += [above[:, -back:].max(1), above[:, -back:].mean(1), on[:, -back:].mean(1)]
    out += [above[:, -DAY:].std(1), steps - _last(on), steps - _last(~on)]
    begins = on[:, 1:] & ~on[:, :-1]
    out += [begins[:, -DAY:].sum(1), begins.sum(1)]
    days = [steps - DAY * day for day in range(1, 8) if DAY * day <= steps]
    for span in SPANS.values():
        was = [on[:, begin : begin + span].any(1) for begin in days] or [np.zeros(len(on), bool)]
        peak = [above[:, begin : begin + span].max(1) for begin in days] or [above.max(1)]
        out += [np.asarray(was[0]), np.mean(was, 0), np.asarray(was[-1]), peak[0], np.median(peak, 0)]
    hour = 2 * np.pi * (instants % 86400) / 86400
    out += [np.sin(hour), np.cos(hour), instants // 86400 % 7]
    return np.stack(out, 1).astype(np.float32)


def _last(true: Bools) -> npt.NDArray[np.int64]:
    """(n,): 1 after the last true step of (n, T), 0 for none."""
    found: npt.NDArray[np.int64] = np.where(true, np.arange(1, true.shape[1] + 1), 0).max(1)
    return found


def fit(inputs: Floats, outcome: Wide, seed: int) -> Probability:
    """A classifier of outcomes (N,), 1, 0 or NaN; the base rate where fewer than LEAST windows have one of the two."""
    known = np.isfinite(outcome)
    came = outcome[known] > 0
    if min(came.sum(), (~came).sum()) < LEAST:
        rate = float(came.mean()) if len(came) else 0.0
        return lambda features: np.full(len(features), rate)
    classifier = _classifier(seed).fit(inputs[known], came)
    return lambda features: np.asarray(classifier.predict_proba(features)[:, 1], np.float64)


def _classifier(seed: int):  # type: ignore[no-untyped-def]  # scikit-learn has no types
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError as error:
        raise DatasetError(f"--model {NAME}: {error.name} is not installed; pip install 'fleetcast[backtest]'"
                           ) from error
    return HistGradientBoostingClassifier(random_state=seed, **OPTIONS)
