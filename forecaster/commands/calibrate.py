"""`fleet-forecaster calibrate`: makes the chances of incidents of a model."""

import argparse
from pathlib import Path

from forecaster.commands.flags import Commands, add, progress, read_config
from serving.settings import SettingsError
from serving.shown import say

WEEKS = 45
FIRST_SEED = 80_001


def add_command(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Adds `calibrate` to the command line."""
    parser = add(
        commands, common, "calibrate", run, help="make the chances of incidents of a model",
        description="Learns the chances of incidents of --config.file, and of incidents at other limits, on simulated "
        "fleets that the model was not trained on, or with --data on the recorded servers and weeks that trained it. "
        "Prints figures of servers or weeks that were kept apart and writes chances.npz into the model's folder.")
    parser.add_argument("--model", required=True, metavar="NAME", help="artifact folder or name of a shipped model")
    parser.add_argument("--data", type=Path, metavar="FILE", help="recorded history (.npz), for a model trained on it")
    parser.add_argument("--weeks", type=int, default=WEEKS,
                        help="without --data: simulated weeks, each of its own fleet (default: %(default)d)")
    parser.add_argument("--seed", type=int, default=FIRST_SEED,
                        help="seed of the first fleet and of the fit (default: %(default)d)")


def run(arguments: argparse.Namespace) -> int:
    """Fits, prints and writes; the exit code. Raises SettingsError."""
    from forecaster.evaluation import calibration
    from forecaster.models.artifact import ModelError, folder_of
    from forecaster.models.model import Model
    from forecaster.training import histories
    from forecaster.training.dataset import DatasetError

    config, folder = read_config(arguments), folder_of(arguments.model)
    conditions = config.risk.conditions(tuple(config.signals))
    try:
        model = Model.load(folder, "cpu", config.timezone)
        if arguments.data:
            made = calibration.of_hosts(model, conditions, config.signals, histories.from_file(arguments.data),
                                        arguments.seed, progress("learning chances"))
        else:
            made = calibration.of_fleets(model, conditions, config.signals, arguments.weeks, arguments.seed,
                                         progress("learning chances"))
        calibration.write(folder, made, str(model.facts["weights_sha256"]))
    except (DatasetError, ModelError) as error:
        raise SettingsError(f"calibrate: {error}") from error
    except OSError as error:
        raise SettingsError(f"calibrate: {folder}: cannot be written ({error.strerror}); make it writable, or copy the "
                            "model to another folder") from error
    say(calibration.table(made.report))
    return 0
