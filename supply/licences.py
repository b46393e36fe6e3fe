"""Checks that the licence of every package that Fleetcast needs at run time is an allowed one (part of `make lint`).

A package's licence is the SPDX expression in its metadata: License-Expression, or License where that is one. For
packages without one, `pyproject.toml` has it in [tool.supply.licences], as read in their licence files. Allowed are the
licences in [tool.supply], allowed-licences: of "A OR B" one is enough, of "A AND B" both are needed.
"""

import sys
from collections.abc import Iterable

from license_expression import get_spdx_licensing

from supply.packages import Package, needed
from supply.pins import settings

SPDX = get_spdx_licensing()


def licence(package: Package, read: dict[str, str]) -> str | None:
    """A package's licence as an SPDX expression: from its metadata, else from `read` by its name, else None."""
    metadata = package.installed.metadata
    stated = [metadata[field] for field in ("License-Expression", "License") if field in metadata]
    return next((text for text in (*stated, read.get(package.name)) if text and not SPDX.validate(text).errors), None)


def allows(expression: str, allowed: Iterable[str]) -> bool:
    """Whether the licences in `allowed`, each an identifier or "ID WITH EXCEPTION", fulfil an SPDX expression."""
    known = {*allowed}
    parsed = SPDX.parse(expression)
    return bool(parsed.subs({part: SPDX.TRUE if part.render() in known else SPDX.FALSE for part in parsed.literals},
                            simplify=True) == SPDX.TRUE)


def problems(packages: Iterable[Package], allowed: list[str], read: dict[str, str]) -> list[str]:
    """One line for each package whose licence is unknown or not allowed."""
    lines = []
    for package in packages:
        known = licence(package, read)
        name = f"{package.name} {package.installed.version}"
        if known is None:
            lines.append(f"{name}: its metadata has no SPDX licence: read its licence file and write the "
                         "identifier into pyproject.toml, [tool.supply.licences]")
        elif not allows(known, allowed):
            lines.append(f"{name}: {known} is not allowed: replace the package or, if Fleetcast may need a package of "
                         "that licence, add it to pyproject.toml, [tool.supply], allowed-licences")
    return lines


def main() -> None:
    rules = settings()
    packages = needed().values()
    lines = problems(packages, rules["allowed-licences"], rules["licences"])
    print(*lines or [f"Licences of {len(packages)} packages: all are allowed"], sep="\n")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
