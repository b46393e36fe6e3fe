"""Links that an operator gives the pages of a service: titles and addresses of what stands beside it."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator

from serving.shown import cut

MOST, LONGEST_TITLE, LONGEST_ADDRESS = 12, 40, 400


def checked(links: Mapping[str, str]) -> dict[str, str]:
    """The links by title; ValueError for one that no page may have."""
    if len(links) > MOST:
        raise ValueError(f"{len(links)} links; expected at most {MOST}: remove some")
    for title, address in links.items():
        if not 0 < len(title.strip()) <= LONGEST_TITLE or not title.isprintable():
            raise ValueError(f"title {cut(title, 80)!r}; expected 1 to {LONGEST_TITLE} characters that can be read: "
                             "change it")
        _check(title, address)
    return dict(links)


def _check(title: str, address: str) -> None:
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or len(address) > LONGEST_ADDRESS or not address.isprintable() or " " in address:
        raise ValueError(f"{title} is {cut(address, 80)!r}; expected an address such as http://127.0.0.1:8001/ of at "
                         f"most {LONGEST_ADDRESS} characters: start it with http:// or https://")
    if parts.username or parts.password:
        raise ValueError(f"{title} has a user or password, which every reader of a page would see: remove it")


Links = Annotated[dict[str, str], AfterValidator(checked)]


class _Append(argparse.Action):
    """Adds one TITLE=ADDRESS to a mapping."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 given: str | Sequence[Any] | None, option: str | None = None) -> None:
        title, equals, address = str(given).partition("=")
        try:
            if not equals:
                raise ValueError(f"{cut(title, 80)!r}; expected TITLE=ADDRESS such as Pager=http://127.0.0.1:8003/")
            made = checked({**getattr(namespace, self.dest), title: address})
        except ValueError as error:
            raise argparse.ArgumentError(self, str(error)) from error
        setattr(namespace, self.dest, made)


def add_flag(parser: argparse.ArgumentParser) -> None:
    """Adds the flag to a command that serves pages; `links` is a dictionary."""
    parser.add_argument("--web.link", dest="links", action=_Append, default={}, metavar="TITLE=ADDRESS",
                        help="a link at the foot of every page, to what stands beside this service; may be repeated")
