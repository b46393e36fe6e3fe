"""The window's cells: a ring of columns, each with one value per server and signal. Columns are whole numbers.

S servers, C signals, L columns in the ring. Column k lies in slot k % L, as long as no later one took its place.
NaN means "nothing observed". Not thread-safe.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

_EMPTY = np.iinfo(np.int64).min

Columns = npt.NDArray[np.int64]  # (N,), or the rows of servers
Values = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


class Ring:
    """`length` columns of `signals` signals, and the servers that have a row in them, at most `most` if its owner
    keeps to it."""

    def __init__(self, length: int, signals: int, most: int):
        self.length, self.most = length, most
        self.head: int | None = None  # the newest column
        self._tags = np.full(length, _EMPTY, np.int64)  # the column that each slot holds
        self._values = np.empty((length, 0, signals), np.float32)
        self._seen = np.zeros((length, 0), bool)  # any signal observed
        self._given = np.zeros((length, signals), bool)  # observed of any server
        self._last = np.empty(0, np.float64)  # the last column of each row with a value, however old
        self._rows: dict[str, int] = {}
        self._profiles: dict[str, str] = {}
        self._free: list[int] = []
        self._sort()

    # -- reading ------------------------------------------------------------------------------------

    @property
    def profiles(self) -> tuple[str, ...]:
        """Profile of each server (S,)."""
        return tuple(self._profiles[server] for server in self.servers)

    @property
    def last(self) -> npt.NDArray[np.float64]:
        """float64 (S,): the last column with any signal observed, however old; can be set, for a clock set back."""
        return self._last[self._order]

    @last.setter
    def last(self, columns: npt.NDArray[np.float64]) -> None:
        self._last[self._order] = columns

    def __contains__(self, server: str) -> bool:
        """Whether this server has a row."""
        return server in self._rows

    def held(self) -> Columns:
        """int64 (N,): the columns in the ring, oldest first."""
        return np.sort(self._tags[self._tags != _EMPTY])

    def holds(self, columns: Columns) -> Flags:
        """bool (N,): whether each column is in the ring, even if nothing was observed in it."""
        found: Flags = self._tags[columns % self.length] == columns
        return found

    def take(self, columns: Columns) -> Values:
        """float32 (N, S, C); NaN for columns that the ring does not hold."""
        held = self.holds(columns)
        taken = np.full((len(columns), len(self._order), self._values.shape[2]), np.nan, np.float32)
        taken[held] = self._values[np.ix_(columns[held] % self.length, self._order)]
        return taken

    def newest(self, ends: Columns, stride: int) -> Values:
        """float32 (S, C, N): the newest value within the `stride` columns up to each end; NaN where there is none."""
        taken = self.take(ends)
        missing = np.isnan(taken)
        if missing.any():  # a cell is searched only where its server and signal were ever observed
            missing &= np.any(np.isfinite(self._values), axis=0)[self._order]
        signals = np.flatnonzero(missing.any(axis=(0, 1)))
        searched: Flags = np.any(missing, axis=2)  # (N, S): servers to look for further back
        for back in range(1, stride if signals.size else 1):
            slots = (ends - back) % self.length
            for step in np.flatnonzero(self.holds(ends - back) & np.any(searched, axis=1)):
                server = np.flatnonzero(searched[step] & self._seen[slots[step], self._order])
                cells = taken[step, server[:, None], signals]
                older = self._values[slots[step], self._order[server][:, None], signals]
                cells = np.where(np.isnan(cells), older, cells)
                taken[step, server[:, None], signals] = cells
                searched[step, server] = np.any(np.isnan(cells), axis=1)
        return np.ascontiguousarray(taken.transpose(1, 2, 0))

    def of(self, server: str, columns: Columns) -> Values:
        """float32 (N, C) of one server; NaN where it has no row, and for columns that the ring does not hold."""
        found = np.full((len(columns), self._values.shape[2]), np.nan, np.float32)
        if server in self._rows:
            held = self.holds(columns)
            found[held] = self._values[columns[held] % self.length, self._rows[server]]
        return found

    def counts(self, columns: Columns) -> Columns:
        """int64 (S,): of these columns, those with any signal observed."""
        counted: Columns = np.count_nonzero(self._seen[columns[self.holds(columns)] % self.length], axis=0)
        return counted[self._order]

    def lacking(self, columns: Columns, stride: int) -> Flags:
        """bool (N,): which of these columns, consecutive and rising, the ring holds without values that it should have.

        That is a column without any value of a signal that has some in the last column, and a step of `stride` columns
        without any value of a server that has some before it and in the last step.
        """
        held, slots = self.holds(columns), columns % self.length
        given = self._given[slots] & held[:, None]
        lacking: Flags = np.any(given[-1] & ~given, axis=1)
        if steps := len(columns) // stride:
            seen = (self._seen[slots] & held[:, None])[-steps * stride:, self._order]
            step = np.any(seen.reshape(steps, stride, len(self._order)), axis=1)
            holes = np.any(~step & np.logical_or.accumulate(step) & step[-1], axis=1)
            lacking[-steps * stride:] |= np.repeat(holes, stride)
        return lacking & held

    # -- writing ------------------------------------------------------------------------------------

    def advance(self, column: int) -> None:
        """Makes `column` the newest; later ones, and those that have left the span, are removed."""
        self._tags[(self._tags <= column - self.length) | (self._tags > column)] = _EMPTY
        self.head = column

    def write(self, column: int, rows: Columns, values: Values, overwrite: bool) -> None:
        """Places values (rows, C) in the column; without `overwrite` only in empty cells. NaN replaces nothing."""
        slot = column % self.length
        if self._tags[slot] != column:
            self._values[slot], self._seen[slot], self._given[slot], self._tags[slot] = np.nan, False, False, column
        held, given = self._values[slot, rows], np.isfinite(values)
        taken = given if overwrite else given & ~np.isfinite(held)
        self._values[slot, rows] = np.where(taken, values, held)
        observed = rows[given.any(axis=1)]
        self._seen[slot, observed] = True
        self._given[slot] |= given.any(axis=0)
        self._last[observed] = np.fmax(self._last[observed], column)

    def enlist(self, servers: Sequence[str], profiles: Sequence[str], renew: bool) -> Columns:
        """int64 (servers,): the row of each, new ones added; `renew` replaces the profiles of known ones too. Names are
        text, and none is there twice."""
        fresh = [n for n, server in enumerate(servers) if server not in self._rows]
        self._grow(len(fresh) - len(self._free))
        for n in fresh:
            self._rows[servers[n]] = self._free.pop()
        for n in range(len(servers)) if renew else fresh:
            self._profiles[servers[n]] = profiles[n]
        if fresh:
            self._sort()
        return np.array([self._rows[server] for server in servers], np.int64)

    def drop(self, servers: Iterable[str]) -> None:
        """Removes these servers and their values; unknown names are ignored."""
        for server in servers:
            row = self._rows.pop(server, None)
            if row is not None:
                del self._profiles[server]
                self._values[:, row], self._seen[:, row], self._last[row] = np.nan, False, np.nan
                self._free.append(row)
        self._sort()

    def _grow(self, short: int) -> None:
        if short <= 0:
            return
        length, old, signals = self._values.shape
        more = max(short, min(old, max(0, self.most - old)), 16)
        values = np.concatenate([self._values, np.full((length, more, signals), np.nan, np.float32)], axis=1)
        seen = np.concatenate([self._seen, np.zeros((length, more), bool)], axis=1)
        last = np.concatenate([self._last, np.full(more, np.nan)])
        self._values, self._seen, self._last = values, seen, last  # all or, where memory is short, nothing
        self._free += range(old + more - 1, old - 1, -1)

    def _sort(self) -> None:
        self.servers = tuple(sorted(self._rows))  # (S,): the order of all arrays
        self._order = np.array([self._rows[server] for server in self.servers], np.int64)
