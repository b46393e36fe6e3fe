"""Settings of the risk stage: roles of signals, points, priorities, levels and health.

A role is what a signal means to an on-call person: cpu, memory, latency or disk. Any signals may be forecast; the
configuration names those that play a role.
"""

import re
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Literal, get_args

from pydantic import Field, ValidationInfo, field_validator

from forecaster.risk.conditions import Condition
from forecaster.signals import Signal, steps_of
from serving.settings import Duration, Settings

Role = Literal["cpu", "memory", "latency", "disk"]
ROLES: tuple[Role, ...] = get_args(Role)
ROLE_UNITS = {"cpu": "percent", "memory": "percent", "latency": "milliseconds"}  # of the thresholds
RISK_WINDOW = "30m"  # the window whose incident probability decides the fleet's health; points read the same steps


class Roles(Settings):
    """The signal in each role. A role whose signal is not forecast adds nothing and is listed as missing."""

    cpu: str = Field("cpu_pct", description="signal in percent")
    memory: str = Field("mem_pct", description="signal in percent")
    latency: str = Field("latency_ms", description="signal in milliseconds")
    disk: str = Field("disk_io_mb_s", description="signal in any unit; for the incident probability only")

    @field_validator("memory", "latency", "disk")
    @classmethod
    def _one_role_each(cls, signal: str, info: ValidationInfo) -> str:
        for role, other in info.data.items():
            if other == signal:
                raise ValueError(f"{signal} plays role {role} already: name another signal")
        return signal


class Band(Settings):
    """Points for a largest p90 above a threshold."""

    above: float = Field(description="largest p90 above which the points are given")
    points: float = Field(gt=0, le=100, description="points of the risk score")


def _bands(*bands: tuple[float, float]) -> tuple[Band, ...]:
    return tuple(Band(above=above, points=points) for above, points in bands)


class Points(Settings):
    """Bands of each component, highest first; cpu and memory in percent, latency in milliseconds."""

    cpu: tuple[Band, ...] = Field(_bands((98, 40), (95, 30), (90, 15)),
                                  description="points for a largest p90 above a percentage, highest first")
    memory: tuple[Band, ...] = Field(_bands((98, 35), (95, 25), (90, 12)),
                                     description="points for a largest p90 above a percentage, highest first")
    latency: tuple[Band, ...] = Field(_bands((500, 25), (200, 15), (100, 8)),
                                      description="points for a largest p90 above milliseconds, highest first")

    @field_validator("cpu", "memory", "latency")
    @classmethod
    def _highest_first(cls, bands: tuple[Band, ...]) -> tuple[Band, ...]:
        for upper, lower in pairwise(bands):
            if upper.above <= lower.above or upper.points <= lower.points:
                raise ValueError(f"band above {lower.above:g} ({lower.points:g} points) follows band above "
                                 f"{upper.above:g} ({upper.points:g} points); expected thresholds and points "
                                 "to fall from band to band: list the highest band first")
        return bands


class Level(Settings):
    """The weight added if the largest p50 or the largest p90 of the window is above its threshold."""

    p50: float = Field(description="threshold of the largest p50")
    p90: float = Field(description="threshold of the largest p90")
    weight: float = Field(ge=0, le=1, description="added to the incident probability above either threshold")


class Levels(Settings):
    severe: Level = Field(description="thresholds of the window's largest p50 and p90, and the weight above either")
    moderate: Level = Field(description="the same; no threshold or weight above those of severe")

    @field_validator("moderate")
    @classmethod
    def _below_severe(cls, moderate: Level, info: ValidationInfo) -> Level:
        severe = info.data.get("severe")
        for name in ("p50", "p90", "weight") if severe else ():
            if getattr(moderate, name) > getattr(severe, name):
                raise ValueError(f"{name} {getattr(moderate, name):g} is above severe's "
                                 f"{getattr(severe, name):g}; expected at most that: lower moderate's {name}")
        return moderate


class Incident(Levels):
    """Levels of one window, for all roles except those in `overrides`."""

    overrides: dict[Role, Levels] = Field(default_factory=dict, description="other levels for one role")


def _below(value: float, info: ValidationInfo, upper: str) -> float:
    """The value; ValueError unless it is less than the field ``upper``, where that is valid."""
    limit = info.data.get(upper)
    if limit is not None and value >= limit:
        raise ValueError(f"expected less than {upper} ({limit:g}): lower {info.field_name} or raise {upper}")
    return value


class Priorities(Settings):
    by: Literal["score", "chance"] | None = Field(None, description="what decides: the risk score, or the chances "
                                                  "of incidents; null: the score where cpu, memory and latency are "
                                                  "signals")
    p1: float = Field(70, ge=0, le=100, description="score from which on a server is P1")
    p2: float = Field(40, ge=0, le=100, description="score from which on a server is P2")

    @field_validator("p2")
    @classmethod
    def _below_p1(cls, p2: float, info: ValidationInfo) -> float:
        return _below(p2, info, "p1")

    p1_chance: float = Field(0.8, gt=0, le=1, description="chance within 30 minutes from which on an incident that may "
                             "be P1 is P1, where chances decide")
    p2_chance: float = Field(0.5, gt=0, le=1, description="chance within 8 hours from which on an incident that may be "
                             "P2 is P2, where chances decide")
    p1_confirm: Duration = Field(45.0, description="time as P1 after which its end is a clearing: 15 s less than the "
                                 "alert's `for`, so that no alert ends without it")
    p1_clear: Duration = Field(300.0, description="time that a server is CLEARING after P1, and its alert goes on")
    p2_confirm: Duration = Field(165.0, description="the same of P2")
    p2_clear: Duration = Field(1800.0, description="time that a server is CLEARING after P2, and its alert goes on")


class Health(Settings):
    critical: float = Field(0.7, ge=0, le=1, description="fleet probability above which the fleet is critical")
    warning: float = Field(0.4, ge=0, le=1, description="fleet probability above which the fleet is in warning")

    @field_validator("warning")
    @classmethod
    def _below_critical(cls, warning: float, info: ValidationInfo) -> float:
        return _below(warning, info, "critical")


class Severe(Settings):
    """Limits of the incidents that stand where none are configured. Deprecated: `incidents` says more."""

    cpu: float = Field(95.0, description="deprecated, use incidents: percent of cpu_saturated")
    memory: float = Field(95.0, description="deprecated, use incidents: percent of memory_exhausted")
    latency: float = Field(200.0, description="deprecated, use incidents: milliseconds of latency_high")


INCIDENTS = {"cpu": "cpu_saturated", "memory": "memory_exhausted", "latency": "latency_high"}  # by role


class RiskConfig(Settings):
    """Settings of the risk stage."""

    roles: Roles = Roles()
    points: Points = Points()
    priorities: Priorities = Priorities()
    incidents: dict[str, Condition] | None = Field(None, description="named conditions on signals; null: "
                                                   "cpu_saturated and memory_exhausted above 95 percent, "
                                                   "latency_high above 200 milliseconds, of the signals in these roles")
    method: Literal["weighted", "calibrated"] = Field("weighted", description="deprecated: which incident probability "
                                                      "decides the fleet's health; chances are always shown")
    severe: Severe = Severe()
    incident: dict[str, Incident] = Field(description="levels of each window", default={
        "30m": Incident(severe=Level(p50=90, p90=98, weight=0.35),
                        moderate=Level(p50=85, p90=95, weight=0.15)),
        "8h": Incident(severe=Level(p50=88, p90=96, weight=0.25),
                       moderate=Level(p50=82, p90=92, weight=0.10))})
    health: Health = Health()

    @field_validator("incident")
    @classmethod
    def _health_has_its_window(cls, incident: dict[str, Incident]) -> dict[str, Incident]:
        for window in incident:
            steps_of(window)
        if RISK_WINDOW not in incident:
            raise ValueError(f"expected levels for {RISK_WINDOW}, which decides the fleet's health: "
                             f"add incident.{RISK_WINDOW}")
        return incident

    @field_validator("incidents")
    @classmethod
    def _names_are_labels(cls, incidents: dict[str, Condition] | None) -> dict[str, Condition] | None:
        for name in incidents or {}:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in ROLES:
                raise ValueError(f"name {name!r}; expected lower case letters with digits and _, and no name of a "
                                 "role: rename the incident")
        return incidents

    def conditions(self, signals: Collection[str]) -> dict[str, Condition]:
        """The incidents by name: those configured, else those of the roles whose signals are among ``signals``."""
        if self.incidents is not None:
            return self.incidents
        return {INCIDENTS[role]: Condition(signal=signal, above=limit, alone=None if role == "latency" else "P2")
                for role, limit in self.severe
                if (signal := getattr(self.roles, role)) in signals}

    def check(self, signals: Mapping[str, Signal]) -> None:
        """Raises ValueError where a role or an incident has a signal that is not among ``signals``, or a role one of
        another unit."""
        expected = f"which is not a signal of this file; expected one of {', '.join(signals)}"
        for role, name in self.roles:
            unit = ROLE_UNITS.get(role)
            if name not in signals and role in self.roles.model_fields_set:
                raise ValueError(f"roles.{role} is {name!r}, {expected}: correct roles.{role}")
            if name in signals and unit and signals[name].unit != unit:
                raise ValueError(f"roles.{role} is {name}, in {signals[name].unit}; expected {unit}, the unit of its "
                                 f"thresholds: convert in the query, or give roles.{role} another signal")
        for name, incident in (self.incidents or {}).items():
            if incident.signal not in signals:
                raise ValueError(f"incidents.{name}.signal is {incident.signal!r}, {expected}: correct it, or remove "
                                 "the incident")
