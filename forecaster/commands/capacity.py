"""`fleet-forecaster backtest --capacity`: forecasts and alerts of what fills up, on recorded or simulated history."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from forecaster.commands import outputs
from forecaster.commands.flags import progress
from forecaster.config import ForecasterConfig
from serving.shown import say

if TYPE_CHECKING:
    from forecaster.evaluation.capacity.courses import Courses

DAYS, LEAST_DAYS = 84.0, 15.0  # evaluated, after four weeks of history
OTHERS = {"data": "data", "without": "without", "windows": "windows", "kept-out": "kept_out", "out": "out",
          "plots": "plots", "episodes": "episodes", "oracle": "oracle", "model": "models"}  # flag: as parsed


def measure(arguments: argparse.Namespace, config: ForecasterConfig) -> None:
    """Prints and writes the figures; raises DatasetError or SourceError."""
    from forecaster.evaluation.capacity import proof
    from forecaster.evaluation.capacity.table import table
    from forecaster.evaluation.table import to_json
    from forecaster.training.dataset import DatasetError

    given = [f"--{flag}" for flag, name in OTHERS.items() if getattr(arguments, name) not in (None, False)]
    if given:
        raise DatasetError(f"--capacity measures the forecast of what fills up alone; leave out {', '.join(given)}")
    days = arguments.days
    if not LEAST_DAYS <= days <= 366:
        raise DatasetError(f"--days {days:g}; expected {LEAST_DAYS:g} to 366 with --capacity")
    outputs.check(arguments)
    report = proof.measure(_courses(arguments, config, days), arguments.rollouts, progress("fleets"))
    report = {"data": _described(arguments, days)} | report
    say(table(report))
    outputs.write(arguments.report, lambda file: file.write(to_json(report).encode()))


def _courses(
    arguments: argparse.Namespace, config: ForecasterConfig, days: float
) -> Sequence[Callable[[], Courses]]:
    """What makes each set of courses: simulated fleets, or a Prometheus' history, one of each resource."""
    from exporter.profiles import load_fleet
    from forecaster.evaluation.capacity import courses, recorded
    from forecaster.training.dataset import DatasetError
    from forecaster.training.histories import instant
    from forecaster.training.simulation import END, FLEET_DISTANCE

    if arguments.source:
        start, end = (instant(f"--{flag}", getattr(arguments, flag)) for flag in ("start", "end"))
        if end - start < LEAST_DAYS * 86400:
            raise DatasetError(f"--start to --end are {(end - start) / 86400:.1f} days; expected at least "
                               f"{LEAST_DAYS:g} with --capacity, and four weeks of history before them")
        if not config.capacity.resources:
            raise DatasetError(f"{arguments.config_file} has no capacity.resources; expected some: use the preset "
                               "node_exporter, or name them")
        return [partial(recorded.recorded, config, name, start, end) for name in config.capacity.resources]
    names = load_fleet(arguments.fleet_file).names()
    starts = [END - days * 86400 - courses.HISTORY * 3600 - number * FLEET_DISTANCE
              for number in range(arguments.fleets)]
    return [partial(courses.simulated, *names, arguments.seed + number, start // 3600 * 3600, int(days * 24))
            for number, start in enumerate(starts)]


def _described(arguments: argparse.Namespace, days: float) -> str:
    if arguments.source:
        return f"prometheus, {arguments.start} to {arguments.end}"
    return f"simulator, {arguments.fleets} fleets x {days:g} days, seed {arguments.seed}"
