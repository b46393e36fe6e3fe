"""`fleet-forecaster check-config`: checks a configuration and prints what is wrong with it."""

import argparse
import time
from typing import Any

from prometheus_client import CollectorRegistry

from forecaster.commands.flags import Commands, add, read_config
from forecaster.config import ForecasterConfig
from forecaster.models.artifact import ModelError, check, encoding_of, folder_of, read
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.readings import SourceError
from forecaster.service.assembly import make_session, make_source
from forecaster.service.capacity import make_watch
from forecaster.sources.clock import source_clock
from serving.doors.entry import Doors
from serving.settings import SettingsError
from serving.shown import say


def add_command(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Adds `check-config` to the command line."""
    parser = add(
        commands, common, "check-config", run, help="check a configuration and print what is wrong",
        description="Checks the configuration, the folder of its model, and the files of TLS and logins, without "
        "contacting the source unless --ask is given. Prints one line per problem and exits with 1, or prints a "
        "summary and exits with 0.")
    parser.add_argument("--ask", action="store_true", help="ask Prometheus, too: every query once. One that it refuses "
                        "is a problem, one without an answer is named")
    Doors.add_files(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints a summary of the configuration; the exit code. Raises SettingsError."""
    config = read_config(arguments)
    Doors("check-config", arguments.web_config, arguments.web_tokens)
    differences = _checked(arguments.config_file, config) if config.model is not None else []
    if arguments.ask:
        differences += _asked(arguments.config_file, config)
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


def _asked(path: str, config: ForecasterConfig) -> list[str]:
    """A sentence on each query that has no answer; SettingsError where Prometheus refuses one, or does not answer."""
    if config.source.kind != "prometheus":
        raise SettingsError(f"{path}: source.kind: {config.source.kind} has no queries to ask; leave out --ask")
    clock = source_clock(time.time)
    source = make_source(config, clock)
    watch = make_watch(config, SelfMetrics(CollectorRegistry(), ""), clock, lambda: make_session(config.source, 0))
    found: dict[str, dict[str, Any]] = {}
    try:
        source.latest(clock())
        found |= {f"signals.{name}": one for name, one in source.describe()["signals"].items()}
        if watch is not None:
            watch.run_once()
            found |= {f"capacity.resources.{name}": one for name, one in watch.queries().items()}
    except SourceError as error:
        raise SettingsError(f"{path}: source: {error}") from error
    finally:
        source.close()
        if watch is not None:
            watch.disconnect()
    if problems := [f"{path}: {key}: {one['error']}" for key, one in found.items() if one["error"]]:
        raise SettingsError(*problems)
    return [f"{key}: Prometheus has no series for it now" for key, one in found.items() if not one["series"]]
