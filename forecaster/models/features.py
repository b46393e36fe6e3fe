"""Observed windows, clock and identities -> the model's tensors. The only place that scales, in training and serving.

Letters: B rows (one row is one server at one instant), C signals, T encoder steps, H horizon steps.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

CARRY_STEPS = 6  # a missing step is bridged by the last value for at most 30 minutes, then history ends there
MIN_STEPS = 3  # the shortest encoder trained: the trailing means at now, -5 min and -10 min, i.e. 12.5 min of samples
UNKNOWN = 0  # index of "never seen in training" in every vocabulary

CLOCK = ("clock_hour_sin", "clock_hour_cos", "clock_is_weekend", "clock_step")
LENGTH = "encoder_share"
MOTION_SHARE = 0.2  # of a step: how far back the newest motion is taken; refreshes that do not divide it go without


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


@dataclass(frozen=True)
class Scaling:
    """One signal's way to the model and back: z = (g(x) - center) / scale, g = identity or log(x + offset)."""

    name: str
    log: bool
    offset: float
    center: float
    scale: float
    low: float | None
    high: float | None

    @classmethod
    def fit(cls, name: str, values: np.ndarray, low: float | None, high: float | None) -> Scaling:
        """Fit on finite values of any shape. Signals that cannot be negative and either have no upper bound or a long
        tail (99th percentile over 4 medians) multiply rather than add, so they go through a logarithm."""
        x = values[np.isfinite(values)].astype(np.float64)
        if x.size == 0:
            raise ValueError(f"signal {name}: no finite value to learn from, expected at least one")
        median, tail = np.quantile(x, (0.5, 0.99))
        log = bool(low is not None and low >= 0 and (high is None or tail > 4 * median))
        offset = max(0.02 * float(median), 1e-9) if log else 0.0
        g = np.log(np.maximum(x, 0) + offset) if log else x
        return cls(name, log, offset, float(g.mean()), max(float(g.std()), 1e-6), low, high)

    def forward(self, x: np.ndarray) -> np.ndarray:
        x = np.clip(x, self.low, self.high)  # a sensor's nonsense must not reach the network
        g = np.log(np.maximum(x, 0) + self.offset) if self.log else x
        return (g - self.center) / self.scale

    def inverse(self, z: np.ndarray) -> np.ndarray:
        g = z * self.scale + self.center
        return np.clip(np.exp(np.minimum(g, 60.0)) - self.offset if self.log else g, self.low, self.high)


@dataclass(frozen=True)
class Encoding:
    """All that is needed to encode inputs as in training; stored with the weights."""

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
        """Names are prefixed, for some bare ones collide with torch attributes."""
        return Variables(
            {"profile": len(self.profiles) + 1, "server": len(self.servers) + 1},
            (LENGTH,),
            {"clock_day_of_week": 7, "clock_month": 13},
            CLOCK,
            (*(f"signal_{s}" for s in self.signals), *(f"motion_{s}" for s in self.signals)),
        )

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> Encoding:
        data = dict(data)
        data["scalings"] = tuple(Scaling(**s) for s in data["scalings"])
        for key in ("profiles", "servers", "months"):
            data[key] = tuple(data[key])
        return cls(**data)

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
        return np.stack([s.inverse(z[:, i].astype(np.float64)) for i, s in enumerate(self.scalings)], 1).astype(
            np.float32
        )


def usable(window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bridge short gaps; window float32 (B, C, T) -> (bridged window, int64 (B,) usable steps counted back from now).

    A step is usable when every signal has a value there, its own or one at most CARRY_STEPS older.
    """
    if np.isfinite(window).all():  # the usual case
        return window.astype(np.float32), np.full(len(window), window.shape[-1], np.int64)
    steps = np.arange(window.shape[-1])
    last = np.maximum.accumulate(np.where(np.isfinite(window), steps, -1), -1)
    bridged = np.take_along_axis(window, np.maximum(last, 0), -1)
    held = (last >= 0) & (steps - last <= CARRY_STEPS)
    bridged = np.where(held, bridged, np.nan).astype(np.float32)
    whole = held.all(1)
    return bridged, np.where(whole.all(-1), whole.shape[-1], np.argmin(whole[:, ::-1], -1)).astype(np.int64)


def batch(
    encoding: Encoding,
    window: np.ndarray,
    length: int,
    instants: np.ndarray,
    identity: np.ndarray,
    earlier: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Inputs of rows that share one encoder length.

    window: float32 (B, C, >= length), finite in its last ``length`` steps, newest last, in signal units.
    earlier: the same MOTION_SHARE of a step before, NaN where unknown; None where nothing is known of it. A step's value
    is a trailing mean, so its change within a fifth of a step tells what entered and left it: where the signal is now.
    instants: float64 (B,), Unix seconds of each row's now, or (1,) when all rows share it. identity: int64 (B, 2).
    Returns observed float32 (B, length, 2 C): values, then motions per step (0 where unknown); known float32 (B or 1, length + H, 4), calendar int64 (B or 1, length + H,
    2), static int64 (B, 2), static_reals float32 (B, 1): the encoder's share of its full length.
    """
    observed = encoding.scale(window[..., -length:])
    motion = np.zeros_like(observed)
    if earlier is not None:
        motion = np.nan_to_num((observed - encoding.scale(earlier[..., -length:])) / MOTION_SHARE, posinf=0.0, neginf=0.0)
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


def clock_inputs(encoding: Encoding, instants: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clock float32 (B, steps, 4) and calendar int64 (B, steps, 2) of instants (B, steps), Unix seconds."""
    hours = np.floor(instants / 3600).astype(np.int64)
    unique, place = np.unique(hours, return_inverse=True)
    zone = UTC if encoding.timezone == "UTC" else ZoneInfo(encoding.timezone)
    local = [datetime.fromtimestamp(h * 3600, zone) for h in unique.tolist()]
    shift = np.array([t.utcoffset().total_seconds() for t in local])[place].reshape(instants.shape)
    known = set(encoding.months)
    month = np.array([t.month if t.month in known else UNKNOWN for t in local])[place].reshape(instants.shape)
    seconds = instants + shift
    angle = seconds % 86400 / 86400 * 2 * np.pi
    weekday = (np.floor(seconds / 86400).astype(np.int64) + 3) % 7  # day 0 of the Unix era was a Thursday; Monday is 0
    step = np.broadcast_to(offsets / encoding.horizon, instants.shape)
    clock = np.stack([np.sin(angle), np.cos(angle), weekday >= 5, step], -1).astype(np.float32)
    return clock, np.stack([weekday, month], -1)
