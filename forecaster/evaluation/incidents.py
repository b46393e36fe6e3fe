"""Outcomes of the configured incidents, and figures of the chances that were given them.

An incident's outcome within a window of time is 1 where it is on at any step of it, also where it was on at the origin.
It begins where it is not on at the origin. "any" is any of the incidents of a server.

Letters: N windows, C signals, I incidents, H horizon steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecaster.evaluation import scoring
from forecaster.evaluation.scoring import SPANS, Bools, Figures, Floats
from forecaster.evaluation.windows import Windows
from forecaster.risk.conditions import Condition
from forecaster.risk.evidence import lasting_least
from forecaster.signals import HORIZON_STEPS

ANY = "any"
PRECISION = 0.8
DRAWN = ("base_rate", "brier", "skill", "auroc", "recall", "ece")  # figures whose spread over draws is shown

Wide = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What came of every incident in every window."""

    names: tuple[str, ...]  # I
    server: tuple[str, ...]  # N
    on: Bools  # (N, I): at the origin
    first: Wide  # (N, I): first step on, from 1, inf for none
    seen: Wide  # (N, I): first step observed, inf for none and for servers that it is not meant for

    def within(self, label: str) -> Wide:
        """(N, I): 1 where it is on within the window, else 0; NaN where nothing was observed."""
        return np.where(self.seen <= SPANS[label], self.first <= SPANS[label], np.nan)

    def first_of_any(self, label: str) -> Wide:
        """(N,): first step of any incident within the window, inf for none, NaN where nothing was observed."""
        known = self.seen <= SPANS[label]
        first = np.where(known & (self.first <= SPANS[label]), self.first, np.inf).min(1, initial=np.inf)
        return np.where(known.any(1), first, np.nan)


def conditions_of(
    conditions: Mapping[str, Condition], signals: Sequence[str] | Mapping[str, object]
) -> dict[str, Condition]:
    """Those whose signal is among ``signals``."""
    return {name: one for name, one in conditions.items() if one.signal in signals}


def beyond(values: Floats, condition: Condition, signals: Sequence[str]) -> Bools:
    """(n, T): whether the condition is on at each step of (n, C, T); an unknown value ends it. The first steps count
    what is there."""
    signed = condition.sign * values[:, list(signals).index(condition.signal)].astype(np.float32)
    least = lasting_least(np.where(np.isfinite(signed), signed, -np.inf).astype(np.float32), condition.steps)
    return np.asarray(least > condition.limit)


def outcomes(parts: Sequence[Windows], conditions: Mapping[str, Condition]) -> Outcomes:
    """Of all windows of ``parts``, whose histories have the conditions' signals."""
    names = [name for part in parts for name in part.names(slice(None))[0]]
    profiles = [name for part in parts for name in part.names(slice(None))[1]]
    on, (first, seen) = np.zeros((len(names), len(conditions)), bool), np.full((2, len(names), len(conditions)), np.inf)
    begin = 0
    for part in parts:
        signals = part.history.signals
        rows = slice(begin, begin + len(part))
        before = max([one.steps for one in conditions.values()], default=1)
        values = np.concatenate([part.context(slice(None), before), part.truth()], -1)
        for i, one in enumerate(conditions.values()):
            is_on = beyond(values, one, signals)
            known = np.isfinite(values[:, list(signals).index(one.signal), -HORIZON_STEPS:])
            on[rows, i] = is_on[:, before - 1]
            first[rows, i] = _first(is_on[:, -HORIZON_STEPS:])
            seen[rows, i] = np.where(one.meant(tuple(names[rows]), tuple(profiles[rows])), _first(known), np.inf)
        begin += len(part)
    return Outcomes(tuple(conditions), tuple(names), on, first, seen)


def _first(true: Bools) -> Wide:
    """(n,): the first true step of (n, H), from 1; inf for none."""
    return np.where(true.any(1), true.argmax(1) + 1.0, np.inf)


def any_of(chance: Wide) -> Wide:
    """(N,) chance of any incident of (N, I): the largest, since those of one server are not independent; NaN where
    none is known."""
    return np.asarray(np.fmax.reduce(chance, axis=1, initial=np.nan))


def figures(chance: Mapping[str, Wide], came: Outcomes) -> dict[str, dict[str, Figures]]:
    """{window: {"any" or incident: ``judge``}} of chances (N, I) by window; incidents without a known chance, and
    windows without any, are left out."""
    out: dict[str, dict[str, Figures]] = {}
    for label, by_incident in chance.items():
        table = {ANY: of_any(label, any_of(by_incident), came)}
        outcome = came.within(label)
        for i, name in enumerate(came.names):
            table[name] = judge(by_incident[:, i], outcome[:, i], came.on[:, i], came.server)
        out[label] = {name: row for name, row in table.items() if row["windows"]}
    return {label: table for label, table in out.items() if table}


def of_any(label: str, chance: Floats, came: Outcomes) -> Figures:
    """``judge`` of chances (N,) of any incident within the window."""
    first = came.first_of_any(label)
    outcome = np.where(np.isnan(first), np.nan, np.isfinite(first))
    return judge(chance, outcome, np.any(came.on & np.isfinite(came.seen), axis=1), came.server)


def judge(chance: Floats, outcome: Wide, on: Bools, server: Sequence[str]) -> Figures:
    """Figures of chances (N,) for outcomes (N,), 1, 0 or NaN, where both are known: those of
    ``scoring.probability_figures``, reliability, number of incidents and of servers that have them, recall at
    PRECISION, and under "begin" those of the windows in which it is not on at the origin."""
    known = np.isfinite(chance) & np.isfinite(outcome)
    row = _judge(chance[known], outcome[known] > 0, np.array(server, object)[known])
    begin = known & ~on
    return row | {"begin": _judge(chance[begin], outcome[begin] > 0, np.array(server, object)[begin])}


def _judge(p: Floats, outcome: Bools, server: NDArray[np.object_]) -> Figures:
    return scoring.probability_figures(p, outcome) | {
        "incidents": int(outcome.sum()), "servers": len(set(server[outcome])),
        "recall": recall_at(PRECISION, p, outcome), "reliability": scoring.reliability(p, outcome)}


def recall_at(precision: float, p: Floats, outcome: Bools) -> float:
    """The largest recall of alarms "chance of at least x" whose precision is at least ``precision``, over all x; 0
    where none is so precise, NaN without outcomes."""
    if not outcome.any():
        return np.nan
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum(outcome[order])
    last = np.append(np.diff(p[order]) != 0, True)  # alarms of equal chance ring together
    enough = last & (hits >= precision * np.arange(1, len(p) + 1) - 1e-9)
    return float(hits[enough].max(initial=0) / outcome.sum())


def spread(draws: Sequence[Mapping[str, Mapping[str, Figures]]]) -> dict[str, dict[str, Figures]]:
    """{window: {incident: {figure: (mean, least, most)}}} of ``figures`` of several draws; "begin" is the skill of
    incidents that begin."""
    out: dict[str, dict[str, Figures]] = {}
    for label, table in draws[0].items():
        out[label] = {}
        for name, row in table.items():
            rows = [draw.get(label, {}).get(name) for draw in draws]
            found = {key: [one[key] for one in rows if one] for key in DRAWN if key in row}
            found["begin"] = [one["begin"]["skill"] for one in rows if one]
            out[label][name] = {key: _spread(np.array(values)) for key, values in found.items()}
    return out


def _spread(values: Wide) -> tuple[float, float, float]:
    known = values[np.isfinite(values)]
    return (float(known.mean()), float(known.min()), float(known.max())) if known.size else (np.nan, np.nan, np.nan)
