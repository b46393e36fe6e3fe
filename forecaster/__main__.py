"""Command line of the forecaster: `fleet-forecaster serve`, `train` and `check-config`."""

import argparse
import logging
import sys
import time
from collections.abc import Sequence

from forecaster.config import ForecasterConfig, load_config
from serving import ServingError, __version__
from serving.settings import SettingsError

NAME = "fleet-forecaster"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, or 1 with one line per problem on stderr. argparse exits with 2."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its retries end in one message of ours
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except ServingError as error:
        for line in str(error).splitlines():
            print(f"{NAME}: {line}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME, description="Forecasts of a server fleet, from and for Prometheus.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"{NAME} {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config.file",
        dest="config_file",
        default="fleet",
        metavar="FILE",
        help="a YAML file or a preset, fleet or node_exporter (default: fleet)",
    )
    common.add_argument("--source", choices=("prometheus", "scrape"), help="where measurements come from")
    common.add_argument(
        "--source.url",
        dest="source_url",
        metavar="URL",
        help="address of Prometheus, or of the /metrics page with --source scrape",
    )

    serving = commands.add_parser("serve", allow_abbrev=False, parents=[common], help="forecast and serve")
    serving.add_argument("--web.listen-address", dest="listen", metavar="HOST:PORT", help="address to listen on")
    serving.add_argument(
        "--source.bootstrap",
        dest="bootstrap",
        metavar="FILE",
        help="OpenMetrics file with past samples, for --source scrape",
    )
    serving.add_argument(
        "--shard",
        metavar="N",
        help="which share of the fleet to forecast, from 0; a pod's name such as forecaster-3 counts as its number",
    )
    serving.add_argument("--total-shards", type=int, metavar="N", help="shares the fleet is divided into")
    serving.add_argument("--storage.path", dest="storage", metavar="DIR", help="folder for snapshots of the window")
    serving.add_argument("--model", metavar="DIR", help="model folder, default, or none for the trend heuristic")
    serving.set_defaults(run=_serve)

    checking = commands.add_parser(
        "check-config", allow_abbrev=False, parents=[common], help="check a configuration and say what is wrong"
    )
    checking.set_defaults(run=_check)

    from forecaster import backtest_cli, calibration, training_cli  # light: they import heavy libraries when they run

    training_cli.add_command(commands, common)
    backtest_cli.add_command(commands, common)
    calibration.add_command(commands, common)
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


def _serve(arguments: argparse.Namespace) -> int:
    from serving.web import serve

    config = read_config(arguments)  # before the fork, so that a bad file is one clear message

    def app():
        from forecaster.app import create_app  # in the worker: torch's threads do not survive a fork

        return create_app(lambda: read_config(arguments), time.time)

    serve(app, config.listen, NAME)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from forecaster.artifact import folder_of

    config = read_config(arguments)
    if config.model is not None and not (folder_of(config.model) / "artifact.json").is_file():
        raise SettingsError(
            f"{arguments.config_file}: model: {config.model} is no artifact folder; expected one with "
            "artifact.json, default, servers, or null"
        )
    print(
        f"{arguments.config_file}: good; {len(config.signals)} signals, refresh {config.refresh:g}s, source "
        f"{config.source.kind}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
