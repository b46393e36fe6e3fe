"""The clockwork: every refresh the stages run in order, and the outcome is published whole or not at all.

Stages raise; this is the one place that catches, counts and logs what they raise, and goes on. A stage that fails
leaves the last Result on the board, where it ages until its time-to-live hides it.

The present of a cycle is the last whole refresh, so that two forecasters with one configuration ask the same
questions and publish the same numbers; they ask a moment later, when all its samples are stored.
"""

import logging
import threading
import time
from collections.abc import Callable

import numpy as np

from forecaster.config import ForecasterConfig
from forecaster.memory.keeping import Keeper
from forecaster.memory.past import Past
from forecaster.memory.record import Proof, Record
from forecaster.memory.window import Window
from forecaster.models import heuristic
from forecaster.models.features import MOTION_SHARE
from forecaster.models.model import Model
from forecaster.publish.gauges import ForecastCollector
from forecaster.publish.push import Push
from forecaster.publish.result import PERCENTILES, Board, Result
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.readings import NoData, Reading, Source
from forecaster.risk import score as risk
from forecaster.service.stages import StageError, Stages
from forecaster.signals import HORIZON_STEPS, steps_of

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.3  # what a scrape that began before the present takes to be stored: later replicas would see more
SNAPSHOT_FILE, PAST_FILE, RECORD_FILE = "window.npz", "past.npz", "record.npz"


class Stopped(Exception):
    """The cycle was told to end before it touched the window."""


class Cycle:
    """Runs the stages for one configuration; start() does so in a thread, run_once() for whoever keeps time."""

    def __init__(
        self,
        config: ForecasterConfig,
        source: Source,
        window: Window,
        model: Model | None,
        board: Board,
        collector: ForecastCollector,
        metrics: SelfMetrics,
        clock: Callable[[], float] = time.time,
        past: Past | None = None,
        record: Record | None = None,
        push: Push | None = None,
    ):
        self._config, self._source, self._model = config, source, model
        self._board, self._collector, self._metrics, self._clock = board, collector, metrics, clock
        self.window, self.past, self.record = window, past, record
        self._stage = Stages(metrics)
        self.errors = self._stage.errors  # stage -> what it failed with when it last ran
        self._keeper = Keeper(config.storage, self.errors)
        self._columns = [list(config.signals).index(name) for name in model.encoding.signals] if model else []
        self._push = push
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # -- running ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Takes over a snapshot where there is one, then runs a cycle at once and one every refresh."""
        self.restore()
        self._thread = threading.Thread(target=self._loop, name="cycle", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tells the thread to end; close() waits for it."""
        self._stop.set()

    def close(self, timeout: float = 1.0) -> bool:
        """Ends the thread and keeps the window for the next start; whether the thread has ended.

        One that hangs in a query is left alone: it returns without touching the window again, which can be saved.
        """
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)
        ended = self._thread is None or not self._thread.is_alive()
        if ended or self._stage.running == "query":
            self.save()
        return ended

    def _loop(self) -> None:
        while not self._stop.is_set():
            refresh = self._config.refresh
            if self._stop.wait(max(0.0, min(SETTLE_SECONDS, refresh / 4) - self._clock() % refresh)):
                return
            try:
                self.run_once()
            except Exception:  # nothing may end the thread while the process looks healthy
                log.exception("cycle failed outside its stages")
            self._stop.wait(refresh - self._clock() % refresh)

    def run_once(self) -> bool:
        """One cycle; True if it published a Result."""
        started, success = time.perf_counter(), False
        try:
            now = self._present()
            result = self._result(now)
            self._publish(result)
            success = True
            self._write_curves(result)
            self._fill_past(now)
        except Stopped:
            return False
        except StageError as error:
            log.error("cycle failed at stage %s", error)
        self._metrics.cycle(time.perf_counter() - started, self._clock(), success)
        if self._keeper.due():
            self.save()
        return success

    def _present(self) -> float:
        milliseconds = round(self._config.refresh * 1000)
        return int(self._clock() * 1000) // milliseconds * milliseconds / 1000

    # -- stages -----------------------------------------------------------------------------------------------------

    def _result(self, now: float) -> Result:
        config, window = self._config, self.window
        with self._stage("query"):
            reading = self._reading(now)
        if self._stop.is_set():  # told to end while the source kept it waiting: the window has another owner now
            raise Stopped
        with self._stage("window"):
            reason = window.append(reading)
            if reason:
                log.warning(reason)
            if self.past is not None:
                self.past.append(reading)
            self._drop_forgotten(now)
        self._fill_gaps(now)
        with self._stage("features"):
            encoder = window.encoder(now)
            samples = np.minimum(window.samples(now), config.warmup.samples)
            last_seen = window.last_seen
            stale = ~(now - last_seen <= config.stale_after)
            observed, trend = window.latest(now), heuristic.trend(encoder)
        forecast, by_model = self._by_model(encoder, now, ~stale & (samples >= config.warmup.samples))
        with self._stage("risk"):
            self._by_trend(forecast, encoder, ~stale, by_model)
            proof = self._proof(now, observed, forecast, encoder, ~stale, by_model)
            assessed = risk.assess(forecast, tuple(config.signals), config.risk, *self._chances(by_model))
            return Result(
                issued=now,
                step=config.step,
                servers=window.servers,
                profiles=window.profiles,
                signals=tuple(config.signals),
                observed=observed,
                trend=trend,
                forecast=forecast,
                method=tuple("tft" if is_model else "heuristic" for is_model in by_model),
                risk=assessed,
                samples=samples.astype(np.int64),
                required=config.warmup.samples,
                last_seen=last_seen,
                stale=stale,
                proof=proof,
            )

    def _reading(self, now: float) -> Reading:
        """The newest values; a fleet that has gone silent altogether is an empty reading once servers are known."""
        try:
            return self._source.latest(now)
        except NoData:
            if not self.window.servers and self._board.last is None:
                raise
            return Reading(now, (), (), np.empty((0, len(self._config.signals)), np.float32))

    def _drop_forgotten(self, now: float) -> None:
        gone = now - self.window.last_seen > self._config.drop_after
        names = [name for name, is_gone in zip(self.window.servers, gone, strict=True) if is_gone]
        if names:
            log.info("forgetting %s: not seen for %g s", ", ".join(names), self._config.drop_after)
            self.window.drop(names)
            if self.past is not None:
                self.past.drop(names)

    def _fill_gaps(self, now: float) -> None:
        """Asks the source for what the window lacks; a failure is shown and retried, but the present goes on."""
        gaps = self.window.gaps(now)
        if not gaps or self._stop.is_set():
            return
        try:
            with self._stage("query"):
                parts = [self._source.range(start, end, self._config.refresh) for start, end in gaps]
            if self._stop.is_set():
                raise Stopped
            with self._stage("window"):
                for part in parts:
                    self.window.fill(part)
        except StageError as error:
            log.error("history is incomplete: stage %s", error)

    def _write_curves(self, result: Result) -> None:
        """Writes the curves to where they are stored, once a step, after they are published; a failure is shown."""
        if self._push is None or not self._push.due(result.issued, result.step):
            return
        try:
            with self._stage("push"):
                self._push.send(result, self._stop.is_set)
        except StageError as error:
            log.error("curves are not stored: stage %s", error)

    def _fill_past(self, now: float) -> None:
        """Asks for one piece of the days before, after the forecast is out; a failure is shown and retried."""
        piece = self.past.piece(now) if self.past is not None else None
        if piece is None or self._stop.is_set():
            return
        try:
            with self._stage("query"):
                self.past.fill(self._source.range(*piece, self._config.step))
        except StageError as error:
            log.error("forecasts know less than a week: stage %s", error)

    def _earlier(self, now: float) -> np.ndarray | None:
        """The encoder MOTION_SHARE of a step before, None where refreshes do not fall on it."""
        back = MOTION_SHARE * self._config.step
        if abs(back / self._config.refresh - round(back / self._config.refresh)) > 1e-9:
            return None
        return self.window.encoder(now - back)

    def _by_model(self, encoder: np.ndarray, now: float, warm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The model's forecasts: float32 (S, C, H, 3), NaN where it has none, and bool (S,) where it has one.

        A model that fails leaves it all to the trend, and is shown.
        """
        nothing = np.full((*encoder.shape[:2], HORIZON_STEPS, len(PERCENTILES)), np.nan, np.float32)
        done = np.zeros(len(warm), bool)
        rows = np.flatnonzero(warm)
        if self._model is None or not rows.size:
            return nothing, done
        servers, profiles = self.window.servers, self.window.profiles
        try:
            with self._stage("model"):
                names = tuple(servers[i] for i in rows), tuple(profiles[i] for i in rows)
                known, earlier = encoder, None
                if self.past is not None:
                    known = self.past.context(now, servers, encoder)
                elif (earlier := self._earlier(now)) is not None:
                    earlier = earlier[rows][:, self._columns]
                self._quantiles, finished = self._model.quantiles(known[rows][:, self._columns], now, *names, earlier)
                published = self._model.published(self._quantiles)
        except StageError as error:
            log.error("the trend heuristic stands in: stage %s", error)
            return nothing, done
        done[rows[finished]] = True
        if done.all() and self._columns == list(range(encoder.shape[1])):  # the usual case: 30 MB less to copy for 1,000 servers
            return published, done
        nothing[np.ix_(rows[finished], self._columns)] = published[finished]
        self._quantiles = self._quantiles[finished]
        return nothing, done

    def _by_trend(self, forecast: np.ndarray, encoder: np.ndarray, live: np.ndarray, by_model: np.ndarray) -> None:
        """Puts in the trend's forecasts of live servers wherever the model has none: servers, or signals it does not know."""
        whole = len(self._columns) == len(self._config.signals)
        rows = np.flatnonzero(live & ~by_model if whole else live)
        if rows.size:
            drawn = heuristic.forecast(encoder[rows], self._config.signals)
            forecast[rows] = np.where(np.isnan(forecast[rows]), drawn, forecast[rows])

    def _proof(self, now: float, observed: np.ndarray, forecast: np.ndarray, encoder: np.ndarray, live: np.ndarray,
               by_model: np.ndarray) -> Proof | None:
        """Steps the record over, which may widen the model's bands in ``forecast``; the trend is drawn only when it is kept."""
        if self.record is None:
            return None
        config, base = self._config, None
        if self.record.due(now):
            base = np.full((*encoder.shape[:2], len(config.horizons), len(PERCENTILES)), np.nan, np.float32)
            base[live] = heuristic.forecast(encoder[live], config.signals, tuple(config.horizons.values()))
        bounds = [(signal.min, signal.max) for signal in config.signals.values()]
        return self.record.step_over(now, self.window.servers, observed, forecast, base, by_model, bounds)

    def _chances(self, by_model: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """The calibrated chances of an incident, as risk.assess takes them."""
        model, settings = self._model, self._config.risk
        if model is None or model.calibration is None or not by_model.any():
            return {}, {}
        windows = {window: steps_of(window) for window in settings.incident}
        return model.calibration.of_quantiles(self._quantiles, model.architecture.quantiles, model.encoding.signals,
                                              settings.roles, settings.severe, by_model, windows)

    def _publish(self, result: Result) -> None:
        with self._stage("publish"):
            size = self._collector.prepare(result)
            self._board.publish(result)
        self._metrics.exposition(size)
        self._collector.pack(result)  # after publishing: a forecast does not wait for it

    # -- what survives a restart --------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Takes over the last snapshots, where there are some that fit."""
        if not self.window.servers:
            self._keeper.restore(self._parts(), self._clock())

    def save(self) -> None:
        """Keeps window, past and record on disk."""
        if self.window.servers:
            self._keeper.save(self._parts())

    def _parts(self) -> dict[str, Window | Past | Record]:
        named = {SNAPSHOT_FILE: self.window, PAST_FILE: self.past, RECORD_FILE: self.record}
        return {name: part for name, part in named.items() if part is not None}
