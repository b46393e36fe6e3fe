"""Prometheus' query API as the source: one query per signal, all at once."""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests

from forecaster.readings import (
    Labels,
    NoData,
    Reading,
    Readings,
    SourceError,
    SourceNonsense,
    SourceUnreachable,
    grid,
    milliseconds,
    named,
    numbers32,
)
from forecaster.sources.answers import Parsed, Piece, merge, parse, place, told
from forecaster.sources.crew import gather
from forecaster.sources.naming import Named, Roster
from forecaster.sources.shard import WHOLE, Shard
from forecaster.sources.transport import fetch, http_session

log = logging.getLogger(__name__)

AT_ONCE = 8  # queries; Prometheus runs 20 at once by default (query.max-concurrency), for all its users
MAX_POINTS = 11_000  # per series and request; Prometheus refuses more
_MAX_BYTES = 1 << 28
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_RANGE_PATIENCE = 3  # a range query reads hours where an instant query reads one step
_FIRST_GUESS = 1000  # series of a signal, before the first answer


def render(query: str, step: float) -> str:
    """The query with $step filled in as a duration such as 300s."""
    whole = milliseconds("step", step)
    return re.sub(r"\$step\b", f"{whole}ms" if whole % 1000 else f"{whole // 1000}s", query)


class PrometheusSource:
    """Asks a Prometheus-compatible query API, one query per signal, each yielding one series per server.

    `url` may carry a path prefix. `signals` (by name, or objects with .name) have .query, where $step stands
    for `step`. An instant query is given `timeout` seconds including retries, a range query three times that.
    `session` comes from `http_session` (login, headers, TLS, retries). `parameters` are sent with every query.

    A server with several series at once has no value in that signal, and describe() warns; SourceNonsense where that
    leaves the signal no value. More than `max_servers` series of one signal are an error. An answer holds about
    `max_samples` samples: longer ranges are asked for in pieces. Servers of other shards than `shard` are left out.
    """

    def __init__(self, url: str, signals: Mapping[str, Any] | Sequence[Any], step: float, *,
                 session: requests.Session | None = None, timeout: float = 5.0, server_label: str = "server",
                 profile_label: str | None = "profile", default_profile: str = "generic",
                 max_servers: int = 10_000, max_samples: int = 500_000, shard: Shard = WHOLE,
                 parameters: Mapping[str, str] | None = None,
                 clock: Callable[[], float] = time.time):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("source url: expected http(s)://host:port/prefix without user or query, found "
                             f"{parts.scheme}://{parts.hostname}; logins belong in basic_auth")
        self._url, self._labels = url.rstrip("/"), Labels(server_label, profile_label, default_profile)
        self._shard, self._parameters = shard, dict(parameters or {})
        self._queries = {name: shard.fill(render(signal.query, step)) for name, signal in named(signals).items()}
        self._session, self._timeout, self._clock = session or http_session(), timeout, clock
        self._max_servers, self._max_samples = max_servers, max_samples
        self._series = dict.fromkeys(self._queries, 0)
        self._warnings: dict[str, list[str]] = {name: [] for name in self._queries}
        self._ambiguous: dict[str, list[str]] = {name: [] for name in self._queries}
        self._names: dict[str, Named | None] = dict.fromkeys(self._queries)
        self._roster: Roster | None = None
        self._last_success: float | None = None
        self._last_error: str | None = None

    def latest(self, instant: float) -> Reading:
        """One instant query per signal; a signal without series is a column of NaN."""
        signals, numbers = [], []
        with self._recorded():
            for name, labels, values in self._ask("query", "vector", self._timeout, time=f"{instant:.3f}"):
                signals.append(self._named(name, labels))
                numbers.append(numbers32(values))
            if self._roster is None or not self._roster.holds(signals):
                self._roster = Roster.of(signals, self._labels)
            roster = self._roster
            if not roster.servers and not any(self._series.values()):  # else they are other shards'
                raise NoData(f"Prometheus at {self._url} has no series at {instant:.3f} for any of "
                             f"{', '.join(self._queries)}: check that it scrapes the fleet and the metric "
                             "names in the queries")
        return Reading(instant, roster.servers, roster.profiles, roster.values(numbers))

    def range(self, start: float, end: float, step: float) -> Readings:
        """Range queries in pieces; NaN where there was nothing, no servers if there was nothing at all."""
        instants, whats = grid(start, end, step), [self._what(name) for name in self._queries]
        pieces: list[Piece] = []
        done, widest = 0, max(self._series.values()) or _FIRST_GUESS
        with self._recorded():
            while done < len(instants):
                part = instants[done:done + max(1, min(MAX_POINTS, self._max_samples // max(1, widest)))]
                answers = self._ask("query_range", "matrix", self._timeout * _RANGE_PATIENCE,
                                    start=f"{part[0]:.3f}", end=f"{part[-1]:.3f}", step=f"{step:.3f}")
                for c, (_, series, found) in enumerate(answers):
                    for labels, samples in zip(series, found, strict=True):
                        places, values = place(samples, part, step, whats[c])
                        pieces.append(Piece(self._labels.server_of(whats[c], labels), c, labels, places + done, values))
                done, widest = done + len(part), max(self._series.values())
            readings, doubled = merge(instants, pieces, self._labels, whats)
        for c, name in enumerate(self._queries):
            if c in doubled:
                self._ambiguous[name] = told(doubled[c])
        return readings

    def describe(self) -> dict[str, Any]:
        """Address, queries as sent, series and warnings of the last answers, last success and error."""
        signals = {name: {"query": query, "series": self._series[name],
                          "warnings": self._ambiguous[name] + self._warnings[name]}
                   for name, query in self._queries.items()}
        return {"kind": "prometheus", "url": self._url, "last_success": self._last_success,
                "last_error": self._last_error, "signals": signals}

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    # -- inside -------------------------------------------------------------------------------------

    def _ask(self, path: str, kind: str, timeout: float,
             **form: str) -> Iterator[tuple[str, list[dict[str, str]], list[Any]]]:
        """Each signal's name, label sets and values (see Parsed). Asked at once, parsed one by one to save memory."""
        form["timeout"] = f"{timeout * 900:.0f}ms"  # a little less than ours, so that Prometheus can say why
        url = f"{self._url}/api/v1/{path}"
        calls = [partial(fetch, self._session, "POST", url, timeout, _MAX_BYTES,
                         urlencode({**self._parameters, "query": query, **form}), _FORM)
                 for query in self._queries.values()]
        answers = gather(calls, AT_ONCE, timeout * -(-len(calls) // AT_ONCE))
        for (name, query), answer in zip(self._queries.items(), answers, strict=True):
            what = self._what(name)
            if isinstance(answer, OSError):
                raise SourceUnreachable(f"{what}: {answer}; check that Prometheus runs, and the source's address and "
                                        "credentials") from answer
            if isinstance(answer, ValueError):
                raise SourceNonsense(f"{what}: {answer}") from answer
            if isinstance(answer, Exception):
                raise answer
            yield name, *self._owned(name, parse(answer, kind, what, query))

    def _owned(self, name: str, parsed: Parsed) -> tuple[list[dict[str, str]], list[Any]]:
        """Label sets and values of this shard's servers; keeps the count of all series, and the warnings."""
        labels, values, warnings, infos = parsed
        self._series[name] = len(labels)
        if self._shard.total > 1:
            owned = self._shard.owned(labels, self._labels.server)
            labels, values = [labels[n] for n in owned], [values[n] for n in owned]
        if len(labels) > self._max_servers:
            raise SourceNonsense(f"{self._what(name)}: {len(labels)} series, allowed are {self._max_servers}: narrow "
                                 "the query or raise max_servers")
        if not set(warnings) <= set(self._warnings[name]):  # logged once, as when a part of Thanos is unavailable
            log.warning("%s: answered with warnings, servers may be missing: %s", self._what(name), "; ".join(warnings))
        self._warnings[name] = warnings + infos
        return labels, values

    def _named(self, name: str, labels: list[dict[str, str]]) -> Named:
        """The servers of these label sets; SourceNonsense where none has a single series."""
        named = self._names[name]
        if named is None or named.labels != labels:
            named = Named.of(labels, self._labels, self._what(name))
        if named.doubled and not named.places:
            raise next(iter(named.doubled.values()))
        self._names[name], self._ambiguous[name] = named, told(named.doubled)
        return named

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        try:
            yield
        except SourceError as error:
            self._last_error = str(error)
            raise
        self._last_success, self._last_error = self._clock(), None

    def _what(self, name: str) -> str:
        return f"Prometheus at {self._url}, signal {name}"
