"""`backtest --episodes`: pages and incidents as a person counts them, on instants that are dense in time.

    page       begins at the first instant at which its rule holds, ends after two instants at which it does not
    incident   begins where any incident of the server is on, ends after 30 minutes without
    true       an incident is on during the page, or within its reach after its beginning (30 minutes for P1)
    announced  a page begins before the incident does, and still rings then or began within its reach before
    noticed    announced, or a page rings while it is on

Incidents and pages that are on when the weeks begin are not counted, and an instant without a forecast (priority None)
is no part of the weeks. An alert on the condition begins with its incident, so that it announces none.

Letters: K instants, S servers, I incidents, C signals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecaster.evaluation import chances
from forecaster.evaluation.backtest import Forecaster, said_of
from forecaster.evaluation.incidents import beyond
from forecaster.evaluation.scoring import DAY, SPANS, Bools, Figures
from forecaster.evaluation.windows import Windows
from forecaster.memory.episodes import JOINED, comes
from forecaster.risk.conditions import Condition
from forecaster.signals import HORIZON_STEPS, STEP_MINUTES
from forecaster.training.dataset import DatasetError, History, Progress

Stretches = list[tuple[float, float]]  # first and last minute


@dataclass(frozen=True)
class Rule:
    """When pages ring: raised bool (S x K,), and minutes that they reach ahead."""

    raised: Bools
    reach: int


def stretches(true: Bools, at: NDArray[np.float64], gap: int) -> Stretches:
    """(first, last) of ``at`` (K,) of each run of true (K,), joined where at most ``gap`` instants lie between."""
    found = np.flatnonzero(true)
    if not found.size:
        return []
    cuts = np.flatnonzero(np.diff(found) > gap + 1)
    begins, ends = np.append(0, cuts + 1), np.append(cuts, len(found) - 1)
    return [(float(at[found[b]]), float(at[found[e]])) for b, e in zip(begins, ends, strict=True)]


def judge(pages: Sequence[Stretches], incidents: Sequence[Stretches], reach: float, span: tuple[float, float],
          share: float = 1.0) -> Figures:
    """Figures of the pages and incidents that begin after the first and up to the last minute of ``span``, one list for
    each of S servers. share: of the servers' instants, that with a forecast."""
    rung, true, came, announced, noticed, leads = 0, 0, 0, 0, 0, list[float]()
    for own, there in zip(pages, incidents, strict=True):
        for begin, end in own:
            if span[0] < begin <= span[1]:
                rung += 1
                true += any(comes(begin, end, reach, *one) for one in there)
        for first, last in there:
            if span[0] < first <= span[1]:
                came += 1
                before = [begin for begin, end in own if begin < first <= max(end, begin + reach)]
                announced += bool(before)
                noticed += bool(before) or any(begin <= last and end >= first for begin, end in own)
                leads += [first - max(before)] if before else []
    weeks = len(pages) * share * (span[1] - span[0]) / 10080
    return {
        "pages": rung, "pages_per_server_week": rung / weeks if weeks else np.nan, "true": _share(true, rung),
        "incidents": came, "announced": _share(announced, came), "noticed": _share(noticed, came),
        "lead_minutes": float(np.median(leads)) if leads else np.nan,
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else np.nan


def measure(
    forecaster: Forecaster, histories: Sequence[History], step: float, since: float | None, every: int,
    progress: Progress = iter,
) -> Figures:
    """{"every_minutes", "servers", "weeks" with a forecast of a server on average, "rules": {name: ``judge``}} of a
    forecaster's priorities and of alerts without a model, on equally long histories; from ``since`` on, Unix s, or a
    day after the beginning. Raises DatasetError."""
    if not forecaster.conditions:
        raise DatasetError("--episodes: no incident's signal is in the data; expected one: name it in risk.incidents")
    came: list[Stretches] = []
    forecast: list[Bools] = []
    pages: dict[str, tuple[int, list[Stretches]]] = {}
    for history in histories:
        windows = grid(forecaster.needed(history), step, since, every)
        at = minutes(windows)
        came += _incidents(windows, forecaster.conditions)
        priority = said_of(forecaster, [windows], progress).priority.astype(str)
        forecast.append(priority != str(None))
        for name, rule in _rules(priority, windows, forecaster.conditions).items():
            rows = rule.raised.reshape(len(history.servers), len(at))
            pages.setdefault(name, (rule.reach, []))[1].extend(stretches(row, at, 1) for row in rows)
    share = float(np.concatenate(forecast).mean())
    rules = {name: judge(own, came, reach, (at[0], at[-1]), share) for name, (reach, own) in pages.items()}
    return {"every_minutes": every, "servers": len(came), "weeks": share * (at[-1] - at[0]) / 10080, "rules": rules}


def grid(history: History, step: float, since: float | None, every: int) -> Windows:
    """Windows of every server at every ``every`` minutes, servers slowest; raises DatasetError where there is none."""
    stride = history.stride(step)
    begin = DAY * stride
    if since is not None:
        begin = max(begin, int(np.ceil((since - history.start) / history.resolution)))
    rows = np.arange(begin, len(history.values) - HORIZON_STEPS * stride, every * stride // STEP_MINUTES)
    if not len(rows):
        raise DatasetError(f"--episodes: {history.hours:.1f} h of history; expected at least 32 h")
    servers = np.arange(len(history.servers))
    return Windows(history, np.stack([np.repeat(servers, len(rows)), np.tile(rows, len(servers))], 1), stride)


def minutes(windows: Windows) -> NDArray[np.float64]:
    """(K,): of the instants, in model time, from the history's beginning."""
    own = windows.place[windows.place[:, 0] == windows.place[0, 0], 1]
    return np.asarray(own / windows.stride * STEP_MINUTES, np.float64)


def _rules(priority: NDArray[np.str_], windows: Windows, conditions: Mapping[str, Condition]) -> dict[str, Rule]:
    """The priorities (S x K,) as served, and alerts without a model."""
    soon, later = (steps * STEP_MINUTES for steps in SPANS.values())
    rules = chances.of_rules([windows], conditions)
    line = rules["predict-linear"]
    return {
        "P1": Rule(priority == "P1", soon), "P2 or worse": Rule(np.isin(priority, ["P1", "P2"]), later),
        "alert on the condition": Rule(np.any(rules["now"]["30m"], axis=1), soon),
    } | {f"predict_linear {label}": Rule(np.any(line[label], axis=1), steps * STEP_MINUTES)
         for label, steps in SPANS.items()}


def _incidents(windows: Windows, conditions: Mapping[str, Condition]) -> list[Stretches]:
    """Of every server, minutes in which any incident is on, in the whole history."""
    history, stride = windows.history, windows.stride
    rows = np.arange(windows.place[0, 1] % stride, len(history.values), stride)
    values = history.values[rows].transpose(1, 2, 0)  # (S, C, steps)
    on = np.any([beyond(values, one, history.signals) & one.meant(history.servers, history.profiles)[:, None]
                 for one in conditions.values()], 0)
    return [stretches(row, rows / stride * STEP_MINUTES, JOINED - 1) for row in on]
