"""`fleet-forecaster calibrate`: fits a model's chances of incidents on simulated fleets it never saw."""

import argparse

from forecaster.commands.flags import progress, read_config
from serving.settings import SettingsError

WEEKS = 45  # of which a third is reported on
FIRST_SEED = 80_001


def add_command(commands, common: argparse.ArgumentParser) -> None:
    """Adds `calibrate` to the command line."""
    parser = commands.add_parser(
        "calibrate",
        allow_abbrev=False,
        parents=[common],
        help="fit a model's incident probabilities",
        description="Fits what risk.method: calibrated reads, on simulated fleets with all scenarios that the model never "
        "saw and at the thresholds of --config.file, reports on others, and writes calibration.json into the model's folder.",
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="model folder or the name of one that ships")
    parser.add_argument("--weeks", type=int, default=WEEKS, help="simulated weeks, one fleet each (default: %(default)d)")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="first fleet's seed (default: %(default)d)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fits, prints and writes; the exit code."""
    from forecaster.evaluation.calibration import calibrate, table, write
    from forecaster.models.artifact import ModelError, folder_of
    from forecaster.models.model import Model
    from forecaster.training.dataset import DatasetError

    config, folder = read_config(arguments), folder_of(arguments.model)
    try:
        made = calibrate(Model.load(folder, "cpu"), config.risk, arguments.weeks, arguments.seed, progress("simulating"))
        write(folder, made)
    except (DatasetError, ModelError) as error:
        raise SettingsError(f"calibrate: {error}") from error
    except OSError as error:
        raise SettingsError(f"calibrate: {folder}: cannot be written ({error.strerror})") from error
    print(table(made[0].report))
    return 0
