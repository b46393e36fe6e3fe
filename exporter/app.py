"""Puts the exporter together: fleet, metrics, control and the common pages in one Flask application."""

import time
from collections.abc import Callable

from flask import Flask, Response, request

from exporter import __version__
from exporter.collector import FleetCollector, SelfCollector, build_registry
from exporter.control import control_pages, fleet_status
from exporter.live import LiveFleet
from exporter.profiles import FleetConfig
from exporter.scenario_log import ScenarioLog
from serving.exposition import metrics_response
from serving.web import Service
from serving.web import create_app as create_web_app

NAME = "fleet-exporter"
_LINKS = (
    ("/metrics", "The fleet's metrics, for Prometheus"),
    ("/status", "The fleet at a glance, as JSON"),
    ("/-/healthy", "Whether the process answers"),
    ("/-/ready", "Whether it is ready to be scraped"),
)


class Exporter:
    """One exporter's state: its fleet, whether it runs, and how the last reload went."""

    def __init__(
        self,
        config: FleetConfig,
        clock: Callable[[], float],
        read_config: Callable[[], FleetConfig] | None,
        storage: str | None,
    ):
        self.live = LiveFleet(config, clock, ScenarioLog(storage))
        self.running = True
        self._clock = clock
        self._read_config = read_config
        self._last_reload = (True, clock())

    def last_reload(self) -> tuple[bool, float]:
        """(whether the last attempt to read the configuration succeeded, Unix time of the last success)."""
        return self._last_reload

    def reload(self) -> None:
        """Reads the configuration again; raises SettingsError, changing nothing, where it cannot be used."""
        try:
            self.live.replace(self._read_config())
        except Exception:
            self._last_reload = (False, self._last_reload[1])
            raise
        self._last_reload = (True, self._clock())

    def close(self) -> None:
        """Says that the exporter has ended."""
        self.running = False

    def service(self) -> Service:
        """What the common pages show and do."""
        return Service(
            name=NAME,
            description="A simulated fleet of servers, for Prometheus to scrape.",
            links=_LINKS,
            status=self._glance,
            reload=self.reload if self._read_config is not None else None,
            close=self.close,
        )

    def _glance(self) -> dict[str, object]:
        """The few lines of the landing page."""
        status = fleet_status(self.live, self.running)
        names = status["affected_server_names"]
        return {
            "Version": __version__,
            "Scenario": status["scenario"],
            "Servers": status["fleet_size"],
            "Affected servers": ", ".join(names) or "none",
            "Ticks": status["tick_count"],
        }


def create_app(
    config: FleetConfig,
    clock: Callable[[], float] = time.time,
    read_config: Callable[[], FleetConfig] | None = None,
    storage: str | None = None,
) -> Flask:
    """The exporter's application; `read_config` gives the configuration anew for a reload, `storage` is the folder
    that keeps the scenarios set."""
    exporter = Exporter(config, clock, read_config, storage)
    collector = FleetCollector(exporter.live)
    registry = build_registry(SelfCollector(exporter.live, __version__, exporter.last_reload))
    app = create_web_app(exporter.service(), control_pages(exporter.live, lambda: exporter.running))

    @app.get("/metrics")
    def metrics() -> Response:
        """The fleet's series, for Prometheus."""
        return metrics_response(registry, collector.render(), request.headers)

    return app
