"""The simulated fleet's configuration: profiles, states, scenarios and dynamics, read from ``fleet.yml``.

The file holds the parameters of the simulation; this module validates them and turns them into arrays. Letters: S
servers, M = 8 metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from serving.settings import Settings, load

METRICS = (
    "cpu_pct",
    "mem_pct",
    "disk_io_mb_s",
    "latency_ms",
    "net_in_mb_s",
    "net_out_mb_s",
    "error_rate",
    "gc_pause_ms",
)
STATES = ("healthy", "morning_spike", "heavy_load", "degraded", "critical", "recovering")
MODES = ("natural", "degrading", "critical", "released")
DEFAULT_FILE = Path(__file__).with_name("fleet.yml")


class Baseline(Settings):
    """A healthy metric at diurnal multiplier 1.0, in the metric's own unit."""

    mean: float = Field(gt=0, description="mean value")
    std: float = Field(ge=0, description="standard deviation")


class Profile(Settings):
    """A role of servers: the prefix of their names, the eight baselines and the mounts."""

    prefix: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="begin of the servers' names")
    baseline: dict[str, Baseline] = Field(description="mean and standard deviation of each metric")
    mounts: dict[str, Annotated[float, Field(gt=0)]] = Field({}, description="usual size of each mount, in GiB")

    @field_validator("baseline")
    @classmethod
    def _all_metrics(cls, value: dict[str, Baseline]) -> dict[str, Baseline]:
        _exact_keys(value, METRICS, "baseline")
        return value


class Scenario(Settings):
    """A scenario: the share of servers it affects, and the factor on the multiplier of their state."""

    affected_share: float = Field(ge=0, le=1, description="share of the servers it affects")
    multiplier: float = Field(gt=0, description="factor on the multiplier of their state")


class Transition(Settings):
    """A chance per minute; ``during`` limits it to weekday mornings or scales it by the diurnal load."""

    rate: float = Field(ge=0, le=1, description="chance per minute")
    during: Literal["always", "morning", "load"] = Field("always", description="when, or scaled by the diurnal load")


class Dynamics(Settings):
    """Time constants in minutes, spreads as shares; see the comments in ``fleet.yml``."""

    multiplier_minutes: float = Field(gt=0, description="time constant of a change of state or scenario")
    # at most 90 minutes each: the fleet forgets its past within two days, see fleet.py
    slow_minutes: float = Field(gt=0, le=90, description="time constant of the slow load noise")
    fast_minutes: float = Field(gt=0, le=90, description="time constant of the fast load noise")
    own_minutes: float = Field(gt=0, le=90, description="time constant of the noise of a single metric")
    noise_share: float = Field(ge=0, le=1, description="noise, as a share of the baseline's standard deviation")
    shared_share: float = Field(ge=0, le=1, description="share of its variance that a server's metrics have in common")
    individual_std: float = Field(ge=0, lt=0.5, description="relative difference between servers of one profile")
    jitter: float = Field(ge=0, lt=0.2, description="relative measurement noise")


class FleetConfig(Settings):
    """A whole fleet; an instance is always valid."""

    seed: int = Field(ge=0, description="with the instant, decides every value: past and present are one trajectory")
    scenario: str = Field(description="scenario at the start")
    tick_seconds: float = Field(gt=0, le=60, description="time between two changes of the values")
    time_scale: float = Field(gt=0, description="simulated seconds per second")
    servers: dict[str, int] = Field(description="servers of each profile, 0 to 999; names are prefix and three digits")
    units: dict[str, str] = Field(description="unit of each metric")
    profiles: dict[str, Profile] = Field(description="prefix, mounts, and mean and standard deviation of the 8 metrics")
    states: dict[str, float] = Field(description="multiplier of each of the 6 states")
    scenarios: dict[str, Scenario] = Field(description="share of servers affected, and multiplier")
    diurnal: tuple[tuple[float, float], ...] = Field(description="hour (UTC) and multiplier, straight lines between")
    weekend_multiplier: float = Field(gt=0, description="multiplier on Saturday and Sunday")
    weekend_ramp_minutes: float = Field(gt=0, description="how long the change to and from the weekend takes")
    transitions: dict[str, dict[str, dict[str, Transition]]] = Field(
        description="chance per minute of going from a state to another, by scenario")
    dynamics: Dynamics = Field(description="time constants and noise")

    @model_validator(mode="after")
    def _consistent(self) -> FleetConfig:
        for profile, count in self.servers.items():
            if profile not in self.profiles:
                raise ValueError(f"servers: unknown profile {profile!r}; valid profiles: {', '.join(self.profiles)}")
            if not 0 <= count <= 999:
                raise ValueError(f"servers.{profile}: got {count}, expected 0 to 999 (names have three digits)")
        if sum(self.servers.values()) == 0:
            raise ValueError("servers: got an empty fleet, expected at least one server")
        prefixes = [p.prefix for p in self.profiles.values()]
        if len(set(prefixes)) < len(prefixes):
            raise ValueError("profiles: two profiles have the same prefix; expected a different prefix for each")
        if self.scenario not in self.scenarios:
            raise ValueError(f"scenario: got {self.scenario!r}, expected one of {', '.join(self.scenarios)}")
        for scenario in self.scenarios:
            if scenario != "healthy" and scenario not in self.transitions:
                raise ValueError(f"transitions: scenario {scenario!r} has none; add the key transitions.{scenario}")
        _exact_keys(self.units, METRICS, "units")
        _exact_keys(self.states, STATES, "states")
        for mode in MODES:
            if mode not in self.transitions:
                raise ValueError(f"transitions: {mode!r} is missing; expected {', '.join(MODES)}")
        for mode, table in self.transitions.items():
            _exact_keys(table, STATES, f"transitions.{mode}")
            for state, targets in table.items():
                for target in targets:
                    if target not in STATES or target == state:
                        raise ValueError(
                            f"transitions.{mode}.{state}: got {target!r}, expected another state: "
                            f"{', '.join(s for s in STATES if s != state)}"
                        )
                if sum(t.rate for t in targets.values()) > 1:
                    raise ValueError(f"transitions.{mode}.{state}: the rates add up to more than 1 per minute")
        hours = [hour for hour, _ in self.diurnal]
        if len(hours) < 2 or hours[0] != 0 or hours[-1] != 24 or hours != sorted(hours):
            raise ValueError("diurnal: expected rising hours from 0 to 24")
        if self.diurnal[0][1] != self.diurnal[-1][1]:
            raise ValueError("diurnal: expected the same multiplier at hours 0 and 24, which are both midnight")
        return self

    def simulated(self, instant: float) -> float:
        """Simulated time of an instant, both in Unix seconds, to the tick."""
        return instant * self.time_scale // self.tick_seconds * self.tick_seconds

    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Server names and, in the same order, their profiles; sorted by name."""
        pairs = sorted(
            (f"{self.profiles[p].prefix}{i:03d}", p) for p, n in self.servers.items() for i in range(1, n + 1)
        )
        return tuple(name for name, _ in pairs), tuple(profile for _, profile in pairs)

    def baselines(self, profiles: tuple[str, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means and standard deviations (S, M) of servers with these profiles."""
        table = {p: [(b.baseline[m].mean, b.baseline[m].std) for m in METRICS] for p, b in self.profiles.items()}
        array = np.array([table[p] for p in profiles])
        return array[..., 0], array[..., 1]


def _exact_keys(value: Mapping[str, object], expected: tuple[str, ...], where: str) -> None:
    missing, extra = set(expected) - set(value), set(value) - set(expected)
    if missing or extra:
        raise ValueError(
            f"{where}: missing {sorted(missing) or 'nothing'}, unknown {sorted(extra) or 'nothing'}; "
            f"expected exactly {', '.join(expected)}"
        )


def load_fleet(path: str | Path | None = None, overrides: Mapping[str, object] | None = None) -> FleetConfig:
    """Reads a fleet file (default: the shipped ``fleet.yml``); raises serving.settings.SettingsError."""
    return load(FleetConfig, Path(path) if path else DEFAULT_FILE, overrides)
