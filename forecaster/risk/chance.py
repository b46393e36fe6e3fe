"""The chance that a server crosses a severe threshold, from all quantiles of its forecast: method "calibrated".

For every step the quantile function is read backwards: with what chance is the value above the threshold? Between two
quantiles it is linear, beyond the outermost it fades exponentially. The evidence of a window is what these chances come to
over its steps and roles, in log odds, and a fit on held-out data turns it into a probability (Platt, 1999, and a floor):

    s      = sigmoid(weights . evidence + constant)              what the forecast speaks for
    server = 1 - (1 - floor) (1 - s)                             floor: trouble that begins out of the blue
    any    = 1 - (1 - B(N)) (1 - s_1) ((1 - s_2) ... (1 - s_N)) ^ separate,   s_1 the largest
    B(N)   = common (1 - (1 - floor / common) ^ N)               common >= floor: what is out of the blue hits many at once

Weights are not negative, so more evidence never lowers a chance. Servers share load and trouble: `separate` is 1 where they
are independent and 0 where all fall together; one server alone has any = server. Evidence is relative to the thresholds, so
these may be moved by configuration; the floor is the fit's own, and so the further they are moved the less it was checked.

Letters: S servers, N servers that are known, C signals, H steps, Q quantiles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from forecaster.models.forecast import Forecast
from forecaster.risk.thresholds import RiskConfig
from forecaster.signals import steps_of

FILE = "calibration.json"
FORMAT = 2
EVIDENCE = 3
LIMIT = 9.0  # log odds beyond this are no evidence for more


class ChanceError(ValueError):
    """The calibration cannot be used; the message says why and how to make one."""


@dataclass(frozen=True)
class Fit:
    """One window's calibration, as in the head of this file; raises ValueError where a number cannot be."""

    weights: tuple[float, ...]
    constant: float
    floor: float
    common: float
    separate: float

    def __post_init__(self):
        numbers = np.array([*self.weights, self.constant, self.floor, self.common, self.separate], np.float64)
        if len(self.weights) != EVIDENCE or not np.isfinite(numbers).all() or min(self.weights) < 0:
            raise ValueError(f"expected {EVIDENCE} weights of at least 0 and finite numbers, found {self}")
        if not (0 <= self.floor <= self.common < 1 and 0 <= self.separate <= 1):
            raise ValueError(f"expected 0 <= floor <= common < 1 and separate from 0 to 1, found {self}")

    @property
    def joint(self) -> dict[str, float]:
        """What `any` reads, by name."""
        return {"floor": self.floor, "common": self.common, "separate": self.separate}

    def spoken(self, exceedance: np.ndarray) -> np.ndarray:
        """s of every server, float64 (S,), from ``exceedances`` of the window's steps; NaN stays NaN."""
        return _sigmoid(evidence(exceedance) @ np.array(self.weights) + self.constant)

    def server(self, spoken: np.ndarray) -> np.ndarray:
        """Each server's chance, of the shape of s."""
        return 1 - (1 - self.floor) * (1 - spoken)

    def any(self, spoken: np.ndarray) -> np.ndarray:
        """The chance that at least one crosses, (...), from s (..., N) without NaN and N >= 1."""
        calm = np.log1p(-np.minimum(spoken, 1 - 1e-12))
        worst = calm.min(-1)
        out_of_the_blue = self.common * (1 - (1 - self.floor / self.common) ** spoken.shape[-1]) if self.common else 0.0
        return 1 - (1 - out_of_the_blue) * np.exp(worst + self.separate * (calm.sum(-1) - worst))


@dataclass(frozen=True)
class Calibration:
    """The fits of all windows, the thresholds they were made at and how well they did on other data."""

    windows: Mapping[str, Fit]
    severe: Mapping[str, float]
    report: Mapping[str, object]

    @classmethod
    def load(cls, folder: Path, weights_sha256: str) -> Calibration:
        """Read the calibration beside a model; raises ChanceError."""
        path, remedy = folder / FILE, f"run fleet-forecaster calibrate --model {folder}"
        try:
            data = json.loads(path.read_text())
            found, version = str(data["weights_sha256"]), data["format"]
            if version != FORMAT:
                raise ChanceError(f"{path}: format {version!r}, expected {FORMAT}; {remedy}")
            if found != weights_sha256:
                raise ChanceError(f"{path}: made for weights {found[:12]}, the model has {weights_sha256[:12]}; {remedy}")
            fits = {window: Fit(**fit | {"weights": tuple(fit["weights"])}) for window, fit in data["windows"].items()}
            return cls(fits, {role: float(limit) for role, limit in data["severe"].items()}, data["report"])
        except ChanceError:
            raise
        except OSError as error:
            raise ChanceError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ChanceError(f"{path}: damaged ({error}); {remedy}") from error

    def to_json(self, weights_sha256: str) -> str:
        """The text of the file ``load`` reads."""
        content = {"format": FORMAT, "weights_sha256": weights_sha256} | asdict(self)
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    def assess(
        self, exceedance: np.ndarray, known: np.ndarray, windows: Mapping[str, int]
    ) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Chances of every window (steps by name) that was fitted: (window -> (S,), window -> any server's).

        exceedance: as from ``exceedances``, a row for each True of ``known`` (S,). The others stay NaN: they are forecast by
        the heuristic, whose band is no distribution, and any server's chance does not count them.
        """
        by_server, any_server = {}, {}
        for window, steps in windows.items():
            if window in self.windows and exceedance.shape[1]:
                fit = self.windows[window]
                spoken = fit.spoken(exceedance[..., :steps])
                by_server[window] = np.full(len(known), np.nan)
                by_server[window][known] = fit.server(spoken)
                spoken = spoken[np.isfinite(spoken)]
                any_server[window] = float(fit.any(spoken)) if spoken.size else float("nan")
        return by_server, any_server

    def of_forecast(
        self, forecast: Forecast, risk: RiskConfig, windows: Mapping[str, int] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """The same of a forecast by a model, for the windows of the configuration or for others; nothing without one."""
        said = forecast.quantiles
        if said is None or not forecast.by_model.any():
            return {}, {}
        columns = {role: said.signals.index(name) for role, name in risk.roles if name in said.signals}
        chances = exceedances(said.values, said.levels, columns, dict(risk.severe))
        return self.assess(chances, forecast.by_model, windows or {window: steps_of(window) for window in risk.incident})


def exceedances(
    quantiles: np.ndarray, levels: tuple[float, ...], columns: Mapping[str, int], severe: Mapping[str, float]
) -> np.ndarray:
    """float64 (S, roles, H): each step's chance to be above each role's severe threshold.

    quantiles (S, C, H, Q) rising along Q at ``levels``; NaN where nothing is forecast.
    """
    roles = [role for role in severe if role in columns]
    chosen = quantiles[:, [columns[role] for role in roles]]
    return _above(chosen, np.array(levels), np.array([[severe[role]] for role in roles], np.float64).reshape(-1, 1))


def _above(values: np.ndarray, levels: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """(S, R, H): 1 - F(limit) of quantile functions (S, R, H, Q), limits (R, 1).

    Mostly the limit is beyond the outermost quantile: only the other steps are looked into.
    """
    top = np.ascontiguousarray(np.moveaxis(values[..., -2:], -1, 0), np.float64)  # (2, S, R, H)
    with np.errstate(invalid="ignore"):  # NaN is put right below
        chance = (1 - levels[-1]) * np.exp(-np.maximum(limit - top[1], 0) / _fade(top, levels[-2:]))
    others = ~(top[1] <= limit)
    if others.any():
        limits = np.broadcast_to(limit, others.shape)[others]
        chance[others] = _within(values[others].T.astype(np.float64), levels, limits)
    return chance


def _within(values: np.ndarray, levels: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """(N,): the same of quantile functions (Q, N) that do not all lie below the limits (N,); NaN where one is no number."""
    below = (values <= limit).sum(0)  # how many quantiles do not exceed the limit
    left, right = np.maximum(below - 1, 0), below
    x0, x1 = (np.take_along_axis(values, at[None], 0)[0] for at in (left, right))
    share = np.where(x1 > x0, (limit - x0) / np.where(x1 > x0, x1 - x0, 1), 1.0)
    inside = levels[left] + np.clip(share, 0, 1) * (levels[right] - levels[left])
    head = levels[0] * np.exp(-np.maximum(values[0] - limit, 0) / _fade(values[1::-1], 1 - levels[1::-1]))
    return np.where(np.isfinite(values).all(0), np.where(below == 0, 1 - head, 1 - inside), np.nan)


def _fade(outer: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Scale of the exponential that meets the two outermost quantiles (2, ...)."""
    distance = np.abs(outer[1] - outer[0])
    return np.maximum(distance / np.log((1 - levels[0]) / (1 - levels[1])), 1e-6)


def evidence(exceedance: np.ndarray) -> np.ndarray:
    """float64 (S, EVIDENCE) of chances (S, roles, steps): log odds that any role exceeds, by the largest step, by the mean
    over steps and by the next step, roles taken as independent."""
    looks = np.stack([exceedance.max(-1), exceedance.mean(-1), exceedance[..., 0]], -1)
    return log_odds(1 - (1 - looks).prod(1))


def log_odds(chance: np.ndarray) -> np.ndarray:
    """Logit, within +-LIMIT."""
    with np.errstate(divide="ignore"):
        return np.clip(np.log(chance) - np.log1p(-np.minimum(chance, 1.0)), -LIMIT, LIMIT)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
