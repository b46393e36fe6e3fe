"""Recorded history for offline work: from a Prometheus server or from a file, as dataset.History."""

from __future__ import annotations

import math
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from forecaster.config import ForecasterConfig
from forecaster.signals import Signal
from forecaster.training.dataset import DatasetError, History

HOUR = 3600.0
PIECE_HOURS = 6.0  # asked for at once
FILE_ARRAYS = ("values", "server", "metric", "start_unix", "step_seconds")
FILE_PROFILE = "generic"


def from_prometheus(
    config: ForecasterConfig,
    start: float,
    end: float,
    resolution: float,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> History:
    """What the configured source holds of [start, end), from the first row with any value on; raises DatasetError where
    that is nothing, SourceError where it cannot be asked."""
    from forecaster.service.assembly import make_source

    source, parts = make_source(config, time.time), []
    for piece in progress(range(math.ceil((end - start) / (PIECE_HOURS * HOUR)))):
        begin = start + piece * PIECE_HOURS * HOUR
        parts.append(source.range(begin, min(begin + PIECE_HOURS * HOUR, end) - resolution, resolution))
    servers = tuple(sorted({s for part in parts for s in part.servers}))
    if not servers:
        raise DatasetError("the source has no series in that time; check its address, the times and the queries")
    profile_of = {s: p for part in parts for s, p in zip(part.servers, part.profiles, strict=True)}
    row = {s: i for i, s in enumerate(servers)}
    values = np.full((sum(len(p.instants) for p in parts), len(servers), len(config.signals)), np.nan, np.float32)
    at = 0
    for part in parts:
        values[at : at + len(part.instants), [row[s] for s in part.servers]] = part.values
        at += len(part.instants)
    seen = np.isfinite(values).any((1, 2)).nonzero()[0]
    first = int(seen[0]) if seen.size else 0
    return History(
        parts[0].instants[0] + first * resolution,
        resolution,
        tuple(config.signals),
        servers,
        tuple(profile_of[s] for s in servers),
        values[first:],
    )


def from_file(path: Path) -> History:
    """An .npz file: values (servers, steps, metrics) with NaN where missing, server and metric names, start_unix and
    step_seconds. Infinities count as missing. Raises DatasetError naming what is wrong."""
    try:
        with path.open("rb") as file, npz(file) as archive:
            missing = [name for name in FILE_ARRAYS if name not in archive.files]
            if missing:
                raise DatasetError(
                    f"{path}: no array {', '.join(missing)}; expected {', '.join(FILE_ARRAYS)}, found {', '.join(archive.files)}"
                )
            held = {name: archive[name] for name in FILE_ARRAYS}
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file") from error
    except (OSError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"{path}: cannot be read as .npz ({error}); the file is damaged or of another kind") from error
    values, servers, metrics = held["values"], held["server"].astype(str), held["metric"].astype(str)
    if values.ndim != 3 or values.dtype.kind != "f" or values.shape[::2] != (len(servers), len(metrics)):
        raise DatasetError(
            f"{path}: values is {values.dtype} {values.shape}; expected floats ({len(servers)} servers, steps, "
            f"{len(metrics)} metrics)"
        )
    for what, names in (("server", servers), ("metric", metrics)):
        if len(set(names.tolist())) != len(names):
            raise DatasetError(f"{path}: a {what} is named twice; expected each once")
    for name in ("start_unix", "step_seconds"):
        if held[name].size != 1 or held[name].dtype.kind not in "fiu":
            raise DatasetError(f"{path}: {name} is {held[name].dtype} {held[name].shape}; expected one number")
    start, step = (float(held[name].item()) for name in ("start_unix", "step_seconds"))
    if not (np.isfinite([start, step]).all() and step > 0):
        raise DatasetError(f"{path}: start_unix {start}, step_seconds {step}; expected Unix seconds and a positive step")
    grid = np.where(np.isfinite(values), values, np.nan).astype(np.float32).transpose(1, 0, 2)
    return History(start, step, tuple(metrics.tolist()), tuple(servers.tolist()), (FILE_PROFILE,) * len(servers), grid)


def npz(file: BinaryIO) -> np.lib.npyio.NpzFile:
    """The archive of an open .npz file; TypeError where it is a single array."""
    archive = np.load(file, allow_pickle=False)
    if isinstance(archive, np.ndarray):
        raise TypeError("a single array")
    return archive


def select(history: History, signals: Mapping[str, Signal], what: str) -> dict[str, Signal]:
    """The configured signals in the history's order; DatasetError where one of its metrics is none of them."""
    unknown = [name for name in history.signals if name not in signals]
    if unknown:
        raise DatasetError(
            f"{what}: metric {', '.join(unknown)} is no signal of the configuration; expected some of {', '.join(signals)}"
        )
    return {name: signals[name] for name in history.signals}
