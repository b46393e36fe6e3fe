"""`fleet-forecaster backtest`: the accuracy of models and yardsticks on recorded or simulated history."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forecaster.commands import capacity, outputs
from forecaster.commands.flags import Commands, add, progress, read_config
from forecaster.config import ForecasterConfig
from forecaster.evaluation.yardsticks import NAMES
from serving.settings import SettingsError
from serving.shown import say

if TYPE_CHECKING:
    from forecaster.evaluation.backtest import Backtest
    from forecaster.evaluation.boosted import Boosted
    from forecaster.evaluation.windows import Windows
    from forecaster.models.model import Model
    from forecaster.risk.chances import Chances
    from forecaster.risk.conditions import Condition
    from forecaster.signals import Signal
    from forecaster.training.dataset import History

GBM = "gbm"  # as evaluation.boosted has it
DAYS = 9.0
EVERY = 15  # minutes between the instants of --episodes: every refresh would take hours
MAX_DAYS = 366  # of one simulated fleet: 1.7 GB of history for 20 servers


def add_command(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Adds `backtest` to the command line."""
    parser = add(
        commands, common, "backtest", run, help="compare past forecasts with actual values",
        description="Makes forecasts at many past instants, as in serving, and compares them with the actual values. "
        "The history is simulated, or a Prometheus' with --source prometheus --start --end, or a file's with --data.")
    parser.add_argument("--model", dest="models", action="append", metavar="NAME",
                        help=f"default, servers, an artifact folder, or one of {', '.join(NAMES)}, {GBM} (chances of "
                        "incidents only); repeat it or separate names by commas to compare (default: the "
                        "configuration's model and the heuristic)")
    parser.add_argument("--data", type=Path, metavar="FILE", help="recorded history (.npz)")
    parser.add_argument("--start", metavar="TIME", help="with --source prometheus: RFC 3339 or Unix seconds")
    parser.add_argument("--end", metavar="TIME", help="with --source prometheus: RFC 3339 or Unix seconds")
    parser.add_argument("--days", type=float, help=f"days of each simulated fleet (default: {DAYS:g}, with --capacity "
                        f"{capacity.DAYS:g} after four weeks of history)")
    parser.add_argument("--fleets", type=int, default=3, help="simulated fleets (default: %(default)d)")
    parser.add_argument(
        "--fleet.file",
        dest="fleet_file",
        metavar="FILE",
        help="fleet file of the simulation (default: the shipped one)",
    )
    parser.add_argument("--without", metavar="SIGNALS",
                        help="signals to leave out, separated by commas: how well servers are forecast that lack them")
    parser.add_argument("--per-server", type=int, default=8, help="windows of each server (default: %(default)d)")
    parser.add_argument("--draws", type=int, default=1,
                        help="draws of windows, for the spread of the figures of incidents (default: %(default)d)")
    parser.add_argument("--episodes", type=int, nargs="?", const=EVERY, metavar="MINUTES",
                        help="count the first model's pages and incidents, at instants of every server so many minutes "
                        "apart (default: %(const)s)")
    parser.add_argument("--seed", type=int, default=90001, help="seed of simulation and windows (default: %(default)d)")
    parser.add_argument("--windows", type=Path, metavar="FILE",
                        help="with --data: windows, an int array (N, 2) of server index and first target's step (.npy)")
    parser.add_argument("--kept-out", action="store_true",
                        help="with --data: only servers and days kept out of the first model's training")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the first model's forecasts (.npz)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write all figures (.json)")
    parser.add_argument("--plots", type=Path, metavar="DIR",
                        help="write fan charts, reliability diagram and loss by horizon (.png)")
    parser.add_argument("--oracle", action="store_true", help="with simulated fleets: compare with the best possible "
                        "forecast, which knows the simulator's hidden state")
    parser.add_argument("--rollouts", type=int, default=200,
                        help="with --oracle or simulated mounts: simulated futures per instant (default: %(default)d)")
    parser.add_argument("--capacity", action="store_true", help="measure the forecast of what fills up instead, on "
                        "simulated mounts beside the best possible forecast, or on a Prometheus' history")
    parser.add_argument("--origins", type=int, default=8,
                        help="with --oracle: instants per fleet (default: %(default)d)")


def run(arguments: argparse.Namespace) -> int:
    """Measures, prints and writes; the exit code. Raises SettingsError."""
    models, arguments.model = arguments.models, None
    if arguments.days is None:
        arguments.days = capacity.DAYS if arguments.capacity else DAYS
    config = read_config(arguments)
    from forecaster.evaluation import backtest
    from forecaster.models.artifact import ModelError
    from forecaster.readings import SourceError
    from forecaster.training.dataset import DatasetError

    try:
        _check_source(arguments)
        if arguments.capacity:
            capacity.measure(arguments, config)
            return 0
        names = _names(models, config)
        arguments.gbm = GBM in names
        _check(arguments, names)
        outputs.check(arguments)
        loaded = [(name, *backtest.load(name, config)) for name in names if name != GBM]
        (_against_the_oracle if arguments.oracle else _compare)(arguments, config, loaded)
    except (DatasetError, ModelError, SourceError) as error:
        raise SettingsError(f"backtest: {error}") from error
    return 0


def _check(arguments: argparse.Namespace, names: list[str]) -> None:
    """Raises DatasetError where flags exclude each other or a number is out of range."""
    simulated = not (arguments.data or arguments.source)
    rules = (
        (arguments.windows and not arguments.data, "--windows lists servers and steps of a file; expected --data"),
        (arguments.kept_out and (not arguments.data or arguments.windows),
         "--kept-out draws windows of a model's training data; expected --data, and no --windows"),
        (arguments.gbm and (not arguments.kept_out or names[0] == GBM),
         f"--model {GBM} learns from what the first model did not keep out; expected --kept-out and a model before it"),
        (arguments.draws > 1 and arguments.windows, "--windows lists the windows, once; leave out --draws"),
        (arguments.episodes is not None and (arguments.episodes < 5 or arguments.episodes % 5),
         f"--episodes {arguments.episodes}; expected a multiple of 5 minutes"),
        (arguments.oracle and (arguments.draws > 1 or arguments.episodes is not None),
         "--oracle follows its own incidents; leave out --draws and --episodes"),
        (arguments.oracle and not simulated,
         "--oracle needs the hidden state of simulated fleets; leave out --data and --source"),
        (arguments.oracle and (arguments.out or arguments.plots or arguments.without),
         "--oracle writes neither forecasts nor plots and needs all signals; leave out --out, --plots and --without"),
        (not 0 < arguments.days <= MAX_DAYS, f"--days {arguments.days:g}; expected more than 0, at most {MAX_DAYS}"),
        *((getattr(arguments, flag.replace("-", "_")) < least,
           f"--{flag} {getattr(arguments, flag.replace('-', '_'))}; expected at least {least}")
          for flag, least in (("fleets", 1), ("per-server", 1), ("seed", 0), ("draws", 1))),
    )
    _refuse(*rules)


def _check_source(arguments: argparse.Namespace) -> None:
    """Raises DatasetError where a source lacks what it needs, or is one of two."""
    _refuse(
        (arguments.data and arguments.source, "--data and --source are two histories; expected one: leave one out"),
        (arguments.source == "scrape", "--source scrape holds three hours, too few; use --source prometheus"),
        (arguments.source and not (arguments.start and arguments.end),
         "--source prometheus needs --start and --end, RFC 3339 or Unix seconds"),
        (not arguments.source and (arguments.start or arguments.end),
         "--start and --end select from a Prometheus; expected --source prometheus with them"))


def _refuse(*rules: tuple[object, str]) -> None:
    """Raises DatasetError with the message of the first rule that is broken."""
    from forecaster.training.dataset import DatasetError

    for broken, message in rules:
        if broken:
            raise DatasetError(message)


def _names(models: list[str] | None, config: ForecasterConfig) -> list[str]:
    """Each model once, in the order given."""
    given = [name.strip() for one in models or () for name in one.split(",")]
    return [*dict.fromkeys(given or [config.model or "heuristic", "heuristic"])]


Loaded = list[tuple[str, "Model | str", "Chances | None"]]


def _compare(arguments: argparse.Namespace, config: ForecasterConfig, loaded: Loaded) -> None:
    """Prints and writes the figures of every model on the same windows."""
    from forecaster.evaluation import backtest, comparison, episodes
    from forecaster.evaluation.table import table, to_json
    from forecaster.evaluation.windows import CONTEXT_STEPS
    from forecaster.signals import HORIZON_STEPS
    from forecaster.training.histories import shared

    what = str(arguments.data or arguments.source or "simulator")
    left_out = [name.strip() for name in (arguments.without or "").split(",") if name.strip()]
    held = [shared(one.without(left_out), config.signals, what) for one in _histories(arguments, config)]
    histories, signals, missing = [one for one, *_ in held], *held[0][1:]
    forecasters = [backtest.Forecaster(name, signals, source, config, fit) for name, source, fit in loaded]
    evaluated, since = _evaluated(arguments, histories, loaded)
    windows_of = partial(_windows, arguments, config, evaluated, since)
    parts = windows_of(0)
    windows = sum(len(part) for part in parts)
    outputs.check_space(arguments, 4 * windows * len(signals) * HORIZON_STEPS * 3)
    for sentence in (*missing, *(f"{one.name} does not forecast {', '.join(one.unknown)}: its figures lack them"
                                 for one in forecasters if one.unknown)):
        say(sentence, sys.stderr)
    result = backtest.measure(forecasters, parts, progress)
    report = {"data": _described(arguments), "windows": windows, "context_steps": CONTEXT_STEPS, "seed": arguments.seed,
              "models": result.figures} | ({"missing": missing} if missing else {})
    trained = _boosted(arguments, config, histories[0], loaded, forecasters[0].conditions) if arguments.gbm else None
    report |= comparison.compare(forecasters, result.figures, windows_of, arguments.draws, trained, progress)
    if arguments.episodes is not None:
        report["episodes"] = {"model": forecasters[0].name} | episodes.measure(
            forecasters[0], evaluated, config.step, since, arguments.episodes, progress("episodes"))
    say(table(report))
    first = result.forecasts[forecasters[0].name]
    outputs.write(arguments.out, lambda file: np.savez_compressed(file, forecast=first))
    outputs.write(arguments.report, lambda file: file.write(to_json(report).encode()))
    if arguments.plots:
        _plot(arguments.plots, result, parts, signals)


def _histories(arguments: argparse.Namespace, config: ForecasterConfig) -> list[History]:
    """The histories asked for, one per simulated fleet; raises DatasetError or SourceError."""
    from exporter.profiles import load_fleet
    from forecaster.evaluation import windows
    from forecaster.training import histories, simulation
    from forecaster.training.dataset import DatasetError

    if arguments.data:
        return [histories.from_file(arguments.data)]
    if arguments.source:
        start, end = (histories.instant(f"--{flag}", getattr(arguments, flag)) for flag in ("start", "end"))
        if end <= start:
            raise DatasetError(f"--end {arguments.end} is not after --start {arguments.start}; expected a later time")
        return [windows.recorded(config, start, end, progress("reading"))]
    simulation.check_signals(list(config.signals), arguments.config_file)
    return windows.simulated(load_fleet(arguments.fleet_file), arguments.fleets, arguments.days, config.step,
                             arguments.seed, progress("simulating"))


def _evaluated(
    arguments: argparse.Namespace, histories: list[History], loaded: Loaded
) -> tuple[list[History], float | None]:
    """(histories of the servers to evaluate, Unix s from which on); raises DatasetError."""
    from forecaster.evaluation import windows

    if not arguments.kept_out:
        return histories, None
    history, since = windows.kept_out(histories[0], *_facts(loaded))
    return [history], since


def _facts(loaded: Loaded) -> tuple[str, Mapping[str, Any]]:
    """Name and facts of the first model."""
    name, model, _ = loaded[0]
    return name, {} if isinstance(model, str) else model.facts


def _windows(
    arguments: argparse.Namespace, config: ForecasterConfig, histories: list[History], since: float | None, draw: int
) -> list[Windows]:
    """The windows of --windows, else random ones; raises DatasetError."""
    from forecaster.evaluation import windows

    if arguments.windows:
        return [windows.from_file(arguments.windows, histories[0], config.step)]
    return [windows.draw(one, config.step, arguments.per_server, arguments.seed + draw, since) for one in histories]


def _boosted(
    arguments: argparse.Namespace, config: ForecasterConfig, history: History, loaded: Loaded,
    conditions: Mapping[str, Condition],
) -> Boosted:
    """Trained on what the first model did not keep out; raises DatasetError."""
    from forecaster.evaluation import windows
    from forecaster.evaluation.boosted import Boosted

    rest = windows.not_kept_out(history, *_facts(loaded))
    return Boosted(rest, config.step, conditions, arguments.seed, progress(GBM))


def _described(arguments: argparse.Namespace) -> str:
    """The history in a few words."""
    if arguments.data:
        return f"{arguments.data.name}{', kept out of the first model' * arguments.kept_out}"
    if arguments.source:
        return f"prometheus, {arguments.start} to {arguments.end}"
    return f"simulator, {arguments.fleets} x {arguments.days:g} days, seed {arguments.seed}"


def _plot(folder: Path, result: Backtest, parts: list[Windows], signals: dict[str, Signal]) -> None:
    from forecaster.evaluation import plots
    from forecaster.evaluation.windows import single

    plots.write(folder, result.forecasts, result.truth, result.scale, list(signals),
                lambda i: single(parts, i).context(slice(None))[0], lambda i: single(parts, i).title(),
                {name: row["incidents"] for name, row in result.figures.items()})


def _against_the_oracle(arguments: argparse.Namespace, config: ForecasterConfig, loaded: Loaded) -> None:
    """Prints and writes how far every model is from the best possible forecast."""
    from exporter.profiles import load_fleet
    from forecaster.evaluation import backtest, limit
    from forecaster.evaluation.table import to_json
    from forecaster.training.simulation import check_signals

    check_signals(list(config.signals), arguments.config_file)
    best = limit.gather(
        config, load_fleet(arguments.fleet_file), arguments.seed, arguments.fleets, arguments.days, arguments.origins,
        arguments.rollouts, progress("simulating"))
    forecasters = [backtest.Forecaster(name, config.signals, source, config, chances)
                   for name, source, chances in loaded]
    report = limit.compare(forecasters, best, config)
    say(limit.table(report, len(best.quantiles)))
    outputs.write(arguments.report, lambda file: file.write(to_json(report).encode()))
