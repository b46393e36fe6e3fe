"""One signal's query: what of its answers can be used, and what is said of the rest.

Only what cannot be used is left out: a series without a server, a value that is no number or beyond the signal's
bounds. A signal fails where its query does, or where none of its series can be used.

N instants of a range, n series of one answer.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from forecaster.limits import Limits
from forecaster.readings import Labels, SourceDown, SourceError, SourceNonsense, SourceRefused, SourceUnreachable
from forecaster.sources.answers import UNREADABLE, Parsed, Piece, parse, place
from forecaster.sources.bounds import Bounds
from forecaster.sources.naming import Named
from forecaster.sources.notes import LoggedOnce, Notes
from forecaster.sources.shard import Shard
from forecaster.sources.transport import Answer

_NOBODY = Named.of([], Labels())
_MORE_AGAIN = 3600.0  # s, after which a refused size is tried again: a limit may have been that of a busy moment
_FEWER_AFTER_TIMEOUT = 4  # times fewer points: each further attempt would cost a whole timeout
# How Prometheus, Thanos, Mimir and VictoriaMetrics say that a range holds more than they want to read at once.
_TOO_MUCH = re.compile(r"too (many|large|long)|exceed|limit|more than", re.IGNORECASE)
_TOO_SLOW = re.compile(r"timed out|time-?out|deadline", re.IGNORECASE)
_NOT_FOR_SIZE = (401, 403, 404, 429)


def answered(answer: Answer | Exception, what: str) -> Answer:
    """The answer; what kept it away is raised as a SourceError that begins with `what`."""
    if isinstance(answer, OSError):
        error = SourceDown if isinstance(answer, ConnectionError | TimeoutError) else SourceUnreachable
        raise error(f"{what}: {answer}; check that Prometheus runs, and the source's address and "
                    "credentials") from answer
    if isinstance(answer, ValueError):
        raise SourceNonsense(f"{what}: {answer}") from answer
    if isinstance(answer, Exception):
        raise answer
    return answer


def too_slow(error: SourceError) -> bool:
    """Whether a range query took too long."""
    if isinstance(error, SourceRefused) and error.status not in _NOT_FOR_SIZE:
        return _TOO_SLOW.search(error.error) is not None
    return isinstance(error.__cause__, TimeoutError)


def too_large(error: SourceError) -> bool:
    """Whether a range query held more than is answered at once."""
    if isinstance(error, SourceRefused) and error.status not in _NOT_FOR_SIZE:
        return _TOO_MUCH.search(error.error) is not None
    return isinstance(error.__cause__, ValueError)


class SignalQuery:
    """The query of signal `name`, as sent, and the state of its last answers; `where` names the source.

    template is the query as configured, with $step;
    error and warnings are those of the last instant query, history what was said of the last range query.
    """

    def __init__(self, name: str, query: str, where: str, bounds: Bounds, labels: Labels, shard: Shard,
                 limits: Limits, clock: Callable[[], float]):
        self.name, self.query, self.template, self.what = name, query, query, f"{where}, signal {name}"
        self._bounds, self._labels, self._shard, self._limits = bounds, labels, shard, limits
        self._named, self._once, self._clock = _NOBODY, LoggedOnce(), clock
        self.series = self.latest = self.left_out = 0  # series of the last answer, and of the last instant one
        self.error: SourceError | None = None
        self.warnings: list[str] = []
        self.history: list[str] = []
        self.points: int | None = None  # of a range that are asked for at once; None: as many as wanted
        self._slow, self._cut = False, 0.0  # whether a timeout lowered them, and when they were lowered
        self._found, self._told = Notes(), dict[str, None]()  # of the range that is being read

    def describe(self) -> dict[str, Any]:
        """The query, series and warnings of the last instant answer, and what could not be read.

        basis: what values rest on, by the label `basis` -> its servers.
        """
        named, basis = self._named, dict[str, list[str]]()
        for server, n in sorted(named.places.items()):
            if rests_on := named.labels[n].get("basis"):
                basis.setdefault(rests_on, []).append(server)
        return {"query": self.query, "series": self.latest, "error": str(self.error) if self.error else None,
                "warnings": self.warnings, "history": self.history, "basis": basis}

    def instant(self, answer: Answer | Exception) -> tuple[Named, np.ndarray]:
        """Servers of the answer's series and their values float32 (n,); none where the signal fails (see error)."""
        self.error, self.warnings, self.latest, self.left_out = None, [], 0, 0
        try:
            parsed = self._parsed(answer, "vector")
            self.latest = self.series
            named = self._named
            if named.labels != parsed.labels:
                named = Named.of(parsed.labels, self._labels)
            if not named.places:
                self._nobody(parsed.labels)
        except SourceError as error:
            self.error = error
            return _NOBODY, np.empty(0, np.float32)
        self._named, notes = named, parsed.notes
        notes.join(named.notes)
        values = self._bounds.measured(parsed.values, notes, parsed.labels.__getitem__)
        self.warnings = [*notes.texts().values(), *parsed.warnings, *parsed.infos]
        self.left_out = notes.left_out
        self._log(parsed, notes)
        return named, values

    def range(self, answer: Answer | Exception, instants: np.ndarray, step: float, signal: int,
              offset: int) -> list[Piece]:
        """The series of an answer to a range query over these instants (N,), counted from `offset`; `signal` is the
        signal's place among all. Raises SourceError."""
        parsed = self._parsed(answer, "matrix")
        notes, kept, flat = parsed.notes, [], []
        for labels, samples in zip(parsed.labels, parsed.values, strict=True):
            try:
                places, values = place(samples, instants, step)
            except (TypeError, ValueError) as error:
                notes.add(UNREADABLE, [f"{labels}: {error}"], 1)
                continue
            if (reason := self._labels.refusal(labels)) is not None:
                notes.add(reason, [labels], 1)
                continue
            kept.append(Piece(labels[self._labels.server], signal, labels, places + offset, values))
            flat.append(values)
        if parsed.labels and not kept:
            self._nobody(parsed.labels)
            raise SourceNonsense(f"{self.what}: {'; '.join(notes.texts().values())}; the query was {self.query}")
        ends = np.cumsum([len(values) for values in flat])
        numbers = self._bounds.measured(np.concatenate([*flat, []]), notes,
                                        lambda n: kept[int(np.searchsorted(ends, n, side="right"))].labels)
        self._found.join(notes)
        self._told |= dict.fromkeys([*parsed.warnings, *parsed.infos])
        self._log(parsed, notes)
        return [one._replace(values=part) for one, part in zip(kept, np.split(numbers, ends)[:-1], strict=True)]

    def fewer(self, error: SourceError, points: int) -> bool:
        """Whether to ask again at once for fewer points than these, after this error.

        A range that is too large is halved, down to one point. One that took too long is cut as well, for the next
        time, and not asked for again at once.
        """
        slow, large = too_slow(error), too_large(error)
        if points <= 1 or not (slow or large):
            return False
        self.points = max(1, points // (_FEWER_AFTER_TIMEOUT if slow else 2))
        self._slow, self._cut = slow, self._clock()
        return not slow

    def begin(self) -> None:
        """A range is about to be read."""
        self._found, self._told = Notes(), {}

    def end(self, doubled: Notes | None, error: SourceError | None) -> None:
        """A range was read, to its end unless there is an error; `doubled` are notes on all its pieces together."""
        if doubled is not None:
            self._found.join(doubled)
            self._once.warn(self.what, doubled.texts(), self._clock())
        self.history = [*([str(error)] if error else []), *self._found.texts().values(), *self._told]
        if error is None and self.points is not None and (self._slow or self._clock() - self._cut >= _MORE_AGAIN):
            self.points, self._cut = 2 * self.points, self._clock()

    def log_once(self, error: SourceError) -> None:
        """Logs that this signal alone could not be read, once until it was read for an hour."""
        self._once.warn("only this signal is not read", {type(error).__name__: str(error)}, self._clock())

    # -- inside -------------------------------------------------------------------------------------

    def _parsed(self, answer: Answer | Exception, kind: str) -> Parsed:
        """The series of this shard's servers, and of none; keeps the count of all."""
        parsed = parse(answered(answer, self.what), kind, self.what, self.query)
        self.series = len(parsed.labels)
        if self._shard.total > 1:
            owned = self._shard.owned(parsed.labels, self._labels)
            parsed = parsed._replace(labels=[parsed.labels[n] for n in owned], values=[parsed.values[n] for n in owned])
        return parsed.bounded(self._limits.series, self._known_first)

    def _known_first(self, labels: Mapping[str, str]) -> tuple[bool, str]:
        """Sorts series of servers of the last instant answer before others, both by name."""
        server = self._labels.server_of(labels)
        return server not in self._named.places, server or ""

    def _nobody(self, labels: list[dict[str, str]]) -> None:
        """Raises SourceNonsense where the answer has series, and none of any shard names a server."""
        if labels and len(labels) == self.series and not any(map(self._labels.server_of, labels)):
            raise SourceNonsense(f"{self.what}: all {self._labels.unnamed}: {len(labels)}, for example {labels[0]}; "
                                 f"the query was {self.query}")

    def _log(self, parsed: Parsed, notes: Notes) -> None:
        """Logs what is new of what is said of an answer."""
        self._once.warn(self.what, notes.texts(), self._clock())
        self._once.warn(f"{self.what}: answered with warnings, servers may be missing",
                        {text: text for text in parsed.warnings}, self._clock())
