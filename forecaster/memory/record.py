"""The forecaster's record: past forecasts compared with their outcomes, and bands that proved too narrow widened.

Once per model step, the forecasts at the shown horizons are kept. When a horizon has passed, they are compared with the
trailing mean observed then; a forecast without an outcome is not scored. Sums over `window` seconds give, per signal
and horizon, the share of outcomes between p10 and p90, and the pinball loss divided by the trend heuristic's on the
same outcomes. They are shown after MIN_SPAN and `minimum` outcomes. The same sums over the newest RECENT seconds show
the effect of a sudden change; nothing is decided by them.

Widening: the distance of an outcome from the median, in half-bands of the forecast before any widening, is counted in
bins. The factor is the 80 % quantile of these distances. It applies once the coverage without it is below NARROW, until
that is above FINE again (adaptive conformal prediction after Gibbs and Candes, NeurIPS 2021, with a window instead of a
rate). Bands are never narrowed. A band without width is left as it is: idle servers sit exactly on their forecast, and
a factor cannot widen it.

Memory: a pending step holds 9 float32 per server, signal and horizon: 96 x 9 x 4 B x 5 horizons = 17 KB a series, 138
MB for 1,000 servers x 8 signals. Letters: S servers, C signals, K horizons.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.memory.snapshot import SnapshotError, load, save

VERSION = 1
LEVELS = np.array([0.1, 0.5, 0.9], np.float32)
NARROW, FINE, WANTED = 0.75, 0.79, 0.8
MIN_SPAN = 6 * 3600.0  # seconds between the first and the newest scored step: outcomes of one hour are one outcome
RECENT = 3600.0  # seconds of the short window: a sudden change shows in it at once, in a day's figures hardly
RECENT_MINIMUM = 12  # outcomes: what a single host has in an hour of 5 minute steps
BINS = np.geomspace(0.02, 50.0, 60)  # distances in half-bands
COUNTED, COVERED, COVERED_RAW, LOSS, LOSS_HEURISTIC, FIRST_BIN = range(6)


@dataclass(frozen=True, eq=False)
class Proof:
    """Figures float64 (C, K): NaN where too little has been scored; widening is 1 where bands are untouched.

    The recent ones are those of the newest RECENT seconds.
    """

    coverage: np.ndarray
    loss: np.ndarray
    outcomes: np.ndarray
    widening: np.ndarray
    recent_coverage: np.ndarray
    recent_loss: np.ndarray
    recent_outcomes: np.ndarray


class Record:
    """`horizons` maps labels to steps, shortest first; `identity` says whose forecasts these are (model, source)."""

    def __init__(
        self,
        signals: Sequence[str],
        horizons: Mapping[str, int],
        step: float,
        window: float,
        minimum: int,
        limit: float,
        identity: str = "",
        correction: bool = True,
    ):
        self.signals, self.steps, self.step = tuple(signals), tuple(horizons.values()), float(step)
        self.minimum, self.limit, self.identity, self.correction = minimum, limit, identity, correction
        self._length, self._recent = (max(int(seconds // step), 1) for seconds in (window, RECENT))
        self._shape = len(self.signals), len(self.steps), FIRST_BIN + len(BINS) + 1
        self._reset()

    def _reset(self) -> None:
        self._pending: OrderedDict[int, tuple[float, tuple[str, ...], np.ndarray]] = OrderedDict()
        self._sums: OrderedDict[int, np.ndarray] = OrderedDict()  # step -> (C, K, sums and bins)
        self._present = 0  # the newest step that was observed
        self._wide = np.zeros(self._shape[:2], bool)
        self._factors = np.ones(self._shape[:2])
        self._proof: Proof | None = None  # of the sums and factors as they are

    def step_over(
        self,
        now: float,
        servers: Sequence[str],
        observed: np.ndarray,
        forecast: np.ndarray,
        heuristic: np.ndarray | None,
        by_model: np.ndarray,
        bounds: Sequence[tuple[float | None, float | None]],
    ) -> Proof:
        """Scores the forecasts made for now, widens the model's bands in ``forecast`` (S, C, H, 3) in place where they
        proved too narrow, and keeps them to be scored later. Scores and keeps once per step, and widens always.

        observed (S, C); heuristic (S, C, K, 3), read only where a step is due; by_model bool (S,), the rows that count;
        bounds of each signal.
        """
        at, due = [steps - 1 for steps in self.steps], self.due(now)
        if due:
            self.observe(now, servers, observed)
            raw = forecast[by_model][:, :, at]
        factors = self.factors(forecast.shape[2]) if self.correction else None
        if factors is not None:
            low = np.array([-np.inf if bound is None else bound for bound, _ in bounds], float)
            high = np.array([np.inf if bound is None else bound for _, bound in bounds], float)
            forecast[by_model] = widen(forecast[by_model], factors, low, high)
        if due:
            named = [name for name, made in zip(servers, by_model, strict=True) if made]
            self.keep(now, named, forecast[by_model][:, :, at], raw, heuristic[by_model])
        return self.proof()

    def due(self, now: float) -> bool:
        """Whether ``now`` begins a step that nothing was kept of yet."""
        return not self._pending or int(now // self.step) > next(reversed(self._pending))

    def keep(
        self, now: float, servers: Sequence[str], published: np.ndarray, raw: np.ndarray, heuristic: np.ndarray
    ) -> None:
        """Keeps forecasts float32 (S, C, K, 3) issued now; a clock that was set back forgets what was issued later.

        Horizons whose time has come are let go: of all that is kept, two thirds.
        """
        present = int(now // self.step)
        for key, (issued, names, kept) in list(self._pending.items()):
            waiting = sum(steps > present - key for steps in self.steps)  # the horizons, shortest first, that are left
            if waiting < kept.shape[3]:
                self._pending[key] = issued, names, kept[:, :, :, -waiting:].copy() if waiting else kept[:, :, :, :0]
        self._pending[present] = (
            now,
            tuple(servers),
            np.stack([published, raw, heuristic]).astype(np.float32),
        )
        while len(self._pending) > max(self.steps) + 1:
            self._pending.popitem(last=False)

    def observe(self, now: float, servers: Sequence[str], observed: np.ndarray) -> None:
        """Scores the forecasts made for now, once per step, before ``keep``; observed float32 (S, C), NaN: unknown."""
        present = self._present = int(now // self.step)
        for later in [key for key in self._pending if key >= present]:
            del self._pending[later]
        for later in [key for key in self._sums if key >= present]:
            del self._sums[later]
        while self._sums and next(iter(self._sums)) <= present - self._length:
            self._sums.popitem(last=False)
        sums = np.zeros(self._shape)
        place = {name: i for i, name in enumerate(servers)}
        for k, steps in enumerate(self.steps):
            kept = self._pending.get(present - steps)
            if kept is None or abs(now - kept[0] - steps * self.step) > self.step / 2:
                continue
            rows = [(i, place[name]) for i, name in enumerate(kept[1]) if name in place]
            held = k - len(self.steps) + kept[2].shape[3]  # its place among those left
            if rows and held >= 0:
                old, new = (np.array(column) for column in zip(*rows, strict=True))
                sums[:, k] = self._scored(kept[2][:, :, :, held][:, old], observed[new])
        if sums[..., COUNTED].any():
            self._sums[present] = sums
        self._decide()

    def _scored(self, forecasts: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(C, sums and bins) of published, raw and heuristic quantiles (3, S, C, 3) and outcomes (S, C)."""
        known = np.isfinite(y) & np.isfinite(forecasts).all((0, -1))
        published, raw, heuristic = np.where(known[..., None], forecasts, 0)
        y = np.where(known, y, 0)
        out = np.zeros((y.shape[1], self._shape[2]))
        out[:, COUNTED] = known.sum(0)
        out[:, COVERED] = (known & (published[..., 0] <= y) & (y <= published[..., 2])).sum(0)
        out[:, COVERED_RAW] = (known & (raw[..., 0] <= y) & (y <= raw[..., 2])).sum(0)
        for column, made in ((LOSS, published), (LOSS_HEURISTIC, heuristic)):
            error = y[..., None] - made
            out[:, column] = (2 * np.maximum(LEVELS * error, (LEVELS - 1) * error).mean(-1) * known).sum(0)
        half = np.where(y >= raw[..., 1], raw[..., 2] - raw[..., 1], raw[..., 1] - raw[..., 0])
        usable = known & (half > 0)
        place = np.searchsorted(BINS, np.abs(y - raw[..., 1]) / np.where(usable, half, 1))
        for c in range(y.shape[1]):
            out[c, FIRST_BIN:] = np.bincount(place[usable[:, c], c], minlength=len(BINS) + 1)
        return out

    def _total(self, steps: int) -> np.ndarray:
        """(C, K, sums and bins) over the newest steps."""
        rows = (row for key, row in self._sums.items() if key > self._present - steps)
        return sum(rows, np.zeros(self._shape))

    def _enough(self, total: np.ndarray) -> np.ndarray:
        """bool (C, K): where enough was scored, over long enough."""
        if not self._sums:
            return np.zeros(self._shape[:2], bool)
        counted = np.array([s[..., COUNTED] > 0 for s in self._sums.values()])
        keys = np.array(list(self._sums))[:, None, None]
        first = np.where(counted, keys, np.iinfo(np.int64).max).min(0)
        last = np.where(counted, keys, 0).max(0)
        return (total[..., COUNTED] >= self.minimum) & ((last - first) * self.step >= MIN_SPAN)

    def _decide(self) -> None:
        """Which bands are widened from now on, and how much."""
        self._proof = None
        total = self._total(self._length)
        enough = self._enough(total)
        raw = total[..., COVERED_RAW] / np.maximum(total[..., COUNTED], 1)
        self._wide = enough & ((raw < NARROW) | (self._wide & (raw < FINE)))
        share = total[..., FIRST_BIN:].cumsum(-1) / np.maximum(total[..., FIRST_BIN:].sum(-1, keepdims=True), 1)
        at = np.minimum((share < WANTED).sum(-1), len(BINS) - 1)
        self._factors = np.where(self._wide, np.clip(BINS[at], 1.0, self.limit), 1.0)

    def factors(self, horizon: int) -> np.ndarray | None:
        """float32 (C, horizon) for the half-bands of every step, None while nothing is widened."""
        if not (self._factors > 1).any():
            return None
        place = np.log(np.arange(1, horizon + 1))
        return np.stack([np.interp(place, np.log(self.steps), row) for row in self._factors]).astype(np.float32)

    def proof(self) -> Proof:
        """What has been shown so far; summed up once per step, for between steps nothing is scored."""
        if self._proof is None:
            total, recent = self._total(self._length), self._total(self._recent)
            coverage, loss = _figures(total, self._enough(total))
            enough = recent[..., COUNTED] >= RECENT_MINIMUM
            recent_coverage, recent_loss = _figures(recent, enough)
            self._proof = Proof(
                coverage=coverage,
                loss=loss,
                outcomes=total[..., COUNTED],
                widening=self._factors.copy() if self.correction else np.ones_like(self._factors),
                recent_coverage=recent_coverage,
                recent_loss=recent_loss,
                recent_outcomes=np.where(enough, recent[..., COUNTED], np.nan),
            )
        return self._proof

    # -- what survives a restart ----------------------------------------------------------------------------------

    def snapshot(self, path: str | os.PathLike) -> None:
        """Writes sums and pending forecasts, atomically; OSError if that fails."""
        pending = list(self._pending.items())
        arrays = {f"kept_{i}": kept for i, (_, (_, _, kept)) in enumerate(pending)}
        arrays |= {f"servers_{i}": np.array(names, np.str_) for i, (_, (_, names, _)) in enumerate(pending)}
        save(
            path,
            version=VERSION,
            identity=np.array(self._fingerprint),
            issued=np.array([now for _, (now, _, _) in pending], np.float64),
            keys=np.array(list(self._sums), np.int64),
            sums=np.array(list(self._sums.values())).reshape(-1, *self._shape),
            wide=self._wide,
            **arrays,
        )

    def restore(self, path: str | os.PathLike, now: float) -> str | None:
        """Takes over a snapshot; None, or the reason why the record starts empty."""
        try:
            head = load(path, ("version", "identity", "issued", "keys", "sums", "wide"))
            if head["version"].tolist() != VERSION or str(head["identity"]) != self._fingerprint:
                return f"{path} holds the record of another model, source, signals or horizons"
            count = len(head["issued"])
            more = load(path, tuple(f"{kind}_{i}" for i in range(count) for kind in ("kept", "servers")))
        except SnapshotError as error:
            return str(error)
        kept = [(more[f"kept_{i}"].shape, len(more[f"servers_{i}"])) for i in range(count)]
        if head["sums"].shape != (len(head["keys"]), *self._shape) or any(
            shape[:3] != (3, names, len(self.signals)) or len(shape) != 5 or shape[3] > len(self.steps) or shape[4] != 3
            for shape, names in kept
        ):
            return f"{path} cannot be read: its parts do not fit together"
        self._reset()
        for i, issued in enumerate(head["issued"].tolist()):
            if issued <= now:
                names = tuple(more[f"servers_{i}"].tolist())
                self._pending[int(issued // self.step)] = (issued, names, more[f"kept_{i}"])
        self._sums.update((key, row) for key, row in zip(head["keys"].tolist(), head["sums"], strict=True))
        self._wide, self._present = head["wide"], int(now // self.step)
        self._decide()
        return None

    def same(self, other: Record) -> bool:
        """Whether the other's record can be gone on with."""
        mine, theirs = ((r._fingerprint, r._length, r.minimum, r.limit, r.correction) for r in (self, other))
        return mine == theirs

    @property
    def _fingerprint(self) -> str:
        return repr((self.identity, self.signals, self.steps, self.step))


def _figures(total: np.ndarray, enough: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and loss ratio (C, K) of sums (C, K, sums and bins); NaN where not enough was scored."""
    base = np.where(enough & (total[..., LOSS_HEURISTIC] > 0), total[..., LOSS_HEURISTIC], np.nan)
    return np.where(enough, total[..., COVERED] / np.maximum(total[..., COUNTED], 1), np.nan), total[..., LOSS] / base


def widen(forecast: np.ndarray, factors: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Forecasts (S, C, H, 3) with half-bands times factors (C, H), inside bounds (C,) (infinite for none)."""
    middle = forecast[..., 1:2]
    wide = middle + (forecast - middle) * factors[..., None]
    return np.clip(wide, low[:, None, None], high[:, None, None]).astype(np.float32)
