"""`fleet-forecaster calibrate`: fits a model's incident probabilities on simulated fleets it was not trained on."""

import argparse

from forecaster.commands.flags import Commands, add, progress, read_config
from serving.settings import SettingsError

WEEKS = 45  # a third of them for the report
FIRST_SEED = 80_001


def add_command(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Adds `calibrate` to the command line."""
    parser = add(
        commands, common, "calibrate", run, help="fit a model's incident probabilities",
        description="Fits the probabilities of risk.method: calibrated at the thresholds of --config.file, on "
        "simulated fleets with all scenarios that the model was not trained on. Prints figures of other such fleets "
        "and writes calibration.json into the model's folder.")
    parser.add_argument("--model", required=True, metavar="NAME", help="artifact folder or name of a shipped model")
    parser.add_argument("--weeks", type=int, default=WEEKS,
                        help="simulated weeks, each of its own fleet (default: %(default)d)")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="seed of the first fleet (default: %(default)d)")


def run(arguments: argparse.Namespace) -> int:
    """Fits, prints and writes; the exit code. Raises SettingsError."""
    from forecaster.evaluation.calibration import calibrate, table, write
    from forecaster.models.artifact import ModelError, folder_of
    from forecaster.models.model import Model
    from forecaster.training.dataset import DatasetError

    risk, folder = read_config(arguments).risk, folder_of(arguments.model)
    try:
        made = calibrate(Model.load(folder, "cpu"), risk, arguments.weeks, arguments.seed, progress("simulating"))
        write(folder, made)
    except (DatasetError, ModelError) as error:
        raise SettingsError(f"calibrate: {error}") from error
    except OSError as error:
        raise SettingsError(f"calibrate: {folder}: cannot be written ({error.strerror}); make it writable, or copy the "
                            "model to another folder") from error
    print(table(made[0].report))
    return 0
