"""Which servers are up, when each was scraped last and how often, and what that means for their values.

A value counts while its server is up and its last scrape is recent: a rate sinks while samples are missing, and a host
that is off is not idle. Between two scrapes, and while the next one is late, the value of the last one stands.

S servers, C signals, N instants. Scrapes are seconds before the instant of a reading, as negative numbers.
"""

import json
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from forecaster.readings import milliseconds

PATIENCE = 2.5  # scrape intervals; one scrape may fail
LEAST_PATIENCE = 0.1  # of the step, for delivery that lags a little: a mean over the step hardly sees it
RATE_SCRAPES = 4  # within the time that a rate is taken over, so that it survives a failed scrape
_SPAN = 12  # steps over which scrapes are counted, where they are few
_ENOUGH = 8  # scrapes within that time; fewer may be those of a new server
_COMMON = 10  # instants of a range, from which on the median age of a scrape tells of its interval
_DOWN = 1e6  # s, added to the age of a failed scrape
_SAME = 0.01  # s, between two scrape times that are one


def render(query: str, step: float) -> str:
    """The query with $step filled in as a duration such as 300s."""
    whole = milliseconds("step", step)
    return re.sub(r"\$step\b", f"{whole}ms" if whole % 1000 else f"{whole // 1000}s", query)


class Up:
    """Reads `selector`: series that are 1 while the scrape of a server succeeds, named by the label `server_label`.

    `scraped` and `scrapes` are queries with one series per server: when its newest scrape was, relative to the instant,
    with a failed one far in the past; and how many scrapes it has in 12 steps, a new one by those of the latest step.
    """

    def __init__(self, selector: str, server_label: str, step: float):
        by = server_label if re.fullmatch(r"[a-zA-Z_]\w*", server_label) else json.dumps(server_label)
        few, many = (f"count_over_time({selector}[{render('$step', span)}])" for span in (step, _SPAN * step))
        self._by, self._step = by, step
        self._intervals: dict[str, float] = {}
        self._gaps: dict[str, float] = {}  # s, least interval between the two newest scrapes that were seen
        self.scraped = f"max by ({by}) (timestamp({selector}) - time() - {_DOWN:g} * ({selector} != bool 1))"
        self.scrapes = f"max by ({by}) ({_SPAN} * ({few} >= {RATE_SCRAPES}) > {many} or {many} >= {_ENOUGH})"

    def counted(self, servers: Sequence[str], scrapes: npt.NDArray[np.float32]) -> None:
        """Takes an answer to `scrapes`: these servers and their numbers (n,)."""
        counted = zip(servers, scrapes.astype(np.float64).tolist(), strict=True)
        self._intervals = {server: _SPAN * self._step / count for server, count in counted if count > 0}

    def seen(self, servers: Sequence[str], gaps: npt.NDArray[np.float64], apart: float) -> None:
        """Takes the time between the newest scrapes (n,) of two readings that are `apart`, in s; NaN or 0 where it is
        not known.

        Nothing was scraped between the earlier one and its reading, so that the interval is at least the rest of the
        gap. It tells of a slower interval at once, which the mean over 12 steps shows much later.
        """
        found = zip(servers, gaps.tolist(), strict=True)
        self._gaps = {server: max(gap - apart, 0.0) if gap > _SAME else self._gaps.get(server, 0.0)
                      for server, gap in found}

    @property
    def known(self) -> bool:
        """Whether scrapes of any server were counted."""
        return bool(self._intervals)

    def render(self, query: str) -> str:
        """The query with $step filled in; with 4 scrape intervals for servers of which a step holds fewer scrapes."""
        narrow, longest = render(query, self._step), max(self._intervals.values(), default=0.0)
        if RATE_SCRAPES * longest <= self._step:
            return narrow
        wide = render(query, round(RATE_SCRAPES * min(longest, self._step)))  # beyond a step, `up` itself is lost
        seldom = f"on ({self._by}) ({self.scrapes} < {RATE_SCRAPES * _SPAN})"
        return f"(({narrow}) unless {seldom}) or (({wide}) and {seldom})"

    def recent(self, servers: Sequence[str], scraped: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """bool (N, S): whether the newest scrape (N, S) succeeded and is recent by the server's own interval.

        True where nothing is known of a server: it has no scrape in `scraped`, and none of it was counted. In a range,
        the interval may have been longer than it is now: the median of the ages in it is that of a scrape in time.
        """
        own = np.array([self._intervals.get(server, np.nan) for server in servers])
        own = np.maximum(own, [self._gaps.get(server, 0.0) for server in servers])
        if len(scraped) >= _COMMON:
            known = self.succeeded(scraped).any(axis=0)
            ages = np.where(self.succeeded(scraped[:, known]), -scraped[:, known], np.nan)
            own[known] = np.maximum(own[known], np.nanmedian(ages, axis=0))
        patience = np.where(np.isnan(own), self._step, np.maximum(PATIENCE * own, LEAST_PATIENCE * self._step))
        recent: npt.NDArray[np.bool_] = (scraped >= -patience) | (np.isnan(scraped).all(axis=0) & np.isnan(own))
        return recent

    @staticmethod
    def succeeded(scraped: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """bool, as `scraped`: whether the newest scrape succeeded, at whatever time."""
        succeeded: npt.NDArray[np.bool_] = scraped > -_DOWN / 2
        return succeeded


def hold(instants: npt.NDArray[np.float64], scraped: npt.NDArray[np.float32], values: npt.NDArray[np.float32]) -> None:
    """Puts in place of values (N, S, C) those of the instant before, where no scrape (N, S) lies between the two."""
    at = instants[:, None] + scraped.astype(np.float64)
    for n in range(1, len(values)):
        held = (np.abs(at[n] - at[n - 1]) < _SAME)[:, None] & np.isfinite(values[n - 1])
        values[n] = np.where(held, values[n - 1], values[n])
