"""What `backtest` looks back on: simulated fleets, a Prometheus or a file, and the windows cut from it."""

from __future__ import annotations

import argparse
import math
import zipfile
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from forecaster.config import ForecasterConfig
from forecaster.evaluation import backtest
from forecaster.models.features import MOTION_SHARE
from forecaster.training import histories
from forecaster.training.dataset import SCENARIO_DAYS, DatasetError, History, simulate

DAY = 86400.0
SIMULATED_END = 1_790_000_000 // DAY * DAY  # a fixed day, so that the same seed is the same history on any day
FLEET_DISTANCE = 41 * DAY  # from one simulated fleet's end to the next one's: every weekday and season is seen
MAX_DAYS = 366  # of one simulated fleet: 1.7 GB of history for 20 servers

Progress = Callable[[str], Callable[[Iterable[int]], Iterable[int]]]


def check(arguments: argparse.Namespace) -> None:
    """Raises DatasetError where flags exclude each other or a number makes no sense."""
    if arguments.data and arguments.source:
        raise DatasetError("--data and --source are two sources of history; expected one: leave one out")
    if arguments.windows and not arguments.data:
        raise DatasetError("--windows names servers and steps of a file; expected --data with it")
    if arguments.kept_out and (not arguments.data or arguments.windows):
        raise DatasetError("--kept-out draws windows of a recording that a model was trained on; expected --data, and no --windows")
    if arguments.source == "scrape":
        raise DatasetError("--source scrape keeps three hours, too few to look back on; use --source prometheus")
    if arguments.source and not (arguments.start and arguments.end):
        raise DatasetError("--source prometheus needs --start and --end, RFC 3339 or Unix seconds")
    if not arguments.source and (arguments.start or arguments.end):
        raise DatasetError("--start and --end are of a Prometheus; expected --source prometheus with them")
    if arguments.oracle and (arguments.out or arguments.plots):
        raise DatasetError("--oracle writes neither forecasts nor plots; leave out --out and --plots")
    if not 0 < arguments.days <= MAX_DAYS:
        raise DatasetError(f"--days {arguments.days:g}; expected more than 0, at most {MAX_DAYS}")
    for flag, least in (("fleets", 1), ("per_server", 1), ("seed", 0)):
        if getattr(arguments, flag) < least:
            raise DatasetError(f"--{flag.replace('_', '-')} {getattr(arguments, flag)}; expected at least {least}")


def read(arguments: argparse.Namespace, config: ForecasterConfig, progress: Progress) -> list[History]:
    """The histories asked for, one per simulated fleet; raises DatasetError, SourceError or SettingsError."""
    if arguments.data:
        return [histories.from_file(arguments.data)]
    if not arguments.source:
        return _simulated(arguments, config, progress)
    start, end = instant("--start", arguments.start), instant("--end", arguments.end)
    if end <= start:
        raise DatasetError(f"--end {arguments.end} is not after --start {arguments.start}; expected a later time")
    begin = start // config.step * config.step
    return [histories.from_prometheus(config, begin, end, resolution(config), progress("reading"))]


def resolution(config: ForecasterConfig) -> float:
    """Seconds between the rows asked of a Prometheus: fine enough for the motion that serving sees, else one step."""
    fine = MOTION_SHARE * config.step
    return fine if abs(fine / config.refresh - round(fine / config.refresh)) < 1e-9 else config.step


def _simulated(arguments: argparse.Namespace, config: ForecasterConfig, progress: Progress) -> list[History]:
    from exporter.profiles import METRICS, load_fleet

    if tuple(config.signals) != METRICS:
        raise DatasetError(
            f"the simulator has the signals {', '.join(METRICS)}, {arguments.config_file} others: use --data or --source"
        )
    fleet, out = load_fleet(arguments.fleet_file), []
    for i in progress("simulating")(range(arguments.fleets)):
        seed, start = arguments.seed + i, SIMULATED_END - arguments.days * DAY - i * FLEET_DISTANCE
        seeded = fleet.model_copy(update={"seed": seed})
        out.append(simulate(seeded, start // 60 * 60, arguments.days, config.step, SCENARIO_DAYS, seed))
    return out


def cut(
    arguments: argparse.Namespace, config: ForecasterConfig, history: History, first: float | None = None
) -> backtest.Windows:
    """The windows of --windows, else drawn at random, not before the instant ``first``; raises DatasetError."""
    if arguments.windows is None:
        return backtest.draw(history, config.step, arguments.per_server, arguments.seed, first)
    return backtest.at_origins(history, config.step, _pairs(arguments.windows))


def kept_out(history: History, model: str, facts: Mapping[str, object] | None) -> tuple[History, float]:
    """The servers of a recording that a model kept out of its training, and from which instant on it kept out all; facts as in
    its artifact, None of a yardstick. Raises DatasetError."""
    servers, since = (facts or {}).get("kept_out_servers"), (facts or {}).get("kept_out_from")
    if not servers or not since:
        raise DatasetError(f"--kept-out: {model} does not say what it kept out; expected first a model trained with --data")
    missing = sorted(set(servers) - set(history.servers))
    if missing:
        raise DatasetError(
            f"--kept-out: the recording lacks {len(missing)} of the {len(servers)} servers {model} kept out, such as "
            f"{missing[0]}; expected the recording it was trained on"
        )
    return history.of_servers(np.array([history.servers.index(name) for name in servers])), instant("kept_out_from", since)


def _pairs(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            pairs = np.load(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise DatasetError(f"--windows {path}: no such file") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(f"--windows {path}: cannot be read as .npy ({error}); expected what np.save writes") from error
    if not isinstance(pairs, np.ndarray):
        raise DatasetError(f"--windows {path}: an archive of arrays; expected one integer array (N, 2) in a .npy file")
    return pairs


def instant(flag: str, text: str) -> float:
    """Unix seconds of RFC 3339 (UTC where it names no zone) or of a number; raises DatasetError."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            seconds = math.nan
        else:
            seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(seconds):
        raise DatasetError(f"{flag} {text}: expected RFC 3339 such as 2026-03-01T00:00:00Z, or Unix seconds")
    return seconds


def described(arguments: argparse.Namespace) -> str:
    """The data in a few words."""
    if arguments.data:
        return arguments.data.name + ", what the first model kept out" * arguments.kept_out
    if arguments.source:
        return f"prometheus, {arguments.start} to {arguments.end}"
    return f"simulator, {arguments.fleets} x {arguments.days:g} days, seed {arguments.seed}"
