"""The limit: from a simulated fleet's hidden state, what the best possible forecaster would have said.

The fleet is rolled forward many times from the same instant, each time with other random numbers. The quantiles over the
rollouts are those of the true distribution of the future given everything there is to know, which no forecaster of past
measurements can beat on average. Scenario changes after the origin are not known to it: every group of rollouts draws its
own from the process that made the history.

Letters: S servers, C signals, H horizon steps, R rollouts.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import numpy as np

from exporter.fleet import Fleet
from forecaster.evaluation.scoring import LEVELS
from forecaster.signals import HORIZON_STEPS
from forecaster.training.dataset import MINUTE, SCENARIO_MINUTES, schedule

GROUPS = 50  # schedules of future scenarios; with few, one in trouble among them would be a tenth of all futures
WIDTH = 5  # minutes of one step
FIRST_STREAM = 1000


def rollouts(fleet: Fleet, instant: float, copies: int, scenario_every: float | None, seed: int) -> np.ndarray:
    """float32 (R, S, C, H): ``copies`` futures as means over each step, from the fleet's state at ``instant``.

    fleet: may hold events after the instant; they are not looked at, and neither is what happens to it from then on.
    scenario_every: mean days between scenarios, as in ``dataset.simulate``.
    """
    known = deepcopy(fleet)
    minute = int(instant // MINUTE)
    known.events = [event for event in known.events if event[0] <= minute + 1]
    known.at(instant - MINUTE)  # this leaves it in the state of the instant's own minute; one more belongs to the future
    groups = min(GROUPS, copies) if scenario_every is not None else 1
    parts = []
    for group, share in enumerate(np.array_split(np.arange(copies), groups)):
        rolled = known.fork(len(share), FIRST_STREAM + seed * GROUPS + group)
        if scenario_every is not None:
            rng = np.random.default_rng([seed, 6, group])
            _draw_future(rolled, instant, scenario_every, rng)
        values, _ = rolled.trajectory(instant + MINUTE, HORIZON_STEPS * WIDTH)
        means = values.reshape(HORIZON_STEPS, WIDTH, len(share), known.size, -1).mean(1)
        parts.append(means.transpose(1, 2, 3, 0))
    return np.concatenate(parts).astype(np.float32)


def _draw_future(fleet: Fleet, instant: float, every: float, rng: np.random.Generator) -> None:
    """Scenario changes after the instant: the present one ends as such scenarios do, then new ones begin."""
    end = instant + HORIZON_STEPS * WIDTH * MINUTE
    if fleet.scenario != "healthy":
        begun = fleet.events[-1][0] * MINUTE
        shortest, longest = (m * MINUTE for m in SCENARIO_MINUTES)
        instant = begun + rng.uniform(max(shortest, instant - begun), max(longest, instant - begun))
        fleet.set_scenario("healthy", instant)
    for at, name in schedule(tuple(fleet.config.scenarios), instant, end, every, rng):
        fleet.set_scenario(name, at)


def quantiles(futures: np.ndarray) -> np.ndarray:
    """float32 (S, C, H, 3) over rollouts (R, S, C, H)."""
    return np.moveaxis(np.quantile(futures, LEVELS, axis=0), 0, -1).astype(np.float32)


def chances(futures: np.ndarray, columns: Mapping[str, int], severe: Mapping[str, float], steps: int) -> np.ndarray:
    """float64 (S,): share of rollouts in which any role crosses its severe threshold within ``steps``."""
    over = np.zeros(futures.shape[:2], bool)
    for role, limit in severe.items():
        over |= (futures[:, :, columns[role], :steps] > limit).any(-1)
    return over.mean(0)


def origins(start: float, days: float, count: int, warm_days: float, seed: int) -> np.ndarray:
    """float64 (count,) rising whole minutes between ``warm_days`` after the start and 8 h before the end."""
    rng = np.random.default_rng([seed, 8])
    minutes = rng.choice(np.arange(int(warm_days * 1440), int(days * 1440) - HORIZON_STEPS * WIDTH), count, replace=False)
    return start + np.sort(minutes) * MINUTE

