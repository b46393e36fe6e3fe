"""The packages that Fleetcast needs, as they are installed: its dependencies and theirs."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@dataclass(frozen=True)
class Package:
    """An installed package: canonical name, its metadata, and the canonical names of what it needs here."""

    name: str
    installed: Distribution
    needs: tuple[str, ...]


def needed(project: str = "fleetcast", extras: Iterable[str] = ()) -> dict[str, Package]:
    """`project` with `extras` and everything it needs on this platform, by canonical name, in order.

    Raises:
        PackageNotFoundError: one of them is not installed.
    """
    installed: dict[str, Distribution] = {}
    needs: dict[tuple[str, str], set[str]] = {}  # by name and extra
    waiting = [(canonicalize_name(project), extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in needs:
            continue
        installed[name] = distribution(name)
        wanted = [need for need in map(Requirement, installed[name].requires or [])
                  if need.marker is None or need.marker.evaluate({"extra": extra})]
        needs[name, extra] = {canonicalize_name(need.name) for need in wanted}
        waiting += [(canonicalize_name(need.name), further) for need in wanted for further in ("", *need.extras)]
    by_name: dict[str, set[str]] = {}
    for (of, _), names in needs.items():
        by_name.setdefault(of, set()).update(names)
    return {name: Package(name, installed[name], tuple(sorted(by_name[name]))) for name in sorted(installed)}
