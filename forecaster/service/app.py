"""Puts the forecaster together: source, window, model, cycle and pages; and puts it together anew on reload."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask, Response, request
from prometheus_client import CollectorRegistry

from forecaster.config import ForecasterConfig
from forecaster.memory.past import Past
from forecaster.memory.record import Record
from forecaster.memory.scraped import ScrapeSource
from forecaster.memory.window import Window
from forecaster.models.artifact import ModelError
from forecaster.publish.api import api_blueprint
from forecaster.publish.gauges import ForecastCollector
from forecaster.publish.page import fleet_tables, glance
from forecaster.publish.remote_read import remote_read_blueprint
from forecaster.publish.result import Board
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.readings import Source, SourceError
from forecaster.service.assembly import fingerprint, load_calibration, load_model, make_push, make_source
from forecaster.service.cycle import Cycle
from serving import __version__
from serving.exposition import metrics_response
from serving.web import Service
from serving.web import create_app as create_web_app

NAME = "fleet-forecaster"
SCRAPE_FILE = "scrape.npz"
_LINKS = (
    ("/metrics", "Forecasts and the forecaster's own metrics, for Prometheus"),
    ("/predictions/current", "All forecasts as JSON; ?server=NAME for one"),
    ("/alerts", "Servers with a risk, highest first, as JSON"),
    ("/status", "Warm-up, model, source, ages and errors, as JSON"),
    ("/-/healthy", "Whether the process answers"),
    ("/-/ready", "Whether there is a current forecast"),
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """Everything one configuration needs to run."""

    config: ForecasterConfig
    source: Source
    cycle: Cycle
    board: Board
    collector: ForecastCollector
    model: dict[str, object]  # what /status says of it
    joint: dict[str, dict[str, float]]  # window -> parameters of the chance of any server, where calibrated


def _shape(window: Window) -> tuple[object, ...]:
    return window.origin, window.signals, window.refresh, window.step, window.encoder_steps


class Forecaster:
    """A running forecaster: its parts, its Flask application, and how they are replaced on reload."""

    def __init__(self, read_config: Callable[[], ForecasterConfig], clock: Callable[[], float] = time.time):
        self._read_config, self._clock = read_config, clock
        self._metrics = SelfMetrics(CollectorRegistry(), __version__)
        self._service = Service(
            name=NAME,
            description="Forecasts of a server fleet, from and for Prometheus.",
            links=_LINKS,
            status=self._glance,
            tables=lambda: fleet_tables(self.parts.board.current(self._clock()), self.parts.config.risk.roles),
            ready=self._ready,
            reload=self.reload,
            close=self.close,
        )
        self._reloading = threading.Lock()
        self.parts = self._build(read_config())
        self._announce(self.parts)
        self.app = self._make_app(self.parts)
        self._metrics.config_read(clock(), True)

    def start(self) -> None:
        """Begins to read and to forecast, in threads."""
        source, storage = self.parts.source, self.parts.config.storage
        if isinstance(source, ScrapeSource):
            if storage is not None and (storage / SCRAPE_FILE).exists():
                source.restore(storage / SCRAPE_FILE)
            self._bootstrap(source)  # fills only what the snapshot lacks
            source.start()
        self.parts.cycle.start()

    def close(self) -> bool:
        """Ends the threads and keeps on disk what the next start can use; whether the cycle's thread has ended."""
        source, storage = self.parts.source, self.parts.config.storage
        ended = self.parts.cycle.close()
        if isinstance(source, ScrapeSource):
            source.close()
            if storage is not None:
                try:
                    storage.mkdir(parents=True, exist_ok=True)
                    source.snapshot(storage / SCRAPE_FILE)
                except OSError as error:
                    log.error("scraped samples not saved: %s", error)
        return ended

    def reload(self) -> None:
        """Reads configuration and model anew; raises and changes nothing where they cannot be used.

        The window and the shown forecast stay where values come from the same place at the same times. A new listen
        address needs a restart.
        """
        with self._reloading:
            try:
                parts = self._build(self._read_config())
                if parts.model["problem"]:  # at start that means heuristics; now it means: keep what works
                    raise ValueError(parts.model["problem"])
            except (ValueError, OSError) as error:
                self._metrics.config_read(self._clock(), False)
                raise ValueError(str(error)) from error
            ended, old = self.close(), self.parts
            held, fresh = old.cycle.memory, parts.cycle.memory
            if _shape(held.window) == _shape(fresh.window):
                if ended:  # a thread that still hangs keeps its window to itself
                    fresh.window = held.window
                    if fresh.record is not None and held.record is not None and fresh.record.same(held.record):
                        fresh.record = held.record
                    if fresh.past is not None and held.past is not None:
                        fresh.past = held.past
                if old.board.last is not None:
                    parts.board.publish(old.board.last)
            self.parts = parts
            self._announce(parts)
            self.app.wsgi_app = self._make_app(parts).wsgi_app
            self.start()
            self._metrics.config_read(self._clock(), True)

    def _announce(self, parts: Parts) -> None:
        """Says in the self-metrics what is in use."""
        shown = {key: str(value) for key, value in parts.model.items() if key not in ("configured", "loaded", "problem")}
        self._metrics.model(parts.config.model is not None, bool(parts.model["loaded"]), shown)
        self._metrics.settings(parts.config.refresh, parts.config.forecast_ttl)
        self._metrics.shard(parts.config.shard, parts.config.total_shards)
        self._metrics.fleet(dict(parts.config.risk.health), parts.joint)

    # -- putting together -------------------------------------------------------------------------------------------

    def _build(self, config: ForecasterConfig) -> Parts:
        try:
            model, problem = load_model(config), None
            calibration = load_calibration(config, model) if model is not None else None
        except ModelError as error:
            log.error("no model: %s; every server is forecast by the trend heuristic", error)
            model, calibration, problem = None, None, str(error)
        info = model.info if model else {"model": "none" if config.model is None else config.model}
        shown = {**info, "method": "tft" if model else "heuristic"}
        board = Board(config.forecast_ttl)
        described = {name: (signal.title or name, signal.unit) for name, signal in config.signals.items()}
        collector = ForecastCollector(board, config.horizons, config.windows, described, self._clock)
        source = make_source(config, self._clock)
        window = Window(
            tuple(config.signals),
            config.refresh,
            config.step,
            config.encoder_steps,
            sample_interval=config.warmup.sample_interval,
            origin=fingerprint(config),
        )
        past = None
        if model is not None and model.context_steps > config.encoder_steps:
            past = Past(tuple(config.signals), config.step, config.refresh, model.context_steps, fingerprint(config))
        record = None
        if config.live.enabled and model is not None:
            identity = f"{fingerprint(config)} {model.info['weights']}"
            given = config.live
            record = Record(
                tuple(config.signals),
                config.horizons,
                config.step,
                given.window,
                given.minimum,
                given.max_widening,
                identity,
                given.correction,
            )
        cycle = Cycle(config, source, window, model, board, collector, self._metrics, self._clock, past, record,
                      make_push(config), calibration)
        return Parts(
            config,
            source,
            cycle,
            board,
            collector,
            {**shown, "configured": config.model, "loaded": model is not None, "problem": problem},
            {window: fit.joint for window, fit in calibration.windows.items() if window in config.risk.incident}
            if calibration is not None
            else {},
        )

    def _make_app(self, parts: Parts) -> Flask:
        app = create_web_app(
            self._service,
            api_blueprint(parts.board, parts.config.risk.roles, self._more, self._clock),
            remote_read_blueprint(parts.board, self._clock, parts.config.publish.max_curve_samples),
        )

        @app.get("/metrics")
        def metrics() -> Response:
            """Forecasts and the forecaster's own series, for Prometheus."""
            return metrics_response(self._metrics.registry, parts.collector.exposition(), request.headers)

        return app

    def _bootstrap(self, source: ScrapeSource) -> None:
        path = self.parts.config.source.bootstrap
        if path is None:
            return
        try:
            log.info("bootstrapped with %d samples from %s", source.bootstrap(path), path)
        except SourceError as error:
            log.error("no bootstrap, forecasts warm up from nothing: %s", error)

    # -- what people see --------------------------------------------------------------------------------------------

    def _more(self) -> dict[str, object]:
        parts = self.parts
        shard = {"ordinal": parts.config.shard, "total": parts.config.total_shards}
        return {"model": parts.model, "shard": shard, "source": parts.source.describe(), "errors": parts.cycle.errors}

    def _glance(self) -> dict[str, object]:
        parts, now = self.parts, self._clock()
        board, source = parts.board, parts.config.source.kind
        return glance(board.last, board.current(now), parts.model, source, self._ready(), now)

    def _ready(self) -> str | None:
        board = self.parts.board
        if board.current(self._clock()) is not None:
            return None
        problems = "; ".join(f"{stage}: {error}" for stage, error in self.parts.cycle.errors.items() if error)
        return f"There is no current forecast. {problems or 'The first cycle is under way.'}"


def create_app(read_config: Callable[[], ForecasterConfig], clock: Callable[[], float] = time.time) -> Flask:
    """A started forecaster's application."""
    forecaster = Forecaster(read_config, clock)
    forecaster.start()
    return forecaster.app
