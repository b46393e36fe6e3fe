"""The flags of a command that serves over HTTP, other than its listen address."""

import argparse
import re
from dataclasses import dataclass

_HOST = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")


@dataclass(frozen=True)
class WebOptions:
    """allowed_hosts: names of this service besides those of serving.net.origin; "*.example.com" is every name below
    example.com, "*" every name. lifecycle: whether POST /-/reload reloads. access_log: whether requests are logged."""

    allowed_hosts: tuple[str, ...] = ()
    lifecycle: bool = False
    access_log: bool = False

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "WebOptions":
        """What the flags say."""
        return cls(arguments.allowed_hosts, arguments.lifecycle, arguments.access_log)

    @staticmethod
    def add_flags(parser: argparse.ArgumentParser) -> None:
        """Adds the flags to a command."""
        parser.add_argument("--web.allowed-hosts", dest="allowed_hosts", type=_hosts, default=(), metavar="NAME,...",
                            help="further names under which this service is addressed, such as fleet.example.com, or "
                            "*.example.com for all below it; IP addresses and localhost always are, and names without "
                            "a dot or in .local, .internal and .svc unless it listens on loopback only")
        parser.add_argument("--web.enable-lifecycle", dest="lifecycle", action="store_true",
                            help="reload on POST /-/reload, too; SIGHUP always does")
        parser.add_argument("--web.access-log", dest="access_log", action="store_true",
                            help="write a line of JSON for each request to standard error")


def _hosts(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower().rstrip(".") for name in text.split(",") if name.strip())
    for name in names:
        if not _HOST.fullmatch(name):
            raise argparse.ArgumentTypeError(
                f"got {name!r}; expected host names without scheme and port, such as fleet.example.com")
    return names
