"""Prometheus' query API as the source of measurements.

The types that every source speaks live in `readings`; they can be imported from here as well.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import orjson
import requests

from forecaster.readings import (
    Labels,
    NoData,
    Reading,
    Readings,
    Source,
    SourceError,
    SourceNonsense,
    SourceRefused,
    SourceUnreachable,
    grid,
    milliseconds,
    named,
    numbers32,
)
from forecaster.sources.crew import Crew
from forecaster.sources.naming import Named, Roster
from forecaster.sources.shard import WHOLE, Shard
from forecaster.sources.transport import AT_ONCE, Address, Answer, http_session, on_this_machine

__all__ = ["NoData", "PrometheusSource", "Reading", "Readings", "Source", "SourceError", "SourceNonsense",
           "SourceRefused", "SourceUnreachable", "http_session", "render"]

log = logging.getLogger(__name__)

MAX_POINTS = 11_000  # per series and request; Prometheus refuses more
_MAX_BYTES = 1 << 28
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_UNPACKED = {"Accept-Encoding": "identity"}
_RANGE_PATIENCE = 3  # a range query reads hours where an instant query reads one step
_GRID_ERROR = 0.002  # s; timestamps come with three decimals
_MAX_WARNINGS = 10  # shown for a signal
_PLAIN = 200  # series: a shorter answer takes Prometheus longer to compress than a network to carry
_FIRST_GUESS = 1000  # series a signal may have, before the first answer has told


def render(query: str, step: float) -> str:
    """The query with $step filled in as a duration such as 300s."""
    whole = milliseconds("step", step)
    return re.sub(r"\$step\b", f"{whole}ms" if whole % 1000 else f"{whole // 1000}s", query)


class PrometheusSource:
    """Asks a Prometheus-compatible query API, one query per signal, each yielding one series per server.

    `url` may carry a path prefix. `signals` (by name, or objects with .name) have .query, where $step stands
    for `step`. An instant query is given `timeout` seconds including retries, a range query three times that.
    `session` comes from `http_session` (login, headers, TLS, retries). A server with several series at once has
    no value in that signal, and describe() warns; SourceNonsense if it leaves the signal nothing. More than `max_servers` series for one
    signal are an error; an answer holds about `max_samples` samples, longer ranges are asked for in pieces.
    `parameters` go along with every query. Servers of other shards than `shard` are left out, and counted only where they make the answer larger.
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
        self._crew, self._addresses = Crew(AT_ONCE), {}
        self._near = on_this_machine(parts.hostname)
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
        instants = grid(start, end, step)
        parts: list[tuple[str, int, dict, np.ndarray, np.ndarray]] = []  # as _merged takes them
        done, widest = 0, max(self._series.values()) or _FIRST_GUESS
        with self._recorded():
            while done < len(instants):
                piece = instants[done:done + max(1, min(MAX_POINTS, self._max_samples // max(1, widest)))]
                answers = self._ask("query_range", "matrix", self._timeout * _RANGE_PATIENCE,
                                    start=f"{piece[0]:.3f}", end=f"{piece[-1]:.3f}", step=f"{step:.3f}")
                for c, (name, series, found) in enumerate(answers):
                    for labels, samples in zip(series, found, strict=True):
                        places, values = self._placed(name, samples, piece, step)
                        server = self._labels.server_of(self._what(name), labels)
                        parts.append((server, c, labels, places + done, values))
                done, widest = done + len(piece), max(self._series.values())
            return self._merged(instants, parts)

    def describe(self) -> dict[str, Any]:
        """Address, queries as sent, series and warnings of the last answers, last success and error."""
        signals = {name: {"query": query, "series": self._series[name],
                          "warnings": self._ambiguous[name] + self._warnings[name]}
                   for name, query in self._queries.items()}
        return {"kind": "prometheus", "url": self._url, "last_success": self._last_success,
                "last_error": self._last_error, "signals": signals}

    def close(self) -> None:
        """Closes the connections."""
        self._crew.close()
        self._session.close()

    # -- inside -------------------------------------------------------------------------------------

    def _named(self, name: str, labels: list[dict]) -> Named:
        """Whose the series with these label sets are; SourceNonsense where no server has a single one."""
        named = self._names[name]
        if named is None or named.labels != labels:
            named = Named.of(labels, self._labels, self._what(name))
        if named.doubled and not named.places:
            raise next(iter(named.doubled.values()))
        self._names[name], self._ambiguous[name] = named, _told(named.doubled)
        return named

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        try:
            yield
        except SourceError as error:
            self._last_error = str(error)
            raise
        self._last_success, self._last_error = self._clock(), None

    def _ask(self, path: str, kind: str, timeout: float,
             **form: str) -> Iterator[tuple[str, list[dict], list[Any]]]:
        """Each signal's name, its series' labels, their values or samples: asked at once, parsed one by one for memory."""
        form["timeout"] = f"{timeout * 900:.0f}ms"  # a little less than ours, so that Prometheus can say why
        bodies = [urlencode({**self._parameters, "query": query, **form}) for query in self._queries.values()]
        deadline = timeout * -(-len(bodies) // AT_ONCE)
        try:
            address = self._address(path)
            if kind == "vector":
                headers = [_FORM | _UNPACKED if self._near or series <= _PLAIN else _FORM for series in self._series.values()]
                answers = address.fetch_all(self._crew, bodies, headers, timeout, _MAX_BYTES, deadline)
            else:  # long answers come in side by side
                calls = [partial(address.fetch, timeout, _MAX_BYTES, body, _FORM) for body in bodies]
                answers = self._crew.gather(calls, deadline)
        except OSError as error:
            raise self._unreachable(next(iter(self._queries)), error) from error
        for name, answer in zip(self._queries, answers, strict=True):
            if isinstance(answer, OSError):
                raise self._unreachable(name, answer) from answer
            if isinstance(answer, ValueError):
                raise SourceNonsense(f"{self._what(name)}: {answer}") from answer
            if isinstance(answer, Exception):
                raise answer
            yield name, *self._parsed(name, kind, answer)

    def _address(self, path: str) -> Address:
        """Where queries of this kind go, with the login of this moment; OSError where there can be none."""
        if path not in self._addresses:
            self._addresses[path] = Address(self._session, "POST", f"{self._url}/api/v1/{path}")
        self._addresses[path].renew()
        return self._addresses[path]

    def _unreachable(self, name: str, error: OSError) -> SourceUnreachable:
        return SourceUnreachable(f"{self._what(name)}: {error}; check that Prometheus runs, and the source's address and "
                                 "credentials")

    def _parsed(self, name: str, kind: str, answer: Answer) -> tuple[list[dict], list[Any]]:
        what, opening = self._what(name), answer.body[:200].decode("utf-8", "replace").strip()
        try:
            told = orjson.loads(answer.body)
        except ValueError:
            told = None
        told = told if isinstance(told, dict) else {}
        if answer.status != 200 or told.get("status") == "error":
            error_type, error = str(told.get("errorType", "")), str(told.get("error", "") or opening)
            if location := answer.headers.get("Location"):
                error = f"redirected to {location}, put the final address into source.url"
            raise SourceRefused(f"{what}: HTTP {answer.status} {error_type}: {error}; the query was "
                                f"{self._queries[name]}", answer.status, error_type, error)
        try:
            found, series = told["data"]["resultType"], told["data"]["result"] or []
            if found != kind:
                raise SourceNonsense(f"{what}: the query yields a {found}, expected a {kind} with one series "
                                     f"per server; the query was {self._queries[name]}")
            labels = [one["metric"] for one in series]
            if (named := self._names[name]) is None or labels != named.labels:  # else they are known to be label sets
                labels = [dict(one) for one in labels]
            values = [float(one["value"][1]) for one in series] if kind == "vector" else [one["values"] for one in series]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise SourceNonsense(f"{what}: the answer is not that of a Prometheus query API ({error!r}); it "
                                 f"begins with {opening!r}") from error
        self._series[name] = len(labels)
        if self._shard.total > 1:
            owned = self._shard.owned(list(zip(labels, values, strict=True)), self._labels.server)
            labels, values = [one for one, _ in owned], [value for _, value in owned]
        if len(labels) > self._max_servers:
            raise SourceNonsense(f"{what}: {len(labels)} series, allowed are {self._max_servers}: narrow the "
                                 "query or raise max_servers")
        warnings, infos = ([str(text)[:300] for text in told.get(kind) or ()][:_MAX_WARNINGS] for kind in ("warnings", "infos"))
        if not set(warnings) <= set(self._warnings[name]):  # as when a part of Thanos is out of reach: said once
            log.warning("%s: answered with warnings, servers may be missing: %s", what, "; ".join(warnings))
        self._warnings[name] = warnings + infos
        return labels, values

    def _placed(self, name: str, samples: list, piece: np.ndarray,
                step: float) -> tuple[np.ndarray, np.ndarray]:
        """Places in `piece` (n,) and values float32 (n,) of one series' [instant, "value"] pairs."""
        try:
            flat = list(chain.from_iterable(samples))
            instants = np.fromiter(flat[0::2], np.float64, len(samples))
            values = numbers32(np.fromiter(map(float, flat[1::2]), np.float64, len(samples)))
            places = np.rint((instants - piece[0]) / step).astype(np.int64)
            if not samples or places.min() < 0 or places.max() >= len(piece):
                raise ValueError("samples outside the stretch asked for")
            if np.abs(piece[places] - instants).max() > _GRID_ERROR:
                raise ValueError(f"samples off the grid of {step:g}s asked for")
        except (TypeError, ValueError) as error:
            raise SourceNonsense(f"{self._what(name)}: a series' samples cannot be used: {error}") from error
        return places, values

    def _merged(self, instants: np.ndarray,
                parts: list[tuple[str, int, dict, np.ndarray, np.ndarray]]) -> Readings:
        """One array of (server, signal, labels, places, values) parts.

        Series of one server may follow each other in time, as when a label changed; where they overlap the
        server has no value.
        """
        servers = tuple(sorted({part[0] for part in parts}))
        row = {server: number for number, server in enumerate(servers)}
        values = np.full((len(instants), len(servers), len(self._queries)), np.nan, np.float32)
        given = np.zeros(values.shape, bool)
        owner: dict[tuple[str, int], dict] = {}
        doubled: dict[int, dict[str, SourceNonsense]] = {}
        profiles: dict[str, tuple[int, str]] = {}  # the newest one counts
        for server, c, labels, places, numbers in parts:
            first = owner.setdefault((server, c), labels)
            twice = given[places, row[server], c]
            if twice.any():
                what = self._what(list(self._queries)[c])
                doubled.setdefault(c, {}).setdefault(server, self._labels.ambiguous(what, server, first, labels))
            values[places, row[server], c] = np.where(twice, np.nan, numbers)
            given[places, row[server], c] = True
            profile = self._labels.profile_of(labels)
            if profile and places[-1] > profiles.get(server, (-1,))[0]:
                profiles[server] = int(places[-1]), profile
        for c, errors in doubled.items():
            if not np.isfinite(values[:, :, c]).any():
                raise next(iter(errors.values()))
            self._ambiguous[list(self._queries)[c]] = _told(errors)
        newest = {server: profile for server, (_, profile) in profiles.items()}
        return Readings(instants, servers, self._labels.profiles(servers, newest), values)

    def _what(self, name: str) -> str:
        return f"Prometheus at {self._url}, signal {name}"


def _told(doubled: Mapping[str, SourceNonsense]) -> list[str]:
    """Warnings about servers with several series: the first few in full, the rest as a count."""
    texts = [f"{error}; until then it has no value here" for error in list(doubled.values())[:_MAX_WARNINGS]]
    more = len(doubled) - len(texts)
    return [*texts, f"and {more} more servers with several series"] if more else texts
