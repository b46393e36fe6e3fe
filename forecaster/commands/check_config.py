"""`fleet-forecaster check-config`: checks a configuration and prints what is wrong with it."""

import argparse

from forecaster.commands.flags import Commands, add, read_config
from forecaster.config import ForecasterConfig
from forecaster.models.artifact import ModelError, check, encoding_of, folder_of, read
from serving.doors.entry import Doors
from serving.settings import SettingsError
from serving.shown import say


def add_command(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Adds `check-config` to the command line."""
    parser = add(
        commands, common, "check-config", run, help="check a configuration and print what is wrong",
        description="Checks the configuration, the folder of its model, and the files of TLS and logins, without "
        "contacting the source. Prints one line per problem and exits with 1, or prints a summary and exits with 0.")
    Doors.add_files(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints a summary of the configuration; the exit code. Raises SettingsError."""
    config = read_config(arguments)
    Doors("check-config", arguments.web_config, arguments.web_tokens)
    differences = _checked(arguments.config_file, config) if config.model is not None else []
    say(f"{arguments.config_file}: good; {len(config.signals)} signals, refresh {config.refresh:g}s, "
        f"source {config.source.kind}")
    for difference in differences:
        say(difference)
    return 0


def _checked(path: str, config: ForecasterConfig) -> list[str]:
    """A sentence on the signals that only the model or only the configuration has; SettingsError where ``serve`` would
    refuse the model."""
    folder = folder_of(str(config.model))
    if not (folder / "artifact.json").is_file():
        raise SettingsError(f"{path}: model: {config.model} is not an artifact folder; expected one with "
                            "artifact.json, the name of a shipped model (default, servers), or null")
    try:
        facts, _, _ = read(folder)
        encoding = encoding_of(folder, facts, config.signals)
        return check(folder, encoding, config.signals, config.step, config.encoder_steps)
    except ModelError as error:
        raise SettingsError(f"{path}: model: {error}") from error
