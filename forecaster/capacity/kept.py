"""The memory of a resource on disk: written atomically, and read only where it fits."""

import os

import numpy as np

from forecaster.capacity.held import Held
from forecaster.capacity.past import HOURS, RECENT
from forecaster.capacity.series import Named
from forecaster.memory.snapshot import load, save, unusable

VERSION = 1
_ARRAYS = {"hourly": ("float32", ("N", HOURS)), "hourly_size": ("float32", ("N", HOURS)),
           "recent": ("float32", ("N", RECENT)), "recent_size": ("float32", ("N", RECENT)), "size": ("float64", "N"),
           "last_seen": ("float64", "N"), "missed": ("int64", "N"), "asked": ("bool", (HOURS,))}
_FIELDS = {"instant": ("int64", ()), "entities": ("str", ("N", 3)), "profiles": ("str", "N"), **_ARRAYS}


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
        """Restores a snapshot; None, or why it does not fit. SnapshotError if it is damaged. The memory is left as it
        was unless all of the snapshot is restored."""
        held, found = self._held, load(path, {"version": ("int64", ()), "origin": ("str", ())})
        if found["version"].tolist() != VERSION:
            return f"snapshot {path} has version {found['version']}, expected {VERSION}"
        if (origin := found["origin"].tolist()) != held.origin:
            return (f"snapshot {path} holds another resource (source, query, labels or shard were changed): "
                    f"{origin!r}, expected {held.origin!r}")
        found = load(path, _FIELDS)
        if found["instant"] > now:
            return f"snapshot {path} is of a time that has not come yet: {found['instant']}, now is {now:.0f}"
        entities = tuple(Named(*one) for one in found["entities"].tolist())
        if found["instant"] < 0 or len({one[:2] for one in entities}) < len(entities):
            raise unusable(path, "its parts do not fit together")
        held.instant, held.entities = int(found["instant"]), entities
        held.profiles = tuple(found["profiles"].tolist())
        for name in _ARRAYS:
            setattr(held, name, found[name])
        return None
