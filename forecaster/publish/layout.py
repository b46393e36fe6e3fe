"""Which series the gauges have: those of `publish.gauges: all`, or the essential ones.

Of the essential ones a server has at most 60 with eight signals and three incidents. Nothing is left out of the curves,
the record and the fleet's figures.
"""

from dataclasses import dataclass, replace
from itertools import product

from forecaster.publish.result import PERCENTILES
from forecaster.risk.score import RISK_STEPS

Labelled = tuple[tuple[str, int], ...]  # (label, steps), shortest first
Points = tuple[tuple[str, str, int], ...]  # (percentile, label, steps)


@dataclass(frozen=True)
class Layout:
    """What the names and labels of the series depend on; they change only with it."""

    servers: tuple[tuple[str, str], ...]  # (server, profile)
    signals: tuple[str, ...]
    horizons: Labelled
    windows: Labelled
    incident: tuple[str, ...]  # windows that have an incident probability
    scored: tuple[str, ...] | None = None  # signals of the risk score; None: every series of every signal is shown
    incidents: tuple[str, ...] = ()  # names
    unforecast: tuple[tuple[str, str], ...] = ()  # (server, reason)

    def of(self, signal: str) -> "Layout":
        """The layout of one signal's series."""
        return replace(self, signals=(signal,))

    @property
    def points(self) -> Points:
        """The forecasts of one signal that are shown; of the essential ones p50 and p90 at the first of _ends."""
        if self.scored is None:
            return tuple((percentile, *one) for percentile, one in product(PERCENTILES, self.horizons))
        return tuple((percentile, *_ends(self.horizons)[0]) for percentile in PERCENTILES[1:])

    @property
    def maxima(self) -> Points:
        """The largest forecasts of one signal that are shown; of the essential ones, for signals of the risk score, p50
        in the longest window and p90 in both of _ends."""
        if self.scored is None:
            return tuple((percentile, *one) for percentile, one in product(PERCENTILES, self.windows))
        if self.signals[0] not in self.scored:
            return ()
        windows = _ends(self.windows)
        return (("p50", *windows[-1]), *(("p90", *one) for one in windows))

    @property
    def chances(self) -> tuple[str, ...]:
        """The windows of which a server's probabilities are shown."""
        windows = tuple(window for window in self.windows if window[0] in self.incident)
        return tuple(label for label, _ in (windows if self.scored is None else _ends(windows)))


def _ends(labelled: Labelled) -> Labelled:
    """The first that spans the risk window of 30 minutes, and the longest: one where they are the same."""
    first = next((one for one in labelled if one[1] >= RISK_STEPS), labelled[-1])
    return tuple(dict.fromkeys((first, labelled[-1])))
