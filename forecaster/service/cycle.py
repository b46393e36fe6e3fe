"""The cycle: every refresh the stages run in order, and the result is published whole or not at all.

Stages raise; the cycle is the one place that catches, counts and logs these errors, and goes on. When a stage fails,
the latest Result stays on the board until its time-to-live ends.

    query     reads the latest values of every server and signal from the source
    window    adds them to the memory, and fills gaps from the source's history
    features  takes from the memory what is known at this instant
    model     forecasts warm servers; if it fails, the trend heuristic forecasts them
    risk      adds the heuristic's forecasts of the others; the record's step, chances, points and priorities
    publish   puts the result on the board, which /metrics, the curves and the JSON read
    push      writes curves to VictoriaMetrics, once a step

Whatever came of these, stage alertmanager tells Alertmanager when Prometheus does not answer.

The instant of a cycle is the last multiple of the refresh by the source's clock, so that two forecasters with one
configuration send the same queries and publish the same numbers. The cycle runs a moment later, when all samples up to
that instant are stored.
"""

import logging
import time
from collections.abc import Callable
from zoneinfo import ZoneInfo

import numpy as np

from forecaster.board import Board
from forecaster.capacity.outlook import Outlook
from forecaster.config import ForecasterConfig
from forecaster.memory.memory import Memory, Present
from forecaster.memory.outcomes import Outcomes
from forecaster.memory.pages import Key, Pages
from forecaster.memory.past import Past
from forecaster.memory.record import Proof, Record
from forecaster.memory.ring import Values
from forecaster.memory.window import Window
from forecaster.models import forecast, heuristic
from forecaster.models.features import MOTION_SHARE
from forecaster.models.forecast import Forecast
from forecaster.models.model import Model
from forecaster.models.unforecast import lost, unforecast
from forecaster.publish.alertmanager import Alertmanager
from forecaster.publish.collector import ForecastCollector
from forecaster.publish.push import Push
from forecaster.publish.result import Result
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.readings import NoData, Reading, Source, SourceDown, SourceError
from forecaster.risk import incidents, score
from forecaster.risk.chances import WINDOWS, Chances
from forecaster.risk.incidents import Incidents
from forecaster.risk.state import Course, watched
from forecaster.service.counting import count
from forecaster.service.heap import give_back
from forecaster.service.reads import reads
from forecaster.service.stages import StageError, Stages
from forecaster.service.ticker import Ticker
from forecaster.sources.clock import PROBLEM, source_clock

log = logging.getLogger(__name__)


class Stopped(Exception):
    """The cycle was told to end before it had all that a forecast reads."""


class Cycle:
    """Runs the stages for one configuration: start() every refresh in a thread, run_once() one cycle."""

    def __init__(self, config: ForecasterConfig, source: Source, window: Window, model: Model | None,
                 board: Board[Result], collector: ForecastCollector, metrics: SelfMetrics,
                 clock: Callable[[], float] = time.time,
                 past: Past | None = None, record: Record | None = None, push: Push | None = None,
                 chances: Chances | None = None, alertmanager: Alertmanager | None = None,
                 capacity: Board[Outlook] | None = None, outcomes: Outcomes | None = None,
                 pages: Pages | None = None):
        self._config, self._source, self._model, self._chances = config, source, model, chances
        self._board, self._collector, self._metrics, self._clock = board, collector, metrics, source_clock(clock)
        self._capacity = capacity
        self._stage, self._push, self.alertmanager = Stages(metrics), push, alertmanager
        metrics.prometheus_down(False)  # the next cycle knows
        self.errors = self._stage.errors  # stage -> error of its last run, None where it succeeded
        self.memory = Memory(window, past, record, config.storage, self.errors, outcomes, pages)
        self._signals, self._zone = tuple(config.signals), ZoneInfo(config.timezone)
        self._conditions = config.risk.conditions(self._signals)
        self._optional = frozenset(name for name, signal in config.signals.items() if signal.optional)
        self._needed = np.array([name not in self._optional for name in self._signals])
        self._reads = reads(config)
        self.course = Course(config.risk.priorities, config.refresh)
        self._ticker = Ticker(self.run_once, config.refresh, self._clock)
        self._stop, self.tried = self._ticker.stopping, self._ticker.ticked  # the latter is set after the first cycle

    # -- running ----------------------------------------------------------------------------------------------------

    def start(self, fires: Callable[[], tuple[set[str], set[str]]] | None = None) -> None:
        """Restores the snapshots, then runs a cycle at once and one every refresh. fires: as Firing.servers."""
        self.restore(fires)
        self._ticker.start()

    def restore(self, fires: Callable[[], tuple[set[str], set[str]]] | None = None) -> None:
        """Goes on where the snapshots end, and with what fires at Alertmanager."""
        self.memory.restore(now := self._clock())
        if not self.course.begun:
            pages = self.memory.pages
            both = [pages.ringing(now) if pages is not None else (set(), set()), fires() if fires else (set(), set())]
            self.course.resume(*(set().union(*of) for of in zip(*both, strict=True)))

    def filled(self, now: float) -> tuple[set[Key], set[Key]]:
        """As Pages.filling."""
        with self.memory.lock:
            return self.memory.pages.filling(now) if self.memory.pages is not None else (set(), set())

    def close(self, timeout: float = 1.0) -> bool:
        """Ends the thread and writes snapshots; whether the thread has ended within `timeout` seconds.

        A thread that hangs in a query does not change the window when it returns, so the window is saved then too.
        """
        self._stop.set()
        ended = self._ticker.join(timeout)
        if ended or self._stage.running == "query":
            self.memory.save()
        self.disconnect()
        return ended

    def disconnect(self) -> None:
        """Closes the connections."""
        for one in (self._source, self._push, self.alertmanager):
            if one is not None:
                one.close()

    def run_once(self) -> bool:
        """One cycle; True if it published a Result."""
        started, success, down, first = time.perf_counter(), False, None, self._board.last is None
        try:
            result = self._result()
            self._publish(result)
            success = True
            self._write_curves(result)
            self._fill_later(result.issued)
        except Stopped:
            return False
        except StageError as error:
            log.error("cycle failed at stage %s", error)
            down = error.__cause__ if isinstance(error.__cause__, SourceDown) else None
        self._tell(down)
        self._metrics.cycle(time.perf_counter() - started, self._clock(), success)
        self.memory.save(only_if_due=True)
        if success and first:  # the answers with the history were large
            give_back()
        return success

    def _now(self) -> float:
        milliseconds = round(self._config.refresh * 1000)
        return int(self._clock() * 1000) // milliseconds * milliseconds / 1000

    # -- stages -----------------------------------------------------------------------------------------------------

    def _result(self) -> Result:
        config, memory = self._config, self.memory
        with self._stage("query"):
            now, reading = self._read()
        if self._stop.is_set():  # told to end during the query: the window may have another owner now
            raise Stopped
        with self._stage("window"):
            memory.take(reading, config.drop_after, config.stale_after)
        self._metrics.refused(memory.refused)
        self._fill_gaps(now)
        with self._stage("features"):
            present = memory.present(now, config.warmup.samples, config.stale_after)
            context, trend = memory.context(present), heuristic.trend(present.encoder)
        made = self._by_model(present, context)
        with self._stage("risk"):
            forecast.add_trend(made, present, config.signals)
            proof = self._record(made, present)
            found = self._incidents(made, present, context)
            if memory.outcomes is not None:
                with memory.lock:
                    memory.outcomes.step_over(now, present.servers, found.on, found.known, found.chance)
            severe = {window: found.any(window) for window in WINDOWS}
            assessed = score.assess(
                made.values, self._signals, config.risk, severe, found.any_server(), found, made.by_model)
            gone = lost(made, present, self._needed)
            state = self.course.step(now, present.servers, present.last_seen, assessed, gone)
            filling = self._capacity.current(now) if self._capacity is not None else None
            if filling is not None:
                state = watched(state, present.servers, filling.urgent)
            rung = None
            if memory.pages is not None:
                with memory.lock:
                    rung = count(memory.pages, present, found, state, self.course, filling)
            return Result(
                issued=now, step=config.step, servers=present.servers, profiles=present.profiles, signals=self._signals,
                observed=present.observed, trend=trend, forecast=made.values, method=made.method, risk=assessed,
                samples=present.samples, required=config.warmup.samples, last_seen=present.last_seen,
                stale=present.stale, state=state, pending=self.course.pending, proof=proof, pages=rung,
                optional=self._optional, unforecast=unforecast(made, present, reading, config.limits.servers),
            )

    def _read(self) -> tuple[float, Reading]:
        """The instant and the latest values; both anew where the answers show that the source's clock is another."""
        now, clock, problem = self._now(), self._clock, None
        try:
            reading = self._reading(now)
        except SourceError as error:
            problem = error
        changed = clock.settle()
        self._metrics.clock_offset(clock.measured)
        if clock.measured is not None:
            large = abs(clock.measured) > PROBLEM
            self.errors["clock"] = f"{clock.words}: set both by NTP" if large else None
        if changed and now != (again := self._now()):
            return again, self._reading(again)
        if problem is not None:
            raise problem
        return now, reading

    def _reading(self, now: float) -> Reading:
        """The latest values; once servers are known, an empty reading where the source has no data."""
        try:
            reading = self._source.latest(now)
            self._metrics.signals({name: name not in reading.failed for name in self._signals}, reading.left_out)
            return reading
        except NoData:
            if not self.memory.window.servers and self._board.last is None:
                raise
            return Reading(now, (), (), np.empty((0, len(self._signals)), np.float32))

    def _fill_gaps(self, now: float) -> None:
        """Fills the gaps that this forecast reads, later cycles the others. After a failure all wait for a pause."""
        window = self.memory.window
        for back, every, within in self._reads:
            for gap in window.gaps(now, every, within, back):
                answered = not self._stop.is_set() and self._fill(window, gap, every, now)
                if self._stop.is_set():  # the others are left to the cycle that takes over the window
                    raise Stopped
                if not answered:
                    for other in window.gaps(now):
                        window.asked(*other, now)
                    return

    def _fill(self, window: Window, stretch: tuple[float, float], step: float, now: float) -> bool:
        """Reads one stretch of history into this window; whether the source answered."""
        try:
            with self._stage("query"):
                found = self._source.range(*stretch, step, stretch[1] % step)
            if self._stop.is_set():
                raise Stopped
            with self._stage("window"), self.memory.lock:
                window.fill(found)
        except StageError as error:
            log.error("history is incomplete: stage %s", error)
            window.asked(*stretch, now, step)
            return False
        window.asked(*stretch, now, step)
        return True

    def _by_model(self, present: Present, context: Values) -> Forecast:
        """The model's forecasts; none where there is no model, or where it fails, which is shown."""
        if self._model is not None and present.warm.any():
            try:
                with self._stage("model"):
                    earlier = self.memory.earlier(present.instant, MOTION_SHARE * self._config.step)
                    return forecast.by_model(self._model, self._signals, present, context, earlier)
            except StageError as error:
                log.error("the trend heuristic is used instead: stage %s", error)
        return forecast.nothing(present)

    def _incidents(self, made: Forecast, present: Present, context: Values) -> Incidents:
        """The configured incidents, by the forecasts and the history before them."""
        config = self._config
        return incidents.find(
            self._conditions, self._chances, made, config.signals, (present.servers, present.profiles), context,
            present.instant, config.step, self._zone, config.risk.priorities)

    def _record(self, made: Forecast, present: Present) -> Proof | None:
        """The record's step, which may widen the model's bands in place; it needs the heuristic once per step."""
        record, config = self.memory.record, self._config
        if record is None:
            return None
        base = None
        if record.due(present.instant):
            base = heuristic.forecast(present.encoder, config.signals, tuple(config.horizons.values()))
        bounds = [(signal.min, signal.max) for signal in config.signals.values()]
        with self.memory.lock:
            return record.step_over(present.instant, present.servers, present.observed, made.values, base,
                                    made.by_model, bounds)

    def _publish(self, result: Result) -> None:
        with self._stage("publish"):
            size = self._collector.prepare(result)
            self._board.publish(result)
        self._metrics.exposition(size)
        self._collector.pack(result)  # after publishing, so that the forecast does not wait for it

    def _write_curves(self, result: Result) -> None:
        """Writes the curves to VictoriaMetrics, once a step, after they are published; a failure is shown."""
        if self._push is None or not self._push.due(result.issued, result.step):
            return
        try:
            with self._stage("push"):
                self._push.send(result, self._stop.is_set)
        except StageError as error:
            log.error("curves are not stored: stage %s", error)

    def _tell(self, down: SourceDown | None) -> None:
        """Tells Alertmanager while Prometheus is down, and for a while when it is back; a failure is shown."""
        if self.alertmanager is None or not self.alertmanager.due(down):
            return
        try:
            with self._stage("alertmanager"):
                self.alertmanager.send()
        except StageError as error:
            log.error("nobody is told that Prometheus is down: stage %s", error)
        self._metrics.prometheus_down(self.alertmanager.active)

    def _fill_later(self, now: float) -> None:
        """Reads one stretch after the forecast is published: what the window lacks, or else a piece of the past."""
        window, past = self.memory.window, self.memory.past
        if self._stop.is_set():
            return
        if holes := window.holes(now):
            self._fill(window, holes[-1], self._config.refresh, now)
        elif past is not None and (piece := past.piece(now)) is not None:
            self._fill(past, piece, self._config.step, now)
