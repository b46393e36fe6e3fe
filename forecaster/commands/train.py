"""`fleet-forecaster train`: trains a model on simulated, recorded or Prometheus history and writes its artifact
folder, or the weights of the forecast of what fills up."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecaster.commands.calibrate import FIRST_SEED, WEEKS
from forecaster.commands.flags import Commands, add, progress, read_config
from forecaster.config import ForecasterConfig
from forecaster.signals import HORIZON_STEPS
from serving.settings import SettingsError
from serving.shown import say

if TYPE_CHECKING:
    from forecaster.models.features import Encoding
    from forecaster.models.model import Model
    from forecaster.training.dataset import History

FLEET = {"fleets": 26, "epochs": 90, "batches": 150, "rows": 128}  # where not given; chosen for two processor cores
HOSTS = FLEET | {"epochs": 48, "rows": 512}  # with --data
CAPACITY = FLEET | {"fleets": 200, "epochs": 100, "batches": 100}  # with --capacity
EXAMPLES = 300_000  # rows of recorded servers held in memory, 17 KB each
log = logging.getLogger(__name__)


def add_command(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Adds `train` to the command line."""
    parser = add(
        commands, common, "train", run, help="train a model and write its artifact folder",
        description="Trains a Temporal Fusion Transformer on the signals of --config.file. The history is simulated by "
        "default, the last --days of a Prometheus with --source prometheus, or recorded with --data.")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR",
                        help="artifact folder to write; with --capacity a file")
    parser.add_argument("--capacity", action="store_true", help="train the forecast of what fills up instead, on the "
                        "mounts of --fleets simulated fleets, with --epochs times --batches batches")
    parser.add_argument("--name", help="the model's name in labels (default: the folder's)")
    parser.add_argument("--days", type=float, default=12.0,
                        help="days of history, of each simulated fleet or of the Prometheus (default: %(default)g)")
    parser.add_argument("--fleets", type=int, help="simulated fleets to train on, replaced every 600 batches unless "
                        f"with --capacity (default: {FLEET['fleets']}, with --capacity {CAPACITY['fleets']})")
    parser.add_argument(
        "--fleet.file",
        dest="fleet_file",
        metavar="FILE",
        help="fleet file of the simulation (default: the shipped one)",
    )
    parser.add_argument("--data", type=Path, metavar="FILE", help="recorded history (.npz), for a model of single "
                        "series with a week of context; its metrics are signals of --config.file")
    parser.add_argument("--examples", type=int, default=EXAMPLES,
                        help="with --data: rows held in memory, 17 KB each (default: %(default)d)")
    parser.add_argument("--start-from", type=Path, metavar="DIR", help="artifact folder whose weights to start from")
    parser.add_argument("--epochs", type=int, help="number of epochs, without --data the largest "
                        f"(default: {FLEET['epochs']}, with --data {HOSTS['epochs']}, with --capacity "
                        f"{CAPACITY['epochs']})")
    parser.add_argument("--batches", type=int, help="batches per epoch "
                        f"(default: {FLEET['batches']}, with --capacity {CAPACITY['batches']})")
    parser.add_argument("--rows", type=int, help="windows per batch, with --data of one signal of one host each "
                        f"(default: {FLEET['rows']}, with --data {HOSTS['rows']})")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="peak learning rate (default: %(default)g)")
    parser.add_argument("--patience", type=int, default=45,
                        help="epochs without a lower validation loss after which to stop (default: %(default)d)")
    parser.add_argument("--seed", type=int, default=7, help="seed of data, weights and batches (default: %(default)d)")
    parser.add_argument("--calibration-weeks", type=int, default=WEEKS,
                        help="simulated weeks to learn chances of incidents on; with --data they are learned on the "
                        "recording; 0 for no chances (default: %(default)d)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                        help="device to train on (default: auto, a CUDA card where there is one)")


def run(arguments: argparse.Namespace) -> int:
    """Trains, writes and prints the report; the exit code. Raises SettingsError."""
    config = read_config(arguments)
    try:
        from forecaster.models.artifact import ModelError
        from forecaster.readings import SourceError
        from forecaster.training import fleet  # noqa: F401  the first of the modules that need the training extra
        from forecaster.training.dataset import DatasetError
    except ImportError as error:
        raise SettingsError(f"train: {error.name} is not installed; install the training extra: "
                            "pip install 'fleetcast[train]'") from error
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for name, value in (CAPACITY if arguments.capacity else HOSTS if arguments.data else FLEET).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    try:
        if arguments.capacity:
            _train_capacity(arguments)
            return 0
        (_train_on_hosts if arguments.data else _train_on_fleet)(arguments, config)
    except (DatasetError, ModelError, SourceError) as error:
        raise SettingsError(f"train: {error}") from error
    if not arguments.source and arguments.calibration_weeks:
        _learn_chances(arguments, config)
    return 0


def _about(arguments: argparse.Namespace, signals: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """Facts of the artifact."""
    return {
        "name": arguments.name or arguments.output.name,
        "config": Path(arguments.config_file).stem,
        "trained": datetime.now(UTC).date().isoformat(),
        "signals": list(signals),
        "settings": {key: getattr(arguments, key) for key in ("epochs", "batches", "rows", "learning_rate")},
        **more,
    }


def _train_on_fleet(arguments: argparse.Namespace, config: ForecasterConfig) -> None:
    """Trains a model of one fleet's signals together, on simulated fleets or on a Prometheus."""
    from forecaster.evaluation import acceptance
    from forecaster.models.artifact import Architecture, write_artifact
    from forecaster.training import dataset, fleet

    start, encoding = _start(arguments, config)
    training, validation, renew, about = (_from_prometheus if arguments.source else _from_simulator)(arguments, config)
    bounds = {name: (signal.min, signal.max) for name, signal in config.signals.items()}
    chosen = encoding or dataset.fit_encoding(
        training, bounds, config.step, config.encoder_steps, HORIZON_STEPS, config.timezone)
    held_out = dataset.Windows(validation, chosen)
    trained = fleet.fit(
        dataset.Windows(training, chosen), held_out, start.architecture if start else Architecture(),
        epochs=arguments.epochs, batches=arguments.batches, rows=arguments.rows, learning_rate=arguments.learning_rate,
        patience=arguments.patience, seed=arguments.seed, device=arguments.device, progress=sys.stderr.isatty(),
        about=about | _about(
            arguments, chosen.signals, started_from=start.facts["weights_sha256"][:12] if start else None),
        start=start.weights if start else None,
        renew=renew and (lambda number: dataset.Windows(renew(number), chosen)),
    )
    report = acceptance.of_fleet(trained, held_out, arguments.seed, 4 * arguments.rows)
    write_artifact(arguments.output, trained.weights, chosen, trained.architecture, report, trained.facts)
    say(f"\n{'signal':16}{'wql 30m':>10}{'wql 8h':>10}{'cover 30m':>11}{'cover 8h':>10}")
    for name, row in report["signals"].items():
        say(f"{name:16}{row['wql_30m']:10.4f}{row['wql_8h']:10.4f}{row['coverage80_30m']:11.3f}"
            f"{row['coverage80_8h']:10.3f}")
    say(f"{report['parameters']} parameters, {report['epochs']} epochs in {report['seconds']} s, validation loss "
        f"{report['val_loss']}; written to {arguments.output}")


def _train_capacity(arguments: argparse.Namespace) -> None:
    """Trains the forecast of what fills up and writes its weights."""
    from forecaster.training import capacity
    from forecaster.training.dataset import DatasetError

    if arguments.source or arguments.data:
        raise DatasetError("--capacity trains on simulated mounts; leave out --source and --data")
    steps = arguments.epochs * arguments.batches
    rows, held_out = capacity.history(arguments.fleets, progress("simulating mounts"))
    report = {"trained": datetime.now(UTC).date().isoformat(), "fleets": arguments.fleets, "steps": steps,
              "rows": len(rows.room)}
    weights = capacity.learn(rows, held_out, steps, arguments.seed, report)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_bytes(weights.to_bytes())
    say(f"{len(rows.room)} rows, {steps} batches; written to {arguments.output}")


def _start(arguments: argparse.Namespace, config: ForecasterConfig) -> tuple[Model | None, Encoding | None]:
    """The model of --start-from and its encoding; raises ModelError where it cannot learn these signals."""
    from forecaster.models.artifact import ModelError
    from forecaster.models.features import Encoding
    from forecaster.models.model import Model

    if arguments.start_from is None:
        return None, None
    model = Model.load(arguments.start_from, "cpu")
    if not isinstance(model.encoding, Encoding):
        raise ModelError(f"{arguments.start_from} is a model of single series; expected a model of a fleet")
    if model.encoding.signals != tuple(config.signals):
        raise ModelError(f"{arguments.start_from} has the signals {', '.join(model.encoding.signals)}; expected those "
                         f"of {arguments.config_file}: {', '.join(config.signals)}")
    return model, model.encoding


Data = tuple["list[History]", "list[History]", "Callable[[int], list[History]] | None", dict[str, Any]]


def _from_simulator(arguments: argparse.Namespace, config: ForecasterConfig) -> Data:
    """(training, validation, replacements of the training histories, facts) of simulated fleets."""
    from exporter.profiles import load_fleet
    from forecaster.training.simulation import TrainingFleets, check_signals

    check_signals(list(config.signals), arguments.config_file)
    fleets = TrainingFleets(load_fleet(arguments.fleet_file), arguments.fleets, arguments.days, config.step,
                            arguments.seed, time.time())
    facts = {"data": "simulator", "fleets": arguments.fleets, "days": arguments.days}
    return fleets.training(), fleets.validation(), fleets.training, facts


def _from_prometheus(arguments: argparse.Namespace, config: ForecasterConfig) -> Data:
    """(training, validation, no replacements, facts) of the configured Prometheus."""
    from forecaster.training.dataset import DatasetError
    from forecaster.training.histories import to_train_on

    if arguments.source == "scrape":
        raise DatasetError("--source scrape holds three hours, too few to train on; use --source prometheus")
    training, validation = to_train_on(config, arguments.days, time.time())
    facts = {"data": "prometheus", "days": arguments.days, "servers": len(training.servers)}
    return [training], [validation], None, facts


def _train_on_hosts(arguments: argparse.Namespace, config: ForecasterConfig) -> None:
    """Trains a model of single series on recorded servers."""
    from forecaster.evaluation import acceptance
    from forecaster.models.artifact import Architecture, write_artifact
    from forecaster.training import histories, hosts
    from forecaster.training.dataset import DatasetError

    if arguments.source or arguments.start_from:
        raise DatasetError("--data trains new weights on a file; leave out --source and --start-from")
    if arguments.examples < 1:
        raise DatasetError(f"--examples {arguments.examples}; expected at least 1")
    history = histories.from_file(arguments.data)
    signals = histories.select(history, config.signals, str(arguments.data))
    if history.resolution != config.step:
        raise DatasetError(f"{arguments.data}: steps of {history.resolution:g} s, expected the configuration's step of "
                           f"{config.step:g} s: set step, or resample the history")
    trained = hosts.fit(
        history, signals, Architecture(dropout=0.0), steps=arguments.epochs * arguments.batches,
        rows_per_batch=arguments.rows, examples=arguments.examples, learning_rate=arguments.learning_rate,
        seed=arguments.seed, device=arguments.device, timezone=config.timezone,
        about=_about(arguments, history.signals, data=arguments.data.name, servers=len(history.servers),
                     examples=arguments.examples),
    )
    report, facts = acceptance.of_hosts(trained, history, signals, arguments.seed)
    write_artifact(arguments.output, trained.weights, trained.encoding, trained.architecture, report, facts)
    say(f"\n{'kept-out servers and weeks':28}{'wql mean':>10}{'sql geo':>10}{'inside 80':>11}")
    rows: Mapping[str, Any] = {arguments.output.name: report, **report["yardsticks"]}
    for name, row in rows.items():
        say(f"{name:28}{row['wql_mean']:10.4f}{row['sql_geo']:10.4f}{row['inside80']:11.3f}")
    say(f"{report['parameters']} parameters, {report['steps']} steps in {report['seconds']} s; "
        f"written to {arguments.output}")


def _learn_chances(arguments: argparse.Namespace, config: ForecasterConfig) -> None:
    """Writes the chances of incidents beside the new weights, or logs why there are none: the model works without."""
    from forecaster.evaluation import calibration
    from forecaster.models.model import Model
    from forecaster.training import histories
    from forecaster.training.dataset import DatasetError

    model, shown = Model.load(arguments.output, "cpu"), progress("learning chances")
    conditions, signals = config.risk.conditions(tuple(config.signals)), config.signals
    try:
        if arguments.data:
            history = histories.from_file(arguments.data)
            made = calibration.of_hosts(model, conditions, signals, history, FIRST_SEED, shown)
        else:
            made = calibration.of_fleets(model, conditions, signals, arguments.calibration_weeks, FIRST_SEED, shown)
    except DatasetError as error:
        log.warning("no chances of incidents: %s", error)
        return
    calibration.write(arguments.output, made, str(model.facts["weights_sha256"]))
    say(calibration.table(made.report))
