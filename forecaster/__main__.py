"""Command line of the forecaster: each command has a file of its own in forecaster/commands."""

import argparse
import logging
import sys
from collections.abc import Sequence

from forecaster.commands import backtest, calibrate, check_config, export, flags, serve, train
from serving import ServingError, __version__
from serving.shown import log_to_stderr, say

NAME = serve.NAME


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, or 1 with one line per problem on stderr. argparse exits with 2."""
    log_to_stderr()
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its retries end in one message of ours
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        return code
    except ServingError as error:
        for line in str(error).splitlines():
            say(f"{NAME}: {line}", sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME, description="Forecasts of a server fleet, from and for Prometheus.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"{NAME} {__version__}")
    commands, common = parser.add_subparsers(required=True, metavar="COMMAND"), flags.common()
    for command in (serve, check_config, export, train, backtest, calibrate):
        command.add_command(commands, common)
    return parser


if __name__ == "__main__":
    sys.exit(main())
