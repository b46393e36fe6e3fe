"""A Prometheus source whose values count only while their server is up and was scraped recently.

S servers, C signals, N instants.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from forecaster.readings import NoData, Reading, Readings, SourceError, SourceUnreachable
from forecaster.sources.notes import LoggedOnce, Notes
from forecaster.sources.prometheus import PrometheusSource
from forecaster.sources.up import Up, hold

NAME = "source.up"
_LATE = "servers whose newest scrape is too old have no values; does delivery lag, or do clocks differ?"
_UNKNOWN = f"servers without a series of {NAME} are read whether they are up or not"

R = TypeVar("R", Reading, Readings)


class Gate:
    """`source`, with the values of servers that are up by `up`, of which `scraped` and `scrapes` read the queries.

    Scrapes are counted anew every `step` seconds. Where nothing is known of a server, its values count, and describe()
    says so.
    """

    def __init__(self, source: PrometheusSource, scraped: PrometheusSource, scrapes: PrometheusSource, up: Up,
                 step: float, clock: Callable[[], float] = time.time):
        self._source, self._scraped, self._scrapes, self._up, self._step = source, scraped, scrapes, up, step
        self._counted: float | None = None  # the instant up to which scrapes were counted
        self._before: Reading | None = None  # the latest reading, with the newest scrape as a further signal
        self._state_before: Reading | None = None  # the newest scrape of all servers then
        self._once, self._clock = LoggedOnce(), clock
        self._warnings: list[str] = []

    def latest(self, instant: float) -> Reading:
        """The source's, of servers that are up; between two scrapes as it was. NoData if there is none of either."""
        self._count(instant)
        none = None
        try:
            reading = self._source.latest(instant)
        except NoData as error:  # a server can be up and have no values
            none, reading = error, _nobody(instant, self._source.width)
        state = self._state(lambda: self._scraped.latest(instant), _nobody(instant, 1))
        if state is not None:
            reading = self._kept(reading, state)
        if none is not None and not reading.up:
            raise none
        return reading

    def range(self, start: float, end: float, step: float, offset: float = 0.0) -> Readings:
        """The source's, of servers while they were up; SourceUnreachable where that cannot be read now, since history
        is read once."""
        self._count(end)
        readings = self._source.range(start, end, step, offset)
        state = self._state(lambda: self._scraped.range(start, end, step, offset), None, SourceUnreachable)
        if state is None:
            return readings
        scraped, values = _of(readings.servers, state)[..., 0], readings.values.copy()
        hold(readings.instants, scraped, values)
        values[~self._up.recent(readings.servers, scraped)] = np.nan
        kept = np.isfinite(values).any(axis=(0, 2))
        return replace(readings, servers=tuple(compress(readings.servers, kept)),
                       profiles=tuple(compress(readings.profiles, kept)), values=values[:, kept])

    def describe(self) -> dict[str, Any]:
        """What the source describes, and of `up` the query, error and warnings."""
        up, scrapes = (source.describe()["signals"][NAME] for source in (self._scraped, self._scrapes))
        warnings = [*self._warnings, *up["warnings"]]
        return self._source.describe() | {"up": up | {"warnings": warnings, "scrapes": scrapes}}

    def close(self) -> None:
        """Closes the connections."""
        for source in (self._source, self._scraped, self._scrapes):
            source.close()

    # -- inside -------------------------------------------------------------------------------------

    def _count(self, instant: float) -> None:
        """Counts scrapes, if that is due, and fits the source's queries to them."""
        if self._counted is not None and abs(instant - self._counted) < self._step:
            return
        try:
            reading = self._scrapes.latest(instant)
            self._up.counted(reading.servers, reading.values[:, 0])
        except NoData:
            self._up.counted((), np.empty(0, np.float32))
        except SourceError as error:  # it is asked again with the next step; the last count stands
            self._once.warn(NAME, {"count": f"scrapes are not counted: {error}"}, self._clock())
        self._counted = instant
        self._source.fit(self._up.render)

    def _state(self, read: Callable[[], R], empty: R | None, raised: type[SourceError] | tuple[()] = ()) -> R | None:
        """The newest scrape of each server, `empty` where there is none; None where they cannot be read. Errors of the
        type `raised` are passed on."""
        try:
            return read()
        except NoData:
            return empty
        except SourceError as error:
            if isinstance(error, raised):
                raise
            self._warnings = [f"values count whether their server is up or not: {error}"]
            self._once.warn(NAME, {"state": self._warnings[0]}, self._clock())
            return None

    def _kept(self, reading: Reading, state: Reading) -> Reading:
        """The reading of servers that are up; notes the others that were scraped."""
        if self._state_before is not None:
            earlier = _of(state.servers, self._state_before)[:, 0]
            succeeded = self._up.succeeded(state.values[:, 0]) & self._up.succeeded(earlier)
            apart = reading.instant - self._state_before.instant
            gaps = apart + state.values[:, 0].astype(np.float64) - earlier
            self._up.seen(state.servers, np.where(succeeded, gaps, np.nan), apart)
        self._state_before = state
        recent = self._up.recent(state.servers, state.values[None, :, 0])[0]
        listed = state.servers if state.servers or self._up.known else None
        up = tuple(compress(state.servers, recent)) if listed is not None else None
        scraped = _of(reading.servers, state)
        kept = self._up.recent(reading.servers, scraped[None, :, 0])[0]
        notes = Notes()
        for reason, servers in ((_LATE, compress(state.servers, ~recent & self._up.succeeded(state.values[:, 0]))),
                                (_UNKNOWN, compress(reading.servers, kept & np.isnan(scraped[:, 0])))):
            if named := list(servers):
                notes.add(reason, named, len(named))
        self._warnings = list(notes.texts().values())
        self._once.warn(NAME, notes.texts(), self._clock())
        names, scraped, values = tuple(compress(reading.servers, kept)), scraped[kept], reading.values[kept]
        if self._before is not None:
            before = _of(names, self._before)
            both = np.stack([before[:, :-1], values])
            hold(np.array([self._before.instant, reading.instant]), np.stack([before[:, -1], scraped[:, 0]]), both)
            values = both[1]
        self._before = Reading(reading.instant, names, (), np.concatenate([values, scraped], axis=1))
        return replace(reading, servers=names, profiles=tuple(compress(reading.profiles, kept)), values=values, up=up,
                       listed=listed)


def _nobody(instant: float, signals: int) -> Reading:
    return Reading(instant, (), (), np.empty((0, signals), np.float32))


def _of(servers: Sequence[str], read: Reading | Readings) -> npt.NDArray[np.float32]:
    """float32 (..., S, C): the values of these servers in another reading, NaN of those that it lacks."""
    row = {server: number for number, server in enumerate(read.servers)}
    places = np.array([row.get(server, -1) for server in servers], np.int64)
    lacking = np.full_like(read.values, np.nan, shape=(*read.values.shape[:-2], 1, read.values.shape[-1]))
    found: npt.NDArray[np.float32] = np.concatenate([read.values, lacking], axis=-2)[..., places, :]
    return found
