"""Histories of simulated fleets, for training, backtests and calibration."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np

from exporter.fleet import Fleet
from exporter.profiles import METRICS, FleetConfig
from forecaster.training.dataset import DAY, DatasetError, History

MINUTE = 60.0
SCENARIO_DAYS = 2.0  # mean days between scenarios: rare enough that p90 does not expect one within 8 hours
SCENARIO_MINUTES = (20.0, 240.0)  # shortest and longest
SERVERS = 999  # of one profile at most: names have three digits
END = 1_790_000_000 // DAY * DAY  # of backtest histories: a fixed day, so that a seed gives the same history every day
FLEET_DISTANCE = 41 * DAY  # between the ends of two fleets of a backtest, which so cover every weekday and season


def check_signals(signals: Sequence[str], config_file: str) -> None:
    """Raises DatasetError unless ``signals`` are the simulator's."""
    if tuple(signals) != METRICS:
        raise DatasetError(f"the simulator has the signals {', '.join(METRICS)}; {config_file} has "
                           f"{', '.join(signals)}: use the preset fleet, or --data or --source prometheus")


def simulate(
    config: FleetConfig, start: float, days: float, step: float, scenario_every: float | None, seed: int
) -> History:
    """History of a simulated fleet at one-minute resolution, starting on a whole minute.

    scenario_every: mean days between two scenarios (each 20 minutes to 4 hours long), None for no scenarios.
    """
    return simulate_fleet(scheduled(config, start, days, scenario_every, seed), start, days, step)


def scheduled(config: FleetConfig, start: float, days: float, scenario_every: float | None, seed: int) -> Fleet:
    """A fleet with all scenario changes of these days."""
    fleet = Fleet(config)
    if scenario_every is not None:
        rng = np.random.default_rng([seed, 5])
        for at, name in schedule(tuple(config.scenarios), start, start + days * DAY, scenario_every, rng):
            fleet.set_scenario(name, at)
    return fleet


def schedule(
    scenarios: tuple[str, ...], start: float, end: float, every: float, rng: np.random.Generator
) -> Iterator[tuple[float, str]]:
    """(instant, scenario) of every change after ``start``: scenarios other than `healthy` begin on average ``every``
    days apart before ``end`` and last SCENARIO_MINUTES."""
    troubled, at = [name for name in scenarios if name != "healthy"], start
    while (at := at + rng.exponential(every) * DAY) < end:
        yield at, str(rng.choice(troubled))
        at += rng.uniform(*SCENARIO_MINUTES) * MINUTE
        yield at, "healthy"


def simulate_fleet(fleet: Fleet, start: float, days: float, step: float) -> History:
    """Trailing means over ``step`` seconds of this fleet, at one-minute resolution."""
    minutes, width = int(days * 1440), max(int(step // MINUTE), 1)
    values, _ = fleet.trajectory(start - (width - 1) * MINUTE, minutes + width - 1)
    means = reduce(np.add, (values[i : i + minutes] for i in range(width))) / width
    return History(start, MINUTE, METRICS, fleet.servers, fleet.profiles, means.astype(np.float32))


def simulate_many(
    config: FleetConfig, fleets: int, days: float, step: float, seed: int, end: float, copies: int = 2
) -> list[History]:
    """``fleets`` simulated histories of ``days``, with seeds from ``seed`` on and ``copies`` times the configured
    servers. The first ends at ``end``, the others at whole days before it, spread over a year so that every month
    occurs. Each is simulated in a process of its own, as many at once as there are processors."""
    servers = {profile: min(count * copies, SERVERS) for profile, count in config.servers.items()}
    seeds = range(seed, seed + fleets)
    configs = [config.model_copy(update={"seed": one, "servers": servers}) for one in seeds]
    starts = [(end - days * DAY - i * 365 * DAY / fleets) // DAY * DAY for i in range(fleets)]
    one = partial(_simulate, days, step)
    workers = min(fleets, len(os.sched_getaffinity(0)))
    if workers < 2:
        return [*map(one, configs, starts, seeds)]
    with ProcessPoolExecutor(workers) as pool:
        return [*pool.map(one, configs, starts, seeds)]


def _simulate(days: float, step: float, config: FleetConfig, start: float, seed: int) -> History:
    return simulate(config, start, days, step, SCENARIO_DAYS, seed)


def backtest_fleet(config: FleetConfig, number: int, days: float, seed: int) -> tuple[Fleet, float]:
    """(fleet with its scenarios, Unix seconds of its first minute): fleet ``number`` (from 0) of a backtest."""
    start = (END - days * DAY - number * FLEET_DISTANCE) // MINUTE * MINUTE
    seeded = config.model_copy(update={"seed": seed + number})
    return scheduled(seeded, start, days, SCENARIO_DAYS, seed + number), start


@dataclass(frozen=True)
class TrainingFleets:
    """Simulated fleets to train and validate on, of seeds that never coincide; ``now``: Unix seconds, the latest
    end."""

    config: FleetConfig
    fleets: int
    days: float
    step: float
    seed: int
    now: float

    def training(self, number: int = 0) -> list[History]:
        """Training histories; every ``number`` gives others, which end at other hours, weekdays and months."""
        end, seed = (self.now // DAY - 3 * (number % 12)) * DAY, 1_000_000 * (self.seed + 1) + 1000 * number
        return simulate_many(self.config, self.fleets, self.days, self.step, seed, end)

    def validation(self) -> list[History]:
        """Validation histories: a quarter as many fleets, of at most 12 days."""
        end, seed = (self.now // DAY - 40) * DAY, 1000 * self.seed + 500
        return simulate_many(self.config, max(self.fleets // 4, 1), min(self.days, 12.0), self.step, seed, end)
