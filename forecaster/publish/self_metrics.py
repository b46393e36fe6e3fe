"""The forecaster's own metrics: stages, cycles, model, configuration, process.

Each metric is declared once in the table below and registered in the given registry; callers report events
(a stage has ended, a cycle has ended).
"""

import logging
from collections.abc import Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)

log = logging.getLogger(__name__)

LARGEST_SCRAPE = 16 << 20  # bytes; vmagent's default limit, Prometheus has none
STAGES = ("query", "window", "features", "model", "risk", "publish", "push", "alertmanager")

# a cycle takes tens of milliseconds for 20 servers, about a second for 1,000, and must stay below the refresh
_CYCLE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)

# name -> (kind, labels, unit, help)
_DECLARED: dict[str, tuple[type[object], tuple[str, ...], str, str]] = {
    "forecaster_build_info": (
        Gauge, ("version",), "1",
        "The running version, as a label."),
    "forecaster_model_info": (
        Info, ("model", "method"), "1",
        "The model in use; with one loaded also the labels trained, weights, device and engine."),
    "forecaster_model_loaded": (
        Gauge, (), "0 or 1",
        "1 where a model is loaded and used."),
    "forecaster_chances_loaded": (
        Gauge, (), "0 or 1",
        "1 where chances of incidents are loaded. Without them, no server is SAFE, nor P1 or P2 by a chance."),
    "forecaster_model_configured": (
        Gauge, (), "0 or 1",
        "1 where a model is configured, 0 where the heuristic is used by choice."),
    "forecaster_stage_success": (
        Gauge, ("stage",), "0 or 1",
        f"1 where the stage ({', '.join(STAGES)}) succeeded when it last ran."),
    "forecaster_stage_duration_seconds": (
        Gauge, ("stage",), "seconds",
        "How long the stage took when it last ran."),
    "forecaster_cycle_duration_seconds": (
        Histogram, (), "seconds",
        "How long whole cycles took."),
    "forecaster_cycles_total": (
        Counter, (), "cycles",
        "Cycles run, failed ones included."),
    "forecaster_cycle_failures_total": (
        Counter, ("stage",), "cycles",
        "Cycles that failed, by the stage that did."),
    "forecaster_signal_success": (
        Gauge, ("signal",), "0 or 1",
        "1 where the signal's query succeeded when values were last read. Where all fail, stage query fails instead."),
    "forecaster_signal_left_out_series": (
        Gauge, ("signal",), "series",
        "Series of the signal that could not be used when values were last read; /status says why."),
    "forecaster_refused_servers_total": (
        Counter, (), "servers",
        "New servers that were not taken up, because limits.servers are held, counted anew in each cycle."),
    "forecaster_last_success_timestamp_seconds": (
        Gauge, (), "Unix seconds",
        "End of the last cycle that succeeded, 0 before the first, also after a reload that keeps no forecast."),
    "forecaster_clock_offset_seconds": (
        Gauge, (), "seconds",
        "Clock of Prometheus minus the forecaster's own, which is corrected by it; no series while unknown."),
    "forecaster_prometheus_down": (
        Gauge, (), "0 or 1",
        "1 while FleetcastPrometheusDown, which it sends to Alertmanager, is active there."),
    "forecaster_capacity_last_success_timestamp_seconds": (
        Gauge, (), "Unix seconds",
        "End of the last forecast of what fills up, 0 before the first; no series where nothing is watched."),
    "forecaster_capacity_pass_duration_seconds": (
        Gauge, (), "seconds",
        "How long it took, its queries included."),
    "forecaster_capacity_entities": (
        Gauge, (), "entities",
        "Entities that it has, of all resources."),
    "forecaster_capacity_failed": (
        Gauge, ("resource",), "0 or 1",
        "1 where a query of the resource failed at the last pass, /status says why, and until its history was read."),
    "forecaster_shard_ordinal": (
        Gauge, ("shard_ordinal",), "ordinal",
        "Which share of the fleet this forecaster forecasts, counted from 0."),
    "forecaster_total_shards": (
        Gauge, (), "shards",
        "Number of shards that this forecaster is configured with."),
    "forecaster_health_limit_ratio": (
        Gauge, ("state",), "ratio",
        "Mean incident probability of 30 minutes above which the fleet is in that state."),
    "forecaster_calibration_parameter": (
        Gauge, ("window", "parameter"), "ratio",
        "Parameters that make the chance of any server of those of all: separate; floor and common are 0."),
    "forecaster_exposition_bytes": (
        Gauge, (), "bytes",
        "Size of the forecasts on /metrics without compression; some scrapers refuse more than 16 MiB."),
    "forecaster_refresh_interval_seconds": (
        Gauge, (), "seconds",
        "Configured time between two cycles."),
    "forecaster_forecast_ttl_seconds": (
        Gauge, (), "seconds",
        "Age from which on forecasts are withheld."),
    "forecaster_config_last_reload_successful": (
        Gauge, (), "0 or 1",
        "1 where the configuration was last read without a problem."),
    "forecaster_config_last_reload_success_timestamp_seconds": (
        Gauge, (), "Unix seconds",
        "When it was last read without a problem."),
}

# What a reader needs to judge forecasts. The others count servers of the whole fleet, or are the operator's.
TENANTS = (
    "forecaster_build_info", "forecaster_model_info", "forecaster_model_loaded", "forecaster_model_configured",
    "forecaster_chances_loaded", "forecaster_last_success_timestamp_seconds",
    "forecaster_capacity_last_success_timestamp_seconds", "forecaster_shard_ordinal", "forecaster_total_shards",
    "forecaster_health_limit_ratio", "forecaster_calibration_parameter", "forecaster_refresh_interval_seconds",
    "forecaster_forecast_ttl_seconds",
)
SELF_METRICS = tuple((name, labels, unit, text) for name, (_, labels, unit, text) in _DECLARED.items())


class SelfMetrics:
    """The forecaster's own metrics in `registry`, with those of the process and the Python platform; in `tenants` those
    that tenants may see."""

    def __init__(self, registry: CollectorRegistry, version: str):
        self.registry, self.tenants = registry, CollectorRegistry()
        self._signals: set[str] = set()  # of the latest values
        self._sizes: dict[str, int] = {}
        self._large = False  # whether some scrapers refuse the page
        self._gauges: dict[str, Gauge] = {}
        self._counters: dict[str, Counter] = {}
        for name, (kind, labels, _, text) in _DECLARED.items():
            if kind is Gauge:
                self._gauges[name] = Gauge(name, text, labels, registry=registry)
            elif kind is Counter:
                self._counters[name] = Counter(name, text, labels, registry=registry)
            elif kind is Histogram:
                self._durations = Histogram(name, text, labels, buckets=_CYCLE_BUCKETS, registry=registry)
            else:
                self._model = Info(name.removesuffix("_info"), text, registry=registry)
        self._hidden: set[str] = set()  # gauges that are not registered
        for name in TENANTS:
            self.tenants.register(self._gauges.get(name, self._model))
        self.capacity_watched()
        self._gauges["forecaster_build_info"].labels(version).set(1)
        self.clock_offset(None)
        for stage in STAGES:  # from 0 on, because increase() does not see the first value of a series
            self._counters["forecaster_cycle_failures_total"].labels(stage)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def settings(self, refresh: float, ttl: float) -> None:
        """The configured refresh and time-to-live, seconds."""
        self._gauges["forecaster_refresh_interval_seconds"].set(refresh)
        self._gauges["forecaster_forecast_ttl_seconds"].set(ttl)

    def exposition(self, size: int, part: str = "signals") -> None:
        """Bytes of this part (`signals`, `capacity`) of /metrics; logs a warning when some scrapers would refuse all of
        them."""
        self._sizes[part] = size
        size = sum(self._sizes.values())
        self._gauges["forecaster_exposition_bytes"].set(size)
        if size > LARGEST_SCRAPE and not self._large:
            log.warning("/metrics is %.1f MiB, more than the %d MiB that some scrapers accept: set publish.gauges: "
                        "essential or divide the fleet into shards", size / 2**20, LARGEST_SCRAPE >> 20)
        self._large = size > LARGEST_SCRAPE

    def shard(self, ordinal: int, total: int) -> None:
        """The configured share of the fleet; the ordinal is also a label, so that shards can be counted."""
        self._gauges["forecaster_shard_ordinal"].clear()
        self._gauges["forecaster_shard_ordinal"].labels(str(ordinal)).set(ordinal)
        self._gauges["forecaster_total_shards"].set(total)

    def fleet(self, limits: Mapping[str, float], fits: Mapping[str, Mapping[str, float]]) -> None:
        """Parameters of the fleet's figures: limit by health, calibration parameters by window."""
        for state, limit in limits.items():
            self._gauges["forecaster_health_limit_ratio"].labels(state).set(limit)
        self._gauges["forecaster_calibration_parameter"].clear()
        for window, parameters in fits.items():
            for parameter, value in parameters.items():
                self._gauges["forecaster_calibration_parameter"].labels(window, parameter).set(value)

    def model(self, configured: bool, loaded: bool, chances: bool, info: Mapping[str, object]) -> None:
        """The model in use and whether it has chances; `info` holds model and method and becomes the labels."""
        self._gauges["forecaster_chances_loaded"].set(chances)
        self._gauges["forecaster_model_configured"].set(configured)
        self._gauges["forecaster_model_loaded"].set(loaded)
        self._model.info({label: str(value) for label, value in info.items()})

    def stage(self, stage: str, seconds: float, success: bool) -> None:
        """A stage has ended; one that failed also counts as a failed cycle."""
        self._gauges["forecaster_stage_duration_seconds"].labels(stage).set(seconds)
        self._gauges["forecaster_stage_success"].labels(stage).set(success)
        if not success:
            self._counters["forecaster_cycle_failures_total"].labels(stage).inc()

    def signals(self, success: Mapping[str, bool], left_out: Mapping[str, int]) -> None:
        """The latest values were read: whether each configured signal was, and its series that were left out."""
        for known in self._signals - set(success):  # of a configuration from before a reload
            self._gauges["forecaster_signal_success"].remove(known)
            self._gauges["forecaster_signal_left_out_series"].remove(known)
        self._signals = set(success)
        for name, good in success.items():
            self._gauges["forecaster_signal_success"].labels(name).set(good)
            self._gauges["forecaster_signal_left_out_series"].labels(name).set(left_out.get(name, 0))

    def refused(self, servers: int) -> None:
        """So many servers of the latest values are not taken up."""
        self._counters["forecaster_refused_servers_total"].inc(servers)

    def cycle(self, seconds: float, now: float, success: bool) -> None:
        """A cycle has ended at `now` (Unix s)."""
        self._counters["forecaster_cycles_total"].inc()
        self._durations.observe(seconds)
        if success:
            self._gauges["forecaster_last_success_timestamp_seconds"].set(now)

    def no_forecast(self) -> None:
        """A reload left nothing to show: as before the first cycle, or rules would take the servers for removed."""
        self._gauges["forecaster_last_success_timestamp_seconds"].set(0)

    def clock_offset(self, seconds: float | None) -> None:
        """The source's clock minus the own one; None, and then no series, where it is not known."""
        self._gauges["forecaster_clock_offset_seconds"].set(seconds or 0.0)
        self._show("forecaster_clock_offset_seconds", seconds is not None)

    def prometheus_down(self, active: bool) -> None:
        """Whether Alertmanager was told that Prometheus is down, and not yet that this is over."""
        self._gauges["forecaster_prometheus_down"].set(active)

    def capacity_watched(self, watched: Iterable[str] | None = None) -> None:
        """The names of the resources that are watched, None for nothing; none is read yet."""
        for name in ("last_success_timestamp_seconds", "pass_duration_seconds", "entities"):
            self._gauges[f"forecaster_capacity_{name}"].set(0)
            self._show(f"forecaster_capacity_{name}", watched is not None)
        self._gauges["forecaster_capacity_failed"].clear()
        self._sizes.pop("capacity", None)
        for resource in watched or ():
            self._gauges["forecaster_capacity_failed"].labels(resource).set(0)

    def capacity_read(self, failed: Mapping[str, bool]) -> None:
        """The resources were read; whether each failed."""
        for resource, bad in failed.items():
            self._gauges["forecaster_capacity_failed"].labels(resource).set(bad)

    def capacity(self, now: float, seconds: float, entities: int) -> None:
        """What fills up was forecast at `now` (Unix s)."""
        self._gauges["forecaster_capacity_last_success_timestamp_seconds"].set(now)
        self._gauges["forecaster_capacity_pass_duration_seconds"].set(seconds)
        self._gauges["forecaster_capacity_entities"].set(entities)

    def _show(self, name: str, shown: bool) -> None:
        """Whether a gauge without labels has its series."""
        if shown == (name in self._hidden):
            for registry in (self.registry, self.tenants) if name in TENANTS else (self.registry,):
                (registry.register if shown else registry.unregister)(self._gauges[name])
            self._hidden ^= {name}

    def config_read(self, now: float, success: bool) -> None:
        """The configuration was read, at start or on reload, at `now` (Unix s)."""
        self._gauges["forecaster_config_last_reload_successful"].set(success)
        if success:
            self._gauges["forecaster_config_last_reload_success_timestamp_seconds"].set(now)
