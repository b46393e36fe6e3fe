"""The forecaster's record: past forecasts compared with their outcomes, and bands that proved too narrow widened.

Once per model step, the forecasts at the shown horizons are kept. When a horizon has passed, they are compared with the
trailing mean observed then; a forecast without an outcome is not scored. The scores are summed up over `window` seconds
per signal and horizon. Figures are shown after MIN_SPAN and `minimum` outcomes. The same figures over the newest RECENT
seconds show the effect of a sudden change; no decision uses them.

Widening applies once the coverage without it is below NARROW, until that is above FINE again (adaptive conformal
prediction after Gibbs and Candes, NeurIPS 2021, with a window instead of a rate). Bands are never narrowed.

Memory: a pending step holds 9 float32 per server, signal and horizon: 96 x 9 x 4 B x 5 horizons = 17 KB a series, 138
MB for 1,000 servers x 8 signals. What was said 30 minutes before is kept for 2 hours more: 288 B a series.
Letters: S servers, C signals, K horizons.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.memory import scores
from forecaster.memory.by_server import ByServer
from forecaster.memory.ring import Flags, Values
from forecaster.memory.scores import COUNTED, COVERED_RAW, Figures
from forecaster.memory.snapshot import load, save, unusable

VERSION = 2
NARROW, FINE = 0.75, 0.79  # coverage of bands that should cover 0.8
MIN_SPAN = 6 * 3600.0  # seconds between the first and the newest scored step: outcomes within an hour are much alike
RECENT = 3600.0  # seconds of the short window: a day's figures hardly show a sudden change
RECENT_MINIMUM = 12  # outcomes that a single host has in an hour of 5 minute steps
LEAD, SAID = 6, 24  # steps before its time, at which a forecast is kept beside its outcome; for how many steps


@dataclass(frozen=True, eq=False)
class Proof:
    """Figures float64 (C, K): NaN where too little has been scored; widening is 1 where bands are unchanged.

    The recent ones are those of the newest RECENT seconds.
    """

    coverage: Figures
    loss: Figures
    outcomes: Figures
    widening: Figures
    recent_coverage: Figures
    recent_loss: Figures
    recent_outcomes: Figures


class Record:
    """`horizons` maps labels to steps, shortest first; `identity` names the model and source of the forecasts.

    `window` is in seconds, `limit` the largest factor on a half-band; without `correction` no band is widened.
    """

    def __init__(self, signals: Sequence[str], horizons: Mapping[str, int], step: float, window: float, minimum: int,
                 limit: float, identity: str = "", correction: bool = True):
        self.signals, self.steps, self.step = tuple(signals), tuple(horizons.values()), float(step)
        self.minimum, self.limit, self.identity, self.correction = minimum, limit, identity, correction
        self._length, self._recent = (max(int(seconds // step), 1) for seconds in (window, RECENT))
        self._shape = len(self.signals), len(self.steps), scores.COLUMNS
        self._lead = min(range(len(self.steps)), key=lambda k: abs(self.steps[k] - LEAD))
        self.by_server = ByServer(len(self.signals), self._fingerprint)  # at the lead
        self._reset()

    def _reset(self) -> None:
        self._pending: OrderedDict[int, tuple[float, tuple[str, ...], Values]] = OrderedDict()
        self._sums: OrderedDict[int, Figures] = OrderedDict()  # step -> (C, K, sums and bins)
        self._said: OrderedDict[int, tuple[float, tuple[str, ...], Values]] = OrderedDict()  # step -> as in pending
        self._present = 0  # the newest observed step
        self._wide = np.zeros(self._shape[:2], bool)
        self._factors = np.ones(self._shape[:2])
        self._proof: Proof | None = None  # made from the sums and factors below, None until asked for

    def step_over(self, now: float, servers: Sequence[str], observed: Values, forecast: Values,
                  heuristic: Values | None, by_model: Flags,
                  bounds: Sequence[tuple[float | None, float | None]]) -> Proof:
        """Scores the forecasts made for now, widens the model's bands in ``forecast`` (S, C, H, 3) in place where they
        proved too narrow, and keeps them to be scored later. Scores and keeps once per step, and widens always.

        observed (S, C); heuristic (S, C, K, 3), needed where a step is due; by_model bool (S, C), what is scored and
        widened; bounds of each signal.
        """
        at, due = [steps - 1 for steps in self.steps], self.due(now)
        rows = np.flatnonzero(by_model.any(1))
        made = by_model[rows][:, :, None, None]
        if due:
            assert heuristic is not None, "a step is due: the heuristic's forecasts are missing"
            base = heuristic[rows]
            self.observe(now, servers, observed)
            raw = np.where(made, forecast[rows][:, :, at], np.float32(np.nan))
        factors = self.factors(forecast.shape[2]) if self.correction else None
        if factors is not None:
            low = np.array([-np.inf if bound is None else bound for bound, _ in bounds], float)
            high = np.array([np.inf if bound is None else bound for _, bound in bounds], float)
            narrow = forecast[rows]
            forecast[rows] = np.where(made, scores.widen(narrow, factors, low, high), narrow)
        if due:
            named = [servers[row] for row in rows.tolist()]
            self.keep(now, named, forecast[rows][:, :, at], raw, base)
        return self.proof()

    def due(self, now: float) -> bool:
        """Whether no forecast of ``now``'s step, or of a later one, was kept yet."""
        return not self._pending or int(now // self.step) > next(reversed(self._pending))

    def keep(self, now: float, servers: Sequence[str], published: Values, raw: Values, heuristic: Values) -> None:
        """Keeps forecasts float32 (S, C, K, 3) issued now, and drops kept horizons whose time has passed."""
        present, new = int(now // self.step), np.stack([published, raw, heuristic]).astype(np.float32)
        for key, (issued, names, kept) in list(self._pending.items()):
            waiting = sum(steps > present - key for steps in self.steps)  # the longest horizons
            if waiting < kept.shape[3]:
                self._pending[key] = issued, names, kept[:, :, :, -waiting:].copy() if waiting else kept[:, :, :, :0]
        self._pending[present] = now, tuple(servers), new
        while len(self._pending) > max(self.steps) + 1:
            self._pending.popitem(last=False)

    def observe(self, now: float, servers: Sequence[str], observed: Values) -> None:
        """Scores the forecasts made for now, once per step, before ``keep``; observed float32 (S, C), NaN: unknown.

        After a clock was set back, what was kept or scored later is dropped.
        """
        present = int(now // self.step)
        sums = np.zeros(self._shape)
        place = {name: i for i, name in enumerate(servers)}
        for k, steps in enumerate(self.steps):
            kept = self._pending.get(present - steps)
            if kept is None or abs(now - kept[0] - steps * self.step) > self.step / 2:
                continue
            rows = [(i, place[name]) for i, name in enumerate(kept[1]) if name in place]
            held = k - len(self.steps) + kept[2].shape[3]  # its place among the horizons left
            if rows and held >= 0:
                old, new = (np.array(column) for column in zip(*rows, strict=True))
                sums[:, k] = scores.scored(kept[2][:, :, :, held][:, old], observed[new])
            if k == self._lead and held >= 0:
                if rows:
                    each = scores.each(kept[2][:, :, :, held][:, old], observed[new])
                    self.by_server.add(now, tuple(servers), new, each)
                self._said[present] = kept[0], kept[1], kept[2][0, :, :, held].copy()
        self._present = present
        for other in [key for key in self._said if not present - SAID < key <= present]:
            del self._said[other]
        for later in [key for key in self._pending if key >= present]:
            del self._pending[later]
        for later in [key for key in self._sums if key >= present]:
            del self._sums[later]
        while self._sums and next(iter(self._sums)) <= present - self._length:
            self._sums.popitem(last=False)
        if sums[..., COUNTED].any():
            self._sums[present] = sums
        self._decide()

    def _total(self, steps: int) -> Figures:
        """(C, K, sums and bins) over the newest steps."""
        rows = (row for key, row in self._sums.items() if key > self._present - steps)
        return sum(rows, start=np.zeros(self._shape))

    def _enough(self, total: Figures) -> Flags:
        """bool (C, K): where enough outcomes were scored over a long enough time."""
        if not self._sums:
            return np.zeros(self._shape[:2], bool)
        counted = np.array([s[..., COUNTED] > 0 for s in self._sums.values()])
        keys = np.array(list(self._sums))[:, None, None]
        first = np.where(counted, keys, np.iinfo(np.int64).max).min(0)
        last = np.where(counted, keys, 0).max(0)
        enough: Flags = (total[..., COUNTED] >= self.minimum) & ((last - first) * self.step >= MIN_SPAN)
        return enough

    def _decide(self) -> None:
        """Which bands are widened from now on, and how much."""
        self._proof = None
        total = self._total(self._length)
        enough = self._enough(total)
        raw = total[..., COVERED_RAW] / np.maximum(total[..., COUNTED], 1)
        self._wide = enough & ((raw < NARROW) | (self._wide & (raw < FINE)))
        self._factors = np.where(self._wide, np.clip(scores.needed_factors(total), 1.0, self.limit), 1.0)

    @property
    def lead(self) -> float:
        """Seconds between a forecast of ``said`` and its time: 30 minutes, or the shown horizon that is nearest."""
        return self.steps[self._lead] * self.step

    def said(self, server: str) -> tuple[Figures, Values]:
        """(instants (N,) in Unix s, float32 (N, C, 3)): what was published of this server for these instants, ``lead``
        seconds before each; the last hours, and those that have not come yet."""
        waiting = ((issued, names, kept[0, :, :, kept.shape[3] + self._lead - len(self.steps)])
                   for key, (issued, names, kept) in self._pending.items() if key + self.steps[self._lead] >
                   self._present and kept.shape[3] + self._lead >= len(self.steps))
        found = [(issued + self.lead, values[names.index(server)])
                 for issued, names, values in (*self._said.values(), *waiting) if server in names]
        instants, values = zip(*found, strict=True) if found else ((), ())
        return np.array(instants, float), np.array(values, np.float32).reshape(-1, len(self.signals), 3)

    def factors(self, horizon: int) -> Values | None:
        """float32 (C, horizon) for the half-bands of every step, None while nothing is widened."""
        if not (self._factors > 1).any():
            return None
        place = np.log(np.arange(1, horizon + 1))
        return np.stack([np.interp(place, np.log(self.steps), row) for row in self._factors]).astype(np.float32)

    def proof(self) -> Proof:
        """The figures of all outcomes so far; they change once per step."""
        if self._proof is None:
            total, recent = self._total(self._length), self._total(self._recent)
            coverage, loss = scores.figures(total, self._enough(total))
            enough = recent[..., COUNTED] >= RECENT_MINIMUM
            recent_coverage, recent_loss = scores.figures(recent, enough)
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

    # -- snapshots ----------------------------------------------------------------------------------

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Writes sums and pending forecasts, atomically; OSError if that fails."""
        pending = list(self._pending.items())
        arrays = {f"kept_{i}": kept for i, (_, (_, _, kept)) in enumerate(pending)}
        servers = sorted({name for _, (_, names, _) in pending for name in names})  # once: each costs as the longest
        row = {name: n for n, name in enumerate(servers)}
        arrays |= {f"rows_{i}": np.array([row[name] for name in names], np.int64)
                   for i, (_, (_, names, _)) in enumerate(pending)}
        save(
            path,
            version=VERSION,
            identity=np.array(self._fingerprint),
            issued=np.array([now for _, (now, _, _) in pending], np.float64),
            keys=np.array(list(self._sums), np.int64),
            sums=np.array(list(self._sums.values())).reshape(-1, *self._shape),
            wide=self._wide,
            servers=np.array(servers, np.str_),
            **arrays,
        )

    def restore(self, path: str | os.PathLike[str], now: float) -> str | None:
        """Restores a snapshot; None, or why it does not fit. SnapshotError if it is damaged. The record is left as it
        was unless all of the snapshot is restored."""
        head = load(path, {"version": ("int64", ()), "identity": ("str", ())})
        if (version := head["version"].tolist()) != VERSION:
            return f"{path} has version {version}, expected {VERSION}"
        if str(head["identity"]) != self._fingerprint:
            return f"{path} holds the record of another model, source, signals or horizons"
        head = load(path, {"issued": ("float64", "N"), "keys": ("int64", "K"), "sums": ("float64", ("K", *self._shape)),
                           "wide": ("bool", self._shape[:2]), "servers": ("str", "S")})
        count, servers = len(head["issued"]), head["servers"]
        more = load(path, {f"rows_{i}": ("int64", (f"S{i}",)) for i in range(count)} | {
            f"kept_{i}": ("float32", (3, f"S{i}", len(self.signals), f"K{i}", 3)) for i in range(count)})
        if np.isnan(head["issued"]).any() or not (head["sums"] >= 0).all() or any(
                more[f"kept_{i}"].shape[3] > len(self.steps)
                or not ((more[f"rows_{i}"] >= 0) & (more[f"rows_{i}"] < len(servers))).all() for i in range(count)):
            raise unusable(path, "its parts do not fit together")
        self._reset()
        for i, issued in enumerate(head["issued"].tolist()):
            if issued <= now:
                names = tuple(servers[more[f"rows_{i}"]].tolist())
                self._pending[int(issued // self.step)] = (issued, names, more[f"kept_{i}"])
        self._sums.update((key, row) for key, row in zip(head["keys"].tolist(), head["sums"], strict=True))
        self._wide, self._present = head["wide"], int(now // self.step)
        self._decide()
        return None

    def same(self, other: Record) -> bool:
        """Whether the other record can be continued under this one's settings."""
        mine, theirs = ((r._fingerprint, r._length, r.minimum, r.limit, r.correction) for r in (self, other))
        return mine == theirs

    @property
    def _fingerprint(self) -> str:
        return repr((self.identity, self.signals, self.steps, self.step))
