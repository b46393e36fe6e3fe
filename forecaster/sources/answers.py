"""Answers of Prometheus' query API: JSON to label sets and numbers, and the series of a range query to one array.

S servers, C signals, N instants. `what` names source and signal in errors.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import orjson

from forecaster.readings import Labels, Readings, SourceNonsense, SourceRefused, numbers32
from forecaster.sources.transport import Answer

GRID_ERROR = 0.002  # s; timestamps have three decimals
SHOWN_WARNINGS = 10  # of one signal
_WARNING_LENGTH = 300


class Parsed(NamedTuple):
    """The series of one answer: label sets, and for each its value (float) or its [instant, "value"] samples."""

    labels: list[dict[str, str]]
    values: list[Any]
    warnings: list[str]
    infos: list[str]


class Piece(NamedTuple):
    """What a range answer holds of one series: places (n,) int64 among the instants, values (n,) float32."""

    server: str
    signal: int
    labels: Mapping[str, str]
    places: np.ndarray
    values: np.ndarray


def parse(answer: Answer, kind: str, what: str, query: str) -> Parsed:
    """The series of an answer of result type `kind`, "vector" or "matrix".

    SourceRefused for an error status, SourceNonsense for what is not an answer of the query API or of another type.
    """
    opening = answer.body[:200].decode("utf-8", "replace").strip()
    try:
        told = orjson.loads(answer.body)
    except ValueError:
        told = None
    told = told if isinstance(told, dict) else {}
    if answer.status != 200 or told.get("status") == "error":
        error_type, error = str(told.get("errorType", "")), str(told.get("error", "") or opening)
        if location := answer.headers.get("Location"):
            error = f"redirected to {location}, put the final address into source.url"
        raise SourceRefused(f"{what}: HTTP {answer.status} {error_type}: {error}; the query was {query}",
                            answer.status, error_type, error)
    try:
        found, series = told["data"]["resultType"], told["data"]["result"] or []
        if found != kind:
            raise SourceNonsense(f"{what}: the query yields a {found}, expected a {kind} with one series per server; "
                                 f"the query was {query}")
        labels = [dict(one["metric"]) for one in series]
        values = [float(one["value"][1]) if kind == "vector" else one["values"] for one in series]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise SourceNonsense(f"{what}: the answer is not that of a Prometheus query API ({error!r}); it begins with "
                             f"{opening!r}") from error
    warnings, infos = ([str(text)[:_WARNING_LENGTH] for text in told.get(key) or ()][:SHOWN_WARNINGS]
                       for key in ("warnings", "infos"))
    return Parsed(labels, values, warnings, infos)


def place(samples: Sequence[Any], instants: np.ndarray, step: float, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Places (n,) among `instants`, which are `step` seconds apart, and values float32 (n,) of one series' samples.

    SourceNonsense for samples that are not [instant, "value"] pairs on these instants.
    """
    try:
        flat = list(chain.from_iterable(samples))
        given = np.fromiter(flat[0::2], np.float64, len(samples))
        values = numbers32(np.fromiter(map(float, flat[1::2]), np.float64, len(samples)))
        places = np.rint((given - instants[0]) / step).astype(np.int64)
        if not samples or places.min() < 0 or places.max() >= len(instants):
            raise ValueError("samples outside the range of the query")
        if np.abs(instants[places] - given).max() > GRID_ERROR:
            raise ValueError(f"samples off the grid of {step:g}s")
    except (TypeError, ValueError) as error:
        raise SourceNonsense(f"{what}: the samples of a series cannot be used: {error}") from error
    return places, values


def merge(instants: np.ndarray, pieces: Sequence[Piece], names: Labels,
          whats: Sequence[str]) -> tuple[Readings, dict[int, dict[str, SourceNonsense]]]:
    """One array (N, S, C) of all pieces, and for each signal an error for every server with several series at once.

    Series of one server may follow each other in time, as when a label changed: the last of them names its profile.
    Where they overlap, the server has no value. SourceNonsense where that leaves a signal no value at all.
    """
    servers = tuple(sorted({piece.server for piece in pieces}))
    row = {server: number for number, server in enumerate(servers)}
    values = np.full((len(instants), len(servers), len(whats)), np.nan, np.float32)
    given = np.zeros(values.shape, bool)
    first: dict[tuple[str, int], Mapping[str, str]] = {}
    doubled: dict[int, dict[str, SourceNonsense]] = {}
    profiles: dict[str, str] = {}
    newest: dict[str, int] = {}
    for server, c, labels, places, numbers in pieces:
        one = first.setdefault((server, c), labels)
        twice = given[places, row[server], c]
        if twice.any():
            doubled.setdefault(c, {}).setdefault(server, names.ambiguous(whats[c], server, one, labels))
        values[places, row[server], c] = np.where(twice, np.nan, numbers)
        given[places, row[server], c] = True
        profile = names.profile_of(labels)
        if profile and places[-1] > newest.get(server, -1):
            newest[server], profiles[server] = int(places[-1]), profile
    for c, errors in doubled.items():
        if not np.isfinite(values[:, :, c]).any():
            raise next(iter(errors.values()))
    return Readings(instants, servers, names.profiles(servers, profiles), values), doubled


def told(doubled: Mapping[str, SourceNonsense]) -> list[str]:
    """Warnings about servers with several series: the first few in full, the others as a count."""
    texts = [f"{error}; until then it has no value here" for error in list(doubled.values())[:SHOWN_WARNINGS]]
    more = len(doubled) - len(texts)
    return [*texts, f"and {more} more servers with several series"] if more else texts
