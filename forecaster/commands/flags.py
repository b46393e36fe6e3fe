"""Flags that commands share, the configuration they make, and the bar that long work shows."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import Any

from forecaster.config import ForecasterConfig, load_config

Progress = Callable[[Iterable[Any]], Iterable[Any]]


def common() -> argparse.ArgumentParser:
    """The parent of every command's parser."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--config.file",
        dest="config_file",
        default="fleet",
        metavar="FILE",
        help="a YAML file or a preset, fleet or node_exporter (default: fleet)",
    )
    parser.add_argument("--source", choices=("prometheus", "scrape"), help="where measurements come from")
    parser.add_argument(
        "--source.url",
        dest="source_url",
        metavar="URL",
        help="address of Prometheus, or of the /metrics page with --source scrape",
    )
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
            "shard": given.get("shard"),
            "total_shards": given.get("total_shards"),
        },
    )


def progress(label: str) -> Progress:
    """Wraps what is worked through in a bar on a terminal, and leaves it alone elsewhere."""
    if not sys.stderr.isatty():
        return iter
    try:
        from tqdm import tqdm
    except ImportError:
        return iter
    return lambda items: tqdm(items, desc=label, leave=False)
