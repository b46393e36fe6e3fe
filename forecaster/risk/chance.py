"""The chance that a server crosses a severe threshold, from all quantiles of its forecast: method "calibrated".

The chance that a step's value is above a threshold is read from its quantile function, which is linear between two
quantiles and exponential beyond the outermost. The evidence of a window combines these chances over its steps and
roles, in log odds; a fit on held-out data makes it a probability (Platt, 1999, with a floor):

    s      = sigmoid(weights . evidence + constant)              chance of an incident that the forecast shows
    server = 1 - (1 - floor) (1 - s)                             floor: chance of one that no forecast shows
    any    = 1 - (1 - B(N)) (1 - s_1) ((1 - s_2) ... (1 - s_N)) ^ separate,   s_1 the largest
    B(N)   = common (1 - (1 - floor / common) ^ N)               common >= floor: these hit several servers at once

Weights are not negative, so more evidence never lowers a chance. `separate` is 1 where servers are independent and 0
where all have incidents together; for a single server any = server. Evidence is relative to the thresholds, so the
configuration may change them; the floor is not, so a calibration holds less well the further its thresholds are
changed.

Letters: S servers, N servers that are known, C signals, H steps, Q quantiles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forecaster.models.forecast import Forecast
from forecaster.risk.thresholds import RiskConfig
from forecaster.signals import steps_of

FILE = "calibration.json"
FORMAT = 2
EVIDENCE = 3
LIMIT = 9.0  # largest log odds of evidence

Floats = NDArray[np.float64]


class ChanceError(ValueError):
    """The calibration cannot be used; the message names the file, the cause and the command that makes one."""


@dataclass(frozen=True)
class Fit:
    """The calibration of one window, with the letters of this file's head; ValueError where a number is out of
    range."""

    weights: tuple[float, ...]
    constant: float
    floor: float
    common: float
    separate: float

    def __post_init__(self) -> None:
        numbers = np.array([*self.weights, self.constant, self.floor, self.common, self.separate], np.float64)
        if len(self.weights) != EVIDENCE or not np.isfinite(numbers).all() or min(self.weights) < 0:
            raise ValueError(f"expected {EVIDENCE} weights of at least 0 and finite numbers, found {self}")
        if not (0 <= self.floor <= self.common < 1 and 0 <= self.separate <= 1):
            raise ValueError(f"expected 0 <= floor <= common < 1 and separate from 0 to 1, found {self}")

    @property
    def joint(self) -> dict[str, float]:
        """The numbers of `any`, by name."""
        return {"floor": self.floor, "common": self.common, "separate": self.separate}

    def spoken(self, exceedance: Floats) -> Floats:
        """s of every server, float64 (S,), from ``exceedances`` of the window's steps; NaN stays NaN."""
        return _sigmoid(evidence(exceedance) @ np.array(self.weights) + self.constant)

    def server(self, spoken: Floats) -> Floats:
        """The chance of each server, in the shape of s."""
        return 1 - (1 - self.floor) * (1 - spoken)

    def any(self, spoken: Floats) -> Floats:
        """The chance that at least one server crosses, (...), from s (..., N) without NaN and N >= 1."""
        calm = np.log1p(-np.minimum(spoken, 1 - 1e-12))
        worst = calm.min(-1)
        unseen = self.common * (1 - (1 - self.floor / self.common) ** spoken.shape[-1]) if self.common else 0.0
        chance: Floats = 1 - (1 - unseen) * np.exp(worst + self.separate * (calm.sum(-1) - worst))
        return chance


@dataclass(frozen=True)
class Calibration:
    """The fits of all windows, the thresholds they were made at, and their scores on other data."""

    windows: Mapping[str, Fit]
    severe: Mapping[str, float]
    report: Mapping[str, object]

    @classmethod
    def load(cls, folder: Path, weights_sha256: str) -> Calibration:
        """The calibration beside a model with these weights; raises ChanceError."""
        path, remedy = folder / FILE, f"run fleet-forecaster calibrate --model {folder}"
        try:
            data = json.loads(path.read_text())
            found, version = str(data["weights_sha256"]), data["format"]
            if version != FORMAT:
                raise ChanceError(f"{path}: format {version!r}, expected {FORMAT}; {remedy}")
            if found != weights_sha256:
                expected = weights_sha256[:12]
                raise ChanceError(f"{path}: made for weights {found[:12]}, the model has {expected}; {remedy}")
            fits = {window: Fit(**fit | {"weights": tuple(fit["weights"])}) for window, fit in data["windows"].items()}
            return cls(fits, {role: float(limit) for role, limit in data["severe"].items()}, data["report"])
        except ChanceError:
            raise
        except OSError as error:
            raise ChanceError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ChanceError(f"{path}: damaged ({error}); {remedy}") from error

    def to_json(self, weights_sha256: str) -> str:
        """The text of the file that ``load`` reads."""
        content = {"format": FORMAT, "weights_sha256": weights_sha256} | asdict(self)
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    def assess(
        self, exceedance: Floats, known: NDArray[np.bool], windows: Mapping[str, int]
    ) -> tuple[dict[str, Floats], dict[str, float]]:
        """Chances of every fitted window (steps by name): (window -> float64 (S,), window -> chance of any server).

        exceedance: as from ``exceedances``, a row for each True of ``known`` (S,). Other servers, and those whose roles
        are all NaN, are NaN and do not count: the heuristic's band is not a distribution.
        """
        by_server, any_server = dict[str, Floats](), dict[str, float]()
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
        self, forecast: Forecast, signals: Sequence[str], risk: RiskConfig, windows: Mapping[str, int] | None = None
    ) -> tuple[dict[str, Floats], dict[str, float]]:
        """The same of a model's forecast, for the configured windows or others; empty if no server is forecast by
        one. signals: those of the forecast's values. A server of which the trend forecasts a role that the model knows
        is NaN: the role is not calm, its chance is unknown."""
        said = forecast.quantiles
        if said is None or not forecast.by_model.any():
            return {}, {}
        columns = {role: said.signals.index(name) for role, name in risk.roles if name in said.signals}
        chances = exceedances(said.values, said.levels, columns, dict(risk.severe))
        steps = windows or {window: steps_of(window) for window in risk.incident}
        roles = [signals.index(said.signals[column]) for role, column in columns.items()
                 if role in dict(risk.severe) and said.signals[column] in signals]
        by_trend = np.isfinite(forecast.values[:, roles, 0, 1]) & ~forecast.by_model[:, roles]
        known: NDArray[np.bool] = forecast.servers_by_model & ~np.any(by_trend, axis=1)
        return self.assess(chances[known[forecast.servers_by_model]], known, steps)


def exceedances(
    quantiles: NDArray[np.float32], levels: tuple[float, ...], columns: Mapping[str, int], severe: Mapping[str, float]
) -> Floats:
    """float64 (S, roles, H): the chance that a step's value is above the role's severe threshold.

    quantiles (S, C, H, Q) rising along Q at ``levels``; NaN where nothing is forecast.
    """
    roles = [role for role in severe if role in columns]
    chosen: NDArray[np.float32] = quantiles[:, [columns[role] for role in roles]]
    return _above(chosen, np.array(levels), np.array([[severe[role]] for role in roles], np.float64).reshape(-1, 1))


def _above(values: NDArray[np.float32], levels: Floats, limit: Floats) -> Floats:
    """(S, R, H): 1 - F(limit) of quantile functions (S, R, H, Q), limits (R, 1).

    The limit is mostly beyond the outermost quantile; only the other steps are interpolated.
    """
    top = np.ascontiguousarray(np.moveaxis(values[..., -2:], -1, 0), np.float64)  # (2, S, R, H)
    with np.errstate(invalid="ignore"):  # steps with NaN are among the others
        chance: Floats = (1 - levels[-1]) * np.exp(-np.maximum(limit - top[1], 0) / _fade(top, levels[-2:]))
    others = ~(top[1] <= limit)
    if others.any():
        limits = np.broadcast_to(limit, others.shape)[others]
        chance[others] = _within(values[others].T.astype(np.float64), levels, limits)
    return chance


def _within(values: Floats, levels: Floats, limit: Floats) -> Floats:
    """(N,): the same of quantile functions (Q, N) that do not lie below the limits (N,); NaN where one is not
    finite."""
    below = (values <= limit).sum(0)  # number of quantiles up to the limit
    left, right = np.maximum(below - 1, 0), below
    x0, x1 = (np.take_along_axis(values, at[None], 0)[0] for at in (left, right))
    share = np.where(x1 > x0, (limit - x0) / np.where(x1 > x0, x1 - x0, 1), 1.0)
    inside = levels[left] + np.clip(share, 0, 1) * (levels[right] - levels[left])
    head = levels[0] * np.exp(-np.maximum(values[0] - limit, 0) / _fade(values[1::-1], 1 - levels[1::-1]))
    return np.where(np.isfinite(values).all(0), np.where(below == 0, 1 - head, 1 - inside), np.nan)


def _fade(outer: Floats, levels: Floats) -> Floats:
    """Scale of the exponential through the two outermost quantiles (2, ...)."""
    distance = np.abs(outer[1] - outer[0])
    scale: Floats = np.maximum(distance / np.log((1 - levels[0]) / (1 - levels[1])), 1e-6)
    return scale


def evidence(exceedance: Floats) -> Floats:
    """float64 (S, EVIDENCE) of chances (S, roles, steps): log odds that any role exceeds its threshold, by the largest
    step, by the mean over steps and by the next step; roles count as independent. A role with NaN adds nothing; a
    server without any role is NaN."""
    looks = np.stack([exceedance.max(-1), exceedance.mean(-1), exceedance[..., 0]], -1)
    known = np.isfinite(looks)
    return np.where(known.any(1), log_odds(1 - np.where(known, 1 - looks, 1).prod(1)), np.nan)


def log_odds(chance: Floats) -> Floats:
    """Logit, within +-LIMIT."""
    with np.errstate(divide="ignore"):
        odds: Floats = np.log(chance) - np.log1p(-np.minimum(chance, 1.0))
    return np.clip(odds, -LIMIT, LIMIT)


def _sigmoid(x: Floats) -> Floats:
    share: Floats = 1 / (1 + np.exp(-x))
    return share
