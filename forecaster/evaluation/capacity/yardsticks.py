"""Simple forecasts of used shares, and alerts in use, which the product has to beat.

    no change          the latest value
    last week          the line through now and a week ago
    predict-linear     Prometheus' predict_linear over six hours: the least-squares line
    holt-winters       additive with a daily season, on hourly values (Winters, Management Science 1960)

An alert rises at instants, each where its forecast reaches the limit within its window and its level is reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from forecaster.evaluation.capacity.courses import HORIZON, HOUR, Courses, Ints
from forecaster.evaluation.scoring import Bools, Floats

AHEAD = (24, 36, 72, 168)  # hours at which a forecast is scored; at 36, what happens each night or day counts
WINDOWS = (4, 24, 168, 336)  # hours, of chances
WEEK = 168
LINE = 6 * HOUR  # steps of predict_linear
SEASON = 24
LEVEL, TREND, SEASONAL = 0.3, 0.002, 0.2  # smoothing of Holt-Winters: least loss on seeds that are not evaluated
Z = 1.2816  # standard deviations from p50 to p90


@dataclass(frozen=True)
class Said:
    """Forecasts at K instants: used (N, K, 4 of AHEAD, p10 p50 p90), chance (N, K, 4 of WINDOWS), full_in (N, K) hours
    until p50 is full, inf where it is not within 14 days."""

    used: Floats
    chance: Floats
    full_in: Floats

    def at(self, places: Ints) -> Said:
        """Those at some of the instants."""
        return Said(self.used[:, places], self.chance[:, places], self.full_in[:, places])


def of_rate(now: Floats, rate: Floats, limit: Floats) -> Said:
    """A straight line: now and rate (N, K), share and share an hour."""
    curve = now[..., None] + rate[..., None] * np.array(AHEAD)
    with np.errstate(divide="ignore", invalid="ignore"):
        hours = np.where(rate > 0, (limit[:, None] - now) / rate, np.inf)
    return _without_band(curve, limit, np.maximum(hours, 0))


def _without_band(curve: Floats, limit: Floats, hours: Floats) -> Said:
    hours = np.where(hours <= HORIZON, hours, np.inf)
    curve = np.clip(curve, 0, np.maximum(limit, 1)[:, None, None])
    return Said(np.repeat(curve[..., None], 3, -1).astype(np.float32),
                (hours[..., None] <= np.array(WINDOWS)).astype(np.float32), hours)


def no_change(courses: Courses, rows: Ints) -> Said:
    """The latest value."""
    now = courses.now(rows)
    return of_rate(now, np.zeros_like(now), courses.limit)


def last_week(courses: Courses, rows: Ints) -> Said:
    """The line through now and a week ago."""
    now = courses.now(rows)
    return of_rate(now, (now - _resized(courses, rows - WEEK * HOUR, rows)) / WEEK, courses.limit)


def _resized(courses: Courses, back: Ints, rows: Ints) -> Floats:
    """(N, K): used at rows ``back`` as share of the size at ``rows``."""
    return courses.used[:, back] * (courses.size[:, back] / courses.size[:, rows])


def line(courses: Courses, rows: Ints) -> tuple[Floats, Floats]:
    """(value at the instant, rate an hour), both (N, K), of predict_linear over six hours of used space, in shares of
    the size at the instant."""
    back = np.arange(-LINE, 1)
    x = back / HOUR
    level, rate = np.empty((2, len(courses.used), len(rows)))
    for k, row in enumerate(rows):
        y = _resized(courses, row + back, np.full(len(back), row))
        known = np.isfinite(y)
        count = np.maximum(known.sum(1), 1)
        mean_x, mean_y = (known * x).sum(1) / count, np.where(known, y, 0).sum(1) / count
        apart = np.where(known, x - mean_x[:, None], 0)
        square = (apart**2).sum(1)
        rate[:, k] = (apart * np.where(known, y, 0)).sum(1) / np.where(square > 0, square, np.nan)
        level[:, k] = mean_y - rate[:, k] * mean_x
    return level, rate


def predict_linear(courses: Courses, rows: Ints) -> Said:
    """The least-squares line through six hours."""
    return of_rate(*line(courses, rows), courses.limit)


def holt_winters(courses: Courses, rows: Ints) -> Said:
    """Additive Holt-Winters on hourly values since the beginning of the courses. The band is that of its errors one
    hour ahead, widened as for independent errors (Hyndman et al., Forecasting with Exponential Smoothing, 2008)."""
    ahead = np.arange(1, HORIZON + 1)
    spread = np.sqrt(np.cumsum(np.append(1, (LEVEL * (1 + TREND * ahead[:-1])) ** 2)))
    out: list[tuple[Floats, Floats]] = []
    for level, trend, season, error in _smoothed(courses, rows):
        curve = level[:, None] + trend[:, None] * ahead + season[:, (ahead - 1) % SEASON]
        full = curve >= courses.limit[:, None]
        hours = np.where(full.any(1), full.argmax(1) + 1.0, np.inf)
        band = error[:, None] * spread
        three = np.stack([curve - Z * band, curve, curve + Z * band], -1)[:, np.array(AHEAD) - 1]
        out.append((np.clip(three, 0, np.maximum(courses.limit, 1)[:, None, None]), hours))
    used, hours = (np.stack(part, 1) for part in zip(*out, strict=True))
    return Said(used.astype(np.float32), (hours[..., None] <= np.array(WINDOWS)).astype(np.float32), hours)


def _smoothed(courses: Courses, rows: Ints) -> Iterator[tuple[Floats, Floats, Floats, Floats]]:
    """(level, trend, season of the next 24 hours, error of one hour) at each of ``rows``, ascending; the first trend is
    that of the first week."""
    hourly = courses.used[:, : rows[-1] + 1 : HOUR].astype(np.float64)
    day, sixth = (np.ma.masked_invalid(hourly[:, k : k + SEASON]) for k in (0, 6 * SEASON))
    level = day.mean(1).filled(0)
    trend = ((sixth.mean(1) - level) / (6 * SEASON)).filled(0)
    season = (day - level[:, None]).filled(0)
    variance, wanted = np.zeros_like(level), set((rows // HOUR).tolist())
    for hour, value in enumerate(hourly.T):
        place = hour % SEASON
        expected = level + trend + season[:, place]
        error = np.where(np.isfinite(value), value - expected, 0)
        level, trend = level + trend + LEVEL * error, trend + LEVEL * TREND * error
        season[:, place] += SEASONAL * (1 - LEVEL) * error
        variance += (error**2 - variance) / min(hour + 1, WEEK)
        if hour in wanted:
            yield level, trend, np.roll(season, -(place + 1), 1), np.sqrt(variance)


def node_mixin(courses: Courses, rows: Ints) -> dict[str, tuple[Bools, int]]:
    """NodeFilesystemSpaceFillingUp of the node-mixin, without its ``for``: {severity: (raised (N, K), window, hours)}.
    """
    level, rate = line(courses, rows)
    free = 1 - courses.now(rows)
    return {"warning": ((free < 0.4) & (level + 24 * rate > 1), 24),
            "critical": ((free < 0.2) & (level + 4 * rate > 1), 4)}


FORECASTS = {"no change": no_change, "last week": last_week, "predict-linear": predict_linear,
             "holt-winters": holt_winters}
