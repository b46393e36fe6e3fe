"""`fleet-forecaster serve`: makes forecasts and serves them over HTTP."""

import argparse
import gc

from flask import Flask

from forecaster.commands.flags import Commands, add, read_config
from forecaster.service.heap import few_arenas
from forecaster.sources.clock import SourceClock
from serving.doors.entry import Doors
from serving.net.options import WebOptions
from serving.page.links import add_flag
from serving.web import serve

NAME = "fleet-forecaster"


def add_command(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Adds `serve` to the command line."""
    parser = add(commands, common, "serve", run, help="make forecasts and serve them",
                 description="Forecasts the fleet every refresh and serves gauges, future curves and JSON over HTTP.")
    parser.add_argument("--web.listen-address", dest="listen", metavar="HOST:PORT", help="address to listen on")
    parser.add_argument("--source.bootstrap", dest="bootstrap", metavar="FILE",
                        help="OpenMetrics file with past samples, for --source scrape")
    parser.add_argument("--shard", metavar="N", help="number of this forecaster's shard of the fleet, from 0; a pod's "
                        "name such as forecaster-3 stands for its number")
    parser.add_argument("--total-shards", type=int, metavar="N", help="number of shards the fleet is divided into")
    parser.add_argument("--storage.path", dest="storage", metavar="DIR", help="folder for snapshots of the window")
    parser.add_argument("--alertmanager.url", dest="alertmanager_url", metavar="URL",
                        help="Alertmanager to tell when Prometheus is down")
    parser.add_argument("--alertmanager.fleet", dest="alertmanager_fleet", metavar="NAME",
                        help="label fleet of that alert (default: the address to listen on)")
    parser.add_argument("--model", metavar="NAME", help="model: default, servers, an artifact folder, or none for the "
                        "trend heuristic")
    WebOptions.add_flags(parser)
    add_flag(parser)
    Doors.add_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serves until stopped; the exit code."""
    config = read_config(arguments)  # first, so that an invalid file ends the command with one message
    few_arenas()
    doors = Doors.of(arguments, NAME)

    def app() -> Flask:
        from forecaster.service.app import create_app  # it imports torch, which takes seconds

        gc.freeze()  # the 200,000 objects of modules stay: each full collection would look at them all
        return create_app(lambda: read_config(arguments), SourceClock(), doors)

    serve(app, config.listen, NAME, doors.tls, WebOptions.of(arguments), doors.traffic)
    return 0
