"""The running forecaster: its parts, its Flask application, and how a reload replaces both."""

import threading
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from flask import Flask, Response, request
from markupsafe import Markup
from prometheus_client import CollectorRegistry

from forecaster.board import Board, Derived
from forecaster.capacity.outlook import Outlook
from forecaster.config import ForecasterConfig
from forecaster.publish.api import api_blueprint
from forecaster.publish.capacity_json import about, capacity_blueprint
from forecaster.publish.page import filling_table, fleet_tables, glance
from forecaster.publish.remote_read import remote_read_blueprint
from forecaster.publish.result import Result
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.publish.view import View
from forecaster.service.admission import Admission, tenants
from forecaster.service.assembly import assemble
from forecaster.service.heap import give_back
from forecaster.service.parts import Parts
from forecaster.sources.clock import source_clock
from serving import ServingError, __version__
from serving.doors.entry import Doors
from serving.exposition import metrics_response
from serving.page.html import document
from serving.storage import Claim, claim
from serving.web import Service, Table
from serving.web import create_app as create_web_app

NAME = "fleet-forecaster"
_LINKS = (
    ("/metrics", "Forecasts and the forecaster's own metrics, for Prometheus"),
    ("/predictions/current", "All forecasts as JSON; ?server=NAME for one"),
    ("/alerts", "Servers with a risk or an incident, most urgent first, as JSON"),
    ("/capacity", "What fills up, when and how likely, as JSON"),
    ("/runbook", "What each alert means, what to check first, how to silence it"),
    ("/status", "Warm-up, incidents, model, source, ages and errors, as JSON"),
    ("/-/healthy", "Whether the process answers"),
    ("/-/ready", "Whether there is a current forecast"),
)


class Forecaster:
    """Serves forecasts as ``read_config`` and ``clock`` (Unix seconds) say; ``app`` is the Flask application.

    With a SourceClock all times are those of the source. ``doors``: who may enter (default: everybody).
    """

    def __init__(self, read_config: Callable[[], ForecasterConfig], clock: Callable[[], float],
                 doors: Doors | None = None):
        self._read_config, self._clock, self._doors = read_config, source_clock(clock), doors or Doors(NAME)
        self._metrics = SelfMetrics(CollectorRegistry(), __version__)
        self._metrics.registry.register(self._doors)
        self._service = Service(
            name=NAME,
            description="Forecasts of a server fleet, from and for Prometheus.",
            links=_LINKS,
            status=self._glance,
            tables=self._tables,
            refresh=30,  # seconds: what is old must not look like now
            ready=self._ready,
            reload=self.reload,
            close=self.close,
        )
        self._reloading = threading.Lock()
        config = read_config()
        self._claim = _claim(config.storage)
        self.parts = assemble(config, self._metrics, self._clock, self._scheme)
        self._announce(self.parts)
        self.app = self._make_app(self.parts)
        self._metrics.config_read(self._clock(), True)
        give_back()

    @property
    def _scheme(self) -> str:
        return "http" if self._doors.tls() is None else "https"

    def start(self) -> None:
        """Begins to read and to forecast, in threads."""
        self.parts.start(self._clock())

    def close(self) -> None:
        """Ends the threads, writes snapshots for the next start, and gives the folder free."""
        self.parts.close()
        if self.parts.loaded is not None:
            self.parts.loaded.close()
        if self._claim is not None:
            self._claim.close()

    def reload(self) -> None:
        """Reads configuration and model again; ValueError, and nothing changes, where they cannot be used.

        A model that cannot be used is refused here, while at start the heuristic replaces it. `Parts.keep` says what
        of the memory is kept. A new listen address needs a restart.
        """
        with self._reloading:
            try:
                config, old = self._read_config(), self.parts
                parts = assemble(config, self._metrics, self._clock, self._scheme, old.loaded)
                moved = _place(config.storage) != _place(old.config.storage)
                try:
                    if parts.model["problem"]:
                        raise ValueError(parts.model["problem"])
                    claimed = _claim(config.storage) if moved else self._claim
                except BaseException:
                    parts.discard(old.loaded)
                    raise
            except (ValueError, OSError, ServingError) as error:
                self._metrics.config_read(self._clock(), False)
                raise ValueError(str(error)) from error
            app = self._make_app(parts)
            ended = old.close()
            parts.keep(old, ended)
            source, was = config.source, old.config.source
            if (source.kind, source.url) != (was.kind, was.url):
                self._clock.forget()
            if parts.board.last is None:
                self._metrics.no_forecast()
            self.parts = parts
            self._announce(parts)
            self.app.wsgi_app = app.wsgi_app  # type: ignore[method-assign]  # Flask's own way
            if moved and self._claim is not None:
                self._claim.close()
            self._claim = claimed
            if old.loaded is not None and old.loaded is not parts.loaded:
                old.loaded.close()
            self.start()
            self._metrics.config_read(self._clock(), True)
            del old, app
            give_back()

    def _announce(self, parts: Parts) -> None:
        """Shows configuration and model in the self-metrics."""
        states = ("configured", "loaded", "problem", "chances_problem")
        shown = {key: str(value) for key, value in parts.model.items() if key not in states}
        self._metrics.model(parts.config.model is not None, bool(parts.model["loaded"]), bool(parts.joint), shown)
        self._metrics.settings(parts.config.refresh, parts.config.forecast_ttl)
        self._metrics.shard(parts.config.shard, parts.config.total_shards)
        self._metrics.capacity_watched(None if parts.capacity is None else parts.config.capacity.resources)
        self._metrics.fleet(dict(parts.config.risk.health), parts.joint)

    def _make_app(self, parts: Parts) -> Flask:
        admission = Admission(parts.config.tenants)
        board, filling = _asked(parts)
        app = create_web_app(
            self._service,
            api_blueprint(board, parts.config.risk.roles, self._more, self._clock, filling),
            capacity_blueprint(filling, self._capacity, self._clock),
            remote_read_blueprint(board, self._clock, parts.config.publish.max_curve_samples, filling),
            doors=self._doors, admit=admission.admit,
        )
        if parts.config.tenants.servers:
            app.after_request(admission.mark)

        @app.get("/metrics")
        def metrics() -> Response:
            """Forecasts and the forecaster's own series, for Prometheus."""
            of = tenants()
            own = self._metrics.registry if of is None else self._metrics.tenants
            return metrics_response(own, parts.views.of(of).exposition(), request.headers)

        runbook_text = Markup(resources.files("forecaster.shipped").joinpath("runbook.html").read_text("utf-8"))

        @app.get("/runbook")
        def runbook() -> Response:
            """What each alert means and what to do about it: `/runbook#fleetcastserverp1` and so on."""
            return document("Runbook", runbook_text)

        return app

    # -- status --------------------------------------------------------------------------------------------

    # What tells of sources, queries and errors quotes series of any server, so that tenants do not get it.

    @property
    def _view(self) -> View:
        return self.parts.views.of(tenants())

    def _more(self) -> dict[str, object]:
        parts = self.parts
        shard = {"ordinal": parts.config.shard, "total": parts.config.total_shards}
        if tenants() is not None:
            return {"model": parts.model, "shard": shard, "capacity": self._capacity()}
        window, refused = parts.cycle.memory.window, parts.cycle.memory.refused
        held = {"held": len(window.servers), "limit": parts.config.limits.servers, "refused": refused}
        return {"model": parts.model, "shard": shard, "room": held, "source": parts.source.describe(),
                "errors": parts.cycle.errors, "capacity": self._capacity()}

    def _tables(self) -> tuple[Table, ...]:
        now, view = self._clock(), self._view
        filling = view.filling.current(now) if view.filling is not None else None
        return *filling_table(filling), *fleet_tables(view.board.current(now), self.parts.config.risk.roles)

    def _capacity(self) -> dict[str, object]:
        watch, filling, now = self.parts.capacity, self._view.filling, self._clock()
        if watch is None or filling is None:
            return {"enabled": False}
        if tenants() is None:
            return watch.state()
        return {"enabled": True, **about(filling.last, filling.current(now) is not None, now)}

    def _glance(self) -> dict[str, object]:
        parts, now = self.parts, self._clock()
        board, source = self._view.board, parts.config.source.kind
        shown = glance(board.last, board.current(now), parts.model, source, self._ready(), now)
        return shown | ({"Clock": self._clock.words} if self._clock.words else {})

    def _ready(self) -> str | None:
        return self._problem(tenants())

    def _problem(self, of: frozenset[str] | None) -> str | None:
        """Why there is no current forecast; None where there is one."""
        if self.parts.board.current(self._clock()) is not None:
            return None
        if of is not None:
            return "There is no current forecast."
        problems = "; ".join(f"{stage}: {error}" for stage, error in self.parts.cycle.errors.items() if error)
        return f"There is no current forecast. {problems or 'The first cycle is under way.'}"


def _asked(parts: Parts) -> tuple[Board[Result], Board[Outlook] | None]:
    """The boards of the tenants whose request looks at them."""
    def filling() -> Outlook | None:
        board = parts.views.of(tenants()).filling
        return board.last if board is not None else None

    board = Derived(parts.board.ttl, lambda: parts.views.of(tenants()).board.last)
    return board, Derived(parts.capacity.board.ttl, filling) if parts.capacity is not None else None


def _place(folder: Path | None) -> Path | None:
    return folder.resolve() if folder is not None else None


def _claim(folder: Path | None) -> Claim | None:
    return claim(folder) if folder is not None else None


def create_app(read_config: Callable[[], ForecasterConfig], clock: Callable[[], float],
               doors: Doors | None = None) -> Flask:
    """A started forecaster's application."""
    forecaster = Forecaster(read_config, clock, doors)
    forecaster.start()
    return forecaster.app
