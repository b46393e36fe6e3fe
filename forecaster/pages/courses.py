"""One signal of one server: what was measured, what was said, what is forecast, as a chart and as figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from forecaster.pages import chart, words
from forecaster.publish.values import numbers
from forecaster.risk.conditions import Condition
from forecaster.signals import Signal

DAY = 86400.0
EVERY = 7200.0  # s between two marks of the time axis

Floats = NDArray[np.float32]
Wide = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Course:
    """All that is known of one signal of one server around ``now`` (Unix s); arrays may be empty."""

    name: str
    signal: Signal
    now: float
    step: float
    limits: tuple[tuple[str, Condition], ...]  # incidents on this signal that the server is meant for
    at: Wide                     # (N,) Unix s of what was measured
    measured: Floats             # (N,)
    ahead: Wide                  # (H,) Unix s; empty where there is no current forecast
    forecast: Floats             # (H, 3) p10, p50, p90
    said_at: Wide                # (M,) Unix s that forecasts made ``lead`` before were for
    said: Floats                 # (M, 3)
    lead: float                  # s
    before_at: Wide              # (K,) Unix s: measured a day before each
    before: Floats               # (K,)
    coarse: int = 1              # steps from one value that the page gets to the next

    @property
    def title(self) -> str:
        """As people read it."""
        return self.signal.title or self.name

    @property
    def known(self) -> bool:
        """Whether there is anything to draw."""
        return bool(np.isfinite(self.measured).any() or np.isfinite(self.forecast).any())

    def amount(self, value: float) -> str:
        """With its unit."""
        return words.amount(value, self.signal.unit)

    def of(self, at: float) -> tuple[float, Floats, Floats]:
        """(measured, p10 to p90, p10 to p90 as said before) at the nearest step, NaN where unknown."""
        return (_near(self.at, self.measured[:, None], at, self.step)[0],
                _near(self.ahead, self.forecast, at, self.step), _near(self.said_at, self.said, at, self.step))

    # -- as a chart ---------------------------------------------------------------------------------

    def frame(self, start: float, end: float) -> chart.Frame:
        """Percentages from 0 to 100; else from 0 to the largest value drawn, and a limit that is not far above."""
        if self.signal.unit == "percent" and self.signal.max == 100:
            return chart.Frame(start, end, 0.0, 100.0)
        drawn: list[NDArray[np.floating]] = [self.measured, self.forecast, self.said, self.before]
        largest = max((float(np.nanmax(of)) for of in drawn if np.isfinite(of).any()), default=0.0)
        near = [limit for _, one in self.limits if largest < (limit := one.sign * one.limit) <= 1.5 * largest]
        return chart.Frame(start, end, chart.bottom(drawn), chart.top([largest, *near]))

    def drawing(self, number: int, start: float, end: float, marked: float | None) -> Markup:
        """The element ``draw-<number>``: the drawing between its axes."""
        frame = self.frame(start, end)
        apart, thin = 3 * self.step, slice(self.coarse - 1, None, self.coarse)
        ahead, forecast = self.ahead[thin], self.forecast[thin]
        said_at, said = self.said_at[::self.coarse], self.said[::self.coarse]
        paths = [
            ("said-band", frame.band(said_at, said[:, 0], said[:, 2])),
            ("band", frame.band(ahead, forecast[:, 0], forecast[:, 2])),
            *(("limit", frame.across(one.sign * one.limit)) for _, one in self.limits),
            ("before", frame.line(self.before_at, self.before, apart * self.coarse)),
            ("said", frame.line(said_at, said[:, 1], apart * self.coarse)),
            ("median", frame.line(ahead, forecast[:, 1])),
            ("measured", frame.line(self.at, self.measured, apart)),
            ("now", frame.up(self.now)),
            ("mark", frame.up(marked) if marked is not None else ""),
        ]
        return chart.drawing(str(number), paths, self.summary, [self.amount(tick) for tick in frame.ticks],
                             chart.marks(start, end, self.now, EVERY))

    @property
    def summary(self) -> str:
        """The chart in one sentence."""
        measured, *_ = self.of(self.now)
        said = f"{self.title}: now {self.amount(float(measured))}"
        if not len(self.ahead) or not np.isfinite(self.forecast).any():
            return f"{said}; no current forecast"
        low, middle, high = self.forecast[-1].tolist()
        return (f"{said}; in {words.span(float(self.ahead[-1] - self.now))} {self.amount(middle)}, "
                f"p10 to p90 {self.amount(low)} to {self.amount(high)}")

    def data(self) -> dict[str, object]:
        """For the cursor of the chart: values at steps around now, from ``first`` steps on; ``lead`` in minutes."""
        step, thin = self.step * self.coarse, slice(self.coarse - 1, None, self.coarse)
        first = -round((self.now - self.at[0]) / step) if self.at.size else 0
        at = self.now + step * np.arange(first, 1)
        said = np.round((self.said_at - self.now) / step).astype(int)
        measured = np.array([_near(self.at, self.measured[:, None], moment, self.step)[0] for moment in at])
        return {"title": self.title, "unit": words.amount(0, self.signal.unit)[1:], "step": step, "now": self.now,
                "lead": round(self.lead / 60), "first": first, "measured": short(measured),
                "ahead": 1 if self.ahead.size else None, "forecast": short(self.forecast[thin].T),
                "said_first": int(said[0]) if said.size else None,
                "said": short(_on_grid(said, self.said).T)}


def _on_grid(places: NDArray[np.int64], values: Floats) -> Floats:
    """(from the first to the last place, 3); NaN where there is none."""
    if not places.size:
        return np.zeros((0, 3), np.float32)
    found = np.full((places[-1] - places[0] + 1, values.shape[1]), np.nan, np.float32)
    found[places - places[0]] = values
    return found


def _near(at: Wide, values: Floats, moment: float, step: float) -> Floats:
    """The row of values (N, K) that is nearest to a moment, within half a step."""
    if at.size:
        place = int(np.abs(at - moment).argmin())
        if abs(float(at[place]) - moment) <= step / 2:
            found: Floats = values[place]
            return found
    return np.full(values.shape[1], np.nan, np.float32)


def short(values: NDArray[np.floating]) -> object:
    """Three significant digits."""
    size = np.abs(np.where(np.isfinite(values) & (values != 0), values, 1)).astype(np.float64)
    places = np.clip(2 - np.floor(np.log10(size)), 0, 9)
    return numbers(np.round(np.asarray(values, np.float64) * 10**places) / 10**places)
