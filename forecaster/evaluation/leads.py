"""How early P1 rings before incidents of simulated fleets, beside the earliest that is possible.

Some incidents of each fleet are followed from half an hour before they begin, at every step. The oracle rings where the
share of its futures with an incident of that server within 30 minutes reaches the configured chance of P1.

Letters: E events, K instants of an event, S servers, C signals, R rollouts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from exporter.fleet import Fleet
from forecaster.evaluation import oracle
from forecaster.evaluation.backtest import Forecaster, said_of
from forecaster.evaluation.episodes import stretches
from forecaster.evaluation.incidents import Wide, beyond
from forecaster.evaluation.scoring import SPANS, Figures
from forecaster.evaluation.windows import Windows
from forecaster.memory.episodes import JOINED
from forecaster.risk.conditions import Condition
from forecaster.signals import STEP_MINUTES
from forecaster.training.dataset import History
from forecaster.training.simulation import SCENARIO_DAYS

BEFORE = SPANS["30m"]  # steps before an incident
INSTANTS = BEFORE + 1  # the last is that at which it is on


@dataclass(frozen=True)
class Events:
    """Incidents of one fleet: windows (E x K), the instants of an event one after the other, and the oracle's chance
    (E, K) of any incident within 30 minutes."""

    windows: Windows
    chance: Wide


def begins(history: History, stride: int, conditions: Mapping[str, Condition], warm: int) -> list[tuple[int, int]]:
    """(server, row) of the beginnings of incidents, at steps from ``warm`` on; "begins" as in episodes."""
    rows = np.arange(0, len(history.values), stride)
    values = history.values[rows].transpose(1, 2, 0)
    on = np.any([beyond(values, one, history.signals) & one.meant(history.servers, history.profiles)[:, None]
                 for one in conditions.values()], 0)
    return [(server, int(first)) for server, row in enumerate(on)
            for first, _ in stretches(row, rows.astype(np.float64), JOINED - 1) if first >= (warm + BEFORE) * stride]


def gather(
    fleet: Fleet, history: History, stride: int, conditions: Mapping[str, Condition], warm: int, count: int,
    copies: int, seed: int,
) -> Events | None:
    """At most ``count`` events of a simulated fleet, with the oracle's chances by ``copies`` rollouts, ``warm`` steps
    after the beginning at the earliest; None without any."""
    found = begins(history, stride, conditions, warm)
    if not found:
        return None
    chosen = np.random.default_rng([seed, 9]).permutation(len(found))[:count]
    place = [(found[i][0], found[i][1] + step * stride) for i in sorted(chosen) for step in range(-BEFORE, 1)]
    windows = Windows(history, np.array(place, np.int64), stride)
    past = max(one.steps for one in conditions.values())
    by_row: dict[int, Wide] = {}
    for row in {row for _, row in place}:
        instant = history.start + row * history.resolution
        futures = oracle.rollouts(fleet, instant, copies, SCENARIO_DAYS, seed, SPANS["30m"])
        before = history.values[row - (past - 1) * stride : row + 1 : stride].transpose(1, 2, 0)
        by_row[row] = oracle.chances(futures, before, history.signals, conditions, SPANS["30m"])[:, -1]
    chance = np.array([by_row[row][server] for server, row in place])
    return Events(windows, chance.reshape(-1, INSTANTS))


def compare(forecasters: Sequence[Forecaster], events: Sequence[Events], p1_chance: float) -> dict[str, Figures]:
    """{"oracle" or forecaster: {"events", "announced": share of them before they begin, "lead_minutes": mean, 0 where
    not announced}}; empty without events."""
    if not events:
        return {}
    out = {"oracle": judge(np.concatenate([one.chance for one in events]) >= p1_chance)}
    for one in forecasters:
        raised = said_of(one, [part.windows for part in events]).priority == "P1"
        out[one.name] = judge(raised.reshape(-1, INSTANTS))
    return out


def judge(raised: np.ndarray) -> Figures:
    """Of bool (E, K): an alarm counts from its first instant on."""
    before = raised[:, :-1]
    lead = np.where(before.any(1), BEFORE - before.argmax(1), 0) * STEP_MINUTES
    return {"events": len(raised), "announced": float(before.any(1).mean()), "lead_minutes": float(lead.mean())}
