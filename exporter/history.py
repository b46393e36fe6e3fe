"""The fleet's past as OpenMetrics text with timestamps.

The text is for `promtool tsdb create-blocks-from --max-block-duration=64h openmetrics`. With the default block duration
of 2 hours, promtool would read the whole text once for every 2 hours in it.

OpenMetrics requires the samples of a family, and in it of a series, to be contiguous; the simulation goes through time.
The values are therefore kept in one float32 array (S, M, N), in a temporary file if it is large, and written family by
family and series by series.

The state set is optional: it nearly doubles the text, and no forecast reads it. Mounts have a sample every 5 minutes,
the look-back of Prometheus, unless the resolution is coarser.
"""

import tempfile
from collections.abc import Iterator, Mapping
from math import prod
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from exporter.collector import AVAILABLE_FAMILY, FAMILIES, MOUNT_LABELS, SIZE_FAMILY, STATE_FAMILY, base_units
from exporter.fleet import Fleet, Snapshot
from exporter.mounts import Mounts
from exporter.physics import Floats
from exporter.profiles import METRICS, STATES
from serving.exposition import LABEL_NAME, family_header, render_values, series_prefixes

_MEMORY_BYTES = 256 << 20  # larger arrays are kept in a temporary file
_OWN_LABELS = ("server", "profile", "state", "mountpoint", "__name__")
_MOUNT_STEP = 300  # seconds
_MOUNT_CHUNK = 288  # columns computed at once
Series = Iterator[tuple[str, str, NDArray[np.floating]]]  # header or "" after the family's first, prefix, values (N,)


class HistoryError(ValueError):
    """An invalid label or time range; the message says what was expected."""


def parse_labels(given: list[str]) -> dict[str, str]:
    """Extra labels from "name=value" texts; HistoryError for a malformed, repeated or reserved label."""
    labels: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not LABEL_NAME.fullmatch(name) or not value:
            raise HistoryError(f"label {text!r}: expected name=value, e.g. job=fleet-exporter")
        if name in _OWN_LABELS:
            raise HistoryError(f"label {text!r}: the exporter sets {name} itself; choose another name")
        if name in labels:
            raise HistoryError(f"label {text!r}: {name} is repeated; give it once")
        labels[name] = value
    return labels


def instants(start: float, end: float, resolution: float) -> Floats:
    """Unix seconds (N,) from start in steps of `resolution`, before end; HistoryError if there are none.

    Rounded to milliseconds, which is the resolution of Prometheus.
    """
    if not resolution >= 0.001:
        raise HistoryError(f"resolution {resolution:g} s: expected at least 0.001 seconds")
    if not end > start:
        raise HistoryError(f"end {end:.0f} is not after start {start:.0f}; expected start < end in Unix seconds")
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
    mounts_only: bool = False,
) -> int:
    """Writes the fleet, or its mounts only, over [start, end) to a binary stream and returns the number of samples.

    The fleet itself does not move. `labels` are added to every series: the labels that a scrape adds make history and
    scraped samples the same series. The text ends with "# EOF". Raises HistoryError.
    """
    when = instants(start, end, resolution)
    rare = when
    if resolution < _MOUNT_STEP:
        rare = np.arange(np.ceil(start / _MOUNT_STEP), np.ceil(end / _MOUNT_STEP), dtype=np.float64) * _MOUNT_STEP
    samples = 0
    if not mounts_only:
        snapshots = fleet.walk(start, end, resolution)
        samples += _write(out, when, _servers(fleet, snapshots, when.size, labels or {}, states))
    samples += _write(out, rare, _mounts(fleet, rare, labels or {}))
    out.write(b"# EOF\n")
    return samples


def _write(out: BinaryIO, when: Floats, series: Series) -> int:
    """Writes series over instants (N,); the number of samples."""
    ends, samples = [f" {text}\n" for text in _timestamps(when)], 0
    for family, prefix, row in series:
        if family:
            out.write(family.encode())
        known = np.flatnonzero(~np.isnan(row))
        samples += known.size
        mine = ends if known.size == when.size else [ends[index] for index in known.tolist()]
        if known.size:
            out.write((prefix + prefix.join(map(str.__add__, render_values(row[known]), mine))).encode())
    return samples


def _servers(
    fleet: Fleet, snapshots: Iterator[Snapshot], count: int, labels: Mapping[str, str], states: bool
) -> Series:
    """The series of the servers, family by family."""
    values = _array((len(fleet.servers), len(METRICS), count), np.float32)
    state = np.empty((len(fleet.servers), count), np.int8)
    for index, snapshot in enumerate(snapshots):
        values[:, :, index] = base_units(snapshot.values)
        state[:, index] = snapshot.state
    names = (*labels, "server", "profile")
    rows = [(*labels.values(), *pair) for pair in zip(fleet.servers, fleet.profiles, strict=True)]
    for index, family in enumerate(FAMILIES):
        for server, prefix in enumerate(series_prefixes(family.name, names, rows)):
            yield family_header(family.name, family.help) if server == 0 else "", prefix, values[server, index]
    if states:
        for number, name in enumerate(STATES):
            prefixes = series_prefixes(STATE_FAMILY[0], (*names, "state"), [(*row, name) for row in rows])
            for server, prefix in enumerate(prefixes):
                header = family_header(*STATE_FAMILY) if number == server == 0 else ""
                yield header, prefix, (state[server] == number).astype(np.float32)


def _mounts(fleet: Fleet, when: Floats, labels: Mapping[str, str]) -> Series:
    """The series of the mounts, family by family."""
    mounts = Mounts.of(fleet.config)
    values = _array((2, len(mounts.entities), when.size), np.float64)
    simulated = np.array([fleet.config.simulated(instant) for instant in when.tolist()])
    for begin in range(0, when.size, _MOUNT_CHUNK):
        used, size = mounts.through(simulated[begin : begin + _MOUNT_CHUNK])
        values[:, :, begin : begin + _MOUNT_CHUNK] = size, size - used
    rows = [(*labels.values(), *entity) for entity in mounts.entities]
    for family, of in zip((SIZE_FAMILY, AVAILABLE_FAMILY), values, strict=True):
        prefixes = series_prefixes(family[0], (*labels, *MOUNT_LABELS), rows)
        for index, prefix in enumerate(prefixes if when.size else ()):
            yield family_header(*family) if index == 0 else "", prefix, of[index]


def _timestamps(when: Floats) -> list[str]:
    """Seconds as text, without trailing zeros."""
    return [f"{instant:.3f}".rstrip("0").rstrip(".") for instant in when.tolist()]


def _array(shape: tuple[int, ...], kind: type[np.floating]) -> NDArray[np.floating]:
    """An array in memory, or in a temporary file if it is large."""
    if prod(shape) * np.dtype(kind).itemsize <= _MEMORY_BYTES or not prod(shape):
        return np.empty(shape, kind)
    with tempfile.TemporaryFile() as spill:  # the map keeps the file
        return np.memmap(spill, kind, "w+", shape=shape)
