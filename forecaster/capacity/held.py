"""The memory of one resource: used shares and sizes of its entities, hourly for four weeks and every 5 minutes for six
hours.

Shares are held as they were read, of the size at that time; `past` makes them shares of the size of today: a size that
jumps (a resize) changes no trend. A size that drifts is no resize: that of a ZFS dataset is what its pool has left.

- an entity whose server reports others of the resource is dropped after GONE passes without it
- one whose server is silent is lost, and dropped after `drop_after`
- another thing under the same name (another device, of another size or use) begins anew; the same thing under another
  name goes on

Letters: N entities, sorted by server and name; T instants.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forecaster.capacity.growth import WEEK
from forecaster.capacity.past import HOUR, HOURS, RECENT, Bools, Floats
from forecaster.capacity.series import Named, Stretch, newest, same, settled
from forecaster.capacity.today import of_today, shifted

STEP = 300
GONE = 3  # passes
ALIKE = 0.02  # used share: a device that is renamed at a boot holds what it held
PIECE = 24  # hours of history that are read at once


class Held:
    """The entities of one resource; `origin` is a fingerprint of where they come from, `history` seconds to read."""

    def __init__(self, origin: str, history: float = HOURS * HOUR, drop_after: float = 86400.0):
        self.origin, self.drop_after = origin, drop_after
        self._wanted = min(HOURS, round(history / HOUR))
        self.instant: int | None = None  # Unix seconds of the last column of `recent`
        self.entities: tuple[Named, ...] = ()
        self.profiles: tuple[str, ...] = ()
        self.hourly, self.hourly_size = np.empty((2, 0, HOURS), np.float32)
        self.recent, self.recent_size = np.empty((2, 0, RECENT), np.float32)
        self.size, self.last_seen = np.empty((2, 0))  # (N,) in the resource's unit; Unix seconds
        self.missed = np.empty(0, np.int64)  # (N,) passes without it while its server reports others
        self.asked = np.zeros(HOURS, bool)  # columns of `hourly` that were read
        self.newcomers: set[tuple[str, str]] = set()  # server and name of those that were not there when they were
        self._late: frozenset[tuple[str, str]] = frozenset()  # those whose history is being read
        self._again = np.zeros(HOURS, bool)  # columns that are still to be read for them
        self.former: set[Named] = set()  # under which names, with the device of that time, history is that of a row
        self.told = False  # whether it was forecast with its history, or with what there was of it in time
        self.refused = 0  # newcomers of the last pass for which there was no room

    # -- reading ------------------------------------------------------------------------------------

    @property
    def lost(self) -> Bools:
        """bool (N,): not seen now."""
        now = self.instant or 0
        found: Bools = now - self.last_seen > 2 * STEP
        return found

    def used(self) -> Floats:
        """float32 (N,): the used share when it was last seen."""
        both = np.concatenate([self.hourly, self.recent], 1)
        at = both.shape[1] - 1 - np.isfinite(both)[:, ::-1].argmax(1)
        found: Floats = both[np.arange(len(both)), at]
        return found

    def past(self) -> tuple[Floats, Floats]:
        """(hourly (N, HOURS), recent (N, RECENT)): used shares of the size of today."""
        last = self.size.astype(np.float32)[:, None]
        return (of_today(self.hourly, np.concatenate([self.hourly_size, last], 1)),
                of_today(self.recent, np.concatenate([self.recent_size, last], 1)))

    def stretch(self, instant: int) -> tuple[int, int]:
        """The (first, last) instants to read at 5-minute steps in a pass at `instant`: with the last two again, as
        values may arrive late."""
        earliest = instant - (RECENT - 1) * STEP
        anew = self.instant is None or not self.entities
        return earliest if anew else min(max(earliest, (self.instant or 0) - 2 * STEP), instant), instant

    def piece(self) -> tuple[int, int] | None:
        """The (first, last) hours of the newest history that was not read yet, then of that of the newcomers that
        recall() took up; None where all was, and without entities."""
        unread = ~self.asked if self._lacks else self._again
        lacking = np.flatnonzero(unread[HOURS - self._wanted:]) + HOURS - self._wanted
        if self.instant is None or not self.entities or not lacking.size:
            return None
        end = int(lacking[-1])
        start = end
        while start > max(end - PIECE + 1, HOURS - self._wanted) and unread[start - 1]:
            start -= 1
        head = self.instant // HOUR
        return (head - (HOURS - 1 - start)) * HOUR, (head - (HOURS - 1 - end)) * HOUR

    @property
    def _lacks(self) -> bool:
        """Whether there is history that was read for nobody."""
        return not self.asked[HOURS - self._wanted:].all()

    @property
    def recalls(self) -> bool:
        """Whether history of newcomers is still to be read, of those that were taken up."""
        return bool(self._again.any())

    @property
    def read_share(self) -> float:
        """Which share of the history was read."""
        return float(self.asked[HOURS - self._wanted:].mean())

    @property
    def young(self) -> Bools:
        """bool (N,): not known at the beginning of the last week."""
        hours = min(WEEK, self._wanted)
        found: Bools = np.all(np.isnan(self.hourly[:, :HOURS - hours * 6 // 7]), axis=1)
        return found

    # -- writing ------------------------------------------------------------------------------------

    def take(self, stretch: Stretch, room: int) -> None:
        """A pass: what was read of `stretch()`. At most `room` entities are new. After an error all is as before."""
        before = vars(self).copy()  # the arrays that the pass writes to are its own, made by advance()
        try:
            self._take(stretch, room)
        except BaseException:
            vars(self).update(before)
            raise

    def _take(self, stretch: Stretch, room: int) -> None:
        self.advance(round(stretch.instants[-1]))
        stretch = settled(stretch)
        present, seen = stretch.present, {one[:2] for one in stretch.entities}
        self._rename(stretch, seen)
        self._enlist(stretch, room)
        places = self._places(stretch)
        for row, n in places:
            self._replaced(row, stretch, n)
        self._write(stretch, places)
        reporting = {one.server for one, now in zip(stretch.entities, present, strict=True) if now}
        there = {row for row, n in places if present[n]}
        gone = [one.server in reporting and row not in there for row, one in enumerate(self.entities)]
        self.missed = np.where(gone, self.missed + 1, 0)
        self._keep((self.missed < GONE) & ((self.instant or 0) - self.last_seen <= self.drop_after))

    def recall(self) -> None:
        """Takes up the newcomers: their history is read next, all of it for all of them at once."""
        if self.newcomers and not self._lacks and not self.recalls:
            self._late, self.newcomers = frozenset(self.newcomers), set()
            self._again[HOURS - self._wanted:] = True

    def fill(self, stretch: Stretch) -> None:
        """History: what was read of a `piece()`, of the entities that are known, or that were taken up."""
        whole = self._lacks
        rows = {one[:2]: row for row, one in enumerate(self.entities) if whole or one[:2] in self._late}
        places = [(rows[one[:2]], n) for n, one in enumerate(stretch.entities) if one[:2] in rows]
        same_name = [one for one in places if stretch.entities[one[1]].backing in ("", self.entities[one[0]].backing)]
        self._write(stretch, same_name)
        for row, n in sorted({*places} - {*same_name}):
            if stretch.entities[n] in self.former or self._goes_on(row, stretch, n):
                self.former.add(stretch.entities[n])
                self._write(stretch, [(row, n)])

    def _goes_on(self, row: int, stretch: Stretch, n: int) -> bool:
        """Whether history under another device's name is that of this row, before it was renamed: it ends before the
        row's begins, at the same size and use."""
        held, known = np.flatnonzero(np.isfinite(self.hourly[row])), np.flatnonzero(np.isfinite(stretch.used[n]))
        if not (held.size and known.size and stretch.entities[n].backing):
            return False
        head = (self.instant or 0) // HOUR - (HOURS - 1 - held[0])
        return bool(stretch.instants[known[-1]] // HOUR < head and same(self.size[row], newest(stretch.size[n]))
                    and abs(self.hourly[row, held[0]] - stretch.used[n, known[-1]]) <= ALIKE)

    def skip(self, first: int, last: int) -> None:
        """History: a `piece()` that cannot be read."""
        head = (self.instant or 0) // HOUR
        hours = slice(HOURS - 1 - head + first // HOUR, HOURS - head + last // HOUR)
        self.asked[hours], self._again[hours] = True, False

    def advance(self, instant: int) -> None:
        """Moves the columns so that the last ones are those of `instant`; a clock that was set back drops some."""
        was = instant if self.instant is None else self.instant
        for name, step in (("hourly", HOUR), ("hourly_size", HOUR), ("recent", STEP), ("recent_size", STEP)):
            setattr(self, name, shifted(getattr(self, name), instant // step - was // step, np.nan))
        self.asked, self._again = shifted(np.stack([self.asked, self._again]), instant // HOUR - was // HOUR, False)
        self.last_seen, self.size = np.minimum(self.last_seen, instant), self.size.copy()
        self.instant = instant

    def _rename(self, stretch: Stretch, seen: set[tuple[str, str]]) -> None:
        """What is not seen under its name and is under a new one goes on under that."""
        known = {one[:2] for one in self.entities}
        free = {(one.server, one.backing): row for row, one in enumerate(self.entities)
                if one.backing and one[:2] not in seen}
        entities = list(self.entities)
        for n, one in enumerate(stretch.entities):
            row = free.get((one.server, one.backing)) if one.backing and one[:2] not in known else None
            if row is not None and same(newest(stretch.size[n]), self.size[row]):
                entities[row] = one
                del free[one.server, one.backing]
        if entities != list(self.entities):
            self.entities = tuple(entities)
            self._keep(np.array(sorted(range(len(entities)), key=entities.__getitem__)))

    def _enlist(self, stretch: Stretch, room: int) -> None:
        """Adds rows for those that are new."""
        known = {one[:2] for one in self.entities}
        new = [n for n, one in enumerate(stretch.entities) if one[:2] not in known]
        self.refused = max(0, len(new) - max(0, room))
        if new := new[:max(0, room)]:
            count = len(new)
            if not known:  # what was read so far was read for nobody
                self.asked[:] = False
            elif self.asked.any():
                self.newcomers = self.newcomers | {stretch.entities[n][:2] for n in new}
            self.entities += tuple(stretch.entities[n] for n in new)
            self.profiles += tuple(stretch.profiles[n] for n in new)
            for name in ("hourly", "hourly_size", "recent", "recent_size", "size", "last_seen"):
                held = getattr(self, name)
                more = np.full((count, *held.shape[1:]), 0.0 if name == "last_seen" else np.nan, held.dtype)
                setattr(self, name, np.concatenate([held, more]))
            self.missed = np.concatenate([self.missed, np.full(count, GONE - 1)])  # gone already, if it is not present
            self._keep(np.array(sorted(range(len(self.entities)), key=self.entities.__getitem__)))

    def _places(self, stretch: Stretch) -> list[tuple[int, int]]:
        """(row, number in the stretch) of its entities that have a row; takes over what is said of them."""
        rows = {one[:2]: row for row, one in enumerate(self.entities)}
        places = [(rows[one[:2]], n) for n, one in enumerate(stretch.entities) if one[:2] in rows]
        profiles = list(self.profiles)
        for row, n in places:
            profiles[row] = stretch.profiles[n] or profiles[row]
        self.profiles = tuple(profiles)
        return places

    def _replaced(self, row: int, stretch: Stretch, n: int) -> None:
        """Begins a row anew where another thing lies under its name now."""
        was, now = self.entities[row], stretch.entities[n]
        if was.backing == now.backing:
            return
        entities = list(self.entities)
        entities[row] = now
        self.entities = tuple(entities)
        held, share = newest(np.concatenate([self.hourly[row], self.recent[row]])), newest(stretch.used[n])
        if was.backing and now.backing and not (same(self.size[row], newest(stretch.size[n]))
                                                and abs(held - share) <= ALIKE):
            for values in (self.hourly, self.hourly_size, self.recent, self.recent_size):
                values[row] = np.nan

    def _write(self, stretch: Stretch, places: list[tuple[int, int]]) -> None:
        """Writes values; a number is never replaced by nothing."""
        instants = np.rint(stretch.instants).astype(np.int64)
        head = self.instant or 0
        hours = HOURS - 1 - (head // HOUR - instants // HOUR)
        whole = (instants % HOUR == 0) & (hours >= 0) & (hours < HOURS)
        steps = RECENT - 1 - (head - instants) // STEP
        near = ((head - instants) % STEP == 0) & (steps >= 0) & (steps < RECENT)
        self.asked[hours[whole]], self._again[hours[whole]] = True, False
        if not places:
            return
        rows, ns = np.array(places).T
        for held, of, columns, these in (
                (self.hourly, stretch.used, hours, whole), (self.hourly_size, stretch.size, hours, whole),
                (self.recent, stretch.used, steps, near), (self.recent_size, stretch.size, steps, near)):
            values = of[ns][:, these]
            at = np.ix_(rows, columns[these])
            held[at] = np.where(np.isfinite(values), values, held[at])
        known = np.isfinite(stretch.used[ns])
        seen = np.where(known.any(1), instants[known.shape[1] - 1 - known[:, ::-1].argmax(1)], 0)
        sized = np.isfinite(stretch.size[ns])
        size = stretch.size[ns, known.shape[1] - 1 - sized[:, ::-1].argmax(1)]
        self.size[rows] = np.where(sized.any(1) & (seen >= self.last_seen[rows]), size, self.size[rows])
        self.last_seen[rows] = np.maximum(self.last_seen[rows], seen)

    def _keep(self, rows: Bools | npt.NDArray[np.int64]) -> None:
        """These rows only, in this order."""
        chosen = np.flatnonzero(rows) if rows.dtype == bool else rows
        if np.array_equal(chosen, np.arange(len(self.entities))):
            return
        self.entities = tuple(self.entities[row] for row in chosen.tolist())
        self.profiles = tuple(self.profiles[row] for row in chosen.tolist())
        for name in ("hourly", "hourly_size", "recent", "recent_size", "size", "last_seen", "missed"):
            setattr(self, name, getattr(self, name)[chosen])
