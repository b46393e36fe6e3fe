"""Answers of Prometheus' query API: JSON to label sets and numbers, and the series of a range query to one array.

S servers, C signals, N instants. `what` names source and signal in errors.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import orjson

from forecaster.readings import Labels, Readings, SourceDown, SourceNonsense, SourceRefused
from forecaster.sources.notes import LENGTH, Notes
from forecaster.sources.transport import Answer

GRID_ERROR = 0.002  # s; timestamps have three decimals
SHOWN_WARNINGS = 10  # of one signal
HISTOGRAM = ("series that are native histograms are left out (let the query return one number, for example with "
             "histogram_quantile)")
_NOBODY = (502, 503, 504)  # of a proxy, or of a Prometheus that reads its log at the start: no rule is evaluated
TOO_MANY = "series of an answer beyond limits.series are left out (narrow the query, or raise the limit)"
UNREADABLE = "series whose samples cannot be read are left out"
_INFO = "PromQL info:"  # about the query, not the answer; Prometheus 2.53 has these among its warnings
PARTIAL = "partial answer: a part of the storage did not respond, and servers may be missing"


class Parsed(NamedTuple):
    """The series of one answer that can be read: label sets, and for each its value (float) or its [instant, "value"]
    samples; what the other system warns of; and notes on the series that are left out."""

    labels: list[dict[str, str]]
    values: list[Any]
    warnings: list[str]
    infos: list[str]
    notes: Notes


    def bounded(self, most: int, order: Callable[[Mapping[str, str]], Any]) -> "Parsed":
        """At most `most` of the series, the lowest by `order`, and a note on the others."""
        if len(self.labels) <= most:
            return self
        rows = sorted(range(len(self.labels)), key=lambda n: order(self.labels[n]))
        self.notes.add(TOO_MANY, (self.labels[n] for n in rows[most:]), len(rows) - most)
        kept = sorted(rows[:most])
        return self._replace(labels=[self.labels[n] for n in kept], values=[self.values[n] for n in kept])


class Piece(NamedTuple):
    """What a range answer holds of one series: places (n,) int64 among the instants, values (n,) float32."""

    server: str
    signal: int
    labels: Mapping[str, str]
    places: np.ndarray
    values: np.ndarray


def parse(answer: Answer, kind: str, what: str, query: str) -> Parsed:
    """The series of an answer of result type `kind`, "vector" or "matrix".

    SourceRefused for an error status, SourceDown where that of a gateway comes without a word of the query API,
    SourceNonsense for what is not an answer of the query API, or of another type, or has series none of which can be
    read.
    """
    opening = answer.body[:200].decode("utf-8", "replace").strip()
    try:
        told = orjson.loads(answer.body)
    except ValueError:
        told = None
    told = told if isinstance(told, dict) else {}
    if answer.status != 200 or told.get("status") == "error":
        error_type = str(told.get("errorType", ""))[:LENGTH]
        error = str(told.get("error", "") or opening)[:LENGTH]
        if kind == "vector" and answer.status in _NOBODY and "status" not in told:  # of a long range: too much to read
            raise SourceDown(f"{what}: HTTP {answer.status}: {error}; it is starting, or a proxy does not reach it: "
                             "check that Prometheus runs")
        if location := answer.headers.get("Location"):
            error = f"redirected to {location[:LENGTH]}, put the final address into source.url"
        raise SourceRefused(f"{what}: HTTP {answer.status} {error_type}: {error}; the query was {query}",
                            answer.status, error_type, error)
    try:
        found, series = told["data"]["resultType"], told["data"]["result"] or []
        if found != kind:
            raise SourceNonsense(f"{what}: the query yields a {found}, expected a {kind} with one series per server; "
                                 f"the query was {query}")
        labels, values, notes = _series(series, _value if kind == "vector" else _samples)
        if series and not labels:
            raise SourceNonsense(f"{what}: {'; '.join(notes.texts().values())}; the query was {query}")
    except (KeyError, TypeError) as error:
        raise SourceNonsense(f"{what}: the answer is not that of a Prometheus query API ({error!r}); it begins with "
                             f"{opening!r}") from error
    warnings, infos = ([str(text)[:LENGTH] for text in told[key]] if isinstance(told.get(key), list) else []
                       for key in ("warnings", "infos"))
    infos = [*infos, *(text for text in warnings if text.startswith(_INFO))][:SHOWN_WARNINGS]
    warnings = [text for text in warnings if not text.startswith(_INFO)][:SHOWN_WARNINGS]
    if told.get("isPartial"):  # VictoriaMetrics
        warnings.insert(0, PARTIAL)
    return Parsed(labels, values, warnings, infos, notes)


def _labels(one: Any) -> dict[str, str]:
    labels = one["metric"]
    if not isinstance(labels, dict):
        raise TypeError(f"labels are {type(labels).__name__}")
    return labels


def _value(one: Any) -> float:
    return float(one["value"][1])


def _samples(one: Any) -> Sequence[Any]:
    samples: list[Any] = one["values"]
    return samples


def _series(series: Sequence[Any], value: Callable[[Any], Any]) -> tuple[list[dict[str, str]], list[Any], Notes]:
    """Label sets and values of the elements that can be read, and notes on the others."""
    notes = Notes()
    try:
        return [_labels(one) for one in series], [value(one) for one in series], notes
    except (KeyError, TypeError, ValueError, IndexError):  # one by one, to tell which
        labels, values = [], []
        for one in series:
            try:
                given = _labels(one), value(one)
            except (KeyError, TypeError, ValueError, IndexError):
                histogram = isinstance(one, dict) and ("histogram" in one or "histograms" in one)
                example = one.get("metric") if isinstance(one, dict) else one
                notes.add(HISTOGRAM if histogram else UNREADABLE, [example], 1)
            else:
                labels.append(given[0])
                values.append(given[1])
        return labels, values, notes


def place(samples: Any, instants: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Places (n,) among `instants`, which are `step` seconds apart, and values float64 (n,) of one series' samples.

    ValueError or TypeError for samples that are not [instant, "value"] pairs on these instants.
    """
    flat = list(chain.from_iterable(samples))
    given = np.fromiter(flat[0::2], np.float64, len(samples))
    values = np.fromiter(map(float, flat[1::2]), np.float64, len(samples))
    places = np.rint((given - instants[0]) / step).astype(np.int64)
    if not samples or places.min() < 0 or places.max() >= len(instants):
        raise ValueError("samples outside the range of the query")
    if np.abs(instants[places] - given).max() > GRID_ERROR:
        raise ValueError(f"samples off the grid of {step:g}s")
    return places, values


def merge(instants: np.ndarray, pieces: Sequence[Piece], names: Labels,
          signals: int) -> tuple[Readings, dict[int, Notes]]:
    """One array (N, S, C) of all pieces, and for each signal notes on servers with several series at once.

    Series of one server may follow each other in time, as when a label changed: the last of them names its profile.
    Where they overlap, the largest value counts.
    """
    servers = tuple(sorted({piece.server for piece in pieces}))
    row = {server: number for number, server in enumerate(servers)}
    values = np.full((len(instants), len(servers), signals), np.nan, np.float32)
    given = np.zeros(values.shape, bool)
    first: dict[tuple[str, int], Mapping[str, str]] = {}
    doubled: dict[int, dict[str, tuple[Mapping[str, str], Mapping[str, str]]]] = {}
    profiles: dict[str, str] = {}
    newest: dict[str, int] = {}
    for server, c, labels, places, numbers in pieces:
        one, at = first.setdefault((server, c), labels), (places, row[server], c)
        if given[at].any():
            doubled.setdefault(c, {}).setdefault(server, (one, labels))
            numbers = np.fmax(values[at], numbers)
        values[at], given[at] = numbers, True
        profile = names.profile_of(labels)
        if profile and places[-1] > newest.get(server, -1):
            newest[server], profiles[server] = int(places[-1]), profile
    told: dict[int, Notes] = {}
    for c, pairs in doubled.items():
        told.setdefault(c, Notes()).add(names.doubled, (f"{server!r} has {one} and {other}" for server, (one, other)
                                                        in pairs.items()), len(pairs), left_out=False)
    return Readings(instants, servers, names.profiles(servers, profiles), values), told
