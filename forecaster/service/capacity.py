"""The watch over what fills up: a pass after the first cycle and every `capacity.refresh`, in a thread of its own.

A pass reads the last stretch of every resource, one after the other, forecasts all entities and publishes the Outlook.
Between two passes the watch reads history, a piece at a time, with pauses: Prometheus serves others. Once all of it is
there, the watch forecasts again.

An alert whose series are absent goes on, so that a resource is in the Outlook only once its history was read.

A resource whose query fails keeps what it had; a pass fails where all do, and the latest Outlook stays.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
import requests

from forecaster.board import Board
from forecaster.capacity.forecast import Weights
from forecaster.capacity.held import STEP, Held
from forecaster.capacity.kept import Kept
from forecaster.capacity.lasting import Lasting
from forecaster.capacity.outlook import MEDIAN, Outlook
from forecaster.capacity.past import HOUR
from forecaster.capacity.reader import ResourceReader, Stopped
from forecaster.capacity.series import Stretch
from forecaster.capacity.settings import Resource
from forecaster.capacity.survey import survey
from forecaster.config import ForecasterConfig
from forecaster.memory.keeping import Keeper
from forecaster.memory.pages import Key
from forecaster.publish.capacity_gauges import CapacityCollector
from forecaster.publish.capacity_json import about
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.readings import Labels, SourceError, SourceNonsense
from forecaster.service.heap import give_back
from forecaster.service.history import History
from forecaster.service.ticker import Ticker

PAUSE = 0.5  # s between two pieces of history, and at least BREAK times as long as the last one took
BREAK = 2.0
RETRY = 60.0  # s between two passes as long as nothing was found: Prometheus may have started a moment ago
SAVED = 3600.0  # s between two snapshots
LATE = 3  # refreshes without a success, after which the outlook is not shown; and forecast_ttl

Alerted = tuple[Collection[Key], Collection[Key]]  # entities whose page, and whose ticket, goes on

log = logging.getLogger(__name__)


class CapacityWatch:
    """Watches the resources of one configuration: start() in a thread, run_once() one pass.

    The `session` is its own, so that the cycle waits for none of its queries.
    """

    def __init__(self, config: ForecasterConfig, board: Board[Outlook], collector: CapacityCollector,
                 metrics: SelfMetrics, clock: Callable[[], float], session: requests.Session):
        self._config, self.board, self.collector = config, board, collector
        self._metrics, self._clock, self._session = metrics, clock, session
        self._weights: Weights | None = None  # read by the first pass: damaged ones cost only what fills up
        self.errors: dict[str, str | None] = {}
        self._ticker = Ticker(self._tick, config.capacity.refresh, clock, "capacity")
        self._stop, self._reading, self._took, self.ended = self._ticker.stopping, False, 0.0, True
        self._instant = 0  # of the last pass
        self._rang: Callable[[float], Alerted] = lambda now: ((), ())
        self._fires: Callable[[], Alerted] = lambda: ((), ())
        self._failing: set[str] = set()  # resources that could not be read since then
        self._unread: tuple[str, ...] = ()  # those of the pass itself
        self._bad: set[str] = set()  # and those of which it could not read all
        self._shown: set[str] = set()  # resources that are in the latest Outlook
        source, resources = config.source, config.capacity.resources
        labels = Labels(source.server_label, source.profile_label, source.default_profile,
                        config.limits.name_length, config.limits.labels_length)
        self._readers = {
            name: ResourceReader(name, of, str(source.url), session, source.timeout, labels, config.share,
                                 source.parameters, clock, self._stop, config.limits) for name, of in resources.items()}
        self.held = {name: Held(_origin(config, of), of.history, config.drop_after) for name, of in resources.items()}
        self._history = History(self.held, clock)
        self._keeper = Keeper(config.storage, self.errors, SAVED)

    # -- running ------------------------------------------------------------------------------------

    def start(self, after: Event | None = None,
              rang: Callable[[float], Alerted] | None = None, fires: Callable[[], Alerted] | None = None) -> None:
        """Restores the snapshots that fit, then runs a pass once `after` is set, by default at once, and one every
        refresh. rang: as Pages.filling, asked of what the last Outlook did not have; fires: as Firing.filling."""
        self._rang, self._fires = rang or self._rang, fires or self._fires
        self._keeper.restore({name: part for name, part in self._parts().items()
                              if self.held[name.removeprefix("capacity-").removesuffix(".npz")].instant is None},
                             self._clock())
        self._ticker.start(after)

    def close(self, timeout: float = 1.0) -> bool:
        """Ends the thread and writes snapshots; whether it has ended within `timeout` seconds. A thread that hangs in a
        query changes nothing when it returns."""
        self._stop.set()
        self.ended = self._ticker.join(timeout)
        if self.ended or self._reading:
            self._keeper.save(self._parts())
        self.disconnect()
        return self.ended

    def disconnect(self) -> None:
        """Closes the connections."""
        self._session.close()

    def keep(self, old: "CapacityWatch") -> None:
        """Takes over from a closed watch what is still valid: the resources that are read in the same way, if the
        thread of the old one has ended, and the latest Outlook, if these are all."""
        same = {name for name, held in self.held.items() if name in old.held and old.held[name].origin == held.origin}
        if old.board.last is not None and same == set(self.held) == set(old.held):
            self.board.publish(old.board.last)
        for name in same if old.ended else ():
            mine, theirs = self.held[name], old.held[name]
            if self._config.capacity.resources[name].history == old._config.capacity.resources[name].history:
                theirs.drop_after = mine.drop_after
                self.held[name] = theirs

    def run_once(self) -> bool:
        """One pass; True if it could read anything. It publishes an Outlook of what has its history."""
        started, instant = time.perf_counter(), int(self._clock() // STEP * STEP)
        failed: dict[str, SourceError] = {}
        for name, held in self.held.items():
            try:
                stretch = self._read(name, *held.stretch(instant), STEP)
            except SourceError as error:
                failed[name] = error
            else:
                held.take(stretch, self._room(held))
                self._history.recall(name)
        self._failing, self._unread = set(failed), tuple(failed)
        self._bad = {name for name, reader in self._readers.items() if reader.error is not None}
        self._say_read()
        if len(failed) == len(self.held):
            self.errors["query"] = "; ".join(map(str, failed.values()))
            log.error("what fills up is not forecast: %s", self.errors["query"])
            return False
        self.errors["query"] = None
        for name in failed:
            self.held[name].advance(instant)
        self._instant = instant
        published = self._publish(instant)
        self._took = time.perf_counter() - started
        if published:
            self._say_success()
        return True

    def read_piece(self) -> bool:
        """Reads the next piece of history; whether there is more that can be read before the next pass."""
        wanted = self._history.wanted(self._failing)
        if wanted is None:
            return False
        (name, piece), began = wanted, time.monotonic()
        try:
            self.held[name].fill(self._read(name, *piece, HOUR))
        except SourceNonsense:  # it will not be another the next time
            self.held[name].skip(*piece)
        except SourceError:
            self._failing.add(name)  # the next pass is its next attempt; it must not keep the others from theirs
        self._history.took(name, time.monotonic() - began)
        return self._history.wanted(self._failing) is not None

    # -- inside -------------------------------------------------------------------------------------

    def _tick(self) -> None:
        try:
            read = self.run_once()
            while not any(held.entities for held in self.held.values()) and self._left() > RETRY:
                if self._stop.wait(RETRY):
                    return
                read = self.run_once()
            if read:
                self._read_history()
            if self._keeper.due():
                self._keeper.save(self._parts())
        except Stopped:
            return
        except Exception as error:
            self.errors["pass"] = str(error) or type(error).__name__
            raise
        self.errors["pass"] = None

    def _read_history(self) -> None:
        """Reads history until the next pass is near; forecasts again once that of a resource is there that was waited
        for, and once all of it is there, which is then saved."""
        more, until, pause = self._history.wanted(self._failing) is not None, time.monotonic() + self._left(), 0.0
        while more and time.monotonic() + pause < until and not self._stop.wait(pause):
            began = time.monotonic()
            more = self.read_piece()
            pause = max(PAUSE, BREAK * (time.monotonic() - began))
            if (not more or set(self._history.told()) != self._shown) and self._publish(self._instant):
                self._say_success()
            if not more:
                self._keeper.save(self._parts())  # what took minutes to read is not to be lost in the first hour

    def _left(self) -> float:
        """Seconds to the next pass."""
        return self._config.capacity.refresh - self._clock() % self._config.capacity.refresh

    def _say_read(self) -> None:
        """What is not read, or not told yet, has no say in which alerts are over."""
        told = self._history.told()
        self._metrics.capacity_read({name: name in self._bad or name not in told for name in self.held})

    def _say_success(self) -> None:
        self._metrics.capacity(self._clock(), self._took, sum(len(held.entities) for held in self.held.values()))
        self._say_read()  # after its series are there

    def _publish(self, instant: int) -> bool:
        """Publishes an Outlook of what is told, if that is anything; whether it did."""
        config, told = self._config, self._history.told()
        waits = tuple(name for name in self.held if name not in told)
        self._shown = set(told)
        if waits and not any(held.entities for held in told.values()):
            return False
        if self._weights is None:
            self._weights = Weights.load()
        outlook = survey(instant, told, config.capacity, self._weights, self.board.last,
                         config.source.default_profile)
        outlook = replace(outlook, lasting=self._lasting(outlook), unread=self._unread, waits_for=waits)
        if self._stop.is_set():
            raise Stopped
        self._metrics.exposition(self.collector.prepare(outlook), "capacity")
        self.board.publish(outlook)
        give_back()  # answers and courses were large
        return True

    def _lasting(self, outlook: Outlook) -> Lasting:
        """Goes on where the last outlook ended, or the record of pages did, and with what fires at Alertmanager."""
        now, last = self._clock(), self.board.last
        keys = [one.key for one in outlook.entities]
        before = Lasting.resumed(keys, *self._rang(now))
        if last is not None and last.lasting is not None:
            rows = np.array([last.places.get(key, -1) for key in outlook.places], np.int64)
            known = last.lasting.of(rows)
            if self.board.current(now) is None:  # its series were gone, and what had not fired yet begins anew
                known = replace(known, since=np.full_like(known.since, np.nan))
            before = Lasting(known.since, np.where((rows < 0)[:, None], before.rings, known.rings))
        fires = Lasting.resumed(keys, *self._fires())
        before = replace(before, rings=before.rings | fires.rings)
        return before.then(now, outlook.urgency, outlook.filling.full_at[:, MEDIAN])

    def _read(self, name: str, start: float, end: float, step: float) -> Stretch:
        if self._stop.is_set():
            raise Stopped
        self._reading = True
        try:
            found = self._readers[name].read(start, end, step)
            if self._stop.is_set():  # the memory may be on its way to the disk
                raise Stopped
            return found
        finally:
            self._reading = False

    def _room(self, held: Held) -> int:
        return self._config.capacity.max_entities - sum(len(of.entities) for of in self.held.values())

    def _parts(self) -> Mapping[str, Kept]:
        return {f"capacity-{name}.npz": Kept(held) for name, held in self.held.items()}

    def queries(self) -> dict[str, dict[str, Any]]:
        """Of each resource, as ResourceReader.describe."""
        return {name: reader.describe() for name, reader in self._readers.items()}

    def state(self) -> dict[str, object]:
        """What /status says of it."""
        now, last, told, queries = self._clock(), self.board.last, self._history.told(), self.queries()
        resources = {name: {
            "title": self._config.capacity.resources[name].title or name, "entities": len(held.entities),
            "lost": int(held.lost.sum()), "refused": held.refused, "history_read": round(held.read_share, 3),
            "shown": name in told,
            **queries[name]} for name, held in self.held.items()}
        return {"enabled": True, **about(last, self.board.current(now) is not None, now),
                "refresh_seconds": self._config.capacity.refresh, "ttl_seconds": self.board.ttl,
                "duration_seconds": round(self._took, 3), "max_entities": self._config.capacity.max_entities,
                "errors": dict(self.errors), "resources": resources}


def make_watch(config: ForecasterConfig, metrics: SelfMetrics, clock: Callable[[], float],
               session: Callable[[], requests.Session]) -> CapacityWatch | None:
    """The watch that the configuration asks for, not started; None without resources, or without Prometheus."""
    if not (config.capacity.enabled and config.capacity.resources and config.source.kind == "prometheus"):
        return None
    board = Board[Outlook](LATE * config.capacity.refresh + config.forecast_ttl)
    collector = CapacityCollector(board, clock, config.publish.gauges == "all")
    return CapacityWatch(config, board, collector, metrics, clock, session())


def _origin(config: ForecasterConfig, resource: Resource) -> str:
    """A hash of where a resource's values come from: those of another query or shard must not mix with these."""
    source = config.source
    origin = (source.url, source.server_label, config.share, resource.query, resource.size, resource.entity,
              resource.backing, sorted(resource.ignore.items()))
    return hashlib.sha256(repr(origin).encode()).hexdigest()[:16]
