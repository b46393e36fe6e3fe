"""`fleet-forecaster serve`: forecasts, and serves them over HTTP."""

import argparse
import time

from flask import Flask

from forecaster.commands.flags import read_config
from serving.web import serve

NAME = "fleet-forecaster"


def add_command(commands, common: argparse.ArgumentParser) -> None:
    """Adds `serve` to the command line."""
    parser = commands.add_parser("serve", allow_abbrev=False, parents=[common], help="forecast and serve")
    parser.add_argument("--web.listen-address", dest="listen", metavar="HOST:PORT", help="address to listen on")
    parser.add_argument(
        "--source.bootstrap",
        dest="bootstrap",
        metavar="FILE",
        help="OpenMetrics file with past samples, for --source scrape",
    )
    parser.add_argument(
        "--shard",
        metavar="N",
        help="which share of the fleet to forecast, from 0; a pod's name such as forecaster-3 counts as its number",
    )
    parser.add_argument("--total-shards", type=int, metavar="N", help="shares the fleet is divided into")
    parser.add_argument("--storage.path", dest="storage", metavar="DIR", help="folder for snapshots of the window")
    parser.add_argument("--model", metavar="DIR", help="model folder, default, or none for the trend heuristic")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serves until told to stop; the exit code."""
    config = read_config(arguments)  # before the fork, so that a bad file is one clear message

    def app() -> Flask:
        from forecaster.service.app import create_app  # in the worker: torch's threads do not survive a fork

        return create_app(lambda: read_config(arguments), time.time)

    serve(app, config.listen, NAME)
    return 0
