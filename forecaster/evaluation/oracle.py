"""The best possible forecast of a simulated fleet, from the simulator's hidden state.

The fleet is simulated many times from the same instant, each time with other random numbers. The quantiles over these
rollouts are those of the distribution of the future given the complete state, which no forecaster of past measurements
can beat on average. The oracle does not know scenario changes after the origin: every group of rollouts draws its own
from the process that made the history.

Letters: S servers, C signals, H horizon steps, R rollouts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import numpy as np
import numpy.typing as npt

from exporter.fleet import Fleet
from forecaster.evaluation.incidents import beyond
from forecaster.evaluation.scoring import LEVELS
from forecaster.risk.conditions import Condition
from forecaster.signals import HORIZON_STEPS
from forecaster.training.dataset import Floats
from forecaster.training.simulation import MINUTE, SCENARIO_MINUTES, schedule

GROUPS = 50  # schedules of future scenarios: with 10, one scenario would already be in a tenth of all futures
WIDTH = 5  # minutes of one step
FIRST_STREAM = 1000


def rollouts(fleet: Fleet, instant: float, copies: int, scenario_every: float | None, seed: int,
             steps: int = HORIZON_STEPS) -> Floats:
    """float32 (R, S, C, H): ``copies`` futures as means over each of ``steps``, from the fleet's state at ``instant``.

    fleet: its events after the instant are ignored. scenario_every: mean days between scenarios, as in
    ``simulation.simulate``.
    """
    known = deepcopy(fleet)
    minute = int(instant // MINUTE)
    known.events = [event for event in known.events if event[0] <= minute + 1]
    known.at(instant - MINUTE)  # leaves the state of the instant's own minute; the next minute belongs to the future
    groups = min(GROUPS, copies) if scenario_every is not None else 1
    parts = []
    for group, share in enumerate(np.array_split(np.arange(copies), groups)):
        rolled = known.fork(len(share), FIRST_STREAM + seed * GROUPS + group)
        if scenario_every is not None:
            _draw_future(rolled, instant, scenario_every, np.random.default_rng([seed, 6, group]))
        values, _ = rolled.trajectory(instant + MINUTE, steps * WIDTH)
        means = values.reshape(steps, WIDTH, len(share), known.size, -1).mean(1)
        parts.append(means.transpose(1, 2, 3, 0))
    return np.concatenate(parts).astype(np.float32)


def _draw_future(fleet: Fleet, instant: float, every: float, rng: np.random.Generator) -> None:
    """Adds scenario changes after the instant: the current scenario ends after a random duration, then others
    follow."""
    end = instant + HORIZON_STEPS * WIDTH * MINUTE
    if fleet.scenario != "healthy":
        begun = fleet.events[-1][0] * MINUTE
        shortest, longest = (m * MINUTE for m in SCENARIO_MINUTES)
        instant = begun + rng.uniform(max(shortest, instant - begun), max(longest, instant - begun))
        fleet.set_scenario("healthy", instant)
    for at, name in schedule(tuple(fleet.config.scenarios), instant, end, every, rng):
        fleet.set_scenario(name, at)


def quantiles(futures: Floats) -> Floats:
    """float32 (S, C, H, 3) over rollouts (R, S, C, H)."""
    levels: Floats = np.quantile(futures, LEVELS, axis=0).astype(np.float32)
    return np.moveaxis(levels, 0, -1)


def chances(
    futures: Floats, past: Floats, signals: Sequence[str], conditions: Mapping[str, Condition], steps: int
) -> npt.NDArray[np.float64]:
    """(S, I + 1): share of rollouts (R, S, C, H) in which each incident is on within ``steps``, and any. past: (S, C,
    T), the steps before, which count for an incident that must last."""
    on = []
    for one in conditions.values():
        before = np.broadcast_to(past[..., past.shape[-1] - one.steps + 1 :], (*futures.shape[:-1], one.steps - 1))
        values = np.concatenate([before, futures[..., :steps]], -1).reshape(-1, futures.shape[2], one.steps - 1 + steps)
        on.append(beyond(values, one, signals)[:, one.steps - 1 :].any(1).reshape(futures.shape[:2]))
    share: npt.NDArray[np.float64] = np.stack([*on, np.any(on, 0)], -1).mean(0)
    return share


def origins(start: float, days: float, count: int, warm_days: float, seed: int) -> npt.NDArray[np.float64]:
    """(count,) rising whole minutes between ``warm_days`` after the start and 8 h before the end."""
    rng = np.random.default_rng([seed, 8])
    minutes = np.arange(int(warm_days * 1440), int(days * 1440) - HORIZON_STEPS * WIDTH)
    return start + np.sort(rng.choice(minutes, count, replace=False)) * MINUTE
