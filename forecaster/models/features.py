"""Inputs of a fleet's model: windows, clock and identities in, tensors out, the same in training and serving.

Letters: B rows (one row is one server at one instant), C signals, T encoder steps, H horizon steps.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from forecaster.models.zone import offsets as offsets_of

CARRY_STEPS = 6  # the last value fills a gap of at most 30 minutes; a longer gap ends the usable history
MIN_STEPS = 3  # the shortest encoder trained: the trailing means at now, -5 min and -10 min
UNKNOWN = 0  # index in every vocabulary of a name that training has not seen

CLOCK = ("clock_hour_sin", "clock_hour_cos", "clock_is_weekend", "clock_step")
LENGTH = "encoder_share"
MOTION_SHARE = 0.2  # of a step: the time over which a motion is measured; 0 where no refresh falls on its begin


@dataclass(frozen=True)
class Variables:
    """The network's inputs by name and kind, in the order they are passed in."""

    static_categories: dict[str, int]  # with the size of each vocabulary
    static_reals: tuple[str, ...]
    known_categories: dict[str, int]
    known_reals: tuple[str, ...]
    observed: tuple[str, ...]  # reals of the encoder alone

    @property
    def reals(self) -> tuple[str, ...]:
        return (*self.static_reals, *self.known_reals, *self.observed)

    @property
    def categories(self) -> dict[str, int]:
        return self.static_categories | self.known_categories


class Calendar(Protocol):
    """What the clock inputs read of an encoding."""

    @property
    def timezone(self) -> str: ...

    @property
    def months(self) -> tuple[int, ...]: ...

    @property
    def horizon(self) -> int: ...


@dataclass(frozen=True)
class Scaling:
    """One signal from its unit to model units and back: z = (g(x) - center) / scale, g = identity or log(x +
    offset)."""

    name: str
    log: bool
    offset: float
    center: float
    scale: float
    low: float | None
    high: float | None

    @classmethod
    def fit(cls, name: str, values: np.ndarray, low: float | None, high: float | None) -> Scaling:
        """Fit on finite values of any shape; ValueError where there are none. A signal with a lower bound of at least 0
        is scaled by its logarithm if it has no upper bound or a long tail (99th percentile above 4 medians)."""
        x = values[np.isfinite(values)].astype(np.float64)
        if x.size == 0:
            raise ValueError(f"signal {name}: no finite value to learn from, expected at least one: check its query")
        median, tail = np.quantile(x, (0.5, 0.99))
        log = bool(low is not None and low >= 0 and (high is None or tail > 4 * median))
        offset = max(0.02 * float(median), 1e-9) if log else 0.0
        g = np.log(np.maximum(x, 0) + offset) if log else x
        return cls(name, log, offset, float(g.mean()), max(float(g.std()), 1e-6), low, high)

    def forward(self, x: np.ndarray) -> np.ndarray:
        x = np.clip(x, self.low, self.high)  # implausible values must not reach the network
        g = np.log(np.maximum(x, 0) + self.offset) if self.log else x
        return (g - self.center) / self.scale

    def inverse(self, z: np.ndarray) -> np.ndarray:
        g = z * self.scale + self.center
        return np.clip(np.exp(np.minimum(g, 60.0)) - self.offset if self.log else g, self.low, self.high)


@dataclass(frozen=True)
class Encoding:
    """What encodes inputs as in training; stored with the weights."""

    scalings: tuple[Scaling, ...]
    profiles: tuple[str, ...]  # index 0 of each vocabulary is UNKNOWN, entry i stands at i + 1
    servers: tuple[str, ...]
    months: tuple[int, ...]
    step: float  # seconds
    encoder_steps: int
    horizon: int
    timezone: str

    @property
    def signals(self) -> tuple[str, ...]:
        return tuple(s.name for s in self.scalings)

    @property
    def variables(self) -> Variables:
        """Prefixes keep the names of signals apart from those of torch attributes."""
        return Variables(
            {"profile": len(self.profiles) + 1, "server": len(self.servers) + 1},
            (LENGTH,),
            {"clock_day_of_week": 7, "clock_month": 13},
            CLOCK,
            (*(f"signal_{s}" for s in self.signals), *(f"motion_{s}" for s in self.signals)),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Encoding:
        """The reverse; raises LookupError or TypeError where a key is missing or unknown."""
        names = {key: tuple(data[key]) for key in ("profiles", "servers", "months")}
        return cls(**data | names | {"scalings": tuple(Scaling(**s) for s in data["scalings"])})

    def identify(self, servers: tuple[str, ...], profiles: tuple[str, ...]) -> np.ndarray:
        """int64 (B, 2): profile and server indices; names unseen in training become UNKNOWN."""
        known_p = {name: i + 1 for i, name in enumerate(self.profiles)}
        known_s = {name: i + 1 for i, name in enumerate(self.servers)}
        return np.array(
            [[known_p.get(p, UNKNOWN), known_s.get(s, UNKNOWN)] for s, p in zip(servers, profiles, strict=True)],
            np.int64,
        ).reshape(-1, 2)

    def scale(self, values: np.ndarray) -> np.ndarray:
        """Signal units -> model units along axis 1: (B, C, ...) float32."""
        return np.stack([s.forward(values[:, i]) for i, s in enumerate(self.scalings)], 1).astype(np.float32)

    def unscale(self, z: np.ndarray) -> np.ndarray:
        """Model units -> signal units, clipped to the signal's bounds, along axis 1: (B, C, ...) float32."""
        units = [s.inverse(z[:, i].astype(np.float64)) for i, s in enumerate(self.scalings)]
        return np.stack(units, 1).astype(np.float32)


def usable(window: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fill short gaps: window float32 (B, C, T) -> (filled window, bool (B, C) signals there, int64 (B,) usable steps).

    A step of a signal is usable if it has a value there or at most CARRY_STEPS before. A signal is there if its newest
    MIN_STEPS steps are usable; the others are NaN. A row's usable steps, counted back from now, are those at which all
    signals that are there are usable; 0 where none is there.
    """
    rows, signals, length = window.shape
    if np.isfinite(window).all():  # the usual case
        return window.astype(np.float32), np.ones((rows, signals), bool), np.full(rows, length, np.int64)
    steps = np.arange(length)
    last = np.maximum.accumulate(np.where(np.isfinite(window), steps, -1), -1)
    bridged = np.take_along_axis(window, np.maximum(last, 0), -1)
    held = (last >= 0) & (steps - last <= CARRY_STEPS)
    count = np.where(held.all(-1), length, np.argmin(held[..., ::-1], -1))
    there: NDArray[np.bool] = count >= MIN_STEPS
    bridged = np.where(held & there[..., None], bridged, np.nan).astype(np.float32)
    shortest = np.where(there, count, length).min(-1, initial=length)
    return bridged, there, np.where(there.any(-1), shortest, 0).astype(np.int64)


def batch(
    encoding: Encoding, window: np.ndarray, length: int, instants: np.ndarray, identity: np.ndarray,
    earlier: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Inputs of rows that share one encoder length.

    window: float32 (B, C, >= length), newest last, in signal units; a signal is finite in its last ``length`` steps, or
    missing and NaN there: its values and motions are given as 0, its mean in training.
    earlier: the window MOTION_SHARE of a step before, NaN where unknown; None if none of it is known. A value is a mean
    over the trailing step, so its change within a fifth of a step shows where the signal is now.
    instants: float64 (B,), Unix seconds of each row's now, or (1,) where all rows share it. identity: int64 (B, 2).

    Returns observed float32 (B, length, 2 C): values, then motions per step, 0 where unknown; known float32 (B or 1,
    length + H, 4) and calendar int64 (B or 1, length + H, 2) as from ``clock_inputs``; static int64 (B, 2);
    static_reals float32 (B, 1): the encoder's share of its full length.
    """
    observed = encoding.scale(window[..., -length:])
    motion = np.zeros_like(observed)
    if earlier is not None:
        change = observed - encoding.scale(earlier[..., -length:])
        motion = np.nan_to_num(change / MOTION_SHARE, posinf=0.0, neginf=0.0)
    observed[np.isnan(observed)] = 0.0
    observed = np.concatenate([observed, motion], 1).transpose(0, 2, 1)
    offsets = np.arange(1 - length, encoding.horizon + 1)
    clock, calendar = clock_inputs(encoding, instants[:, None] + offsets * encoding.step, offsets)
    return {
        "observed": observed,
        "known": clock,
        "calendar": calendar,
        "static": identity,
        "static_reals": np.full((len(observed), 1), length / encoding.encoder_steps, np.float32),
    }


def clock_inputs(encoding: Calendar, instants: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clock float32 (B, steps, 4) and calendar int64 (B, steps, 2) of instants (B, steps), Unix seconds.

    The clock is the sine and cosine of the time of day, 1 on weekends, and ``offsets`` (steps from now) over the
    horizon; the calendar is the day of the week, Monday 0, and the month, UNKNOWN if training has not seen it.
    """
    seconds = instants + offsets_of(encoding.timezone, instants)
    month = np.floor(seconds).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12 + 1
    month = np.where(np.isin(month, encoding.months), month, UNKNOWN)
    angle = seconds % 86400 / 86400 * 2 * np.pi
    weekday = (np.floor(seconds / 86400).astype(np.int64) + 3) % 7  # day 0 of the Unix era was a Thursday; Monday is 0
    step = np.broadcast_to(offsets / encoding.horizon, instants.shape)
    clock = np.stack([np.sin(angle), np.cos(angle), weekday >= 5, step], -1).astype(np.float32)
    return clock, np.stack([weekday, month], -1)
