"""The memory of a resource on disk: written atomically, and read only where it fits."""

import os

import numpy as np

from forecaster.capacity.held import Held
from forecaster.capacity.past import HOURS, RECENT
from forecaster.capacity.series import Named
from forecaster.memory.snapshot import SnapshotError, load, save

VERSION = 1
_ARRAYS = ("hourly", "hourly_size", "recent", "recent_size", "size", "last_seen", "missed", "asked")
_NAMES = ("version", "origin", "instant", "entities", "profiles")


class Kept:
    """One resource's memory as a keeper of snapshots takes it."""

    def __init__(self, held: Held):
        self._held = held

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Writes everything, atomically; OSError if that fails. Nothing before the first pass."""
        held = self._held
        if held.instant is not None:
            entities = np.array(held.entities, np.str_).reshape(-1, 3)
            save(path, version=VERSION, origin=np.array(held.origin, np.str_), instant=held.instant, entities=entities,
                 profiles=np.array(held.profiles, np.str_), **{name: getattr(held, name) for name in _ARRAYS})

    def restore(self, path: str | os.PathLike[str], now: float) -> str | None:
        """Restores a snapshot; None, or the reason why it was ignored and the memory left as it was."""
        held = self._held
        try:
            found = load(path, (*_NAMES, *_ARRAYS))
        except SnapshotError as error:
            return str(error)
        if found["version"].tolist() != VERSION:
            return f"snapshot {path} has version {found['version']}, expected {VERSION}"
        if (origin := found["origin"].tolist()) != held.origin:
            return (f"snapshot {path} holds another resource (source, query, labels or shard were changed): "
                    f"{origin!r}, expected {held.origin!r}")
        rows = len(found["profiles"])
        shapes = {"hourly": (rows, HOURS), "hourly_size": (rows, HOURS), "recent": (rows, RECENT),
                  "recent_size": (rows, RECENT), "size": (rows,), "last_seen": (rows,), "missed": (rows,),
                  "asked": (HOURS,), "entities": (rows, 3)}
        if any(found[name].shape != shape for name, shape in shapes.items()):
            return f"snapshot {path} cannot be read: its parts do not fit together"
        if found["instant"] > now:
            return f"snapshot {path} is of a time that has not come yet: {found['instant']}, now is {now:.0f}"
        held.instant = int(found["instant"])
        held.entities = tuple(Named(*one) for one in found["entities"].tolist())
        held.profiles = tuple(found["profiles"].tolist())
        for name in _ARRAYS:
            setattr(held, name, found[name])
        return None
