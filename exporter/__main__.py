"""Command line of the exporter: `fleet-exporter serve` and `fleet-exporter history`."""

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from flask import Flask

from exporter import __version__
from exporter.app import NAME, create_app
from exporter.fleet import Fleet
from exporter.history import HistoryError, parse_labels, write_history
from exporter.profiles import FleetConfig, load_fleet
from exporter.scenario_log import ScenarioLog
from serving.doors.entry import Doors
from serving.net.options import WebOptions
from serving.net.runner import serve
from serving.page.links import add_flag
from serving.settings import SettingsError, parse_duration
from serving.shown import log_to_stderr, say

DAY = 86400
EARLIEST = 3 * DAY  # the simulation starts up to three days before the first sample, and not before 1970


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code is 0, 1 for invalid settings or an output that fails, 2 for wrong arguments."""
    log_to_stderr()
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        return code
    except (SettingsError, HistoryError) as error:
        for line in str(error).splitlines():
            say(f"{NAME}: {line}", sys.stderr)
    except BrokenPipeError:  # the reader of the history closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        problem = f"{error.filename or 'output'}: {error.strerror or error}"
        say(f"{NAME}: {problem}; expected a writable file; choose another --output", sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    about = "A simulated fleet of servers for Prometheus."
    parser = argparse.ArgumentParser(prog=NAME, description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"{NAME} {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config.file", dest="config_file", metavar="FILE", help="fleet file (default: shipped)")
    common.add_argument("--scenario", metavar="NAME", help="scenario at the start (default: the fleet file's)")
    common.add_argument(
        "--storage.path", dest="storage", metavar="DIR", help="folder that keeps the scenarios set, for restarts"
    )
    common.add_argument("--seed", type=int, metavar="N", help="seed of the simulation (default: the fleet file's)")

    about = "serve the fleet's metrics over HTTP"
    serving = commands.add_parser("serve", allow_abbrev=False, parents=[common], help=about)
    about = "address to listen on (default: %(default)s)"
    serving.add_argument(
        "--web.listen-address", dest="listen", default="127.0.0.1:8001", metavar="HOST:PORT", help=about
    )
    WebOptions.add_flags(serving)
    add_flag(serving)
    Doors.add_flags(serving)
    serving.set_defaults(run=_serve)

    history = commands.add_parser(
        "history",
        allow_abbrev=False,
        parents=[common],
        help="write past days as OpenMetrics",
        description="Writes [start, end) as OpenMetrics with timestamps. Load it with "
        "`promtool tsdb create-blocks-from openmetrics --max-block-duration=64h FILE DIR`.",
    )
    first = history.add_mutually_exclusive_group()
    first.add_argument("--start", type=_instant, metavar="TIME", help="first instant, Unix seconds or RFC 3339")
    first.add_argument("--days", type=_days, default=8.0, metavar="N", help="days before the end (default: 8)")
    history.add_argument("--end", type=_instant, metavar="TIME", help="Unix seconds or RFC 3339 (default: now)")
    about = "time between samples, e.g. 60 or 1m (default: 1m)"
    history.add_argument("--resolution", type=_duration, default=60.0, metavar="DURATION", help=about)
    about = "label for every series, e.g. job=fleet-exporter; may be repeated"
    history.add_argument("--label", action="append", default=[], metavar="NAME=VALUE", help=about)
    history.add_argument("--states", action="store_true", help="also write the state set (nearly doubles the output)")
    history.add_argument("--mounts-only", action="store_true", help="write the mounts only")
    about = "file to write, or - for standard output (default)"
    history.add_argument("--output", default="-", metavar="FILE", help=about)
    history.set_defaults(run=_history)
    return parser


def _read_config(arguments: argparse.Namespace) -> FleetConfig:
    return load_fleet(arguments.config_file, {"scenario": arguments.scenario, "seed": arguments.seed})


def _serve(arguments: argparse.Namespace) -> int:
    config = _read_config(arguments)  # first, so that an invalid file ends the command with one message
    doors = Doors.of(arguments, NAME)

    def make() -> Flask:
        return create_app(config, time.time, lambda: _read_config(arguments), arguments.storage, doors, arguments.links)

    serve(make, arguments.listen, NAME, doors.tls, WebOptions.of(arguments), doors.traffic)
    return 0


def _history(arguments: argparse.Namespace) -> int:
    labels = parse_labels(arguments.label)
    resolution = arguments.resolution
    end = arguments.end if arguments.end is not None else math.floor(time.time() / resolution) * resolution
    start = arguments.start if arguments.start is not None else end - arguments.days * DAY
    if start < EARLIEST and end > start:  # write_history reports an empty stretch
        raise HistoryError(f"--start {start:.0f}: expected {EARLIEST} (1970-01-04) or later; choose a later start")
    config = _read_config(arguments)
    fleet = Fleet(config)
    fleet.events = ScenarioLog(arguments.storage).load(config, own=False)

    def write(out: BinaryIO) -> int:
        return write_history(fleet, start, end, resolution, out, labels, arguments.states, arguments.mounts_only)

    if arguments.output == "-":
        write(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return 0
    path = Path(arguments.output)
    unfinished = path.with_name(f"{path.name}.unfinished")  # renamed once it is complete
    try:
        with unfinished.open("wb") as out:
            samples = write(out)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    say(f"{NAME}: wrote {samples} samples from {_shown(start)} to {_shown(end)} to {path}", sys.stderr)
    return 0


def _instant(text: str) -> float:
    """Unix seconds from a number or an RFC 3339 time; a time without zone is UTC."""
    try:
        instant = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            instant = math.nan
        else:
            instant = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(instant) or instant < 0:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected Unix seconds or a time such as 2025-10-13T10:30:00Z")
    return instant


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not (math.isfinite(days) and days > 0):
        raise argparse.ArgumentTypeError(f"got {text!r}; expected a number of days greater than 0")
    return days


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text!r}; {error}") from error


def _shown(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    sys.exit(main())
