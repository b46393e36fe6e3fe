"""The chance that a server crosses a severe threshold, from all quantiles of its forecast: method "calibrated".

For every step the quantile function is read backwards: with what chance is the value above the threshold? Between two
quantiles it is linear, beyond the outermost it fades exponentially. The evidence of a window is what these chances come to
(largest, mean, next step, and all roles together, in log odds), and a logistic model fitted on held-out data turns it into a
probability (Platt, 1999). Evidence is relative to the thresholds, so thresholds may be moved by configuration; the further
they are from those of the fit, the less the fit was checked.

Letters: S servers, C signals, H steps, Q quantiles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SEVERE = {"cpu": 95.0, "memory": 95.0, "latency": 200.0}  # percent, percent, milliseconds, as means over one step
FILE = "calibration.json"
FORMAT = 1
EVIDENCE = 4
LIMIT = 9.0  # log odds beyond this are no evidence for more


class ChanceError(ValueError):
    """The calibration cannot be used; the message says why and how to make one."""


@dataclass(frozen=True)
class Calibration:
    """Fitted weights: server[window] (EVIDENCE + 1,), the constant last, and fleet[window] (slope, constant)."""

    server: Mapping[str, np.ndarray]
    fleet: Mapping[str, np.ndarray]
    severe: Mapping[str, float]
    report: Mapping[str, object]

    @classmethod
    def load(cls, folder: Path, weights_sha256: str) -> Calibration:
        """Read the calibration beside a model; raises ChanceError."""
        path, remedy = folder / FILE, f"run fleet-forecaster calibrate --model {folder}"
        try:
            data = json.loads(path.read_text())
            if data["format"] != FORMAT or data["weights_sha256"] != weights_sha256:
                raise ChanceError(f"{path}: made for other weights or by another version; {remedy}")
            fits = [
                {window: np.array(row, np.float64) for window, row in data[kind].items()} for kind in ("server", "fleet")
            ]
            for fit, size in zip(fits, (EVIDENCE + 1, 2), strict=True):
                if not fit or any(row.shape != (size,) or not np.isfinite(row).all() for row in fit.values()):
                    raise ValueError(f"expected {size} finite weights per window")
            return cls(*fits, {k: float(v) for k, v in data["severe"].items()}, data.get("report", {}))
        except ChanceError:
            raise
        except OSError as error:
            raise ChanceError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ChanceError(f"{path}: damaged ({error}); {remedy}") from error

    def servers(self, exceedance: np.ndarray, window: str, steps: int) -> np.ndarray:
        """float64 (S,) from ``exceedances``; NaN where nothing is known."""
        fit = self.server[window]
        return _sigmoid(evidence(exceedance[..., :steps]) @ fit[:-1] + fit[-1])

    def assess(
        self, exceedance: np.ndarray, known: np.ndarray, windows: Mapping[str, int]
    ) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Chances of every window (steps by name) that was fitted: (window -> (S,), window -> any server's). exceedance has
        a row for each True of ``known`` (S,); the others, forecast by the heuristic whose bands are no distribution, stay
        NaN."""
        by_server, any_server = {}, {}
        for window, steps in windows.items():
            if window in self.server and exceedance.shape[1]:
                by_server[window] = np.full(len(known), np.nan)
                by_server[window][known] = self.servers(exceedance, window, steps)
                any_server[window] = self.any_server(by_server[window], window)
        return by_server, any_server

    def any_server(self, chances: np.ndarray, window: str) -> float:
        """The chance that at least one of the servers (S,) crosses; NaN without any known. Servers share load and
        scenarios, hence the correction of what independent ones would come to."""
        known = chances[np.isfinite(chances)]
        if not known.size:
            return float("nan")
        slope, constant = self.fleet[window]
        return float(_sigmoid(slope * log_odds(independent(known)) + constant))


def exceedances(
    quantiles: np.ndarray, levels: tuple[float, ...], columns: Mapping[str, int], severe: Mapping[str, float]
) -> np.ndarray:
    """float64 (S, roles, H): each step's chance to be above each role's severe threshold.

    quantiles (S, C, H, Q) rising along Q at ``levels``; NaN where nothing is forecast.
    """
    roles = [role for role in severe if role in columns]
    parts = [_above(quantiles[:, columns[role]], np.array(levels), severe[role]) for role in roles]
    return np.stack(parts, 1) if parts else np.empty((len(quantiles), 0, quantiles.shape[2]))


def _above(values: np.ndarray, levels: np.ndarray, limit: float) -> np.ndarray:
    """(S, H): 1 - F(limit) of quantile functions (S, H, Q)."""
    values = values.astype(np.float64)
    below = (values <= limit).sum(-1)  # how many quantiles do not exceed the limit
    left, right = np.clip(below - 1, 0, len(levels) - 2), np.clip(below, 1, len(levels) - 1)
    x0, x1 = (np.take_along_axis(values, at[..., None], -1)[..., 0] for at in (left, right))
    share = np.where(x1 > x0, (limit - x0) / np.where(x1 > x0, x1 - x0, 1), 1.0)
    inside = levels[left] + np.clip(share, 0, 1) * (levels[right] - levels[left])
    tail = (1 - levels[-1]) * np.exp(-np.maximum(limit - values[..., -1], 0) / _fade(values[..., -2:], levels[-2:]))
    head = levels[0] * np.exp(-np.maximum(values[..., 0] - limit, 0) / _fade(values[..., 1::-1], 1 - levels[1::-1]))
    chance = np.where(below == len(levels), tail, np.where(below == 0, 1 - head, 1 - inside))
    return np.where(np.isfinite(values).all(-1), chance, np.nan)


def _fade(outer: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Scale of the exponential that meets the two outermost quantiles (..., 2)."""
    distance = np.abs(outer[..., 1] - outer[..., 0])
    return np.maximum(distance / np.log((1 - levels[0]) / (1 - levels[1])), 1e-6)


def evidence(exceedance: np.ndarray) -> np.ndarray:
    """float64 (S, EVIDENCE) of chances (S, roles, steps): log odds of the largest, of the largest mean, of the next
    step's and of the roles' largest taken as independent."""
    top = exceedance.max(-1)
    return log_odds(
        np.stack([top.max(1), exceedance.mean(-1).max(1), exceedance[..., 0].max(1), 1 - (1 - top).prod(1)], -1)
    )


def independent(chances: np.ndarray) -> float:
    """The chance of at least one of independent events."""
    return float(1 - np.prod(1 - chances))


def log_odds(chance: np.ndarray) -> np.ndarray:
    """Logit, within +-LIMIT."""
    with np.errstate(divide="ignore"):
        return np.clip(np.log(chance) - np.log1p(-np.minimum(chance, 1.0)), -LIMIT, LIMIT)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
