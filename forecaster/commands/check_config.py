"""`fleet-forecaster check-config`: says whether a configuration is good, and what is wrong with it."""

import argparse

from forecaster.commands.flags import read_config
from forecaster.models.artifact import folder_of
from serving.settings import SettingsError


def add_command(commands, common: argparse.ArgumentParser) -> None:
    """Adds `check-config` to the command line."""
    parser = commands.add_parser(
        "check-config", allow_abbrev=False, parents=[common], help="check a configuration and say what is wrong"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints what is configured; the exit code."""
    config = read_config(arguments)
    if config.model is not None and not (folder_of(config.model) / "artifact.json").is_file():
        raise SettingsError(
            f"{arguments.config_file}: model: {config.model} is no artifact folder; expected one with "
            "artifact.json, the name of a model that ships (default, servers), or null"
        )
    print(
        f"{arguments.config_file}: good; {len(config.signals)} signals, refresh {config.refresh:g}s, source "
        f"{config.source.kind}"
    )
    return 0
