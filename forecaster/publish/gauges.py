"""Renders a Result as the gauges of /metrics, once per cycle, and keeps the forecaster's own metrics.

Every forecast_* and observed_* family is declared once in FAMILIES, with the labels and values that fill it;
forecaster_* families in SelfMetrics. METRICS lists both for the documentation.

What is not known is not shown: NaN gives no series; a stale server keeps only what says how stale it is
(last seen, stale, warm-up), and so does the whole fleet once the Result is older than its time-to-live.

Letters: S servers, C signals, H horizon steps.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from forecaster.publish.result import PERCENTILES, Board, Result
from forecaster.publish.self_metrics import SELF_METRICS
from forecaster.risk.known import largest, mean_known
from forecaster.risk.score import COMPONENTS
from serving.exposition import Page, Prepared, family_header, series_prefixes

_PRIORITIES = ("P1", "P2", "P3")
_HEALTH = ("healthy", "warning", "critical")
_METHODS = ("tft", "heuristic")
_SERVER = ("server", "profile")
_ONE = ((),)


@dataclass(frozen=True)
class Layout:
    """Everything the names and labels of the series depend on; while it stays, they stay."""

    servers: tuple[tuple[str, str], ...]  # (server, profile)
    signals: tuple[str, ...]
    horizons: tuple[tuple[str, int], ...]  # (label, steps), as are windows
    windows: tuple[tuple[str, int], ...]
    incident: tuple[str, ...]  # windows that have an incident probability


@dataclass(frozen=True)
class Family:
    """One gauge family, or one per signal where the name holds <signal>.

    `more` gives the label values after those of the server (or the only ones, for the fleet), `values` their
    numbers: (S, rows of `more`) per server, (rows of `more`,) for the fleet, (C, S, rows of `more`) of signals.
    """

    name: str
    labels: tuple[str, ...]
    unit: str
    help: str
    more: Callable[[Layout], Iterable[tuple[str, ...]]]
    values: Callable[[Result, Layout], np.ndarray]
    outlives: bool = False  # shown of stale servers too, and after the time-to-live

    @property
    def per_server(self) -> bool:
        return self.labels[:2] == _SERVER

    def names(self, layout: Layout) -> list[tuple[str, str]]:
        """(name, signal) of each family it stands for; no signal where it is of none."""
        if "<signal>" not in self.name:
            return [(self.name, "")]
        return [(self.name.replace("<signal>", signal), signal) for signal in layout.signals]


def _at_horizons(result: Result, layout: Layout) -> np.ndarray:
    """float32 (C, S, 3 * horizons): each percentile at each horizon."""
    at = result.forecast[:, :, [steps - 1 for _, steps in layout.horizons]]
    rows = len(PERCENTILES) * len(layout.horizons)
    return at.transpose(1, 0, 3, 2).reshape(len(layout.signals), len(result.servers), rows)


def _worst(result: Result, layout: Layout) -> np.ndarray:
    """float32 (C, S, 3 * windows): the largest value of each percentile in each window, NaN steps left out."""
    windows = [largest(result.forecast[:, :, :steps], axis=2) for _, steps in layout.windows]  # (S, C, 3)
    at = np.stack(windows, axis=3).transpose(1, 0, 2, 3)
    return at.reshape(len(layout.signals), len(result.servers), len(PERCENTILES) * len(windows))


def _proven(result: Result, layout: Layout, figure: str) -> np.ndarray:
    """float64 (signals * horizons,): a figure of the record; NaN without one."""
    if result.proof is None:
        return np.full(len(layout.signals) * len(layout.horizons), np.nan)
    return getattr(result.proof, figure).ravel()


def _is(values: Sequence[str | None], names: tuple[str, ...]) -> np.ndarray:
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
           lambda at: _ONE, lambda of, at: of.observed.T[..., None]),
    Family("forecast_risk_score", _SERVER, "points",
           "Risk of the next 30 minutes by the p90 forecasts, 0 to 100.",
           lambda at: _ONE, lambda of, at: of.risk.score[:, None]),
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
           lambda at: _ONE, lambda of, at: np.array([of.live.sum()])),
    Family("forecast_fleet_high_risk_servers", (), "servers", "Servers of priority P1.",
           lambda at: _ONE, lambda of, at: np.array([of.risk.high_risk])),
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
           lambda at: _ONE, lambda of, at: of.samples[:, None], outlives=True),
    Family("forecast_warmup_required_samples", _SERVER, "samples",
           "Samples from which on the server is forecast by the model.",
           lambda at: _ONE, lambda of, at: np.full((len(of.servers), 1), of.required), outlives=True),
    Family("forecast_last_seen_timestamp_seconds", _SERVER, "Unix seconds",
           "Time of the server's latest sample.",
           lambda at: _ONE, lambda of, at: of.last_seen[:, None], outlives=True),
    Family("forecast_server_stale", _SERVER, "0 or 1",
           "1 where the latest sample is older than stale_after: the server is not forecast.",
           lambda at: _ONE, lambda of, at: of.stale[:, None], outlives=True),
)

# (name, labels, unit, help) of everything on /metrics
METRICS = (*((of.name, of.labels, of.unit, of.help.format(title="the signal", unit="its own unit"))
             for of in FAMILIES), *SELF_METRICS)


class ForecastCollector:
    """The text of the forecast_* and observed_* gauges for a board's newest Result.

    `horizons` and `windows` map labels to steps, `described` a signal to (title, unit) for the help texts.
    """

    def __init__(self, board: Board, horizons: Mapping[str, int], windows: Mapping[str, int],
                 described: Mapping[str, tuple[str, str]], clock: Callable[[], float] = time.time):
        self._board = board
        self._horizons, self._windows = tuple(horizons.items()), tuple(windows.items())
        # the two text formats disagree on how a double quote in a help text is written
        self._described = {signal: (title.replace('"', "'"), unit)
                           for signal, (title, unit) in described.items()}
        self._clock = clock
        self._lock = threading.Lock()
        self._layout: Layout | None = None
        self._pages: dict[bool, Page] = {}  # by whether their families outlive the forecast
        self._rendered: tuple[tuple[Result, Prepared, Prepared], ...] = ()  # the next one and the shown one

    def prepare(self, result: Result) -> int:
        """Renders `result` ahead of the scrapes; the publish stage calls it before publishing. Returns the bytes of a
        scrape without compression."""
        return sum(len(part.text) for part in self._text(result))

    def pack(self, result: Result) -> None:
        """Compresses `result`'s text ahead of the first scrape that asks for it."""
        for part in self._text(result):
            part.pack()

    def exposition(self) -> tuple[Prepared, ...]:
        """The gauges as they may be shown now: text format, also valid inside an OpenMetrics answer."""
        now = self._clock()
        result = self._board.last
        if result is None:
            return ()
        outliving, forecasts = self._text(result)
        return (forecasts, outliving) if result.age(now) <= self._board.ttl else (outliving,)

    def _text(self, result: Result) -> tuple[Prepared, Prepared]:
        """(families that outlive the forecast, all others); made once for each Result."""
        for known, *texts in self._rendered:  # no lock: a scrape need not wait for the next Result's text
            if known is result:
                return texts
        with self._lock:
            layout = Layout(tuple(zip(result.servers, result.profiles, strict=True)), result.signals,
                            self._horizons, self._windows, tuple(result.risk.probability))
            if layout != self._layout:
                self._pages = {outlives: Page(self._series(layout, outlives)) for outlives in (True, False)}
                self._layout = layout
            texts = tuple(Prepared(page.render([*_numbers(result, layout, outlives)]))
                          for outlives, page in self._pages.items())
            self._rendered = ((result, *texts), *self._rendered[:1])
            return texts

    def _series(self, layout: Layout, outlives: bool) -> Iterator[tuple[str, list[str]]]:
        """(header, prefixes) of each family, once per signal where it has them; _numbers has their values."""
        for family in _families(outlives):
            more = tuple(family.more(layout))
            rows = [(*server, *row) for server in (layout.servers if family.per_server else _ONE) for row in more]
            for name, signal in family.names(layout):
                title, unit = self._described.get(signal, (signal, "its own unit"))
                header = family_header(name, family.help.format(title=title, unit=unit))
                yield header, series_prefixes(name, family.labels, rows)


def _families(outlives: bool) -> list[Family]:
    return [family for family in FAMILIES if family.outlives == outlives]


def _numbers(result: Result, layout: Layout, outlives: bool) -> Iterator[np.ndarray]:
    """The values of each family of _series."""
    for family in _families(outlives):
        values = np.asarray(family.values(result, layout))
        if not outlives:
            values = _shown(values, result.live, family.per_server)
        yield from values if "<signal>" in family.name else (values,)


def _shown(values: np.ndarray, live: np.ndarray, per_server: bool) -> np.ndarray:
    """The values with NaN for stale servers, and for the fleet where no server is live."""
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if per_server:
        return values if live.all() else np.where(live[:, None], values, values.dtype.type(np.nan))
    return values if live.any() else np.full_like(values, np.nan)
