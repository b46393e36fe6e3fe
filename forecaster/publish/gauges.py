"""The gauges of /metrics: every forecast_* and observed_* family, declared once in FAMILIES with its labels and values.

The forecaster_* families are declared in self_metrics. METRICS lists both for the documentation.

Which of a server's series are shown is `publish.gauges` (layout.py).

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

from forecaster.memory.episodes import RULES, TURNED
from forecaster.models.unforecast import REASONS
from forecaster.publish.capacity_gauges import METRICS as CAPACITY
from forecaster.publish.layout import Layout
from forecaster.publish.result import PERCENTILES, Result
from forecaster.publish.self_metrics import SELF_METRICS
from forecaster.risk.chances import WINDOWS
from forecaster.risk.incidents import Incidents
from forecaster.risk.known import largest, mean_known
from forecaster.risk.priority import PRIORITIES
from forecaster.risk.score import COMPONENTS
from forecaster.risk.state import State

_HEALTH = ("healthy", "warning", "critical")
_METHODS = ("tft", "heuristic")
_SERVER = ("server", "profile")
ONE: tuple[tuple[str, ...]] = ((),)


@dataclass(frozen=True)
class Family:
    """One gauge family, or one per signal where the name holds <signal>.

    `more` returns the label values after those of the server (all of them, for the fleet); `values` returns the
    numbers: (S, rows of `more`) per server, (rows of `more`,) for the fleet. Both get the Layout, those of a <signal>
    its Layout.of.
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

    def parts(self, layout: Layout) -> list[tuple[str, Layout]]:
        """(name, layout) of the family, or of each signal's; none of those without series in the layout."""
        parts = [(self.name, layout)]
        if "<signal>" in self.name:
            parts = [(self.name.replace("<signal>", signal), layout.of(signal)) for signal in layout.signals]
        return [(name, of) for name, of in parts if tuple(self.more(of))]


def _curves(result: Result, at: Layout) -> npt.NDArray[np.float32]:
    """float32 (S, H, 3): the forecast of the layout's signal."""
    return result.forecast[:, result.signals.index(at.signals[0])]


def _at_horizons(result: Result, at: Layout) -> npt.NDArray[Any]:
    """float32 (S, points): the percentile at the horizon."""
    steps = [steps - 1 for *_, steps in at.points]
    return _curves(result, at)[:, steps, [PERCENTILES.index(percentile) for percentile, *_ in at.points]]


def _worst(result: Result, at: Layout) -> npt.NDArray[Any]:
    """float32 (S, maxima): the largest value of the percentile in the window, NaN steps left out."""
    curves = _curves(result, at)
    inside = {steps: largest(curves[:, :steps], axis=1) for *_, steps in at.maxima}
    return np.stack([inside[steps][:, PERCENTILES.index(percentile)] for percentile, _, steps in at.maxima], axis=1)


def _unless_by_model(values: npt.NDArray[Any], result: Result, at: Layout) -> npt.NDArray[Any]:
    """(S, 1): the values (S,); of the essential series, NaN for servers that the model forecasts."""
    hidden = np.array([method == "tft" and at.scored is not None for method in result.method], bool)
    return np.where(hidden, np.nan, values)[:, None]


def _stale(result: Result, at: Layout) -> npt.NDArray[Any]:
    """(S, 1): 1 for stale servers; else 0, NaN of the essential series."""
    return np.where(result.stale, 1.0, 0.0 if at.scored is None else np.nan)[:, None]


def _proven(result: Result, layout: Layout, figure: str) -> npt.NDArray[Any]:
    """float64 (signals * horizons,): a figure of the record; NaN without one."""
    if result.proof is None:
        return np.full(len(layout.signals) * len(layout.horizons), np.nan)
    figures: npt.NDArray[np.float64] = getattr(result.proof, figure)
    return figures.ravel()


def _pages(result: Result, layout: Layout) -> npt.NDArray[np.float64]:
    """float64 (rules * ways to turn out,): pages by how they turned out; NaN without a record."""
    if result.pages is None:
        return np.full(len(RULES) * len(TURNED), np.nan)
    return result.pages.ravel().astype(np.float64)


def _incidents(result: Result) -> Incidents:
    """Those of a Result whose layout names some."""
    assert result.risk.incidents is not None, "the layout names incidents and the Result has none"
    return result.risk.incidents


def _in_windows(result: Result, at: Layout, of: Callable[[Incidents, str], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """float64 (S, incidents * WINDOWS): what `of` gives of the incidents (S, incidents) for each window."""
    values = np.stack([of(_incidents(result), window) for window in WINDOWS], axis=2)
    return values.reshape(len(values), values.shape[1] * values.shape[2])


def _missing(result: Result, layout: Layout) -> npt.NDArray[Any]:
    """float64 (S, 1): the number of signals without a forecast; NaN for none."""
    count = result.missing.sum(axis=1, dtype=np.float64)[:, None]
    return np.where(count > 0, count, np.nan)


def _is(values: Sequence[str | None], names: tuple[str, ...]) -> npt.NDArray[Any]:
    """float64 (values, names): 1 where the value is the name, else 0; NaN where it is none of them."""
    rows = np.array(values, object)[:, None] == np.array(names, object)
    return np.where(rows.any(axis=1, keepdims=True), rows, np.nan)


FAMILIES = (
    Family("forecast_<signal>", (*_SERVER, "percentile", "horizon"), "signal",
           "Forecast of {title} at the horizon, in {unit}.",
           lambda at: (point[:2] for point in at.points), _at_horizons),
    Family("forecast_<signal>_max", (*_SERVER, "percentile", "window"), "signal",
           "Largest forecast of {title} inside the window, in {unit}.",
           lambda at: (point[:2] for point in at.maxima), _worst),
    Family("observed_<signal>", _SERVER, "signal",
           "Mean of {title} over the latest step, from which the forecast starts, in {unit}.",
           lambda at: ONE, lambda of, at: of.observed[:, [of.signals.index(at.signals[0])]]),
    Family("forecast_risk_score", _SERVER, "points",
           "Risk of the next 30 minutes by the p90 forecasts, 0 to 100.",
           lambda at: ONE, lambda of, at: of.risk.score[:, None]),
    Family("forecast_risk_points", (*_SERVER, "component"), "points",
           "Points of the risk score by component: cpu, memory, latency.",
           lambda at: ((component,) for component in COMPONENTS), lambda of, at: of.risk.points),
    Family("forecast_priority", (*_SERVER, "priority"), "0 or 1",
           "1 for the server's priority (P1, P2 or P3), 0 for the others. By the risk score, or by the chances of "
           "incidents, as risk.priorities.by says; /status says by which.",
           lambda at: ((priority,) for priority in PRIORITIES),
           lambda of, at: _is(of.risk.priority, PRIORITIES)),
    Family("forecast_state", _SERVER, "state",
           f"The server's state: {', '.join(f'{int(state)} {state.word}' for state in State)}. No series where it is "
           "stale.",
           lambda at: ONE, lambda of, at: of.state[:, None]),
    Family("forecast_incident_probability", (*_SERVER, "window"), "ratio",
           "Sum of the weights of risk.incident for the thresholds crossed inside the window, 0 to 1. "
           "forecast_severe_probability is the calibrated chance.",
           lambda at: ((window,) for window in at.chances),
           lambda of, at: np.stack([of.risk.probability[window] for window in at.chances], axis=1)),
    Family("forecast_incident_chance", (*_SERVER, "incident", "window"), "ratio",
           "Calibrated chance that the incident is on at any time within the window, 0 to 1.",
           lambda at: product(at.incidents, WINDOWS),
           partial(_in_windows, of=lambda incidents, window: incidents.chance[window])),
    Family("forecast_incident_begin_chance", (*_SERVER, "incident", "window"), "ratio",
           "Calibrated chance that the incident begins within the window, no series while it is on. Only with "
           "publish.gauges: all; it equals forecast_incident_chance unless ignoring (window) forecast_incident_active.",
           lambda at: product(at.incidents if at.scored is None else (), WINDOWS),
           partial(_in_windows, of=Incidents.begin)),
    Family("forecast_incident_active", (*_SERVER, "incident"), "1",
           "1 while the incident is on; no series otherwise.",
           lambda at: zip(at.incidents), lambda of, at: np.where(_incidents(of).on, 1.0, np.nan)),
    Family("forecast_incident_expected_timestamp_seconds", (*_SERVER, "incident"), "Unix seconds",
           "Time at which the incident is expected to begin, where that is more likely than not within 8 hours.",
           lambda at: zip(at.incidents), lambda of, at: _incidents(of).expected),
    Family("forecast_incident_recurring_ratio", (*_SERVER, "incident"), "ratio",
           "Share of the last 7 days on which the incident that p90 shows within 8 hours was on within 30 minutes of "
           "the same local time. No series below 3 days held.",
           lambda at: zip(at.incidents), lambda of, at: _incidents(of).recurring.ratio),
    Family("forecast_fleet_incident_probability", ("window",), "ratio",
           "Mean of forecast_incident_probability over the servers, 0 to 1.",
           lambda at: ((window,) for window in at.incident),
           lambda of, at: np.array([of.risk.fleet_probability[window] for window in at.incident])),
    Family("forecast_severe_probability", (*_SERVER, "window"), "ratio",
           "Chance of any incident of the server within the window, 0 to 1.",
           lambda at: ((window,) for window in at.chances),
           lambda of, at: np.stack([of.risk.severe[window] for window in at.chances], axis=1)),
    Family("forecast_fleet_severe_share", ("window",), "ratio",
           "Expected share of servers with an incident within the window.",
           lambda at: ((window,) for window in at.incident),
           lambda of, at: np.array([mean_known(of.risk.severe[window]) for window in at.incident])),
    Family("forecast_fleet_severe_any_probability", ("window",), "ratio",
           "Chance that at least one server has an incident within the window, 0 to 1.",
           lambda at: ((window,) for window in at.incident),
           lambda of, at: np.array([of.risk.severe_any[window] for window in at.incident])),
    Family("forecast_fleet_health", ("state",), "0 or 1",
           "1 for the fleet's health (healthy, warning or critical), 0 for the others: by the 30 minute mean of "
           "forecast_incident_probability, at least warning while a server is P1. All 0 where it would "
           "be healthy and a server is BLIND.",
           lambda at: ((state,) for state in _HEALTH),
           lambda of, at: _is([of.risk.health], _HEALTH) * (of.health != "unknown")),
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
    Family("forecast_live_pages", ("of", "priority", "outcome"), "pages",
           "Pages and tickets of the last 28 days by how they turned out (docs/how-it-works.md), of servers and of "
           "what fills up (capacity); P2 counts P1 as well.",
           lambda at: ((*rule, outcome) for rule in RULES for outcome in TURNED), _pages),
    Family("forecast_method", (*_SERVER, "method"), "0 or 1",
           "1 for what makes the server's forecast: tft (the model) or heuristic.",
           lambda at: ((method,) for method in _METHODS), lambda of, at: _is(of.method, _METHODS)),
    Family("forecast_missing_signals", _SERVER, "signals",
           "Configured signals without a forecast that are not optional, of a server that has one of another signal; "
           "no series for none.",
           lambda at: ONE, _missing),
    Family("forecast_warmup_samples", _SERVER, "samples",
           "Samples of history that are held of the server, up to the required number.",
           lambda at: ONE, lambda of, at: _unless_by_model(of.samples, of, at), outlives=True),
    Family("forecast_warmup_required_samples", _SERVER, "samples",
           "Samples from which on the server is forecast by the model.",
           lambda at: ONE,
           lambda of, at: _unless_by_model(np.full(len(of.servers), of.required), of, at), outlives=True),
    Family("forecast_last_seen_timestamp_seconds", _SERVER, "Unix seconds",
           "Time of the server's latest sample.",
           lambda at: ONE, lambda of, at: of.last_seen[:, None], outlives=True),
    Family("forecast_server_stale", _SERVER, "0 or 1",
           "1 where the latest sample is older than stale_after: the server is not forecast. Otherwise 0, or with "
           "publish.gauges: essential no series.",
           lambda at: ONE, _stale, outlives=True),
    Family("forecast_server_unforecast", ("server", "reason"), "1",
           "1 for a server that is up or known and not forecast, with the reason: "
           f"{'; '.join(f'{word} ({meaning})' for word, meaning in REASONS.items())}.",
           lambda at: at.unforecast, lambda of, at: np.ones(len(at.unforecast)), outlives=True),
)

# (name, labels, unit, help) of everything on /metrics
METRICS = (*((of.name, of.labels, of.unit, of.help.format(title="the signal", unit="its own unit"))
             for of in FAMILIES), *CAPACITY, *SELF_METRICS)


def families(outlives: bool) -> list[Family]:
    """Those that outlive the forecast, or those that do not."""
    return [family for family in FAMILIES if family.outlives == outlives]


def numbers(result: Result, layout: Layout, outlives: bool) -> Iterator[npt.NDArray[Any]]:
    """The values of each family, or of each signal in it, in the order of FAMILIES."""
    for family in families(outlives):
        for _, at in family.parts(layout):
            values = np.asarray(family.values(result, at))
            yield values if outlives else _shown(values, result.live, family.per_server)


def _shown(values: npt.NDArray[Any], live: npt.NDArray[Any], per_server: bool) -> npt.NDArray[Any]:
    """The values with NaN for stale servers, and for the fleet where no server is live."""
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if per_server:
        return values if live.all() else np.where(live[:, None], values, values.dtype.type(np.nan))
    return values if live.any() else np.full_like(values, np.nan)
