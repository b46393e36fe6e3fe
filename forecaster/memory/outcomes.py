"""The outcomes of chances: what was said of incidents that had not begun, compared with what came.

Once per step, the chances of all incidents that are known and not on are kept. When their window has passed, each is
counted in the bin of its chance, with whether the incident was on at any time within the window. One that was not known
at some time in between is not counted, whatever came. Counts are kept by day, for DAYS.

A reliability diagram compares the mean chance of a bin with the share of its incidents that came (after Murphy and
Winkler, Applied Statistics 26, 1977). What is said of one server minutes apart is nearly the same: counts are far
larger than the number of independent cases.

Memory: 96 pending steps of 10 B per server and incident. Letters: S servers, I incidents, W windows, B bins.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forecaster.memory.ring import Flags
from forecaster.memory.snapshot import load, save, unusable

VERSION = 1
EDGES = np.array([0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])  # between the bins
BINS = len(EDGES) + 1
DAYS, DAY = 7, 86400.0
COUNTED, SAID, CAME = range(3)  # columns of the sums

Wide = npt.NDArray[np.float64]


@dataclass(eq=False)
class _Kept:
    """What was said at one step, and what came of it since."""

    servers: tuple[str, ...]
    chance: npt.NDArray[np.float32]  # (W, S, I), NaN where nothing is to be counted
    came: Flags  # (S, I)


class Outcomes:
    """``windows`` maps labels to steps, shortest first; `identity` names the model, source and settings."""

    def __init__(self, incidents: Sequence[str], windows: Mapping[str, int], step: float, identity: str = ""):
        self.incidents, self.windows, self.step = tuple(incidents), dict(windows), float(step)
        self.identity = identity
        self._pending: OrderedDict[int, _Kept] = OrderedDict()  # step -> what was said then
        self._sums: OrderedDict[int, Wide] = OrderedDict()  # day -> (W, I, B, 3)

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        return len(self.windows), len(self.incidents), BINS, 3

    def step_over(self, now: float, servers: tuple[str, ...], on: Flags, known: Flags,
                  chance: Mapping[str, Wide]) -> None:
        """Counts what was said of windows that end now (Unix s), and keeps what is said now; both once per step. What
        is on is noted at every call, as an incident may be shorter than a step.

        on, known: bool (S, I); chance: float64 (S, I) by window, NaN where unknown.
        """
        present = int(now // self.step)
        if self._pending and present <= (newest := next(reversed(self._pending))):
            if present < newest:  # the clock was set back
                self._pending.clear()
            for kept in self._pending.values():
                kept.came |= _of(kept.servers, servers, on)
            return
        if self._pending and present > newest + 1:  # a step is missing: what came in it is not known
            self._pending.clear()
        for key, kept in self._pending.items():
            kept.came |= _of(kept.servers, servers, on)
            kept.chance[:, ~_of(kept.servers, servers, known)] = np.nan
            for w, steps in enumerate(self.windows.values()):
                if key + steps == present:
                    self._count(int(now // DAY), w, kept)
        while self._pending and next(iter(self._pending)) + max(self.windows.values()) <= present:
            self._pending.popitem(last=False)
        said = np.stack([np.where(known & ~on, chance[window], np.nan) for window in self.windows])
        self._pending[present] = _Kept(servers, said.astype(np.float32), np.zeros(on.shape, bool))

    def _count(self, day: int, window: int, kept: _Kept) -> None:
        if day not in self._sums:
            self._sums[day] = np.zeros(self._shape)
            while next(iter(self._sums)) <= day - DAYS:
                self._sums.popitem(last=False)
        row, incident = np.nonzero(np.isfinite(kept.chance[window]))
        said = kept.chance[window, row, incident].astype(np.float64)
        place = incident, np.searchsorted(EDGES, said, side="right")
        for column, values in ((COUNTED, 1.0), (SAID, said), (CAME, kept.came[row, incident])):
            np.add.at(self._sums[day][window, ..., column], place, values)

    def total(self) -> Wide:
        """float64 (W, I, B, 3): counted, the sum of their chances, and how many came, of the last DAYS."""
        return sum(self._sums.values(), start=np.zeros(self._shape))

    # -- snapshots ----------------------------------------------------------------------------------

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Writes the counts to `path`, atomically; OSError if that fails. What is pending is lost with the process."""
        save(path, version=VERSION, identity=np.array(self._fingerprint), days=np.array(list(self._sums), np.int64),
             sums=np.array(list(self._sums.values())).reshape(-1, *self._shape))

    def restore(self, path: str | os.PathLike[str], now: float) -> str | None:
        """Restores a snapshot; None, or why it does not fit. SnapshotError if it is damaged."""
        head = load(path, {"version": ("int64", ()), "identity": ("str", ())})
        if (version := head["version"].tolist()) != VERSION:
            return f"{path} has version {version}, expected {VERSION}"
        if str(head["identity"]) != self._fingerprint:
            return f"{path} holds the outcomes of another model, source or settings"
        held = load(path, {"days": ("int64", "D"), "sums": ("float64", ("D", *self._shape))})
        if not ((held["sums"] >= 0) & np.isfinite(held["sums"])).all():
            raise unusable(path, "a count is below 0, or no number")
        days = zip(held["days"].tolist(), held["sums"], strict=True)
        self._sums = OrderedDict((day, sums) for day, sums in sorted(days, key=lambda one: one[0])
                                 if int(now // DAY) - DAYS < day <= int(now // DAY))
        return None

    def same(self, other: Outcomes) -> bool:
        """Whether the other's counts can be continued under this one's settings."""
        return self._fingerprint == other._fingerprint

    @property
    def _fingerprint(self) -> str:
        return repr((self.identity, self.incidents, self.windows, self.step))


def _of(wanted: tuple[str, ...], servers: tuple[str, ...], flags: Flags) -> Flags:
    """The flags (S, I) of `servers` for those `wanted`, in their order; False of one that is gone."""
    if wanted == servers:
        return flags
    place = {name: row for row, name in enumerate(servers)}
    rows = np.array([place.get(name, -1) for name in wanted], np.int64)
    return np.concatenate([flags, np.zeros((1, flags.shape[1]), bool)])[rows]
