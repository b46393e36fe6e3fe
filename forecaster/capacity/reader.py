"""Reads a resource from Prometheus: its used shares and sizes over a range, both at once, in pieces.

The connections are its own, so that the cycle of the signals never waits for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from threading import Event
from typing import Any
from urllib.parse import urlencode

import numpy as np
import requests

from forecaster.capacity.past import Wide
from forecaster.capacity.series import NO_SHARE, Naming, Stretch
from forecaster.capacity.settings import STEP, Resource
from forecaster.limits import Limits
from forecaster.readings import Labels, SourceError, SourceNonsense, grid
from forecaster.sources.answers import Parsed, parse
from forecaster.sources.crew import gather
from forecaster.sources.notes import LoggedOnce, Notes
from forecaster.sources.shard import Shard
from forecaster.sources.signal_query import answered, too_large, too_slow
from forecaster.sources.transport import Answer, fetch
from forecaster.sources.up import render

AT_ONCE = 2  # queries: used shares and sizes
MAX_SAMPLES = 500_000  # of one answer
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_FIRST_GUESS = 5000  # series, before the first answer


class Stopped(Exception):
    """The reader was told to end."""


class ResourceReader:
    """The queries of one resource, at most AT_ONCE at a time.

    error and warnings are those of the last range. A size query that fails costs the sizes only, which is an error too.
    """

    def __init__(self, name: str, resource: Resource, url: str, session: requests.Session, timeout: float,
                 labels: Labels, shard: Shard, parameters: Mapping[str, str], clock: Callable[[], float],
                 stopping: Event, limits: Limits | None = None):
        self.name, self._what = name, f"Prometheus at {url}, resource {name}"
        self._url, self._session, self._timeout, self._parameters = url, session, timeout, dict(parameters)
        queries = {"used": resource.query, "size": resource.size}
        self.queries = {kind: shard.fill(render(query, STEP)) for kind, query in queries.items() if query}
        self._limits = limits or Limits()
        self._naming = Naming(name, resource, labels, shard, self._limits.series)
        self._once, self._clock, self._stopping = LoggedOnce(), clock, stopping
        self._points: int | None = None
        self.series = self.ignored = 0
        self.error: str | None = None
        self.warnings: list[str] = []

    def read(self, start: float, end: float, step: float) -> Stretch:
        """The used shares and sizes at every multiple of `step` in start..end; SourceError, kept in `error`.

        A range is read in pieces of MAX_SAMPLES, and in smaller ones where such a piece is refused. Stopped once it is
        told to end.
        """
        instants = grid(start, end, step)
        done, pieces, notes, problem, told = 0, list[Stretch](), Notes(), None, dict[str, None]()
        try:
            while done < len(instants):
                part = instants[done:done + self._most()]
                try:
                    stretch, found, refused, warned = self._piece(part, step)
                except SourceError as error:
                    if len(part) > 1 and (too_large(error) or too_slow(error)):
                        self._points = max(1, len(part) // (4 if too_slow(error) else 2))
                        if too_large(error):
                            continue
                    raise
                pieces.append(stretch)
                notes.join(found)
                problem, done = problem or refused, done + len(part)
                told |= dict.fromkeys(warned)
            joined = _joined(instants, pieces)
            self._usable(joined, notes)
        except SourceError as error:
            self.error, self.warnings = str(error), []
            self._once.warn("only this resource is not read", {type(error).__name__: str(error)}, self._clock())
            raise
        self.error, self.warnings = problem, [*notes.texts().values(), *told]
        self._once.warn(self._what, notes.texts() | ({"size": problem} if problem else {}), self._clock())
        return joined

    def describe(self) -> dict[str, Any]:
        """The queries as sent, series of the last answer, those that `ignore` left out, error and warnings."""
        return {"queries": self.queries, "series": self.series, "ignored": self.ignored, "error": self.error,
                "warnings": self.warnings}

    # -- inside -------------------------------------------------------------------------------------

    def _most(self) -> int:
        return max(1, min(MAX_SAMPLES // max(1, self.series or _FIRST_GUESS), self._points or 11_000))

    def _piece(self, instants: Wide, step: float) -> tuple[Stretch, Notes, str | None, list[str]]:
        """(what was read, notes, what kept the sizes away, what Prometheus warns of)."""
        form = {**self._parameters, "start": f"{instants[0]:.3f}", "end": f"{instants[-1]:.3f}", "step": f"{step:.3f}",
                "timeout": f"{3 * self._timeout * 900:.0f}ms"}
        calls = [partial(self._fetch, urlencode({**form, "query": query})) for query in self.queries.values()]
        answers = dict(zip(self.queries, gather(calls, AT_ONCE, 3 * self._timeout), strict=True))
        if self._stopping.is_set():
            raise Stopped
        used, size, problem = self._parsed("used", answers["used"]), None, None
        self.series = len(used.labels)
        if "size" in answers:
            try:
                size = self._parsed("size", answers["size"])
            except SourceError as error:
                if too_large(error):
                    raise
                problem = str(error)
        stretch, notes = self._naming.read(used, size, instants, step)
        self.ignored = self._naming.left_out
        return stretch, notes, problem, [*used.warnings, *(size.warnings if size else [])]

    def _parsed(self, kind: str, answer: Answer | Exception) -> Parsed:
        what = self._what if kind == "used" else f"{self._what}, its size"
        return parse(answered(answer, what), "matrix", what, self.queries[kind])

    def _fetch(self, form: str) -> Answer:
        url = f"{self._url}/api/v1/query_range"
        return fetch(self._session, "POST", url, 3 * self._timeout, self._limits.bytes // AT_ONCE, form, _FORM)

    def _usable(self, stretch: Stretch, notes: Notes) -> None:
        """Raises SourceNonsense where there are values and none can be used."""
        if stretch.entities and not np.isfinite(stretch.used).any() and NO_SHARE in notes.texts():
            raise SourceNonsense(f"{self._what}: {'; '.join(notes.texts().values())}; divide by 100, or by the limit; "
                                 f"the query was {self.queries['used']}")


def _joined(instants: Wide, pieces: list[Stretch]) -> Stretch:
    """Pieces that follow each other as one."""
    if len(pieces) == 1:
        return pieces[0]
    row: dict[Any, int] = {}
    profiles: dict[Any, str] = {}
    for piece in pieces:
        for one, profile in zip(piece.entities, piece.profiles, strict=True):
            row.setdefault(one, len(row))
            profiles[one] = profile or profiles.get(one, "")
    used, size = np.full((2, len(row), len(instants)), np.nan, np.float32)
    done = 0
    for piece in pieces:
        rows, width = [row[one] for one in piece.entities], len(piece.instants)
        used[rows, done:done + width], size[rows, done:done + width] = piece.used, piece.size
        done += width
    return Stretch(instants, list(row), [profiles[one] for one in row], used, size)
