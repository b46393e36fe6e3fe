"""The gauges of /metrics: every forecast_* and observed_* family, declared once in FAMILIES with its labels and values.

The forecaster_* families are declared in self_metrics. METRICS lists both for the documentation.

NaN gives no series. A stale server keeps only the families that `outlives` marks (last seen, stale, warm-up), and so
does the whole fleet once the Result is older than its time-to-live.

Letters: S servers, C signals, H horizon steps.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from forecaster.publish.result import PERCENTILES, Result
from forecaster.publish.self_metrics import SELF_METRICS
from forecaster.risk.known import largest, mean_known
from forecaster.risk.score import COMPONENTS

_PRIORITIES = ("P1", "P2", "P3")
_HEALTH = ("healthy", "warning", "critical")
_METHODS = ("tft", "heuristic")
_SERVER = ("server", "profile")
ONE: tuple[tuple[str, ...]] = ((),)


@dataclass(frozen=True)
class Layout:
    """What the names and labels of the series depend on; they change only with it."""

    servers: tuple[tuple[str, str], ...]  # (server, profile)
    signals: tuple[str, ...]
    horizons: tuple[tuple[str, int], ...]  # (label, steps), as are windows
    windows: tuple[tuple[str, int], ...]
    incident: tuple[str, ...]  # windows that have an incident probability


@dataclass(frozen=True)
class Family:
    """One gauge family, or one per signal where the name holds <signal>.

    `more` returns the label values after those of the server (all of them, for the fleet); `values` returns the
    numbers: (S, rows of `more`) per server, (rows of `more`,) for the fleet, (C, S, rows of `more`) of signals.
    """

    name: str
    labels: tuple[str, ...]
    unit: str
    help: str
    more: Callable[[Layout], Iterable[tuple[str, ...]]]
    values: Callable[[Result, Layout], npt.NDArray[Any]]
    outlives: bool = False  # also shown for stale servers and after the time-to-live

    @property
    def per_server(self) -> bool:
        return self.labels[:2] == _SERVER

    def names(self, layout: Layout) -> list[tuple[str, str]]:
        """(name, signal) of each family: one per signal, or one with the signal ''."""
        if "<signal>" not in self.name:
            return [(self.name, "")]
        return [(self.name.replace("<signal>", signal), signal) for signal in layout.signals]


def _at_horizons(result: Result, layout: Layout) -> npt.NDArray[Any]:
    """float32 (C, S, 3 * horizons): each percentile at each horizon."""
    at = result.forecast[:, :, [steps - 1 for _, steps in layout.horizons]]
    rows = len(PERCENTILES) * len(layout.horizons)
    return at.transpose(1, 0, 3, 2).reshape(len(layout.signals), len(result.servers), rows)


def _worst(result: Result, layout: Layout) -> npt.NDArray[Any]:
    """float32 (C, S, 3 * windows): the largest value of each percentile in each window, NaN steps left out."""
    windows = [largest(result.forecast[:, :, :steps], axis=2) for _, steps in layout.windows]  # (S, C, 3)
    at = np.stack(windows, axis=3).transpose(1, 0, 2, 3)
    return at.reshape(len(layout.signals), len(result.servers), len(PERCENTILES) * len(windows))


def _proven(result: Result, layout: Layout, figure: str) -> npt.NDArray[Any]:
    """float64 (signals * horizons,): a figure of the record; NaN without one."""
    if result.proof is None:
        return np.full(len(layout.signals) * len(layout.horizons), np.nan)
    figures: npt.NDArray[np.float64] = getattr(result.proof, figure)
    return figures.ravel()


def _is(values: Sequence[str | None], names: tuple[str, ...]) -> npt.NDArray[Any]:
    """float64 (values, names): 1 where the value is the name, else 0; NaN where it is none of them."""
    rows = np.array(values, object)[:, None] == np.array(names, object)
    return np.where(rows.any(axis=1, keepdims=True), rows, np.nan)


FAMILIES = (
    Family("forecast_<signal>", (*_SERVER, "percentile", "horizon"), "signal",
           "Forecast of {title} at the horizon, in {unit}.",
           lambda at: ((p, label) for p in PERCENTILES for label, _ in at.horizons),
           _at_horizons),
    Family("forecast_<signal>_max", (*_SERVER, "percentile", "window"), "signal",
           "Largest forecast of {title} inside the window, in {unit}.",
           lambda at: ((p, label) for p in PERCENTILES for label, _ in at.windows), _worst),
    Family("observed_<signal>", _SERVER, "signal",
           "Mean of {title} over the latest step, from which the forecast starts, in {unit}.",
           lambda at: ONE, lambda of, at: of.observed.T[..., None]),
    Family("forecast_risk_score", _SERVER, "points",
           "Risk of the next 30 minutes by the p90 forecasts, 0 to 100.",
           lambda at: ONE, lambda of, at: of.risk.score[:, None]),
    Family("forecast_risk_points", (*_SERVER, "component"), "points",
           "Points of the risk score by component: cpu, memory, latency.",
           lambda at: ((component,) for component in COMPONENTS), lambda of, at: of.risk.points),
    Family("forecast_priority", (*_SERVER, "priority"), "0 or 1",
           "1 for the priority (P1, P2 or P3) that the risk score gives the server, 0 for the others.",
           lambda at: ((priority,) for priority in _PRIORITIES),
           lambda of, at: _is(of.risk.priority, _PRIORITIES)),
    Family("forecast_incident_probability", (*_SERVER, "window"), "ratio",
           "Probability of an incident inside the window, 0 to 1, by risk.method.",
           lambda at: ((window,) for window in at.incident),
           lambda of, at: np.stack([of.risk.probability[window] for window in at.incident], axis=1)),
    Family("forecast_fleet_incident_probability", ("window",), "ratio",
           "Mean of the servers' incident probabilities, 0 to 1.",
           lambda at: ((window,) for window in at.incident),
           lambda of, at: np.array([of.risk.fleet_probability[window] for window in at.incident])),
    Family("forecast_severe_probability", (*_SERVER, "window"), "ratio",
           "Calibrated chance that the server crosses a severe threshold inside the window.",
           lambda at: ((window,) for window in at.incident),
           lambda of, at: np.stack([of.risk.severe[window] for window in at.incident], axis=1)),
    Family("forecast_fleet_severe_share", ("window",), "ratio",
           "Expected share of servers that cross a severe threshold inside the window.",
           lambda at: ((window,) for window in at.incident),
           lambda of, at: np.array([mean_known(of.risk.severe[window]) for window in at.incident])),
    Family("forecast_fleet_severe_any_probability", ("window",), "ratio",
           "Calibrated chance that at least one server crosses a severe threshold inside the window.",
           lambda at: ((window,) for window in at.incident),
           lambda of, at: np.array([of.risk.severe_any[window] for window in at.incident])),
    Family("forecast_fleet_health", ("state",), "0 or 1",
           "1 for the fleet's health (healthy, warning or critical) by the 30 minute mean, 0 for the others.",
           lambda at: ((state,) for state in _HEALTH), lambda of, at: _is([of.risk.health], _HEALTH)),
    Family("forecast_fleet_servers", (), "servers", "Servers that are forecast: those not stale.",
           lambda at: ONE, lambda of, at: np.array([of.live.sum()])),
    Family("forecast_fleet_high_risk_servers", (), "servers", "Servers of priority P1.",
           lambda at: ONE, lambda of, at: np.array([of.risk.high_risk])),
    *(Family(f"forecast_live_{name}", ("signal", "horizon"), unit, text,
             lambda at: product(at.signals, (label for label, _ in at.horizons)), partial(_proven, figure=figure))
      for name, figure, unit, text in (
          ("coverage_ratio", "coverage", "ratio",
           "Share of the outcomes inside live.window between p10 and p90 of the forecasts made for them."),
          ("loss_ratio", "loss", "ratio",
           "Pinball loss of the forecasts inside live.window over that of the trend heuristic; below 1 is better."),
          ("outcomes", "outcomes", "outcomes", "Outcomes inside live.window that forecasts were held against."),
          ("widening_ratio", "widening", "ratio",
           "Factor on the model's half-bands because outcomes fell outside too often; 1 where they are untouched."),
          ("recent_coverage_ratio", "recent_coverage", "ratio",
           "Share of the last hour's outcomes between p10 and p90 of their forecasts, from 12 outcomes on."),
          ("recent_loss_ratio", "recent_loss", "ratio",
           "Pinball loss of the last hour's forecasts over that of the trend heuristic; below 1 is better."),
          ("recent_outcomes", "recent_outcomes", "outcomes",
           "Outcomes of the last hour that forecasts were held against."))),
    Family("forecast_method", (*_SERVER, "method"), "0 or 1",
           "1 for what makes the server's forecast: tft (the model) or heuristic.",
           lambda at: ((method,) for method in _METHODS), lambda of, at: _is(of.method, _METHODS)),
    Family("forecast_warmup_samples", _SERVER, "samples",
           "Samples of history that are held of the server, up to the required number.",
           lambda at: ONE, lambda of, at: of.samples[:, None], outlives=True),
    Family("forecast_warmup_required_samples", _SERVER, "samples",
           "Samples from which on the server is forecast by the model.",
           lambda at: ONE, lambda of, at: np.full((len(of.servers), 1), of.required), outlives=True),
    Family("forecast_last_seen_timestamp_seconds", _SERVER, "Unix seconds",
           "Time of the server's latest sample.",
           lambda at: ONE, lambda of, at: of.last_seen[:, None], outlives=True),
    Family("forecast_server_stale", _SERVER, "0 or 1",
           "1 where the latest sample is older than stale_after: the server is not forecast.",
           lambda at: ONE, lambda of, at: of.stale[:, None], outlives=True),
)

# (name, labels, unit, help) of everything on /metrics
METRICS = (*((of.name, of.labels, of.unit, of.help.format(title="the signal", unit="its own unit"))
             for of in FAMILIES), *SELF_METRICS)


def families(outlives: bool) -> list[Family]:
    """Those that outlive the forecast, or those that do not."""
    return [family for family in FAMILIES if family.outlives == outlives]


def numbers(result: Result, layout: Layout, outlives: bool) -> Iterator[npt.NDArray[Any]]:
    """The values of each family, or of each signal in it, in the order of FAMILIES."""
    for family in families(outlives):
        values = np.asarray(family.values(result, layout))
        if not outlives:
            values = _shown(values, result.live, family.per_server)
        yield from values if "<signal>" in family.name else (values,)


def _shown(values: npt.NDArray[Any], live: npt.NDArray[Any], per_server: bool) -> npt.NDArray[Any]:
    """The values with NaN for stale servers, and for the fleet where no server is live."""
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if per_server:
        return values if live.all() else np.where(live[:, None], values, values.dtype.type(np.nan))
    return values if live.any() else np.full_like(values, np.nan)
