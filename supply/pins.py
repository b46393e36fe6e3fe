"""`constraints.txt` read: the version and the sha256 hashes of every package that a user or a test installs."""

import tomllib
from dataclasses import dataclass
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from supply.install import ROOT, entries


@dataclass(frozen=True)
class Pin:
    """One package: canonical name, version, whether it is of this platform, and the sha256 of its files in hex."""

    name: str
    version: Version
    here: bool
    hashes: tuple[str, ...]


def pins(text: str | None = None) -> list[Pin]:
    """The entries of a file such as `constraints.txt`, which is read if `text` is None.

    Raises:
        InvalidRequirement, ValueError: an entry is not `NAME==VERSION [; MARKER] --hash=sha256:...`.
    """
    return [_pin(entry) for entry in entries((ROOT / "constraints.txt").read_text() if text is None else text)]


def settings() -> dict[str, Any]:
    """[tool.supply] of `pyproject.toml`."""
    tool: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    return dict(tool["supply"])


def _pin(entry: str) -> Pin:
    head, *hashes = entry.split("--hash=sha256:")
    need = Requirement(head.strip())
    [exact] = need.specifier
    if exact.operator != "==":
        raise ValueError(f"{head!r} is not pinned: expected NAME==VERSION")
    return Pin(canonicalize_name(need.name), Version(exact.version), need.marker is None or need.marker.evaluate(),
               tuple(text.strip() for text in hashes))
