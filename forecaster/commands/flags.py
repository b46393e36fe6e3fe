"""Flags that commands share, the configuration they make, and the progress bar."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from forecaster.config import ForecasterConfig, load_config

if TYPE_CHECKING:
    from forecaster.training.dataset import Progress


class Commands(Protocol):
    """The result of add_subparsers(), whose type argparse does not publish."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """The parser of one command."""


def add(
    commands: Commands, common: argparse.ArgumentParser, name: str, run: Callable[[argparse.Namespace], int],
    **texts: str,
) -> argparse.ArgumentParser:
    """Adds a command with the shared flags; ``texts``: help and description as for argparse."""
    parser = commands.add_parser(name, allow_abbrev=False, parents=[common], **texts)
    parser.set_defaults(run=run)
    return parser


def common() -> argparse.ArgumentParser:
    """The parent of every command's parser."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--config.file", dest="config_file", default="fleet", metavar="FILE",
                        help="configuration: a YAML file or a preset, fleet or node_exporter (default: fleet)")
    parser.add_argument("--source", choices=("prometheus", "scrape"), help="source of the measurements")
    parser.add_argument("--source.url", dest="source_url", metavar="URL",
                        help="address of Prometheus, or of the /metrics page with --source scrape")
    return parser


def read_config(arguments: argparse.Namespace) -> ForecasterConfig:
    """The configuration with the command line's overrides; raises SettingsError."""
    scrape = arguments.source == "scrape"
    given = vars(arguments)
    return load_config(
        arguments.config_file,
        {
            "listen": given.get("listen"),
            "source.kind": arguments.source,
            "model": given.get("model"),
            "source.url": None if scrape else arguments.source_url,
            "source.targets": [arguments.source_url] if scrape and arguments.source_url else None,
            "source.bootstrap": given.get("bootstrap"),
            "storage": given.get("storage"),
            "alertmanager.url": given.get("alertmanager_url"),
            "alertmanager.fleet": given.get("alertmanager_fleet"),
            "shard": given.get("shard"),
            "total_shards": given.get("total_shards"),
            "links": given.get("links") or None,
        },
    )


def progress(label: str) -> Progress:
    """A progress bar around the items of a loop on a terminal; elsewhere, and without tqdm, nothing is shown."""
    if not sys.stderr.isatty():
        return iter
    try:
        from tqdm import tqdm
    except ImportError:
        return iter
    return lambda items: tqdm(items, desc=label, leave=False)
