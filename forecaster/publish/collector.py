"""Renders a Result as the gauges of /metrics once per cycle, ahead of the scrapes."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from forecaster.board import Board
from forecaster.publish.gauges import ONE, families, numbers
from forecaster.publish.layout import Layout
from forecaster.publish.result import Result
from serving.exposition import Page, Prepared, family_header, series_prefixes


class ForecastCollector:
    """The text of the forecast_* and observed_* gauges for a board's latest Result.

    `horizons` and `windows` map labels to steps, shortest first, `described` a signal to (title, unit) for the help
    texts. `scored` names the signals of the risk score, for the essential series alone; None shows all series.
    """

    def __init__(self, board: Board[Result], horizons: Mapping[str, int], windows: Mapping[str, int],
                 described: Mapping[str, tuple[str, str]], clock: Callable[[], float] = time.time,
                 scored: Sequence[str] | None = None):
        self._board = board
        self._horizons, self._windows = tuple(horizons.items()), tuple(windows.items())
        # the two text formats disagree on how a double quote in a help text is written
        self._described = {signal: (title.replace('"', "'"), unit)
                           for signal, (title, unit) in described.items()}
        self._clock = clock
        self._scored = None if scored is None else tuple(scored)
        self._lock = threading.Lock()
        self._layouts: dict[bool, Layout] = {}  # by whether the families outlive the forecast, as are the pages
        self._pages: dict[bool, Page] = {}
        self._rendered: tuple[tuple[Result, Prepared, Prepared], ...] = ()  # of the next Result and of the shown one

    def over(self, board: Board[Result]) -> "ForecastCollector":
        """One with the same settings over another board."""
        return ForecastCollector(board, dict(self._horizons), dict(self._windows), self._described, self._clock,
                                 self._scored)

    def prepare(self, result: Result) -> int:
        """Renders `result` before it is published, so that scrapes find it ready; the bytes of a scrape without
        compression."""
        return sum(len(part.text) for part in self._text(result))

    def pack(self, result: Result) -> None:
        """Compresses the text of `result` before a scrape asks for it."""
        for part in self._text(result):
            part.pack()

    def exposition(self) -> tuple[Prepared, ...]:
        """The gauges to show now, in the text format, which is also valid inside an OpenMetrics answer."""
        now = self._clock()
        result = self._board.last
        if result is None:
            return ()
        outliving, forecasts = self._text(result)
        return (forecasts, outliving) if result.age(now) <= self._board.ttl else (outliving,)

    def _text(self, result: Result) -> tuple[Prepared, Prepared]:
        """(families that outlive the forecast, all others); made once for each Result."""
        for known, outliving, forecasts in self._rendered:  # no lock: a scrape must not wait for the next Result's text
            if known is result:
                return outliving, forecasts
        with self._lock:
            found = result.risk.incidents
            layout = Layout(tuple(zip(result.servers, result.profiles, strict=True)), result.signals,
                            self._horizons, self._windows, tuple(result.risk.probability), self._scored,
                            found.names if found is not None else (), tuple(result.unforecast.items()))
            for outlives in (True, False):  # a host that comes and goes without values leaves the large page as it is
                part = layout if outlives else replace(layout, unforecast=())
                if part != self._layouts.get(outlives):
                    self._pages[outlives], self._layouts[outlives] = Page(self._series(part, outlives)), part
            outliving, forecasts = (Prepared(self._pages[outlives].render([*numbers(result, layout, outlives)]))
                                    for outlives in (True, False))
            self._rendered = ((result, outliving, forecasts), *self._rendered[:1])
            return outliving, forecasts

    def _series(self, layout: Layout, outlives: bool) -> Iterator[tuple[str, list[str]]]:
        """(header, prefixes) of each family, once per signal where it has them; `numbers` has the values."""
        for family in families(outlives):
            for name, at in family.parts(layout):
                more = tuple(family.more(at))
                rows = [(*server, *row) for server in (layout.servers if family.per_server else ONE) for row in more]
                signal = at.signals[0]
                title, unit = self._described.get(signal, (signal, "its own unit"))
                header = family_header(name, family.help.format(title=title, unit=unit))
                yield header, series_prefixes(name, family.labels, rows)
