"""The fleet as Prometheus metric families, with their names, help texts and units.

Families with a series per server are rendered from arrays (serving.exposition); the exporter's own metrics go through
prometheus_client. Letters: S servers, M = 8 metrics.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from exporter.live import LiveFleet, View
from exporter.physics import Floats
from exporter.profiles import METRICS, STATES
from serving.exposition import render_family, series_prefixes


@dataclass(frozen=True)
class Family:
    """A gauge per server: its signal, and the factor from the signal's unit to the base unit."""

    signal: str
    name: str
    help: str
    factor: float


FAMILIES = (
    Family("cpu_pct", "server_cpu_utilization_ratio", "CPU in use, 0 to 1.", 0.01),
    Family("mem_pct", "server_memory_utilization_ratio", "Memory in use, 0 to 1.", 0.01),
    Family("disk_io_mb_s", "server_disk_io_bytes_per_second", "Disk bytes read and written per second.", 1e6),
    Family("latency_ms", "server_request_latency_seconds", "Time a request takes.", 1e-3),
    Family("net_in_mb_s", "server_network_receive_bytes_per_second", "Network bytes received per second.", 1e6),
    Family("net_out_mb_s", "server_network_transmit_bytes_per_second", "Network bytes sent per second.", 1e6),
    Family("error_rate", "server_error_ratio", "Share of requests that fail, 0 to 1.", 1.0),
    Family("gc_pause_ms", "server_gc_pause_seconds", "Length of a garbage collection pause.", 1e-3),
)
STATE_FAMILY = ("server_state", "1 for the state of the server, 0 for the others.")
SIZE_FAMILY = ("server_filesystem_size_bytes", "Size of the file system.")
AVAILABLE_FAMILY = ("server_filesystem_avail_bytes", "Space of the file system that is not in use.")
MOUNT_LABELS = ("server", "profile", "mountpoint")
FACTORS = np.array([family.factor for family in FAMILIES])
if tuple(family.signal for family in FAMILIES) != METRICS:
    raise AssertionError("FAMILIES and the fleet's METRICS must name the same signals in the same order")


def base_units(values: Floats) -> NDArray[np.float32]:
    """Values (..., M) in signal units, converted to the base units of the families."""
    scaled: NDArray[np.float32] = (values * FACTORS).astype(np.float32)
    return scaled


def state_rows(servers: Sequence[str], profiles: Sequence[str]) -> list[tuple[str, str, str]]:
    """(server, profile, state) of the state set, server by server."""
    return [(server, profile, state) for server, profile in zip(servers, profiles, strict=True) for state in STATES]


class FleetCollector:
    """Renders the fleet at the time of the scrape; the text follows that of the registry."""

    def __init__(self, live: LiveFleet):
        self._live = live
        # (servers and profiles, prefixes) in one attribute, because scrapes may run at the same time
        self._cached: tuple[tuple[tuple[str, ...], tuple[str, ...]], list[list[str]]] = ((), ()), []
        self._mounts: tuple[tuple[tuple[str, str, str], ...], list[str], list[str]] = (), [], []

    def render(self) -> bytes:
        """All families of the fleet as text; a value that is NaN has no series."""
        view = self._live.view()
        prefixes = self._prefixes_for(view)
        values = base_units(view.snapshot.values)
        parts = [
            render_family(family.name, family.help, prefixes[index], values[:, index])
            for index, family in enumerate(FAMILIES)
        ]
        in_state = view.snapshot.state[:, None] == np.arange(len(STATES))
        parts.append(render_family(*STATE_FAMILY, prefixes[-1], in_state.astype(np.float32)))
        parts += self._render_mounts()
        names = list(view.scenarios)
        prefix = series_prefixes("fleet_scenario", ("scenario",), [(name,) for name in names])
        in_force = np.array([name == view.scenario for name in names])
        about = "The scenario in force: 1 for that scenario, 0 for the others."
        parts.append(render_family("fleet_scenario", about, prefix, in_force))
        name, about = "fleet_affected_servers", "Servers that the scenario in force affects."
        parts.append(render_family(name, about, [f"{name} "], view.affected.sum(keepdims=True)))
        return "".join(parts).encode()

    def _render_mounts(self) -> list[str]:
        """The families of the mounts; they change with the clock between this and the view, by at most a tick."""
        entities, used, size = self._live.mounts()
        cached, sizes, available = self._mounts
        if cached is not entities:
            sizes, available = (
                series_prefixes(name, MOUNT_LABELS, entities) for name in (SIZE_FAMILY[0], AVAILABLE_FAMILY[0])
            )
            self._mounts = entities, sizes, available
        return [render_family(*SIZE_FAMILY, sizes, size), render_family(*AVAILABLE_FAMILY, available, size - used)]

    def _prefixes_for(self, view: View) -> list[list[str]]:
        """Prefixes for each of FAMILIES and then the state set; kept while the servers are the same."""
        of = (view.servers, view.profiles)
        cached, prefixes = self._cached
        if cached != of:
            rows = list(zip(*of, strict=True))
            prefixes = [series_prefixes(family.name, ("server", "profile"), rows) for family in FAMILIES]
            prefixes.append(series_prefixes(STATE_FAMILY[0], ("server", "profile", "state"), state_rows(*of)))
            self._cached = of, prefixes
        return prefixes


class SelfCollector(Collector):
    """The exporter's own metrics."""

    def __init__(self, live: LiveFleet, version: str, last_reload: Callable[[], tuple[bool, float]]):
        self._live = live
        self._version = version
        self._last_reload = last_reload

    def collect(self) -> Iterator[Metric]:
        about = "Version of the exporter; always 1."
        build = GaugeMetricFamily("fleet_exporter_build_info", about, labels=["version"])
        build.add_metric([self._version], 1)
        yield build
        about = "Ticks of the simulation since the exporter started."
        yield CounterMetricFamily("fleet_ticks", about, value=self._live.view().ticks)
        successful, last_success = self._last_reload()
        yield GaugeMetricFamily(
            "fleet_exporter_config_last_reload_successful",
            "Whether the last attempt to read the configuration succeeded.",
            value=successful,
        )
        yield GaugeMetricFamily(
            "fleet_exporter_config_last_reload_success_timestamp_seconds",
            "When the configuration was last read with success.",
            value=last_success,
        )


def build_registry(collector: SelfCollector) -> CollectorRegistry:
    """A registry with this collector only."""
    registry = CollectorRegistry()
    registry.register(collector)
    return registry
