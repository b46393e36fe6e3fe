"""The product, the best possible forecast, yardsticks and the rules in use, on the same courses and instants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from forecaster.capacity.forecast import WINDOW_HOURS, Weights, forecast
from forecaster.capacity.forecast import WINDOWS as NAMES
from forecaster.capacity.priority import GUARDS, priority
from forecaster.evaluation.capacity import best, episodes, figures, yardsticks
from forecaster.evaluation.capacity.courses import WEEK_STEPS, Courses, Ints
from forecaster.evaluation.capacity.episodes import Alert
from forecaster.evaluation.capacity.figures import Came
from forecaster.evaluation.capacity.yardsticks import AHEAD, WINDOWS, Said
from forecaster.evaluation.scoring import Figures
from forecaster.training.dataset import DatasetError, Progress

PRODUCT, BEST = "fleetcast", "oracle"
SCORED = 47  # hours between instants that are scored: every hour of the day and day of the week in turn
HELD = {"P1": 1, "P2": 1, "P3": 1}  # hours; the rules' ``for`` in whole instants
HOURS = dict(zip(NAMES, WINDOW_HOURS, strict=True))


def product(courses: Courses, rows: Ints, scored: Ints, weights: Weights) -> Said:
    """The product's forecasts at K instants: at the ``scored`` ones (places in ``rows``) of all entities, at the others
    of those that may have a priority, with chances of 0 for the rest."""
    shape = len(courses.used), len(rows)
    used = np.full((*shape, len(AHEAD), 3), np.nan, np.float32)
    chance, full_in = np.zeros((*shape, len(WINDOWS)), np.float32), np.full(shape, np.inf)
    least = min(guard.used for guard in GUARDS.values()) * courses.limit[:, None]
    wanted = (courses.now(rows) >= least) & ~courses.full[:, rows]
    wanted[:, scored] = True
    phase = rows % WEEK_STEPS
    for one in np.unique(phase):
        alike = np.flatnonzero(phase == one)
        some = wanted[:, alike]
        at = np.nonzero(some)[0], alike[np.nonzero(some)[1]]
        past = courses.past(rows[alike])
        made = forecast(replace(past, hourly=past.hourly[some.ravel()], recent=past.recent[some.ravel()],
                                limit=past.limit[some.ravel()]), weights)
        used[at], chance[at] = made.used[:, np.array(AHEAD) - 1], made.chance
        full_in[at] = np.nan_to_num((made.full_at[:, 1] - past.instant) / 3600, nan=np.inf)
    return Said(used, chance, full_in)


@dataclass(frozen=True)
class Part:
    """What was said of some courses at the scored instants, what came, and the counts of each alert and entity."""

    said: Mapping[str, Said]
    came: Came
    alerts: Mapping[str, Sequence[Figures]]
    patterns: Sequence[str]
    hours: int


def part(make: Callable[[], Courses], weights: Weights, paths: int) -> Part | None:
    """Forecasts and alerts on one set of courses; None where it is empty."""
    courses = make()
    if not len(courses.used):
        return None
    rows = courses.instants()
    scored = np.arange(0, len(rows), SCORED)
    own = product(courses, rows, scored, weights)
    made = {name: yardstick(courses, rows) for name, yardstick in yardsticks.FORECASTS.items()}
    said = {name: one.at(scored) for name, one in {PRODUCT: own, **made}.items()}
    if courses.mounts is not None:
        said[BEST] = best.said(courses, rows[scored], paths)
    came = episodes.fills(courses, int(rows[0]))
    alerts = {name: episodes.judge(courses, rows, alert, came)
              for name, alert in _alerts(courses, rows, own, made).items()}
    return Part(said, figures.came(courses, rows[scored]), alerts, courses.patterns or [""] * len(courses.used),
                len(rows))


def measure(
    parts: Sequence[Callable[[], Courses]], paths: int, progress: Progress, weights: Weights | None = None
) -> dict[str, Any]:
    """The report of ``table``: figures of each forecaster at the scored instants, alerts of each rule at every hour.

    parts: each makes courses; several are measured in processes, one for each processor. paths: futures of the best
    possible forecast at an instant, of simulated courses. Raises DatasetError where all are empty.
    """
    work = partial(part, weights=weights or Weights.load(), paths=paths)
    with ProcessPoolExecutor() as pool:
        found = [one for one in progress(pool.map(work, parts)) if one is not None]
    if not found:
        raise DatasetError("--capacity: no resource has series in these weeks; expected some: check capacity.resources")
    return _report(found)


def _report(parts: Sequence[Part]) -> dict[str, Any]:
    truth = figures.joined([one.came for one in parts])
    said = {name: figures.flat([one.said[name] for one in parts]) for name in parts[0].said}
    alerts = {name: [pair for one in parts for pair in zip(one.patterns, one.alerts[name], strict=True)]
              for name in parts[0].alerts}
    patterns = sorted({pattern for one in parts for pattern in one.patterns if pattern})
    return {
        "entities": sum(len(one.patterns) for one in parts), "hours": parts[0].hours,
        "forecasts": {name: figures.of(one, truth) for name, one in said.items()},
        "alerts": {name: _total([row for _, row in found]) for name, found in alerts.items()},
        "patterns": {pattern: {
            "entities": sum(one.patterns.count(pattern) for one in parts),
            "forecasts": {name: figures.of(said[name], truth, truth.pattern == pattern)
                          for name in (PRODUCT, BEST) if name in said},
            "alerts": {name: _total([row for p, row in found if p == pattern]) for name, found in alerts.items()},
        } for pattern in patterns},
    }


def _alerts(courses: Courses, rows: Ints, own: Said, made: Mapping[str, Said]) -> dict[str, Alert]:
    """The product's priorities, the mixin's rule, and the yardsticks with the mixin's level and ``for``."""
    now = courses.now(rows)
    flat = own.chance.reshape(-1, own.chance.shape[-1])
    rank = priority(now.ravel(), flat, np.repeat(courses.limit, len(rows))).reshape(now.shape)
    out = {}
    for place, (name, guard) in enumerate(GUARDS.items(), 1):
        out[name] = Alert((rank > 0) & (rank <= place), HOURS[guard.window], HELD[name])
    for severity, (raised, window) in yardsticks.node_mixin(courses, rows).items():
        out[f"node-mixin {severity}"] = Alert(raised, window, 1)
    for name in ("last week", "holt-winters"):
        out[f"{name} 24h"] = Alert((made[name].chance[..., 1] > 0.5) & (now > 0.6), 24, 1)
    return out


def _total(rows: Sequence[Figures]) -> Figures:
    """Sums of ``episodes.judge``, with "precision" (prevented ones left out), "recall" and the median "lead_hours"."""
    out: Figures = {key: sum(row[key] for row in rows)
                    for key in ("alerts", "true", "prevented", "false", "fills", "foreseeable", "noticed")}
    leads = [hours for row in rows for hours in row["leads"]]
    decided = out["true"] + out["false"]
    return out | {"precision": out["true"] / decided if decided else np.nan,
                  "recall": out["noticed"] / out["foreseeable"] if out["foreseeable"] else np.nan,
                  "lead_hours": float(np.median(leads)) if leads else np.nan}
