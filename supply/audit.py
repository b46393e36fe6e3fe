"""Pinned packages with known vulnerabilities, by a database on disk (`make audit DB=all.zip`). The network is not used.

    usage: python -m supply.audit DATABASE

The database is a folder or a zip of advisories as JSON in the OSV format (https://ossf.github.io/osv-schema/), such as
the export of https://osv.dev for PyPI. Advisories that are accepted are in `pyproject.toml`, [tool.supply.accepted].

Exit code: 0 no pinned package is affected, 1 some are, 2 the database cannot be read or holds no advisory about PyPI.
"""

import argparse
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from supply.pins import Pin, pins, settings

Advisory = dict[str, Any]


class DatabaseError(Exception):
    """The database cannot be used; says why."""


def advisories(database: Path) -> Iterator[Advisory]:
    """Every advisory of a folder or a zip.

    Raises:
        DatabaseError: it is neither, or a file in it is no JSON.
    """
    if database.is_dir():
        files = ((str(path), path.read_bytes()) for path in database.rglob("*.json"))
    elif zipfile.is_zipfile(database):
        archive = zipfile.ZipFile(database)
        files = ((name, archive.read(name)) for name in archive.namelist() if name.endswith(".json"))
    else:
        raise DatabaseError(f"{database} is neither a folder nor a zip: expected advisories as JSON in the OSV format")
    for name, content in files:
        try:
            yield json.loads(content)
        except ValueError as error:
            raise DatabaseError(f"{name} in {database} is no JSON: {error}; fetch the database anew") from error


def affecting(advisory: Advisory, pin: Pin) -> list[str] | None:
    """The later versions in which `advisory` is fixed, if it affects the pinned one, else None.

    Raises:
        KeyError, InvalidVersion: the advisory is not in the OSV format, or a version in a range not in that of PEP 440.
    """
    found = [part for part in advisory.get("affected", [])
             if _of_pypi(part) and canonicalize_name(part["package"]["name"]) == pin.name and _holds(part, pin.version)]
    events = [event for part in found for ranged in part.get("ranges", []) if ranged["type"] == "ECOSYSTEM"
              for event in ranged["events"]]
    return [event["fixed"] for event in events if Version(event.get("fixed", "0")) > pin.version] if found else None


def _of_pypi(part: Advisory) -> bool:
    return bool(part.get("package", {}).get("ecosystem") == "PyPI")


def _holds(part: Advisory, version: Version) -> bool:
    """Whether a version is listed, or within a range: "Evaluation" in the OSV schema."""
    return any(_same(text, version) for text in part.get("versions", [])) or any(
        _within(ranged["events"], version) for ranged in part.get("ranges", []) if ranged["type"] == "ECOSYSTEM")


def _same(text: str, version: Version) -> bool:
    try:
        return Version(text) == version
    except InvalidVersion:  # of before PEP 440: never a pinned one
        return False


def _within(events: list[dict[str, str]], version: Version) -> bool:
    """Whether the last event at or before `version` starts the range; `last_affected` ends it after its version."""
    order = sorted((Version(text), kind == "last_affected", kind) for event in events for kind, text in event.items())
    inside = False
    for at, _, kind in order:
        if kind == "introduced" and at <= version:
            inside = True
        elif (kind == "fixed" and at <= version) or (kind == "last_affected" and at < version):
            inside = False
    return inside


def audit(database: Path, pinned: list[Pin], accepted: dict[str, str]) -> tuple[list[str], str]:
    """One line for each pinned package and advisory that affects it, and a line on what was looked at.

    Raises:
        DatabaseError: the database cannot be read, or no advisory in it is about PyPI.
    """
    lines, seen, newest = [], 0, ""
    for advisory in advisories(database):
        parts = [part for part in advisory.get("affected", []) if _of_pypi(part)]
        seen, newest = seen + bool(parts), max(newest, advisory.get("modified", "") if parts else "")
        known = {advisory["id"], *advisory.get("aliases", [])}
        if "withdrawn" in advisory or known & accepted.keys():
            continue
        named = {canonicalize_name(part["package"]["name"]) for part in parts}
        for pin in (pin for pin in pinned if pin.name in named):
            try:
                fixed = affecting(advisory, pin)
            except (KeyError, InvalidVersion) as error:
                fixed = [f"an unknown version, as {error!r} cannot be read"]  # said, as it may affect
            if fixed is not None:
                lines.append(f"{pin.name} {pin.version}: {', '.join(sorted(known))}: "
                             f"{advisory.get('summary') or 'no summary'} (fixed in {', '.join(fixed) or 'no version'})")
    if not seen:
        raise DatabaseError(f"{database} has no advisory about PyPI: expected the OSV export of PyPI")
    return sorted(lines), f"{len(pinned)} packages, {seen} advisories, the newest of {newest[:10] or 'unknown date'}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m supply.audit", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("database", type=Path, help="a folder or a zip of advisories in the OSV format")
    database = parser.parse_args().database
    accepted = settings()["accepted"]
    try:
        lines, looked = audit(database, pins(), accepted)
    except DatabaseError as error:
        print(f"audit: {error}", file=sys.stderr)
        sys.exit(2)
    print(*lines, f"{looked}: {len(lines)} affect them" if lines else f"{looked}: none affects them", sep="\n")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
