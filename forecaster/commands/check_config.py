"""`fleet-forecaster check-config`: checks a configuration and prints what is wrong with it."""

import argparse

from forecaster.commands.flags import Commands, add, read_config
from forecaster.models.artifact import folder_of
from serving.settings import SettingsError


def add_command(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Adds `check-config` to the command line."""
    add(commands, common, "check-config", run, help="check a configuration and print what is wrong",
        description="Checks the configuration and the folder of its model without contacting the source. Prints one "
        "line per problem and exits with 1, or prints a summary and exits with 0.")


def run(arguments: argparse.Namespace) -> int:
    """Prints a summary of the configuration; the exit code. Raises SettingsError."""
    config = read_config(arguments)
    if config.model is not None and not (folder_of(config.model) / "artifact.json").is_file():
        raise SettingsError(f"{arguments.config_file}: model: {config.model} is not an artifact folder; expected one "
                            "with artifact.json, the name of a shipped model (default, servers), or null")
    print(f"{arguments.config_file}: good; {len(config.signals)} signals, refresh {config.refresh:g}s, "
          f"source {config.source.kind}")
    return 0
