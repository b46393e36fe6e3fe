"""`fleet-forecaster train`: from the simulator's history or from any Prometheus to an artifact folder."""

import argparse
import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from forecaster.commands.calibrate import FIRST_SEED, WEEKS
from forecaster.commands.flags import progress, read_config
from serving.settings import SettingsError

DAY = 86400.0
HOUR = 3600.0
EXAMPLES = 110_000  # rows of recorded servers held in memory, 17 KB each
log = logging.getLogger(__name__)

WINDOW_HOURS = 10.0  # 24 steps of encoder and 96 of horizon


def add_command(commands, common: argparse.ArgumentParser) -> None:
    """Adds `train` to the command line; nothing heavy is imported before it runs."""
    parser = commands.add_parser(
        "train",
        allow_abbrev=False,
        parents=[common],
        help="train a model and write its artifact folder",
        description="Trains a Temporal Fusion Transformer on the signals of --config.file. By default the data is the "
        "simulated fleet's; with --source prometheus it is --days of what that server holds.",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="artifact folder to write")
    parser.add_argument("--name", default=None, help="the model's name in labels (default: the folder's)")
    parser.add_argument(
        "--days", type=float, default=12.0, help="days of history, per simulated fleet (default: %(default)g)"
    )
    parser.add_argument(
        "--fleets", type=int, default=26, help="simulated fleets to learn from, others every 600 batches (default: %(default)d)"
    )
    parser.add_argument(
        "--fleet.file", dest="fleet_file", default=None, metavar="FILE",
        help="fleet file of the simulation (default: the shipped one)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="recorded servers (.npz): trains a model of single series with a week of context; its metrics are signals of "
        "--config.file",
    )
    parser.add_argument(
        "--examples", type=int, default=EXAMPLES, help="with --data: rows held in memory, 17 KB each (default: %(default)d)"
    )
    parser.add_argument("--start-from", type=Path, default=None, metavar="DIR", help="artifact folder to go on from")
    parser.add_argument("--epochs", type=int, default=90, help="at most this many epochs (default: %(default)d)")
    parser.add_argument("--batches", type=int, default=150, help="batches per epoch (default: %(default)d)")
    parser.add_argument("--rows", type=int, default=128, help="windows per batch (default: %(default)d)")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="peak learning rate (default: %(default)g)")
    parser.add_argument(
        "--patience", type=int, default=45, help="epochs without gain before stopping (default: %(default)d)"
    )
    parser.add_argument("--seed", type=int, default=7, help="seed of data, weights and batches (default: %(default)d)")
    parser.add_argument(
        "--calibration-weeks",
        type=int,
        default=WEEKS,
        help="simulated weeks to calibrate incident probabilities on, for a model of the simulated fleet; 0 for none "
        "(default: %(default)d)",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                        help="device to train on; auto: CUDA if available (default: %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Trains and prints the report; the exit code."""
    config = read_config(arguments)
    try:
        from forecaster.evaluation import acceptance
        from forecaster.models.artifact import Architecture, ModelError, write_artifact
        from forecaster.models.model import Model
        from forecaster.training import dataset, fleet
    except ImportError as error:
        raise SettingsError(
            f"train: {error.name} is not installed; install the training extra: pip install 'fleetcast[train]'"
        ) from error
    from forecaster.readings import SourceError

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    try:
        if arguments.data is not None:
            _print_series(_from_file(arguments, config), arguments.output)
            return 0
        if arguments.source == "scrape":
            raise dataset.DatasetError(
                "--source scrape keeps three hours, too few to learn from; use --source prometheus"
            )
        training, validation, about = (_from_prometheus if arguments.source else _from_simulator)(arguments, config)
        other = None if arguments.source else lambda n: dataset.Windows(_fleets(arguments, config, n), encoding)
        bounds = {name: (signal.min, signal.max) for name, signal in config.signals.items()}
        begun = Model.load(arguments.start_from, "cpu") if arguments.start_from else None
        if begun is not None and begun.encoding.signals != tuple(config.signals):
            raise ModelError(
                f"{arguments.start_from} has the signals {', '.join(begun.encoding.signals)}; expected those of "
                f"{arguments.config_file}: {', '.join(config.signals)}"
            )
        encoding = (
            begun.encoding
            if begun
            else dataset.fit_encoding(training, bounds, config.step, config.encoder_steps, 96, config.timezone)
        )
        about |= {
            "name": arguments.name or arguments.output.name,
            "config": Path(arguments.config_file).stem,
            "trained": datetime.now(UTC).date().isoformat(),
            "signals": list(encoding.signals),
            "started_from": begun.facts["weights_sha256"][:12] if begun else None,
            "settings": {key: getattr(arguments, key) for key in ("epochs", "batches", "rows", "learning_rate")},
        }
        held_out = dataset.Windows(validation, encoding)
        trained = fleet.fit(
            dataset.Windows(training, encoding),
            held_out,
            begun.architecture if begun else Architecture(),
            epochs=arguments.epochs,
            batches=arguments.batches,
            rows=arguments.rows,
            learning_rate=arguments.learning_rate,
            patience=arguments.patience,
            seed=arguments.seed,
            device=arguments.device,
            progress=sys.stderr.isatty(),
            about=about,
            start=begun.weights if begun else None,
            renew=other,
        )
        report = acceptance.of_fleet(trained, held_out, arguments.seed, 4 * arguments.rows)
        write_artifact(arguments.output, trained.weights, encoding, trained.architecture, report, trained.facts)
    except (dataset.DatasetError, ModelError, SourceError) as error:
        raise SettingsError(f"train: {error}") from error
    _print(report, arguments.output)
    if about["data"] == "simulator" and arguments.calibration_weeks:
        _calibrate(arguments.output, config, arguments.calibration_weeks)
    return 0


def _calibrate(folder: Path, config, weeks: int) -> None:
    """Puts a calibration beside the new weights; a model without one is a model, too."""
    from forecaster.evaluation import calibration
    from forecaster.models.model import Model
    from forecaster.training.dataset import DatasetError

    try:
        made = calibration.calibrate(Model.load(folder, "cpu"), config.risk, weeks, FIRST_SEED, progress("calibrating"))
    except DatasetError as error:
        log.warning("no calibration: %s", error)
        return
    calibration.write(folder, made)
    print(calibration.table(made[0].report))


def _from_file(arguments, config) -> dict:
    """Trains a model of single series; its report."""
    from forecaster.evaluation import acceptance
    from forecaster.models.artifact import Architecture, write_artifact
    from forecaster.training import histories, hosts
    from forecaster.training.dataset import DatasetError

    if arguments.source or arguments.start_from:
        raise DatasetError("--data trains from a file and from fresh weights; leave out --source and --start-from")
    if arguments.examples < 1:
        raise DatasetError(f"--examples {arguments.examples}; expected at least 1")
    history = histories.from_file(arguments.data)
    signals = histories.select(history, config.signals, str(arguments.data))
    if history.resolution != config.step:
        raise DatasetError(f"{arguments.data}: steps of {history.resolution:g} s, expected the model's {config.step:g} s")
    trained = hosts.fit(
        history,
        signals,
        Architecture(dropout=0.0),
        steps=arguments.epochs * arguments.batches,
        rows_per_batch=2 * arguments.rows,
        examples=arguments.examples,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        device=arguments.device,
        timezone=config.timezone,
        about={
            "name": arguments.name or arguments.output.name,
            "config": Path(arguments.config_file).stem,
            "trained": datetime.now(UTC).date().isoformat(),
            "signals": list(history.signals),
            "data": arguments.data.name,
            "servers": len(history.servers),
        },
    )
    report, facts = acceptance.of_hosts(trained, history, signals, arguments.seed)
    write_artifact(arguments.output, trained.weights, trained.encoding, trained.architecture, report, facts)
    return report


def _from_simulator(arguments, config):
    """Histories of simulated fleets: (training, validation from other seeds, facts)."""
    from exporter.profiles import METRICS, load_fleet
    from forecaster.training.dataset import DatasetError, simulate_many

    if tuple(config.signals) != METRICS:
        raise DatasetError(
            f"the simulator has the signals {', '.join(METRICS)}; {arguments.config_file} has "
            f"{', '.join(config.signals)}: use the preset fleet, or --source prometheus"
        )
    training = _fleets(arguments, config, 0)
    fleet, end, seed = load_fleet(arguments.fleet_file), time.time() // DAY * DAY, 1000 * arguments.seed
    held_out = simulate_many(
        fleet, max(arguments.fleets // 4, 1), min(arguments.days, 12.0), config.step, seed + 500, end - 40 * DAY
    )
    return training, held_out, {"data": "simulator", "fleets": arguments.fleets, "days": arguments.days}


def _fleets(arguments, config, number: int):
    """Histories of --fleets fleets, others for every number."""
    from exporter.profiles import load_fleet
    from forecaster.training.dataset import simulate_many

    end = (time.time() // DAY - 3 * (number % 12)) * DAY  # other hours and weekdays of a year's every month
    seed = 1_000_000 * (arguments.seed + 1) + 1000 * number
    return simulate_many(load_fleet(arguments.fleet_file), arguments.fleets, arguments.days, config.step, seed, end)


def _from_prometheus(arguments, config):
    """One history from the configured source, its last fifth held out: (training, validation, facts)."""
    from forecaster.training.dataset import DatasetError
    from forecaster.training.histories import from_prometheus

    resolution, end = min(60.0, config.step), time.time() // 60 * 60
    history = from_prometheus(config, end - arguments.days * DAY, end, resolution)
    cut, held = int(len(history.values) * 0.8), len(history.values) * resolution / HOUR
    if held < 5 * WINDOW_HOURS:
        raise DatasetError(
            f"the source holds {held:.1f} h; expected at least {5 * WINDOW_HOURS:g} h: one window is {WINDOW_HOURS:g} h "
            "and the last fifth is held out to judge the model"
        )
    facts = {"data": "prometheus", "days": arguments.days, "servers": len(history.servers)}
    return [history.between(0, cut)], [history.between(cut, len(history.values))], facts


def _print(report: dict, output: Path) -> None:
    print(f"\n{'signal':16}{'wql 30m':>10}{'wql 8h':>10}{'cover 30m':>11}{'cover 8h':>10}")
    for name, figures in report["signals"].items():
        print(
            f"{name:16}{figures['wql_30m']:10.4f}{figures['wql_8h']:10.4f}{figures['coverage80_30m']:11.3f}"
            f"{figures['coverage80_8h']:10.3f}"
        )
    print(
        f"{report['parameters']} parameters, {report['epochs']} epochs in {report['seconds']} s, validation loss "
        f"{report['val_loss']}; written to {output}"
    )


def _print_series(report: dict, output: Path) -> None:
    print(f"\n{'kept-out servers and weeks':28}{'wql mean':>10}{'sql geo':>10}{'inside 80':>11}")
    for name, row in {output.name: report, **report["yardsticks"]}.items():
        print(f"{name:28}{row['wql_mean']:10.4f}{row['sql_geo']:10.4f}{row['inside80']:11.3f}")
    print(f"{report['parameters']} parameters, {report['steps']} steps in {report['seconds']} s; written to {output}")
