"""Recorded history for training and backtests: from a Prometheus server or from a file, as dataset.History."""

from __future__ import annotations

import logging
import math
import time
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecaster.config import ForecasterConfig
from forecaster.signals import HORIZON_STEPS, Signal
from forecaster.training.dataset import DAY, DatasetError, History, Progress

log = logging.getLogger(__name__)

PIECE = 6 * 3600.0  # seconds asked for in one query
HELD_OUT_SHARE = 0.2  # of a Prometheus' history, the latest part, for validation
FILE_ARRAYS = ("values", "server", "metric", "start_unix", "step_seconds")
FILE_PROFILE = "generic"


def from_prometheus(
    config: ForecasterConfig, start: float, end: float, resolution: float, progress: Progress = iter
) -> History:
    """The configured source's values in [start, end), from the first row with any value on.

    Raises DatasetError where there is no series, SourceError where the source does not answer for every signal.
    """
    from forecaster.service.assembly import make_source

    source, parts = make_source(config, time.time), []
    for piece in progress(range(math.ceil((end - start) / PIECE))):
        begin = start + piece * PIECE
        part = source.range(begin, min(begin + PIECE, end) - resolution, resolution)
        if part.failed:  # a model must not learn that the signal was not there
            raise next(iter(part.failed.values()))
        parts.append(part)
    profile_of = {s: p for part in parts for s, p in zip(part.servers, part.profiles, strict=True)}
    servers = tuple(sorted(profile_of))
    if not servers:
        raise DatasetError("the source has no series in that time; check its address, the times and the queries")
    row = {s: i for i, s in enumerate(servers)}
    values = np.full((sum(len(p.instants) for p in parts), len(servers), len(config.signals)), np.nan, np.float32)
    at = 0
    for part in parts:
        values[at : at + len(part.instants), [row[s] for s in part.servers]] = part.values
        at += len(part.instants)
    first = int(np.isfinite(values).any(axis=(1, 2)).argmax())
    return History(parts[0].instants[0] + first * resolution, resolution, tuple(config.signals), servers,
                   tuple(profile_of[s] for s in servers), values[first:])


def to_train_on(config: ForecasterConfig, days: float, now: float) -> tuple[History, History]:
    """(training, validation) histories: the last ``days`` of the configured source up to ``now``, the latest fifth for
    validation; without the optional signals that no server has. Raises DatasetError where that fifth holds no window,
    and as from_prometheus."""
    window = (config.encoder_steps + HORIZON_STEPS) * config.step / 3600
    end = now // 60 * 60
    history = from_prometheus(config, end - days * DAY, end, min(60.0, config.step))
    if history.hours < window / HELD_OUT_SHARE:
        raise DatasetError(f"the source holds {history.hours:.1f} h; expected at least {window / HELD_OUT_SHARE:g} h: "
                           f"one window is {window:g} h and the last fifth is held out for validation")
    seen: NDArray[np.bool] = np.any(np.isfinite(history.values), axis=(0, 1))
    history = history.without([name for name, there in zip(history.signals, seen, strict=True)
                               if config.signals[name].optional and not there])
    cut = int(len(history.values) * (1 - HELD_OUT_SHARE))
    return history.between(0, cut), history.between(cut, len(history.values))


def from_file(path: Path) -> History:
    """An .npz file: values (servers, steps, metrics) with NaN where missing, server and metric names, start_unix and
    step_seconds. Infinities count as missing. Raises DatasetError."""
    held = _arrays(path)
    values, servers, metrics = held["values"], held["server"].astype(str), held["metric"].astype(str)
    if values.ndim != 3 or values.dtype.kind != "f" or values.shape[::2] != (len(servers), len(metrics)):
        raise DatasetError(f"{path}: values is {values.dtype} {values.shape}; expected floats ({len(servers)} servers, "
                           f"steps, {len(metrics)} metrics)")
    for what, names in (("server", servers), ("metric", metrics)):
        if len(set(names.tolist())) != len(names):
            raise DatasetError(f"{path}: a {what} is named twice; expected each once")
    for name in ("start_unix", "step_seconds"):
        if held[name].size != 1 or held[name].dtype.kind not in "fiu":
            raise DatasetError(f"{path}: {name} is {held[name].dtype} {held[name].shape}; expected one number")
    start, step = (float(held[name].item()) for name in ("start_unix", "step_seconds"))
    if not (np.isfinite([start, step]).all() and step > 0):
        raise DatasetError(f"{path}: start_unix {start}, step_seconds {step}; "
                           "expected Unix seconds and a positive step")
    grid = np.where(np.isfinite(values), values, np.nan).astype(np.float32).transpose(1, 0, 2)
    return History(start, step, tuple(metrics.tolist()), tuple(servers.tolist()), (FILE_PROFILE,) * len(servers), grid)


def _arrays(path: Path) -> dict[str, Any]:
    """FILE_ARRAYS of an .npz file; raises DatasetError."""
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise TypeError("a single array")
            missing = [name for name in FILE_ARRAYS if name not in archive.files]
            if missing:
                raise DatasetError(f"{path}: no array {', '.join(missing)}; expected {', '.join(FILE_ARRAYS)}, "
                                   f"found {', '.join(archive.files)}")
            return {name: archive[name] for name in FILE_ARRAYS}
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file") from error
    except DatasetError:
        raise
    except (OSError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"{path}: cannot be read as .npz ({error}); the file is damaged or another kind") from error


def shared(history: History, signals: Mapping[str, Signal], what: str) -> tuple[History, dict[str, Signal], list[str]]:
    """(the metrics that are configured and have values, their signals, a sentence on each that is missing); raises
    DatasetError where none is left."""
    seen: NDArray[np.bool] = np.any(np.isfinite(history.values), axis=0)  # (servers, metrics)
    unknown = [name for name in history.signals if name not in signals]
    keep = [c for c, name in enumerate(history.signals) if name in signals and seen[:, c].any()]
    if not keep:
        raise DatasetError(f"{what}: no values of {', '.join(signals)}; found {', '.join(history.signals)}: expected "
                           "a signal of the configuration, choose another --config.file")
    names = tuple(history.signals[c] for c in keep)
    lacking = [name for name, signal in signals.items() if name not in names and not signal.optional]
    notes = [f"{what}: metric {', '.join(unknown)} is not a signal of the configuration and left out"] * bool(unknown)
    notes += [f"{what}: no values of {', '.join(lacking)}"] * bool(lacking)
    notes += [f"{what}: no values of {history.signals[c]} on {count} of {len(seen)} servers"
              for c in keep if (count := int((~seen[:, c]).sum()))]
    if len(keep) < len(history.signals):
        history = replace(history, signals=names, values=history.values[..., keep])
    return history, {name: signals[name] for name in names}, notes


def select(history: History, signals: Mapping[str, Signal], what: str) -> dict[str, Signal]:
    """The configured signals in the history's order; DatasetError where one of its metrics is not configured."""
    unknown = [name for name in history.signals if name not in signals]
    if unknown:
        raise DatasetError(f"{what}: metric {', '.join(unknown)} is not a signal of the configuration; expected some "
                           f"of {', '.join(signals)}: choose another --config.file")
    return {name: signals[name] for name in history.signals}


def instant(flag: str, text: str) -> float:
    """Unix seconds of RFC 3339 (UTC where it has no zone) or of a number; raises DatasetError."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            seconds = math.nan
        else:
            seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(seconds):
        raise DatasetError(f"{flag} {text}: expected RFC 3339 such as 2026-03-01T00:00:00Z, or Unix seconds")
    return seconds
