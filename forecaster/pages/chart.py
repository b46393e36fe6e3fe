"""Charts as SVG that the server draws: curves over time, with their axes as HTML beside them.

A drawing has WIDTH x HEIGHT units and is stretched to the room it gets, so its lines keep their width by CSS
(vector-effect) and no text is in it. Colours are those of the classes in charts.css.

Letters: N points.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

WIDTH, HEIGHT = 1200, 400
LINES = 4  # spaces between horizontal lines

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Frame:
    """What of time (Unix s) and value is drawn."""

    start: float
    end: float
    low: float
    high: float

    def x(self, at: Array) -> Array:
        """Places of instants."""
        return np.rint((np.asarray(at, float) - self.start) / (self.end - self.start) * WIDTH)

    def y(self, value: Array) -> Array:
        """Places of values, from the top."""
        room = (np.asarray(value, float) - self.low) / (self.high - self.low)
        return np.rint(HEIGHT * (1 - np.clip(room, 0, 1)))

    def line(self, at: Array, value: Array, apart: float = np.inf) -> str:
        """A path through the known points (N,), broken where one is unknown or ``apart`` seconds are between two."""
        known = np.isfinite(value)
        gaps = np.flatnonzero(~known | (np.diff(at, prepend=at[:1]) > apart))
        parts = []
        for piece in np.split(np.arange(len(at)), gaps):
            piece = piece[known[piece]]
            if piece.size:
                parts.append(_through(self.x(at[piece]), self.y(value[piece])))
        return "".join(parts)

    def band(self, at: Array, low: Array, high: Array) -> str:
        """A closed path around the known points between two curves (N,)."""
        known = np.isfinite(low) & np.isfinite(high)
        if not known.any():
            return ""
        x, up, down = self.x(at[known]), self.y(high[known]), self.y(low[known])
        return _through(np.concatenate([x, x[::-1]]), np.concatenate([up, down[::-1]])) + "Z"

    def across(self, value: float) -> str:
        """A horizontal line; empty where the value is not in the frame."""
        return f"M0 {self.y(np.array(value)):.0f}H{WIDTH}" if self.low <= value <= self.high else ""

    def up(self, at: float) -> str:
        """A vertical line; empty where the instant is not in the frame."""
        return f"M{self.x(np.array(at)):.0f} 0V{HEIGHT}" if self.start <= at <= self.end else ""

    @property
    def ticks(self) -> list[float]:
        """The values of the horizontal lines, from the top."""
        return [self.high - (self.high - self.low) * k / LINES for k in range(LINES + 1)]


def svg(paths: Iterable[tuple[str, str]], label: str) -> Markup:
    """A drawing of (class, path) pairs, the first one at the bottom; empty paths are left out."""
    grid = "".join(f"M0 {HEIGHT * k // LINES}H{WIDTH}" for k in range(LINES + 1))
    drawn = Markup("").join(Markup('<path class="{}" d="{}"/>').format(*one)
                            for one in (("grid", grid), *paths) if one[1])
    return Markup('<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, label, drawn)


def top(values: Sequence[Array | float], least: float = 0.0) -> float:
    """A round number that none of the values is above, and that LINES divides into round ones."""
    known = np.concatenate([np.atleast_1d(np.asarray(of, float)).ravel() for of in values] or [np.zeros(0)])
    largest = max(float(np.nanmax(known, initial=least)), least) if np.isfinite(known).any() else least
    if largest <= 0:
        return 1.0
    scale = 10.0 ** floor(log10(largest))
    return next(step * scale for step in (1, 2, 4, 6, 8, 10) if step * scale >= largest * (1 - 1e-9))


def bottom(values: Sequence[Array]) -> float:
    """0, or a round number below the values where some are negative."""
    known = np.concatenate([np.asarray(of, float).ravel() for of in values] or [np.zeros(0)])
    smallest = float(np.nanmin(known, initial=0.0)) if np.isfinite(known).any() else 0.0
    return 0.0 if smallest >= 0 else -top([np.array([-smallest])])


def marks(start: float, end: float, now: float, every: float) -> list[str]:
    """Texts for instants ``every`` seconds apart from start to end, which are so many seconds around now: "-2 h"."""
    unit, size = ("d", 86400) if every >= 86400 else ("h", 3600)
    ticks = range(ceil((start - now) / every - 1e-9), floor((end - now) / every + 1e-9) + 1)
    return ["now" if k == 0 else f"{k * every / size:+g} {unit}" for k in ticks]


def drawing(key: str, paths: Iterable[tuple[str, str]], label: str, values: Sequence[str], moments: Sequence[str]
            ) -> Markup:
    """The element ``draw-<key>``: a drawing between the texts of its axes, from the top and from the left."""
    axes = (Markup('<ol class="{}" aria-hidden="true">{}</ol>').format(
        name, Markup("").join(Markup("<li>{}</li>").format(text) for text in texts))
        for name, texts in (("values", values), ("moments", moments)))
    return Markup('<div class="draw" id="draw-{}">{}{}{}</div>').format(key, svg(paths, label), *axes)


def _through(x: Array, y: Array) -> str:
    """A path through points (N,), each relative to the one before, which is short; N is at least 1."""
    far = zip(np.diff(x).astype(int).tolist(), np.diff(y).astype(int).tolist(), strict=True)
    steps = [f"{right}{down}" if down < 0 else f"{right} {down}" for right, down in far]
    return f"M{x[0]:.0f} {y[0]:.0f}" + ("l" + " ".join(steps) if steps else "")
