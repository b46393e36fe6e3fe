"""Figures of forecasts of used shares: pure functions of what was said and what came.

Windows in which the entity is full already are not scored, nor targets that were not observed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from forecaster.evaluation import scoring
from forecaster.evaluation.capacity.courses import Courses, Ints
from forecaster.evaluation.capacity.yardsticks import AHEAD, WINDOWS, Said
from forecaster.evaluation.scoring import Bools, Figures, Floats

DATED = 168  # hours: fills within them have their date scored


@dataclass(frozen=True)
class Came:
    """Outcomes of W windows: used (W, 4 of AHEAD), full_in (W,) hours, inf where not, full (W,) already, known (W,)
    hours that were observed after the instant, pattern (W,)."""

    used: Floats
    full_in: Floats
    full: Bools
    known: Floats
    pattern: NDArray[np.str_]


def came(courses: Courses, rows: Ints) -> Came:
    """Of all entities at the instants, entities slowest."""
    shape = len(courses.used) * len(rows)
    left = np.broadcast_to((courses.used.shape[1] - 1 - rows) / 12, (len(courses.used), len(rows)))
    patterns = np.repeat(np.array(courses.patterns or [""] * len(courses.used)), len(rows))
    return Came(courses.later(rows, AHEAD).reshape(shape, -1), courses.full_in(rows).reshape(shape),
                courses.full[:, rows].reshape(shape), left.reshape(shape), patterns)


def joined(parts: Sequence[Came]) -> Came:
    """The windows of several courses as one."""
    return Came(*[np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Came)])


def flat(parts: Sequence[Said]) -> Said:
    """The windows of several courses as those of ``joined``."""
    def joined(name: str) -> Floats:
        return np.concatenate([getattr(part, name).reshape(-1, *getattr(part, name).shape[2:]) for part in parts])

    return Said(joined("used"), joined("chance"), joined("full_in"))


def of(said: Said, truth: Came, chosen: Bools | None = None) -> Figures:
    """{"windows", "loss" and "inside": {"1d", "36h", "3d", "7d"}, "skill" and "rate": {"4h", "24h", "7d"}, "date":
    {"windows", "median_hours", "median_ratio"}} of the ``chosen`` windows (W,). Loss is the mean pinball loss of p10,
    p50 and p90, doubled, in used shares; skill that of the Brier score against the base rate; the date is that of
    p50, its error infinite where p50 is not full within 14 days."""
    rows = ~truth.full if chosen is None else chosen & ~truth.full
    used, outcome, full_in = said.used[rows], truth.used[rows], truth.full_in[rows]
    lost, inside = scoring.loss(used, outcome), scoring.covered(used, outcome)
    out: Figures = {"windows": int(rows.sum()), "loss": {}, "inside": {}, "skill": {}, "rate": {}}
    for k, hours in enumerate(AHEAD):
        name = f"{hours}h" if hours % 24 else f"{hours // 24}d"
        known = np.isfinite(lost[:, k]).all(-1)
        out["loss"][name] = float(lost[known, k].mean()) if known.any() else np.nan
        out["inside"][name] = float(inside[known, k].mean()) if known.any() else np.nan
    for k, hours in enumerate(WINDOWS):
        name = f"{hours}h" if hours < 48 else f"{hours // 24}d"
        known = (truth.known[rows] >= hours) & np.isfinite(said.chance[rows, k])
        found = scoring.probability_figures(said.chance[rows, k][known], full_in[known] <= hours)
        out["skill"][name], out["rate"][name] = found["skill"], found["base_rate"]
    dated = (full_in <= DATED) & (full_in >= 1)
    error = np.abs(said.full_in[rows][dated] - full_in[dated])
    out["date"] = {"windows": int(dated.sum()), "median_hours": _median(error),
                   "median_ratio": _median(error / full_in[dated])}
    return out


def _median(values: Floats) -> float:
    return float(np.quantile(values, 0.5, method="higher")) if values.size else np.nan
