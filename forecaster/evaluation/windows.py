"""Which windows of which history a backtest forecasts.

A window is one server at one instant ("now"): its context is everything observed until now, at most CONTEXT_STEPS, and
its targets are the HORIZON_STEPS steps after. Letters: N windows, C signals, T context steps, H horizon steps.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.profiles import FleetConfig
from forecaster.config import ForecasterConfig
from forecaster.evaluation.scoring import DAY
from forecaster.models.features import MOTION_SHARE
from forecaster.signals import HORIZON_STEPS
from forecaster.training import histories
from forecaster.training.dataset import Array, DatasetError, Floats, History, Progress, day_ago_error
from forecaster.training.simulation import backtest_fleet, simulate_fleet

CONTEXT_STEPS = 7 * DAY  # a week: the most that a forecaster reads
RECENT_STEPS = 24  # a window is drawn only where its newest steps are observed
OBSERVED_SHARE = 0.95  # and more than this share of its targets
BATCH = 256  # windows cut and forecast at once


@dataclass(frozen=True)
class Windows:
    """Windows of one history: ``place`` (N, 2), server and row of "now"; ``stride`` rows are one step."""

    history: History
    place: npt.NDArray[np.int64]
    stride: int

    def __len__(self) -> int:
        return len(self.place)

    def batches(self, size: int | None = None) -> list[slice]:
        """All windows in parts of ``size``, BATCH by default."""
        size = size or BATCH
        return [slice(begin, min(begin + size, len(self))) for begin in range(0, len(self), size)]

    def context(self, rows: slice, steps: int = CONTEXT_STEPS) -> Floats:
        """(n, C, steps), newest last, NaN before the history begins."""
        return self._cut(rows, np.arange(1 - steps, 1))

    def earlier(self, rows: slice) -> Floats | None:
        """The newest RECENT_STEPS of the context, MOTION_SHARE of a step earlier; None where the resolution is too
        coarse."""
        back = MOTION_SHARE * self.stride
        return self._cut(rows, np.arange(1 - RECENT_STEPS, 1), int(back)) if back == int(back) else None

    def truth(self, rows: slice = slice(None)) -> Floats:
        """(n, C, H): the actual values of the targets."""
        return self._cut(rows, np.arange(1, HORIZON_STEPS + 1))

    def instants(self, rows: slice = slice(None)) -> npt.NDArray[np.float64]:
        """(n,): Unix seconds of each window's now."""
        return self.history.start + self.place[rows, 1].astype(np.float64) * self.history.resolution

    def names(self, rows: slice) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Server and profile of each window."""
        h, servers = self.history, self.place[rows, 0].tolist()
        return tuple(h.servers[i] for i in servers), tuple(h.profiles[i] for i in servers)

    def scale(self) -> npt.NDArray[np.float64]:
        """(N, C): ``dataset.day_ago_error`` of every window's context."""
        return np.concatenate([day_ago_error(self.context(rows)) for rows in self.batches()])

    def title(self) -> str:
        """Server and time of the first window's now."""
        return f"{self.names(slice(1))[0][0]}, {datetime.fromtimestamp(self.instants()[0], UTC):%Y-%m-%d %H:%M} UTC"

    def _cut(self, rows: slice, steps: Array, back: int = 0) -> Floats:
        values = self.history.values
        server, now = self.place[rows, 0], self.place[rows, 1]
        at = now[:, None] + steps * self.stride - back
        held = (at >= 0) & (at < len(values))
        cut = values[np.clip(at, 0, len(values) - 1), server[:, None]].astype(np.float32)
        return np.where(held[..., None], cut, np.float32(np.nan)).transpose(0, 2, 1)


def single(parts: Sequence[Windows], index: int) -> Windows:
    """One window, by its index in all ``parts``."""
    for part in parts:
        if index < len(part):
            return Windows(part.history, part.place[index : index + 1], part.stride)
        index -= len(part)
    raise IndexError(index)


# -- histories -----------------------------------------------------------------------------------------------------


def simulated(
    fleet: FleetConfig, fleets: int, days: float, step: float, seed: int, progress: Progress
) -> list[History]:
    """Histories of ``fleets`` simulated fleets, the same for the same seed on any day."""
    made = (backtest_fleet(fleet, i, days, seed) for i in progress(range(fleets)))
    return [simulate_fleet(one, start, days, step) for one, start in made]


def recorded(config: ForecasterConfig, start: float, end: float, progress: Progress) -> History:
    """History of the configured Prometheus; raises DatasetError or SourceError as histories.from_prometheus does."""
    return histories.from_prometheus(config, start // config.step * config.step, end, resolution(config), progress)


def resolution(config: ForecasterConfig) -> float:
    """Seconds between rows read from a Prometheus: MOTION_SHARE of a step where a refresh divides it, as when serving,
    else one step."""
    fine = MOTION_SHARE * config.step
    return fine if abs(fine / config.refresh - round(fine / config.refresh)) < 1e-9 else config.step


def kept_out(history: History, model: str, facts: Mapping[str, Any]) -> tuple[History, float]:
    """(the recorded servers that a model kept out of its training, Unix seconds from which on it kept out all servers).

    facts: of the model's artifact, empty of a yardstick. Raises DatasetError.
    """
    servers, since = facts.get("kept_out_servers"), facts.get("kept_out_from")
    if not servers or not since:
        raise DatasetError(f"--kept-out: {model} does not list servers kept out of its training; expected the first "
                           "--model to be one trained with --data")
    missing = sorted(set(servers) - set(history.servers))
    if missing:
        raise DatasetError(f"--kept-out: the recording lacks {len(missing)} of the {len(servers)} servers that {model} "
                           f"kept out, such as {missing[0]}; expected the recording it was trained on")
    kept = history.of_servers([history.servers.index(name) for name in servers])
    return kept, histories.instant("kept_out_from", since)


def not_kept_out(history: History, model: str, facts: Mapping[str, Any]) -> History:
    """The servers and days that trained it, as far as ``kept_out`` knows them; raises DatasetError."""
    kept, since = kept_out(history, model, facts)
    others = [i for i, name in enumerate(history.servers) if name not in kept.servers]
    return history.of_servers(others).between(0, int((since - history.start) // history.resolution))


# -- windows -------------------------------------------------------------------------------------------------------


def draw(history: History, step: float, per_server: int, seed: int, first: float | None = None) -> Windows:
    """Up to ``per_server`` random windows of every server, not before the instant ``first``, at least a day after the
    history begins, whose newest RECENT_STEPS steps and OBSERVED_SHARE of whose targets are observed in the first
    signal of which the server has such windows. Raises DatasetError where there is none."""
    stride, rng, place = history.stride(step), np.random.default_rng(seed), list[tuple[int, int]]()
    begin = DAY * stride
    if first is not None:
        begin = max(begin, int(np.ceil((first - history.start) / history.resolution)))
    candidates = np.arange(begin, len(history.values) - HORIZON_STEPS * stride)
    for server in range(len(history.servers) if len(candidates) else 0):
        for signal in range(len(history.signals)):
            seen = np.isfinite(history.values[:, server, signal]).astype(np.float64)
            past = _trailing(seen, stride, RECENT_STEPS)[candidates]
            future = _trailing(seen, stride, HORIZON_STEPS)[candidates + HORIZON_STEPS * stride]
            usable = candidates[(past == RECENT_STEPS) & (future > OBSERVED_SHARE * HORIZON_STEPS)]
            if usable.size:
                break
        chosen = rng.choice(usable, min(per_server, len(usable)), replace=False)
        place += [(server, now) for now in np.sort(chosen)]
    if not place:
        need = (DAY + HORIZON_STEPS) * step / 3600
        raise DatasetError(f"no window can be cut from {history.hours:.1f} h of {len(history.servers)} servers; "
                           f"expected at least {need:.0f} h with few gaps")
    return Windows(history, np.array(place, np.int64), stride)


def _trailing(column: npt.NDArray[np.float64], stride: int, steps: int) -> npt.NDArray[np.float64]:
    """Sum over the ``steps`` values at distance ``stride`` that end at each row."""
    total = np.zeros(len(column))
    for shift in range(0, min(steps * stride, len(column)), stride):
        total[shift:] += column[: len(column) - shift]
    return total


def from_file(path: Path, history: History, step: float) -> Windows:
    """The windows that an .npy file lists, as ``at_origins``; raises DatasetError."""
    try:
        with path.open("rb") as file:
            pairs = np.load(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise DatasetError(f"--windows {path}: no such file") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(f"--windows {path}: cannot be read as .npy ({error}); "
                           "expected a file written by np.save") from error
    if not isinstance(pairs, np.ndarray):
        raise DatasetError(f"--windows {path}: an archive of arrays; expected one integer array (N, 2) in a .npy file")
    return at_origins(history, step, pairs)


def at_origins(history: History, step: float, pairs: Array) -> Windows:
    """Windows of int (N, 2) pairs (server index, first target's row); raises DatasetError."""
    stride = history.stride(step)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer) or not len(pairs):
        raise DatasetError(f"windows are {pairs.dtype} {pairs.shape}; expected integers (N, 2): server index, origin")
    server, origin = pairs[:, 0], pairs[:, 1]
    bad = (server < 0) | (server >= len(history.servers)) | (origin < 1) | (origin > len(history.values))
    if bad.any():
        row = int(bad.argmax())
        raise DatasetError(f"window {row} is (server {server[row]}, origin {origin[row]}); expected servers "
                           f"0..{len(history.servers) - 1} and origins 1..{len(history.values)}")
    return Windows(history, np.stack([server, origin - stride], 1).astype(np.int64), stride)
