"""The sliding window: one column per refresh, with what was observed of every server and signal.

S servers, C signals, T columns of `refresh` seconds (T x refresh = span). Column k holds what was read from
k x refresh on and stands for that instant. NaN means "nothing observed". The rules:

- NaN never replaces a number, neither in append() nor in fill()
- append() (the live reading) overwrites older numbers of its column; fill() (history) only fills empty cells
- a column that was appended or filled is no gap any more. Where a signal or a server lacks values in it that it has
  before and after, it is a hole, and is asked for again after pauses that double: values may arrive late
- latest() is exactly one column; encoder() reads a step as its newest observed value, so that one missed reading
  costs no step
- a reading from before the newest column means that the clock was set back: the columns after it carry wrong times
  and are dropped, and append() returns the reason for the log; it is no error, so that the next reading works
- a server is known once a value of it was observed, and stays known (with its last-seen time) until drop()
- at most `most` servers are known: append() refuses newcomers beyond them, unless it can forget servers that have been
  silent for `idle` seconds, the longest silent first; fill() refuses newcomers beyond them
- what does not fit (shape, names) is a ValueError, and nothing changes

Not thread-safe: its owner calls it from one thread or holds a lock.
"""

import math
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import chain, islice

import numpy as np
import numpy.typing as npt

from forecaster.memory.again import Again
from forecaster.memory.ring import Columns, Flags, Ring, Values
from forecaster.memory.snapshot import load, save, unusable
from forecaster.readings import Reading, Readings, milliseconds

SNAPSHOT_VERSION = 2
_FIELDS = {"signals": ("str", "C"), "refresh_ms": ("int64", ()), "origin": ("str", ()), "columns": ("int64", "T"),
           "values": ("float32", "TSC"), "last": ("float64", "S"), "servers": ("str", "S"), "profiles": ("str", "S")}


class Window:
    """The columns of the last `span` seconds, at `refresh` resolution; ValueError for times that do not fit.

    `step` is the model's step and a multiple of `refresh`; `encoder_steps` steps must fit into `span` seconds
    (default: exactly those). `sample_interval` converts columns into warm-up samples (one scrape each).
    `origin` is a fingerprint of where the values come from; a snapshot of another origin is ignored.
    """

    def __init__(self, signals: Sequence[str], refresh: float, step: float, encoder_steps: int,
                 span: float | None = None, sample_interval: float = 5.0, origin: str = "",
                 most: int = sys.maxsize, idle: float = math.inf):
        self.signals, self.origin = tuple(signals), origin
        self.refresh, self.step, self.encoder_steps = float(refresh), float(step), int(encoder_steps)
        self._refresh_ms = milliseconds("refresh", refresh)
        self._sample_ms = milliseconds("sample_interval", sample_interval)
        step_ms = milliseconds("step", step)
        if step_ms % self._refresh_ms:
            raise ValueError(f"refresh {refresh:g}s does not divide step {step:g}s: choose a refresh that does")
        if not self.signals or self.encoder_steps < 1:
            raise ValueError("a window needs at least one signal and one encoder step, "
                             f"found {len(self.signals)} and {encoder_steps}")
        self._stride = step_ms // self._refresh_ms
        span_ms = milliseconds("span", span) if span is not None else self.encoder_steps * step_ms
        self._length = -(-span_ms // self._refresh_ms)
        if self._length < (self.encoder_steps - 1) * self._stride + 1:
            raise ValueError(f"span {span_ms / 1000:g}s is shorter than {encoder_steps} encoder steps of {step:g}s: "
                             "raise it")
        self.idle = idle
        self.refused = 0  # newcomers of the last append() for which there was no room
        self.forgotten: tuple[str, ...] = ()  # servers of which it took the place
        self._ring, self._again = Ring(self._length, len(self.signals), most), Again(self._length)

    @property
    def most(self) -> int:
        """How many servers are known at most; can be set: those that are known stay."""
        return self._ring.most

    @most.setter
    def most(self, most: int) -> None:
        self._ring.most = most

    # -- reading ------------------------------------------------------------------------------------

    @property
    def servers(self) -> tuple[str, ...]:
        """Known servers (S,), sorted: the order of all arrays. The same tuple until servers come or go."""
        return self._ring.servers

    @property
    def profiles(self) -> tuple[str, ...]:
        """Profile of each server (S,)."""
        return self._ring.profiles

    @property
    def newest(self) -> float | None:
        """Unix seconds of the newest column, None for an empty window."""
        return None if self._ring.head is None else self._instant(self._ring.head)

    @property
    def last_seen(self) -> npt.NDArray[np.float64]:
        """float64 (S,): Unix seconds of the last column with any signal observed, however old."""
        return self._ring.last * self._refresh_ms / 1000

    def encoder(self, now: float) -> Values:
        """float32 (S, C, encoder_steps), oldest first, the last step ending at now's column.

        Each server's and signal's newest value within each step. A step includes its end, and not its beginning,
        which is the end of the step before. NaN where the whole step holds none.
        """
        ends = self._column(now) - self._stride * np.arange(self.encoder_steps - 1, -1, -1)
        return self._ring.newest(ends, self._stride)

    def latest(self, now: float) -> Values:
        """float32 (S, C): now's column."""
        latest: Values = self._ring.take(np.array([self._column(now)]))[0]
        return latest

    def samples(self, now: float) -> npt.NDArray[np.int64]:
        """int64 (S,): columns of the span with any signal observed, converted into samples."""
        return self._ring.counts(self._columns(now)) * self._refresh_ms // self._sample_ms

    def readings(self, start: float, end: float) -> Readings:
        """All columns from start's to end's, both included; NaN where nothing is held."""
        columns = np.arange(self._column(start), self._column(end) + 1)
        return Readings(columns * self._refresh_ms / 1000, self.servers, self.profiles, self._ring.take(columns))

    def of(self, server: str, start: float, end: float) -> tuple[npt.NDArray[np.float64], Values]:
        """(instants (N,), float32 (N, C)) of one server, from start's column to end's, without columns of which nothing
        is held; Unix s."""
        columns = np.arange(max(self._column(start), self._column(end) - self._length + 1), self._column(end) + 1)
        values = self._ring.of(server, columns)
        seen = np.isfinite(values).any(axis=1)
        return columns[seen] * self._refresh_ms / 1000, values[seen]

    def gaps(self, now: float, every: float | None = None, within: float | None = None,
             back: float = 0.0) -> list[tuple[float, float]]:
        """Stretches to read: (first, last) instants, both included, oldest first.

        They are of the columns `back` seconds before now, and multiples of `every` seconds (default: refresh) before
        that, at most `within` seconds (default: the span).
        """
        stride, columns = self._apart(every), self._columns(now - back)
        columns = columns[columns > self._column(now) - self._length]
        columns = columns[-1 - (len(columns) - 1) // stride * stride::stride]
        if within is not None:
            columns = columns[columns >= self._column(now - back - within)]
        return self._stretches(columns[~self._ring.holds(columns) & self._again.due(columns, now)], stride)

    def holes(self, now: float) -> list[tuple[float, float]]:
        """Stretches that were read and should have more values, to be read again now; as gaps()."""
        columns = self._columns(now)
        return self._stretches(columns[self._ring.lacking(columns, self._stride) & self._again.due(columns, now)])

    def asked(self, first: float, last: float, now: float, every: float | None = None) -> None:
        """The source was asked for this stretch of gaps() with `every`, whether it answered (then after fill()) or
        not."""
        columns = np.arange(self._column(first), self._column(last) + 1, self._apart(every))
        self._again.asked(columns, self._ring.holds(columns), now)

    def _apart(self, every: float | None) -> int:
        return 1 if every is None else milliseconds("every", every) // self._refresh_ms

    def _stretches(self, columns: Columns, stride: int = 1) -> list[tuple[float, float]]:
        if not columns.size:
            return []
        runs = np.split(columns, np.flatnonzero(np.diff(columns) > stride) + 1)
        return [(self._instant(run[0]), self._instant(run[-1])) for run in runs]

    # -- writing ------------------------------------------------------------------------------------

    def append(self, reading: Reading) -> str | None:
        """Places the live reading; returns the reason if the clock was set back and columns were dropped."""
        values = self._checked(reading, (len(reading.servers), len(self.signals)))
        column, head, reason = self._column(reading.instant), self._ring.head, None
        known: Flags = np.any(np.isfinite(values), axis=1)
        fresh = self._fresh(reading, known)
        self.forgotten = self._yielding(reading, known, len(fresh))
        if self.forgotten:
            self._ring.drop(self.forgotten)
        known, self.refused = self._admitted(known, fresh)
        rows = self._rows(reading, known, renew=True)
        if head is not None and column < head:
            reason = (f"the clock went back by {self._instant(head) - reading.instant:g}s: "
                      f"readings after {self._instant(column):.3f} were dropped")
            self._ring.last = np.minimum(self._ring.last, column)
        self._ring.advance(column)
        self._ring.write(column, rows, values[known], overwrite=True)
        return reason

    def fill(self, readings: Readings) -> None:
        """Merges a range answer into empty cells; none of its instants is a gap any more."""
        values = self._checked(readings, (len(readings.instants), len(readings.servers), len(self.signals)))
        columns = np.array([self._column(instant) for instant in readings.instants], np.int64)
        if not columns.size:
            return
        newest, head = int(columns.max()), self._ring.head
        later = head is None or newest > head
        kept = np.flatnonzero(columns > (newest if head is None or later else head) - self._length)
        known: Flags = np.zeros(len(readings.servers), bool)
        for n in kept:
            known |= np.isfinite(values[n]).any(axis=1)
        known, _ = self._admitted(known, self._fresh(readings, known))
        rows = self._rows(readings, known, renew=False)
        if later:
            self._ring.advance(newest)
        for n in reversed(kept):  # of several instants in one column the last one counts
            self._ring.write(int(columns[n]), rows, values[n][known], overwrite=False)

    def same(self, other: "Window") -> bool:
        """Whether the other window holds values of the same origin, signals and times, and as many steps."""
        mine, theirs = ((w.origin, w.signals, w.refresh, w.step, w.encoder_steps) for w in (self, other))
        return mine == theirs

    def drop(self, servers: Iterable[str]) -> None:
        """Forgets these servers; unknown names are ignored."""
        self._ring.drop(servers)

    # -- snapshots ----------------------------------------------------------------------------------

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Writes everything to `path`, atomically; OSError if that fails."""
        columns = self._ring.held()
        save(path, version=SNAPSHOT_VERSION, signals=np.array(self.signals), refresh_ms=self._refresh_ms,
             origin=np.array(self.origin, np.str_), columns=columns, values=self._ring.take(columns),
             last=self.last_seen, servers=np.array(self.servers, np.str_), profiles=np.array(self.profiles, np.str_))

    def restore(self, path: str | os.PathLike[str], now: float) -> str | None:
        """Restores a snapshot; None, or why it does not fit. SnapshotError if it is damaged. The window is left as it
        was unless all of the snapshot is restored."""
        if (version := load(path, {"version": ("int64", ())})["version"].tolist()) != SNAPSHOT_VERSION:
            return f"snapshot {path} has version {version}, expected {SNAPSHOT_VERSION}"
        held = load(path, _FIELDS)
        mine = list(self.signals), self._refresh_ms
        found = held["signals"].tolist(), held["refresh_ms"].tolist()
        if found != mine:
            return f"snapshot {path} has signals {found[0]}, refresh {found[1]} ms; expected {mine[0]}, {mine[1]} ms"
        if (origin := held["origin"].tolist()) != self.origin:
            return (f"snapshot {path} holds values of another origin (source, queries or scales were changed): "
                    f"{origin!r}, expected {self.origin!r}")
        columns, last, values = held["columns"], held["last"], held["values"]
        servers, profiles = tuple(held["servers"].tolist()), tuple(held["profiles"].tolist())
        if len(set(servers)) < len(servers):
            raise unusable(path, "a server is there twice")
        present = self._column(now)
        usable = (columns > present - self._length) & (columns <= present)
        if not usable.any():
            return f"snapshot {path} has nothing from the last {self._length * self.refresh:g}s"
        instants = columns[usable] * self._refresh_ms / 1000
        self._ring, self._again = Ring(self._length, len(self.signals), self.most), Again(self._length)
        self._ring.enlist(servers, profiles, renew=True)
        self._ring.last = np.minimum(np.rint(last * 1000 / self._refresh_ms), present)[np.argsort(servers)]
        self.fill(Readings(instants, servers, profiles, values[usable]))
        return None

    # -- inside -------------------------------------------------------------------------------------

    def _column(self, instant: float) -> int:
        return round(instant * 1000) // self._refresh_ms  # in whole milliseconds, because 0.3 // 0.1 is 2

    def _instant(self, column: int) -> float:
        return int(column) * self._refresh_ms / 1000

    def _columns(self, now: float) -> Columns:
        last = self._column(now)
        return np.arange(max(0, last - self._length + 1), last + 1)

    def _checked(self, read: Reading | Readings, shape: tuple[int, ...]) -> Values:
        """Its values; ValueError for another shape, or names that are not text or are there twice."""
        values = np.asarray(read.values, np.float32)
        if values.shape != shape:
            raise ValueError(f"values have shape {values.shape}, expected {shape}")
        if (not len(read.servers) == len(set(read.servers)) == len(read.profiles)
                or not set(map(type, chain(read.servers, read.profiles))) <= {str}):
            raise ValueError(f"{len(read.servers)} servers with {len(read.profiles)} profiles: expected a profile for "
                             "each, all of them text, and no server twice")
        return values

    def _fresh(self, read: Reading | Readings, known: Flags) -> list[int]:
        """Places of those of the `known` servers (S,) that have no row."""
        if read.servers == self.servers:
            return []
        return [n for n in np.flatnonzero(known).tolist() if read.servers[n] not in self._ring]

    def _yielding(self, reading: Reading, known: Flags, fresh: int) -> tuple[str, ...]:
        """The servers to be forgotten for so many newcomers: as many as are needed, the longest silent first."""
        if (over := len(self.servers) + fresh - self.most) <= 0 or not fresh:
            return ()
        seen, there = self.last_seen, {reading.servers[n] for n in np.flatnonzero(known)}
        order = np.argsort(seen, kind="stable")
        silent = (self.servers[n] for n in order.tolist() if not reading.instant - seen[n] <= self.idle)
        return tuple(islice((server for server in silent if server not in there), over))

    def _admitted(self, known: Flags, fresh: list[int]) -> tuple[Flags, int]:
        """(`known` (S,) without the newcomers for which there is no room, the last by name; how many these are)."""
        beyond = fresh[max(0, self.most - len(self.servers)):]
        known = known.copy()
        known[beyond] = False
        return known, len(beyond)

    def _rows(self, read: Reading | Readings, known: Flags, renew: bool) -> Columns:
        servers, profiles = ([names[n] for n in np.flatnonzero(known)] for names in (read.servers, read.profiles))
        return self._ring.enlist(servers, profiles, renew)
