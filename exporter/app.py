"""Assembles the exporter: fleet, metrics, control and the common pages in one Flask application."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from flask import Flask, Response, request

from exporter import __version__
from exporter.collector import FleetCollector, SelfCollector, build_registry
from exporter.control import control_pages
from exporter.live import LiveFleet
from exporter.page import fleet_page
from exporter.profiles import FleetConfig
from exporter.scenario_log import ScenarioLog
from serving.doors.entry import Doors
from serving.exposition import metrics_response
from serving.page.site import Site
from serving.storage import claim
from serving.web import Service
from serving.web import create_app as create_web_app

NAME = "fleet-exporter"
_LINKS = (("/metrics", "Metrics"), ("/status", "Status, as JSON"))


class Exporter:
    """The state of an exporter: its fleet, whether it runs, and the result of the last reload."""

    def __init__(
        self,
        config: FleetConfig,
        clock: Callable[[], float],
        read_config: Callable[[], FleetConfig] | None,
        storage: str | None,
        links: Mapping[str, str],
    ):
        self._claim = claim(Path(storage)) if storage is not None else None
        self.live = LiveFleet(config, clock, ScenarioLog(storage))
        self.running = True
        self._clock = clock
        self._read_config = read_config
        self._last_reload = (True, clock())
        self.site = Site("Fleetcast", [fleet_page(self.live, __version__)], ("exporter",), _LINKS, clock=clock,
                         elsewhere=links)

    def last_reload(self) -> tuple[bool, float]:
        """(whether the last reload succeeded, Unix time of the last success)."""
        return self._last_reload

    def reload(self) -> None:
        """Reads the configuration again; raises SettingsError and changes nothing if it is invalid."""
        try:
            if self._read_config is not None:
                self.live.replace(self._read_config())
        except Exception:
            self._last_reload = (False, self._last_reload[1])
            raise
        self._last_reload = (True, self._clock())

    def close(self) -> None:
        """Marks the exporter as stopped, and gives its folder free."""
        self.running = False
        self.site.close()
        if self._claim is not None:
            self._claim.close()

    def service(self) -> Service:
        """The service that the common pages show."""
        return Service(
            name=NAME,
            description="A simulated fleet of servers, for Prometheus to scrape.",
            landing=lambda: self.site.page("exporter"),
            reload=self.reload if self._read_config is not None else None,
            close=self.close,
        )


def create_app(
    config: FleetConfig,
    clock: Callable[[], float] = time.time,
    read_config: Callable[[], FleetConfig] | None = None,
    storage: str | None = None,
    doors: Doors | None = None,
    links: Mapping[str, str] | None = None,
) -> Flask:
    """The exporter's application. read_config: reads the configuration for a reload. storage: the folder that keeps
    the scenarios that were set; StorageError if another process has it. doors: who may enter (default: everybody).
    links: addresses by title, at the foot of the page."""
    doors = doors or Doors(NAME)
    exporter = Exporter(config, clock, read_config, storage, links or {})
    collector = FleetCollector(exporter.live)
    registry = build_registry(SelfCollector(exporter.live, __version__, exporter.last_reload))
    registry.register(doors)
    control = control_pages(exporter.live, lambda: exporter.running)
    app = create_web_app(exporter.service(), control, exporter.site.blueprint(), doors=doors)

    @app.get("/metrics")
    def metrics() -> Response:
        """The fleet's series, for Prometheus."""
        return metrics_response(registry, collector.render(), request.headers)

    return app
