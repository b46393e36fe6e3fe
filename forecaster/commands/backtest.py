"""`fleet-forecaster backtest`: how good any model or yardstick would have been on recorded or simulated history."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from forecaster.commands.flags import progress, read_config
from serving.settings import SettingsError

YARDSTICKS = ("heuristic", "persistence", "seasonal-naive", "last-day", "predict-linear")
SPARE_BYTES = 20_000_000  # for the report and the plots


def add_command(commands, common: argparse.ArgumentParser) -> None:
    """Adds `backtest` to the command line; nothing heavy is imported before it runs."""
    parser = commands.add_parser(
        "backtest",
        allow_abbrev=False,
        parents=[common],
        help="measure forecasts against what came",
        description="Forecasts from many instants of the past, as in serving, and holds each against what came. Data: the "
        "simulator's (default), a Prometheus (--source prometheus --start --end), or --data FILE.npz.",
    )
    parser.add_argument(
        "--model",
        dest="models",
        action="append",
        metavar="NAME",
        help=f"default, servers, a model folder, or {', '.join(YARDSTICKS)}; repeat it or separate by commas to compare "
        "(default: the configuration's model and the heuristic)",
    )
    parser.add_argument("--data", type=Path, metavar="FILE", help="recorded history (.npz)")
    parser.add_argument("--start", metavar="TIME", help="RFC 3339 or Unix seconds, with --source prometheus")
    parser.add_argument("--end", metavar="TIME", help="RFC 3339 or Unix seconds, with --source prometheus")
    parser.add_argument("--days", type=float, default=9.0, help="days of each simulated fleet (default: %(default)g)")
    parser.add_argument("--fleets", type=int, default=3, help="simulated fleets (default: %(default)d)")
    parser.add_argument(
        "--fleet.file", dest="fleet_file", default=None, metavar="FILE",
        help="fleet file of the simulation (default: the shipped one)"
    )
    parser.add_argument("--per-server", type=int, default=8, help="windows of each server (default: %(default)d)")
    parser.add_argument("--seed", type=int, default=90001, help="seed of simulation and windows (default: %(default)d)")
    parser.add_argument("--windows", type=Path, metavar="FILE", help="int array (N, 2): server index, origin step (.npy)")
    parser.add_argument(
        "--kept-out",
        action="store_true",
        help="with --data: only servers and days that the first model kept out of its training",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the first model's forecasts (.npz)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write all figures (.json)")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write fan charts, reliability, loss by horizon (.png)")
    parser.add_argument(
        "--oracle",
        action="store_true",
        help="of simulated fleets: compare with the best that anyone could have forecast, from the simulator's hidden state",
    )
    parser.add_argument(
        "--rollouts", type=int, default=200, help="futures the oracle draws per origin (default: %(default)d)"
    )
    parser.add_argument("--origins", type=int, default=8, help="the oracle's origins per fleet (default: %(default)d)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measures, prints and writes; the exit code."""
    models, arguments.model = arguments.models, None
    config = read_config(arguments)
    from forecaster.evaluation import backtest, scoring
    from forecaster.evaluation import table as backtest_table
    from forecaster.evaluation import windows as backtest_data
    from forecaster.models.artifact import ModelError
    from forecaster.readings import SourceError
    from forecaster.training.dataset import DatasetError
    from forecaster.training.histories import select

    try:
        backtest_data.check(arguments)
        plots = _check_outputs(arguments)
        loaded = [(name, *_load(name, config)) for name in _names(models, config)]
        if arguments.oracle:
            return _against_the_oracle(arguments, config, loaded)
        histories = backtest_data.read(arguments, config, progress)
        signals = select(histories[0], config.signals, str(arguments.data or "the source"))
        forecasters = [backtest.Forecaster(name, signals, source, config.risk, fit) for name, source, fit in loaded]
        first = None
        if arguments.kept_out:
            name, source, _ = loaded[0]
            histories[0], first = backtest_data.kept_out(histories[0], name, getattr(source, "facts", None))
        parts = [backtest_data.cut(arguments, config, history, first) for history in histories]
        truth = np.concatenate([part.truth() for part in parts])
        _check_space(arguments, 4 * truth.size * len(scoring.LEVELS))
        scale = np.concatenate([backtest.scale(part) for part in parts])
        made, figures = {}, {}
        for forecaster in forecasters:
            bar = progress(forecaster.name)
            forecast = np.concatenate([backtest.run(forecaster, part, bar) for part in parts])
            made[forecaster.name] = forecast
            figures[forecaster.name] = backtest.evaluate(forecaster, forecast, truth, scale)
            if forecaster.unknown:
                told = ", ".join(forecaster.unknown)
                print(f"{forecaster.name} does not know {told}: NaN, and no part in its figures", file=sys.stderr)
    except (DatasetError, ModelError, SourceError) as error:
        raise SettingsError(f"backtest: {error}") from error
    report = {
        "data": backtest_data.described(arguments),
        "windows": len(truth),
        "context_steps": backtest.CONTEXT_STEPS,
        "seed": arguments.seed,
        "models": figures,
    }
    print(backtest_table.table(report))
    first = made[forecasters[0].name]
    if arguments.out:
        _write(arguments.out, lambda file: np.savez_compressed(file, forecast=first))
    if arguments.report:
        _write(arguments.report, lambda file: file.write(backtest_table.to_json(report).encode()))
    if plots:
        contexts = backtest.Joined(parts)
        found = {name: row["incidents"] for name, row in figures.items()}
        plots.write(arguments.plots, made, truth, scale, list(signals), contexts.context, contexts.title, found)
    return 0


def _against_the_oracle(arguments: argparse.Namespace, config, loaded: list) -> int:
    """Prints and writes how far from the limit each model is; the exit code."""
    from exporter.profiles import METRICS
    from forecaster.evaluation import backtest, limit
    from forecaster.evaluation import table as backtest_table
    from forecaster.evaluation.windows import SIMULATED_END
    from forecaster.training.dataset import DatasetError

    if arguments.data or arguments.source or tuple(config.signals) != METRICS:
        raise DatasetError("--oracle knows the hidden state of simulated fleets alone; leave out --data and --source")
    if arguments.days <= limit.WARM_DAYS + 1 or arguments.rollouts < 10 or arguments.origins < 1:
        raise DatasetError(
            f"--oracle needs --days above {limit.WARM_DAYS + 1:g}, --rollouts from 10 and --origins from 1; found "
            f"{arguments.days:g}, {arguments.rollouts} and {arguments.origins}"
        )
    cuts, best, chances = limit.gather(
        config, arguments.fleet_file, arguments.seed, arguments.fleets, arguments.days, arguments.origins,
        arguments.rollouts, SIMULATED_END, progress("rolling out"),
    )
    forecasters = [backtest.Forecaster(name, config.signals, source, config.risk, fit) for name, source, fit in loaded]
    report = limit.compare(forecasters, cuts, best, chances, config)
    print(limit.table(report, len(best)))
    if arguments.report:
        _write(arguments.report, lambda file: file.write(backtest_table.to_json(report).encode()))
    return 0


def _names(models: list[str] | None, config) -> list[str]:
    """Each model once, in the order given."""
    given = [name.strip() for one in models or () for name in one.split(",")]
    return [*dict.fromkeys(given or [config.model or "heuristic", "heuristic"])]


def _load(name: str, config):
    """A Model as serving loads it and its calibration, or the yardstick's name and None; raises ModelError."""
    from forecaster.models.artifact import ModelError, folder_of
    from forecaster.service.assembly import load_calibration, load_model

    if name in YARDSTICKS:
        return name, None
    if not name or not folder_of(name).is_dir():
        raise ModelError(
            f"--model {name}: neither a model that ships nor a folder nor a yardstick; expected default, servers, a model "
            f"folder, or one of {', '.join(YARDSTICKS)}"
        )
    config = config.model_copy(update={"model": name})
    model = load_model(config)
    return model, load_calibration(config, model)


def _check_outputs(arguments: argparse.Namespace):
    """Refuses outputs before the work rather than after it; the module that plots, None where nothing is plotted."""
    plots = None
    if arguments.plots:
        try:
            from forecaster.evaluation import plots
        except ImportError as error:
            raise SettingsError(
                f"backtest: --plots: {error.name} is not installed; pip install 'fleetcast[backtest]'"
            ) from error
    inputs = [path.resolve() for path in (arguments.data, arguments.windows) if path]
    for flag in ("out", "report"):
        path = getattr(arguments, flag)
        if path and path.resolve() in inputs:
            raise SettingsError(f"backtest: --{flag} {path} is an input of this run; name another file")
        if path and path.is_dir():
            raise SettingsError(f"backtest: --{flag} {path} is a folder; expected a file to write")
    if arguments.out and arguments.report and arguments.out.resolve() == arguments.report.resolve():
        raise SettingsError(f"backtest: --out and --report both name {arguments.out}; expected two files")
    for flag, folder in _folders(arguments):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise SettingsError(
                f"backtest: --{flag} {getattr(arguments, flag)}: cannot be written ({error.strerror}); name another place"
            ) from error
    return plots


def _check_space(arguments: argparse.Namespace, forecast_bytes: int) -> None:
    for flag, folder in _folders(arguments):
        need = SPARE_BYTES + forecast_bytes * (flag == "out")
        free = shutil.disk_usage(folder).free
        if free < need:
            raise SettingsError(
                f"backtest: --{flag} {getattr(arguments, flag)}: {free / 1e6:.0f} MB are free, up to {need / 1e6:.0f} MB are "
                "needed; free space or name another place"
            )


def _folders(arguments: argparse.Namespace) -> list[tuple[str, Path]]:
    """The flags that write, and the folder each writes into."""
    given = [(flag, getattr(arguments, flag)) for flag in ("out", "report", "plots")]
    return [(flag, path if flag == "plots" else path.parent) for flag, path in given if path]


def _write(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Writes a file whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        with fresh.open("wb") as file:
            save(file)
        os.replace(fresh, path)
    except OSError as error:
        raise SettingsError(f"backtest: {path}: cannot be written ({error.strerror}); free space there") from error
    finally:
        fresh.unlink(missing_ok=True)
