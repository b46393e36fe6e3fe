"""The running forecaster: its parts, its Flask application, and how a reload replaces both."""

import threading
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

from flask import Flask, Response, request
from markupsafe import Markup
from prometheus_client import CollectorRegistry

from forecaster.board import Board, Derived
from forecaster.capacity.outlook import Outlook
from forecaster.config import ForecasterConfig
from forecaster.pages.seen import Look, Seen
from forecaster.pages.site import site
from forecaster.publish.api import api_blueprint
from forecaster.publish.capacity_json import about, capacity_blueprint
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
from serving.page.site import Site
from serving.storage import Claim, claim
from serving.web import Service
from serving.web import create_app as create_web_app

NAME = "fleet-forecaster"


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
            landing=lambda: self._site.page("fleet"),
            ready=self._ready,
            reload=self.reload,
            close=self.close,
        )
        self._reloading = threading.Lock()
        config = read_config()
        self._claim = _claim(config.storage)
        self.parts = assemble(config, self._metrics, self._clock, self._scheme)
        self._announce(self.parts)
        self.app, self._site = self._make_app(self.parts)
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
            app, pages = self._make_app(parts)
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
            before, self._site = self._site, pages
            before.close()
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

    def _make_app(self, parts: Parts) -> tuple[Flask, Site]:
        admission = Admission(parts.config.tenants)
        board, filling = _asked(parts)
        pages = site(Look(lambda viewer: self._seen(parts, viewer), lambda: self._version(parts)), self._clock, tenants,
                     parts.config.links)
        app = create_web_app(
            self._service,
            api_blueprint(board, parts.config.risk.roles, self._more, self._clock, filling),
            capacity_blueprint(filling, self._capacity, self._clock),
            remote_read_blueprint(board, self._clock, parts.config.publish.max_curve_samples, filling),
            pages.blueprint(),
            doors=self._doors, admit=admission.admit,
        )
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
            return pages.document("Runbook", runbook_text, here="/runbook")

        return app, pages

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
        return {"model": parts.model, "shard": shard, "room": _room(parts), "source": parts.source.describe(),
                "errors": parts.cycle.errors, "capacity": self._capacity()}

    def _seen(self, parts: Parts, viewer: frozenset[str] | None) -> Seen:
        """What the pages show to these tenants; None: all."""
        now, view, whole = self._clock(), parts.views.of(viewer), viewer is None
        board, filling = view.board, view.filling
        last = filling.last if filling is not None else None
        return Seen(now=now, ttl=board.ttl, last=board.last, result=board.current(now),
                    outlook=filling.current(now) if filling is not None else None,
                    roles=parts.config.risk.roles, model=parts.model, source=parts.config.source.kind if whole else "",
                    clock=self._clock.words, room=_room(parts) if whole else None, problem=self._problem(viewer),
                    signals=parts.config.signals, horizons=parts.config.horizons, zone=ZoneInfo(parts.config.timezone),
                    memory=parts.cycle.memory, firing=parts.firing, whole=whole,
                    watched=filling.ttl if filling is not None else None,
                    filled=last.instant if last is not None else None)

    def _version(self, parts: Parts) -> object:
        """Another value where _seen is another; outside of a request, too."""
        now, board = self._clock(), parts.board
        filling = parts.capacity.board.current(now) if parts.capacity is not None else None
        last, answered = board.last, parts.firing.answered if parts.firing is not None else None
        return (last and (last.issued, id(last)), board.current(now) is None,
                filling and (filling.instant, id(filling)), answered, self._problem(None))

    def _capacity(self) -> dict[str, object]:
        watch, filling, now = self.parts.capacity, self._view.filling, self._clock()
        if watch is None or filling is None:
            return {"enabled": False}
        if tenants() is None:
            return watch.state()
        return {"enabled": True, **about(filling.last, filling.current(now) is not None, now)}

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


def _room(parts: Parts) -> dict[str, int]:
    """Servers that are held, how many there may be, and how many were refused."""
    window, refused = parts.cycle.memory.window, parts.cycle.memory.refused
    return {"held": len(window.servers), "limit": parts.config.limits.servers, "refused": refused}


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
