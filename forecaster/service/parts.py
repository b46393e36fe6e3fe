"""Everything that one configuration needs to run, and what of it a reload keeps."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from forecaster.board import Board
from forecaster.config import ForecasterConfig
from forecaster.memory.keeping import Keeper
from forecaster.memory.scraped import ScrapeSource
from forecaster.models.model import Model
from forecaster.publish.collector import ForecastCollector
from forecaster.publish.firing import Firing
from forecaster.publish.result import Result
from forecaster.publish.view import View, Views
from forecaster.readings import Source, SourceError
from forecaster.service.capacity import CapacityWatch
from forecaster.service.cycle import Cycle

SCRAPE_FILE = "scrape.npz"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """The parts of one configuration. Their owner calls start() once, and close() before it lets go of them; discard()
    if it never starts them."""

    config: ForecasterConfig
    source: Source
    cycle: Cycle
    board: Board[Result]
    collector: ForecastCollector
    model: Mapping[str, object]  # the model in /status; "problem" says why it is not used
    capacity: CapacityWatch | None  # what fills up, where it is watched
    loaded: Model | None  # whose owner closes it: a reload keeps it where it is the same
    joint: dict[str, dict[str, float]]  # window -> parameters of the chance of any server, where calibrated
    firing: Firing | None = None  # the fleet's alerts at Alertmanager, where one is configured

    @cached_property
    def views(self) -> Views:
        """What readers see, by tenants."""
        watch = self.capacity
        filling = (watch.board, watch.collector) if watch is not None else (None, None)
        return Views(View(self.board, self.collector, *filling), self.config.tenants.servers)

    def start(self, now: float) -> None:
        """Restores what the last process saved, then begins to read and to forecast, in threads; `now` in Unix
        seconds."""
        source = self.source
        if isinstance(source, ScrapeSource):
            Keeper(self.config.storage, self.cycle.errors).restore({SCRAPE_FILE: source}, now)
            if (path := self.config.source.bootstrap) is not None:
                try:  # fills only what the snapshot lacks
                    log.info("bootstrapped with %d samples from %s", source.bootstrap(path), path)
                except SourceError as error:
                    log.error("no bootstrap, forecasts start without history: %s", error)
            source.start()
        firing = self.firing
        if self.capacity is not None:  # the first forecast comes sooner without it
            self.capacity.start(self.cycle.tried, self.cycle.filled, firing.filling if firing is not None else None)
        self.cycle.start(firing.servers if firing is not None else None)

    def close(self) -> bool:
        """Ends the threads and writes snapshots for the next start; whether the cycle's thread has ended."""
        source = self.source
        ended = self.cycle.close()
        for one in (self.capacity, self.firing):
            if one is not None:
                one.close()
        if isinstance(source, ScrapeSource):
            Keeper(self.config.storage, self.cycle.errors).save({SCRAPE_FILE: source})
        return ended

    def discard(self, kept: Model | None) -> None:
        """Closes what was never started, except the model that others keep. Snapshots stay as they are."""
        self.cycle.disconnect()
        if self.capacity is not None:
            self.capacity.disconnect()
        if self.loaded is not None and self.loaded is not kept:
            self.loaded.close()

    def keep(self, old: Parts, ended: bool) -> None:
        """Takes over what is still valid of closed parts, where both read the same values at the same times.

        That is what Alertmanager was told, the latest result and, if the old cycle's thread has `ended`, window, past
        and record. A thread that hangs in a query may still touch these, so they stay with it.
        """
        if self.cycle.alertmanager is not None and old.cycle.alertmanager is not None:
            self.cycle.alertmanager.keep(old.cycle.alertmanager)
        if self.capacity is not None and old.capacity is not None:
            self.capacity.keep(old.capacity)
        mine, theirs = self.cycle.memory, old.cycle.memory
        if not mine.window.same(theirs.window):
            return
        if old.board.last is not None:
            self.board.publish(old.board.last)
        if ended:
            theirs.window.most, theirs.window.idle = mine.window.most, mine.window.idle
            mine.window = theirs.window
            self.cycle.course.keep(old.cycle.course)
            if mine.past is not None and theirs.past is not None and mine.past.same(theirs.past):
                theirs.past.most = mine.past.most
                mine.past = theirs.past
            if mine.record is not None and theirs.record is not None and mine.record.same(theirs.record):
                mine.record = theirs.record
            if mine.outcomes is not None and theirs.outcomes is not None and mine.outcomes.same(theirs.outcomes):
                mine.outcomes = theirs.outcomes
            if mine.pages is not None and theirs.pages is not None and mine.pages.same(theirs.pages):
                theirs.pages.rules = mine.pages.rules  # capacity.refresh may be another
                mine.pages = theirs.pages
