"""The sliding window: a ring of columns, one per refresh, with what was observed of every server and signal.

S servers, C signals, T columns of `refresh` seconds (T x refresh = span). Column k holds what was read from
k x refresh on and stands for that instant. NaN means "nothing observed". The rules:

- a number is never replaced by nothing: NaN overwrites no value, neither in append() nor in fill()
- append() (the live reading) overwrites older numbers of its column; fill() (history) only fills empty cells
- a column that was appended or filled counts as asked for, even if nothing was in it, and is no gap any more
- latest() is exactly one column; encoder() reads a step as its newest observed value, so that one missed reading
  costs no step
- a reading from before the newest column means that the clock was set back: the columns ahead of it carry
  wrong times and are dropped, and append() returns the reason for the log; no error, so nothing gets stuck
- a server is known once one value of it was observed, and stays known (with its last-seen time) until drop()

Not thread-safe: its owner calls it from one thread or holds a lock.
"""

import os
from collections.abc import Iterable, Sequence

import numpy as np

from forecaster.memory.snapshot import SnapshotError, load, save
from forecaster.readings import Reading, Readings, milliseconds

SNAPSHOT_VERSION = 2
_EMPTY = np.iinfo(np.int64).min


class Window:
    """Ring of shape (T, S, C), float32, at `refresh` resolution; ValueError for times that do not fit.

    `step` is the model's step and a multiple of `refresh`; `encoder_steps` steps must fit into `span` seconds
    (default: exactly those). `sample_interval` converts columns into warm-up samples (one scrape each).
    `origin` is a fingerprint of where the values come from; a snapshot of another origin is not taken over.
    """

    def __init__(self, signals: Sequence[str], refresh: float, step: float, encoder_steps: int,
                 span: float | None = None, sample_interval: float = 5.0, origin: str = ""):
        self.signals, self.origin = tuple(signals), origin
        self.refresh, self.step, self.encoder_steps = float(refresh), float(step), int(encoder_steps)
        self._refresh_ms = milliseconds("refresh", refresh)
        self._sample_ms = milliseconds("sample_interval", sample_interval)
        step_ms = milliseconds("step", step)
        if step_ms % self._refresh_ms:
            raise ValueError(f"refresh {refresh:g}s does not divide step {step:g}s: "
                             f"choose a refresh that fits into the step a whole number of times")
        if not self.signals or self.encoder_steps < 1:
            raise ValueError("a window needs at least one signal and one encoder step, "
                             f"found {len(self.signals)} and {encoder_steps}")
        self._stride = step_ms // self._refresh_ms
        span_ms = milliseconds("span", span) if span is not None else self.encoder_steps * step_ms
        self._length = -(-span_ms // self._refresh_ms)
        if self._length < (self.encoder_steps - 1) * self._stride + 1:
            raise ValueError(f"span {span_ms / 1000:g}s is shorter than {encoder_steps} encoder steps of "
                             f"{step:g}s: raise it")
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self._head: int | None = None
        self._tags = np.full(self._length, _EMPTY, np.int64)  # which column each slot of the ring holds
        self._values = np.empty((self._length, 0, len(self.signals)), np.float32)
        self._seen = np.zeros((self._length, 0), bool)        # any signal observed
        self._last = np.empty(0, np.float64)
        self._rows: dict[str, int] = {}
        self._profiles: dict[str, str] = {}
        self._free: list[int] = []
        self._sort()

    # -- what is known ------------------------------------------------------------------------------

    @property
    def servers(self) -> tuple[str, ...]:
        """Known servers (S,), sorted: the order of all arrays. The same tuple until servers come or go."""
        return self._servers

    @property
    def profiles(self) -> tuple[str, ...]:
        """Profile of each server (S,)."""
        return tuple(self._profiles[server] for server in self._servers)

    @property
    def newest(self) -> float | None:
        """Unix seconds of the newest column, None for an empty window."""
        return None if self._head is None else self._instant(self._head)

    @property
    def last_seen(self) -> np.ndarray:
        """float64 (S,): Unix seconds of the last column with any signal observed, however old."""
        return self._last[self._order]

    def encoder(self, now: float) -> np.ndarray:
        """float32 (S, C, encoder_steps), oldest first, the last step ending at now's column.

        Each server's and signal's newest value within each step, its end included and its beginning, which is
        the end of the step before, excluded; NaN where the whole step holds none.
        """
        ends = self._column(now) - self._stride * np.arange(self.encoder_steps - 1, -1, -1)
        taken = self._take(ends)
        missing = np.isnan(taken)
        if missing.any():  # what was never observed is not looked for
            missing &= np.isfinite(self._values).any(axis=0)[self._order]
        signals = np.flatnonzero(missing.any(axis=(0, 1)))
        missing = missing.any(axis=2)  # (encoder_steps, S): looked for further back only where needed
        for back in range(1, self._stride if signals.size else 1):
            slots = (ends - back) % self._length
            for step in np.flatnonzero((self._tags[slots] == ends - back) & missing.any(axis=1)):
                server = np.flatnonzero(missing[step] & self._seen[slots[step], self._order])
                cells = taken[step, server[:, None], signals]
                older = self._values[slots[step], self._order[server][:, None], signals]
                cells = np.where(np.isnan(cells), older, cells)
                taken[step, server[:, None], signals] = cells
                missing[step, server] = np.isnan(cells).any(axis=1)
        return np.ascontiguousarray(taken.transpose(1, 2, 0))

    def latest(self, now: float) -> np.ndarray:
        """float32 (S, C): now's column."""
        return self._take(np.array([self._column(now)]))[0]

    def samples(self, now: float) -> np.ndarray:
        """int64 (S,): columns of the span with any signal observed, converted into samples."""
        columns = self._columns(now)
        held = self._tags[columns % self._length] == columns
        observed = self._seen[columns[held] % self._length].sum(axis=0)[self._order]
        return observed * self._refresh_ms // self._sample_ms

    def readings(self, start: float, end: float) -> Readings:
        """All columns from start's to end's, both included; NaN where nothing is held."""
        columns = np.arange(self._column(start), self._column(end) + 1)
        return Readings(columns * self._refresh_ms / 1000, self._servers, self.profiles, self._take(columns))

    def gaps(self, now: float) -> list[tuple[float, float]]:
        """Stretches of the span nobody has asked for: (first, last) instants, both included, oldest first."""
        columns = self._columns(now)
        missing = columns[self._tags[columns % self._length] != columns]
        if not missing.size:
            return []
        runs = np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1)
        return [(self._instant(run[0]), self._instant(run[-1])) for run in runs]

    # -- what comes in ------------------------------------------------------------------------------

    def append(self, reading: Reading) -> str | None:
        """Places the live reading; returns the reason if the clock was set back and columns were dropped."""
        values = self._checked(reading.values, (len(reading.servers), len(self.signals)))
        column, reason = self._column(reading.instant), None
        if self._head is not None and column < self._head:
            reason = (f"the clock went back by {self._instant(self._head) - reading.instant:g}s: "
                      f"readings after {self._instant(column):.3f} were dropped")
            np.minimum(self._last, self._instant(column), out=self._last)
        self._advance(column)
        known = np.isfinite(values).any(axis=1)
        rows = self._enlist(reading.servers, reading.profiles, known, renew=True)
        self._write(column, rows, values[known], live=True)
        return reason

    def fill(self, readings: Readings) -> None:
        """Merges a range answer into empty cells; all its instants count as asked for."""
        shape = len(readings.instants), len(readings.servers), len(self.signals)
        values = self._checked(readings.values, shape)
        columns = np.array([self._column(instant) for instant in readings.instants], np.int64)
        if not columns.size:
            return
        newest = int(columns.max())
        if self._head is None or newest > self._head:
            self._advance(newest)
        kept = np.flatnonzero(columns > self._head - self._length)
        known = np.zeros(len(readings.servers), bool)
        for n in kept:
            known |= np.isfinite(values[n]).any(axis=1)
        rows = self._enlist(readings.servers, readings.profiles, known, renew=False)
        for n in reversed(kept):  # of several instants in one column the last one counts
            self._write(int(columns[n]), rows, values[n][known], live=False)

    def drop(self, servers: Iterable[str]) -> None:
        """Forgets these servers; unknown names are ignored."""
        for server in servers:
            row = self._rows.pop(server, None)
            if row is not None:
                del self._profiles[server]
                self._values[:, row], self._seen[:, row], self._last[row] = np.nan, False, np.nan
                self._free.append(row)
        self._sort()

    # -- what survives a restart --------------------------------------------------------------------

    def snapshot(self, path: str | os.PathLike) -> None:
        """Writes everything to `path`, atomically; OSError if that fails."""
        columns = np.sort(self._tags[self._tags != _EMPTY])
        save(path, version=SNAPSHOT_VERSION, signals=np.array(self.signals), refresh_ms=self._refresh_ms,
             origin=np.array(self.origin, np.str_), columns=columns, values=self._take(columns),
             last=self.last_seen, servers=np.array(self.servers, np.str_), profiles=np.array(self.profiles, np.str_))

    def restore(self, path: str | os.PathLike, now: float) -> str | None:
        """Takes over a snapshot; None, or the reason why it was ignored and the window left as it was."""
        try:
            if (version := load(path, ("version",))["version"].tolist()) != SNAPSHOT_VERSION:
                return f"snapshot {path} has version {version}, expected {SNAPSHOT_VERSION}"
            held = load(path, ("signals", "refresh_ms", "origin", "columns", "values", "last", "servers",
                               "profiles"))
        except SnapshotError as error:
            return str(error)
        mine = list(self.signals), self._refresh_ms
        found = held["signals"].tolist(), held["refresh_ms"].tolist()
        if found != mine:
            return (f"snapshot {path} has signals {found[0]}, refresh {found[1]} ms; "
                    f"expected {mine[0]}, {mine[1]} ms")
        if (origin := held["origin"].tolist()) != self.origin:
            return (f"snapshot {path} holds values of another origin (source, queries or scales were "
                    f"changed): {origin!r}, expected {self.origin!r}")
        columns, last, values = held["columns"], held["last"], held["values"]
        servers, profiles = tuple(held["servers"].tolist()), tuple(held["profiles"].tolist())
        if (values.shape != (len(columns), len(servers), len(self.signals))
                or not len(servers) == len(set(servers)) == len(profiles) == len(last)):
            return f"snapshot {path} cannot be read: its parts do not fit together"
        present = self._column(now)
        usable = (columns > present - self._length) & (columns <= present)
        if not usable.any():
            return f"snapshot {path} has nothing from the last {self._length * self.refresh:g}s"
        self.reset()
        rows = self._enlist(servers, profiles, np.ones(len(servers), bool), renew=True)
        self._last[rows] = np.minimum(last, self._instant(present))
        instants = columns[usable] * self._refresh_ms / 1000
        self.fill(Readings(instants, servers, profiles, values[usable]))
        return None

    # -- inside -------------------------------------------------------------------------------------

    def _column(self, instant: float) -> int:
        return round(instant * 1000) // self._refresh_ms  # in whole milliseconds, because 0.3 // 0.1 is 2

    def _instant(self, column: int) -> float:
        return int(column) * self._refresh_ms / 1000

    def _columns(self, now: float) -> np.ndarray:
        last = self._column(now)
        return np.arange(max(0, last - self._length + 1), last + 1)

    def _take(self, columns: np.ndarray) -> np.ndarray:
        """float32 (N, S, C) for columns (N,); NaN for columns the ring does not hold."""
        slots = columns % self._length
        held = self._tags[slots] == columns
        taken = np.full((len(columns), len(self._order), len(self.signals)), np.nan, np.float32)
        taken[held] = self._values[np.ix_(slots[held], self._order)]
        return taken

    def _checked(self, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        values = np.asarray(values, np.float32)
        if values.shape != shape:
            raise ValueError(f"values have shape {values.shape}, expected {shape}")
        return values

    def _advance(self, column: int) -> None:
        """Makes `column` the newest; what is ahead of it or has left the span is forgotten."""
        self._tags[(self._tags <= column - self._length) | (self._tags > column)] = _EMPTY
        self._head = column

    def _write(self, column: int, rows: np.ndarray, values: np.ndarray, live: bool) -> None:
        slot = column % self._length
        if self._tags[slot] != column:
            self._values[slot], self._seen[slot], self._tags[slot] = np.nan, False, column
        held, given = self._values[slot, rows], np.isfinite(values)
        taken = given if live else given & ~np.isfinite(held)
        self._values[slot, rows] = np.where(taken, values, held)
        observed = rows[given.any(axis=1)]
        self._seen[slot, observed] = True
        self._last[observed] = np.fmax(self._last[observed], self._instant(column))

    def _enlist(self, servers: Sequence[str], profiles: Sequence[str], known: np.ndarray,
                renew: bool) -> np.ndarray:
        """Row of each server where `known`, new ones added; `renew` takes over profiles of old ones too."""
        chosen = np.flatnonzero(known).tolist()
        fresh = [n for n in chosen if servers[n] not in self._rows]
        if short := len(fresh) - len(self._free):
            self._grow(short)
        for n in fresh:
            self._rows[servers[n]] = self._free.pop()
        for n in chosen if renew else fresh:
            self._profiles[servers[n]] = profiles[n]
        if fresh:
            self._sort()
        return np.array([self._rows[servers[n]] for n in chosen], np.int64)

    def _grow(self, short: int) -> None:
        old = self._last.size
        if short <= 0:
            return
        more = max(short, old, 16)
        self._values = np.concatenate(
            [self._values, np.full((self._length, more, len(self.signals)), np.nan, np.float32)], axis=1)
        self._seen = np.concatenate([self._seen, np.zeros((self._length, more), bool)], axis=1)
        self._last = np.concatenate([self._last, np.full(more, np.nan)])
        self._free += range(old + more - 1, old - 1, -1)

    def _sort(self) -> None:
        self._servers = tuple(sorted(self._rows))
        self._order = np.array([self._rows[server] for server in self._servers], np.int64)
