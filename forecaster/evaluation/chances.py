"""Chances of incidents without a model of them, which those of a model have to beat.

    exceedance      of a forecast of p10, p50 and p90: the largest chance that a step is on
    now             1 while it is on, else 0
    yesterday       1 where it was on in the same time yesterday
    predict-linear  1 where PromQL's line through the last hour is beyond the limit

Letters: N windows, C signals, I incidents, T context steps, H horizon steps, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from forecaster.evaluation.incidents import Wide, beyond
from forecaster.evaluation.scoring import DAY, SPANS, Bools, Floats
from forecaster.evaluation.windows import Windows
from forecaster.evaluation.yardsticks import predict_linear
from forecaster.risk.chances import Chances
from forecaster.risk.conditions import Condition
from forecaster.risk.evidence import exceedance, lasting_least
from forecaster.training.dataset import Progress

CONTEXT = DAY + 12  # steps that rules read: a day, and what a condition of an hour needs before it
Floats32 = NDArray[np.float32]
Rule = Callable[[Floats, Condition, Sequence[str]], dict[str, Bools]]  # context (n, C, T) -> (n,) by window


class Exceedance(Chances):
    """Chances of a forecast's quantiles alone, in place of trained ones: the largest over the steps of a window, as if
    all steps were on together. Taking steps as independent is far worse, since incidents last."""

    def __init__(self) -> None:
        """Nothing is trained; where history and forecast are far from the limit, the chance is 0."""
        object.__setattr__(self, "calm", np.zeros(len(SPANS)))

    def judged(self, history: Floats32, quantiles: Floats32, levels: Sequence[float], limit: Floats32, lasting: int,
               floor: float) -> tuple[Wide, NDArray[np.int64]]:
        """As ``Chances.judged``; floor has no meaning here."""
        before = lasting - 1
        past = (history[:, history.shape[1] - before :] > limit[:, None]).astype(np.float32)
        chance = np.concatenate([past, exceedance(quantiles, levels, limit)], 1)
        on = lasting_least(chance, lasting)[:, before:].astype(np.float64)
        late = on >= 0.5
        return (np.stack([on[:, :steps].max(1) for steps in SPANS.values()], 1),
                np.where(late.any(1), late.argmax(1) + 1, 0))


def now(context: Floats, condition: Condition, signals: Sequence[str]) -> dict[str, Bools]:
    """An alert without a forecast."""
    return dict.fromkeys(SPANS, beyond(context, condition, signals)[:, -1])


def yesterday(context: Floats, condition: Condition, signals: Sequence[str]) -> dict[str, Bools]:
    """What was on in the same time yesterday; a shorter history has nothing on."""
    on = beyond(context, condition, signals)
    if on.shape[1] < DAY:
        return dict.fromkeys(SPANS, np.zeros(len(on), bool))
    begin = on.shape[1] - DAY
    return {label: np.asarray(on[:, begin : begin + steps].any(1)) for label, steps in SPANS.items()}


def line(context: Floats, condition: Condition, signals: Sequence[str]) -> dict[str, Bools]:
    """An alert on predict_linear over the last hour, which reaches as far as the window."""
    ahead = np.concatenate([context, predict_linear(context)[..., 1]], -1)
    on = beyond(ahead, condition, signals)[:, context.shape[-1] :]
    return {label: np.asarray(on[:, :steps].any(1)) for label, steps in SPANS.items()}


RULES: Mapping[str, Rule] = {"now": now, "yesterday": yesterday, "predict-linear": line}


def of_rules(
    parts: Sequence[Windows], conditions: Mapping[str, Condition], progress: Progress = iter
) -> dict[str, dict[str, Wide]]:
    """{rule: {window: (N, I)}}: 1 or 0."""
    found: dict[str, dict[str, list[Wide]]] = {rule: {label: [] for label in SPANS} for rule in RULES}
    for cut, rows in progress([(part, rows) for part in parts for rows in part.batches()]):
        context, names = cut.context(rows, CONTEXT), cut.names(rows)
        meant = np.stack([one.meant(*names) for one in conditions.values()], 1)
        for name, rule in RULES.items():
            said = [rule(context, one, cut.history.signals) for one in conditions.values()]
            for label in SPANS:
                found[name][label].append((meant & np.stack([one[label] for one in said], 1)).astype(np.float64))
    return {name: {label: np.concatenate(kept) for label, kept in by.items()} for name, by in found.items()}
