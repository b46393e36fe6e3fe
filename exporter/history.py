"""Past stretches of the fleet as OpenMetrics text with timestamps.

For `promtool tsdb create-blocks-from --max-block-duration=64h openmetrics`; with its default of 2 hours
promtool reads the whole text once for every 2 hours in it.

OpenMetrics wants each family in one piece and each series in it in one piece, while the simulation
goes through time. So the walk is kept in one float32 array (S, M, N), in a temporary file where it is
large, and written family by family, series by series.

The state set is left out unless asked for: it nearly doubles what has to be loaded and no forecast reads it.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np

from exporter.collector import FAMILIES, STATE_FAMILY, base_units
from exporter.fleet import Fleet
from exporter.profiles import METRICS, STATES
from serving.exposition import family_header, render_values, series_prefixes

_MEMORY_BYTES = 256 << 20  # a larger walk is kept in a temporary file
_OWN_LABELS = ("server", "profile", "state", "__name__")


class HistoryError(ValueError):
    """A stretch of history that cannot be written; the message says what was expected."""


def parse_labels(given: list[str]) -> dict[str, str]:
    """Extra labels from "name=value" texts; HistoryError for a malformed, repeated or reserved one."""
    labels: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", name) or not value:
            raise HistoryError(f"label {text!r}: expected name=value, e.g. job=fleet-exporter")
        if name in _OWN_LABELS:
            raise HistoryError(f"label {text!r}: {name} is set by the exporter itself; choose another name")
        if name in labels:
            raise HistoryError(f"label {text!r}: {name} is given twice; give it once")
        labels[name] = value
    return labels


def instants(start: float, end: float, resolution: float) -> np.ndarray:
    """Unix seconds float64 (N,) from start in steps of `resolution`, before end; HistoryError if none.

    Whole milliseconds, because that is what Prometheus stores.
    """
    if not resolution >= 0.001:
        raise HistoryError(f"resolution {resolution:g} s: expected at least 0.001 seconds")
    if not end > start:
        raise HistoryError(
            f"end {end:.0f} is not after start {start:.0f}; expected start < end in Unix seconds"
        )
    count = int(np.ceil((end - start) / resolution))
    return np.round(start + np.arange(count) * resolution, 3)


def write_history(
    fleet: Fleet,
    start: float,
    end: float,
    resolution: float,
    out: BinaryIO,
    labels: Mapping[str, str] | None = None,
    states: bool = False,
) -> int:
    """Writes the fleet over [start, end) to a binary stream and returns the number of samples.

    The fleet itself is not moved. `labels` are added to every series, so that history and what
    Prometheus scrapes later are the same series. Ends with "# EOF". Raises HistoryError.
    """
    when = instants(start, end, resolution)
    count, servers = when.size, len(fleet.servers)
    with tempfile.TemporaryFile() as spill:
        values = _array((servers, len(METRICS), count), np.float32, spill)
        state = np.empty((servers, count), np.int8)
        for index, snapshot in enumerate(fleet.walk(start, end, resolution)):
            values[:, :, index] = base_units(snapshot.values)
            state[:, index] = snapshot.state
        ends = [f" {text}\n" for text in _timestamps(when)]
        samples = 0
        for family, prefix, row in _series(fleet, values, state, labels or {}, states):
            if family:
                out.write(family.encode())
            known = np.flatnonzero(~np.isnan(row))
            samples += known.size
            mine = ends if known.size == count else [ends[index] for index in known.tolist()]
            if known.size:
                out.write((prefix + prefix.join(map(str.__add__, render_values(row[known]), mine))).encode())
    out.write(b"# EOF\n")
    return samples


def _series(
    fleet: Fleet, values: np.ndarray, state: np.ndarray, labels: Mapping[str, str], states: bool
) -> Iterator[tuple[str, str, np.ndarray]]:
    """(header where a family begins, prefix, values (N,)) for every series, family by family."""
    names = (*labels, "server", "profile")
    rows = [
        (*labels.values(), server, profile)
        for server, profile in zip(fleet.servers, fleet.profiles, strict=True)
    ]
    for index, family in enumerate(FAMILIES):
        for server, prefix in enumerate(series_prefixes(family.name, names, rows)):
            yield (
                family_header(family.name, family.help) if server == 0 else "",
                prefix,
                values[server, index],
            )
    if states:
        for number, name in enumerate(STATES):
            prefixes = series_prefixes(STATE_FAMILY[0], (*names, "state"), [(*row, name) for row in rows])
            for server, prefix in enumerate(prefixes):
                header = family_header(*STATE_FAMILY) if number == server == 0 else ""
                yield header, prefix, (state[server] == number).astype(np.float32)


def _timestamps(when: np.ndarray) -> list[str]:
    """Seconds as text with no more decimals than they need."""
    return [f"{instant:.3f}".rstrip("0").rstrip(".") for instant in when.tolist()]


def _array(shape: tuple[int, ...], dtype: type, spill: BinaryIO) -> np.ndarray:
    """An array in memory, or in the given file where it would take too much of it."""
    if np.prod(shape) * np.dtype(dtype).itemsize <= _MEMORY_BYTES:
        return np.empty(shape, dtype)
    return np.memmap(spill, dtype, "w+", shape=shape)
