"""Prometheus' query API as the source: one query per signal, all at once."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests

from forecaster.limits import Limits
from forecaster.readings import (
    Labels,
    NoData,
    Reading,
    Readings,
    SourceDown,
    SourceError,
    grid,
    named,
)
from forecaster.sources.answers import Piece, merge
from forecaster.sources.bounds import Bounds
from forecaster.sources.clock import source_clock
from forecaster.sources.crew import gather
from forecaster.sources.naming import Roster
from forecaster.sources.notes import Notes
from forecaster.sources.shard import WHOLE, Shard
from forecaster.sources.signal_query import SignalQuery
from forecaster.sources.transport import Answer, fetch, http_session
from forecaster.sources.up import render

AT_ONCE = 8  # queries; Prometheus runs 20 at once by default (query.max-concurrency), for all its users
MAX_POINTS = 11_000  # per series and request; Prometheus refuses more
TOO_MANY = "servers of history beyond limits.servers are left out, those that are there now come first"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_RANGE_PATIENCE = 3  # a range query reads hours where an instant query reads one step
_FIRST_GUESS = 1000  # series of a signal, before the first answer


class PrometheusSource:
    """Asks a Prometheus-compatible query API, one query per signal, each yielding one series per server.

    `url` may carry a path prefix. `signals` (by name, or objects with .name) have .query, where $step stands
    for `step`, and may have .min and .max. An instant query is given `timeout` seconds including retries, a range query
    three times that. `session` comes from `http_session` (login, headers, TLS, retries). `parameters` are sent with
    every query.

    A series, a value or a query that cannot be used costs only itself (see signal_query); reading fails where every
    query does. Of several series of one server the largest value counts. The series of an
    answer, the bytes of all `shares` answers together (by default, one for each signal) and the servers of a range are
    bounded by `limits`. An answer holds about `max_samples` samples: longer ranges are asked for in pieces, as are
    those that are refused as too large. Servers of other shards than `shard` are left out. A SourceClock as `clock`
    hears the answers to instant queries.
    """

    def __init__(self, url: str, signals: Mapping[str, Any] | Sequence[Any], step: float, *,
                 session: requests.Session | None = None, timeout: float = 5.0, server_label: str = "server",
                 profile_label: str | None = "profile", default_profile: str = "generic",
                 max_samples: int = 100_000, shard: Shard = WHOLE, limits: Limits | None = None, shares: int = 0,
                 parameters: Mapping[str, str] | None = None,
                 clock: Callable[[], float] = time.time):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("source url: expected http(s)://host:port/prefix without user or query, found "
                             f"{parts.scheme}://{parts.hostname}; logins belong in basic_auth")
        self._limits = limits = limits or Limits()
        self._labels = Labels(server_label, profile_label, default_profile, limits.name_length, limits.labels_length)
        self._url = url.rstrip("/")
        self._parameters, self._max_samples = dict(parameters or {}), max_samples
        self._session, self._timeout, self._clock = session or http_session(), timeout, source_clock(clock)
        self._queries = [
            SignalQuery(name, shard.fill(signal.query), f"Prometheus at {self._url}", Bounds.of(signal),
                        self._labels, shard, limits, clock)
            for name, signal in named(signals).items()]
        self._max_bytes = limits.bytes // (shares or len(self._queries))
        self.fit(lambda query: render(query, step))
        self._roster: Roster | None = None
        self._servers: set[str] = set()  # of the latest values, at most limits.servers, those that stay first
        self._last_success: float | None = None
        self._last_error: str | None = None

    def latest(self, instant: float) -> Reading:
        """One instant query per signal; a signal without series, or that failed, is a column of NaN."""
        signals, numbers = [], []
        with self._recorded():
            asked = [(query, {"time": f"{instant:.3f}"}) for query in self._queries]
            for query, answer in self._ask("query", self._timeout, asked):
                servers, values = query.instant(answer)
                signals.append(servers)
                numbers.append(values)
            failed = self._failed({query.name: query.error for query in self._queries if query.error})
            if self._roster is None or not self._roster.holds(signals):
                self._roster = Roster.of(signals, self._labels)
                kept = self._servers.intersection(self._roster.servers)
                fresh = (server for server in self._roster.servers if server not in kept)
                self._servers = kept.union(islice(fresh, self._limits.servers - len(kept)))
            roster = self._roster
            if not roster.servers and not any(query.series for query in self._queries if not query.error):
                names = ", ".join(query.name for query in self._queries if not query.error)  # else other shards'
                nothing = (f"Prometheus at {self._url} has no series at {instant:.3f} for any of {names}: check that "
                           "it scrapes the fleet and the metric names in the queries")
                words = [self._clock.words] if self._clock.words else []
                raise NoData("; ".join([nothing, *words, *map(str, failed.values())]))
        left_out = {query.name: query.left_out for query in self._queries}
        return Reading(instant, roster.servers, roster.profiles, roster.values(numbers), failed, left_out)

    def range(self, start: float, end: float, step: float, offset: float = 0.0) -> Readings:
        """Range queries in pieces; NaN where there was nothing, no servers if there was nothing at all."""
        instants = grid(start, end, step, offset)
        pieces: list[Piece] = []
        servers, beyond = set(self._servers), dict[int, Notes]()
        errors: dict[str, SourceError] = {}
        done = [0] * len(self._queries)
        for query in self._queries:
            query.begin()
        with self._recorded():
            while open_ := [c for c, query in enumerate(self._queries)
                            if done[c] < len(instants) and query.name not in errors]:
                parts = {c: instants[done[c]:done[c] + self._points(self._queries[c])] for c in open_}
                asked = [(self._queries[c], {"start": f"{part[0]:.3f}", "end": f"{part[-1]:.3f}",
                                             "step": f"{step:.3f}"}) for c, part in parts.items()]
                answers = self._ask("query_range", self._timeout * _RANGE_PATIENCE, asked)
                for (c, part), (query, answer) in zip(parts.items(), answers, strict=True):
                    try:
                        for piece in query.range(answer, part, step, c, done[c]):
                            if piece.server in servers or len(servers) < self._limits.servers:
                                servers.add(piece.server)
                                pieces.append(piece)
                            else:
                                beyond.setdefault(c, Notes()).add(TOO_MANY, [piece.server], 1)
                        done[c] += len(part)
                    except SourceError as error:
                        if not query.fewer(error, len(part)):
                            errors[query.name] = error
            failed = self._failed(errors)
            readings, doubled = merge(instants, pieces, self._labels, len(self._queries))
        for c, notes in beyond.items():
            doubled.setdefault(c, Notes()).join(notes)
        for c, query in enumerate(self._queries):
            query.end(doubled.get(c), errors.get(query.name))
        return replace(readings, failed=failed)

    def fit(self, fill: Callable[[str], str]) -> None:
        """Sends each query as `fill`, which replaces $step, returns it from now on."""
        for query, filled in zip(self._queries, [fill(query.template) for query in self._queries], strict=True):
            query.query = filled

    @property
    def width(self) -> int:
        """C, the number of signals."""
        return len(self._queries)

    def describe(self) -> dict[str, Any]:
        """Address, last success and error, how its clock differs; of each signal the query as sent, series, error and
        warnings."""
        offset = self._clock.measured
        return {"kind": "prometheus", "url": self._url, "last_success": self._last_success,
                "last_error": self._last_error, "clock_offset_seconds": None if offset is None else round(offset, 1),
                "clock": self._clock.words, "signals": {query.name: query.describe() for query in self._queries}}

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    # -- inside -------------------------------------------------------------------------------------

    def _points(self, query: SignalQuery) -> int:
        """Points of a range to ask for at once."""
        widest = max(one.series for one in self._queries) or _FIRST_GUESS
        return max(1, min(MAX_POINTS, self._max_samples // widest, query.points or MAX_POINTS))

    def _ask(self, path: str, timeout: float, asked: Sequence[tuple[SignalQuery, Mapping[str, str]]],
             ) -> Iterator[tuple[SignalQuery, Answer | Exception]]:
        """The answer to each query with these parameters, or what kept it away. All are asked at once."""
        patience = f"{timeout * 900:.0f}ms"  # a little less than ours, so that Prometheus can say why
        calls = [partial(self._fetch, path, timeout,
                         urlencode({**self._parameters, "query": query.query, **form, "timeout": patience}))
                 for query, form in asked]
        answers = gather(calls, AT_ONCE, timeout * -(-len(calls) // AT_ONCE))
        return zip((query for query, _ in asked), answers, strict=True)

    def _fetch(self, path: str, timeout: float, form: str) -> Answer:
        asked = self._clock.own()
        answer = fetch(self._session, "POST", f"{self._url}/api/v1/{path}", timeout, self._max_bytes, form,
                       _FORM)
        if path == "query":
            self._clock.heard(answer.headers.get("Date"), asked, answer.waited)
        return answer

    def _failed(self, errors: dict[str, SourceError]) -> dict[str, SourceError]:
        """These errors by signal; one is raised where every signal has one, SourceDown only if all of them are."""
        if len(errors) == len(self._queries):
            raise min(errors.values(), key=lambda error: isinstance(error, SourceDown))
        for query in self._queries:
            if query.name in errors:
                query.log_once(errors[query.name])
        return errors

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        try:
            yield
        except SourceError as error:
            self._last_error = str(error)
            raise
        self._last_success, self._last_error = self._clock(), None
