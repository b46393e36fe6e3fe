"""Settings of what fills up: resources, each a used share of a limit, and the guards of their priorities."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from forecaster.capacity.forecast import HORIZON
from forecaster.capacity.past import HOUR, HOURS
from forecaster.capacity.priority import GUARDS, Guard
from forecaster.risk.conditions import Pattern
from forecaster.signals import PromQL
from serving.settings import Duration, Settings

DAY = 86400.0
STEP = 300.0  # s between two readings of a pass
LABEL = r"^[a-zA-Z_][a-zA-Z0-9_.]*$"


LabelName = Annotated[str, Field(pattern=LABEL)]


class Resource(Settings):
    """Something that fills up: a used share of a limit, one series per server and entity."""

    query: PromQL = Field(description="PromQL of the used share of the limit, 0 to 1, with one series per server and "
                          "entity; `$step` (5m), `$job`, `$shard` and `$total_shards` are filled in")
    entity: tuple[LabelName, ...] = Field((), description="labels that name an entity of a server, joined by a space; "
                                          "none: the server has one, named as the resource")
    size: PromQL | None = Field(None, description="PromQL of the limit in `unit`, with the labels of `query`; with it "
                                "a resize is told from growth")
    unit: str = Field("ratio", min_length=1, description="unit of `size`, such as bytes, inodes or descriptors")
    title: str | None = Field(None, min_length=1, description="name shown to people")
    limit: float = Field(1.0, gt=0, le=1, description="used share that counts as full")
    backing: LabelName | None = Field(None, description="label that names what an entity lies on, such as `device`: "
                                      "entities of a server with the same one and size are one, under the shortest "
                                      "name, and the trend starts anew where it changes")
    highest: Literal["P1", "P2", "P3"] | None = Field("P1", description="highest priority that it may have, "
                                                      "also while it is full, null for none")
    ignore: dict[LabelName, Pattern] = Field(default_factory=dict, description="label -> regular expression that "
                                                "matches the whole value: series that are left out")
    history: Duration = Field(28 * DAY, ge=HOUR, le=HOURS * HOUR, description="history that is read, at most 28d")
    horizon: Duration = Field(14 * DAY, ge=HOUR, le=HORIZON * HOUR, description="how far it is forecast, at most 14d")


def _guard(name: str, key: str) -> float:
    found: float = getattr(GUARDS[name], key)
    return found


class CapacityPriorities(Settings):
    """What a priority needs. The windows are fixed: P1 4 hours, P2 24 hours, P3 7 days."""

    p1_chance: float = Field(_guard("P1", "chance"), gt=0, le=1, description="chance of full within 4 hours from which "
                             "on it is P1")
    p1_used: float = Field(_guard("P1", "used"), ge=0, le=1, description="used share of the limit below which it is "
                           "not P1")
    p2_chance: float = Field(_guard("P2", "chance"), gt=0, le=1, description="chance of full within 24 hours from "
                             "which on it is P2")
    p2_used: float = Field(_guard("P2", "used"), ge=0, le=1, description="used share of the limit below which it is "
                           "not P2")
    p3_chance: float = Field(_guard("P3", "chance"), gt=0, le=1, description="chance of full within 7 days from which "
                             "on it is P3")
    p3_used: float = Field(_guard("P3", "used"), ge=0, le=1, description="used share of the limit below which it is "
                           "not P3")

    @property
    def guards(self) -> Mapping[str, Guard]:
        """As `priority` takes them."""
        return {name: Guard(guard.window, *(getattr(self, f"{name.lower()}_{key}") for key in ("chance", "used")))
                for name, guard in GUARDS.items()}


class CapacityConfig(Settings):
    """What fills up over days. Nothing is watched without resources, or where source.kind is scrape."""

    enabled: bool = Field(True, description="watch the resources")
    refresh: Duration = Field(600.0, ge=STEP, description="time between two forecasts, at least 5m")
    max_entities: int = Field(20_000, ge=1, description="most entities of all resources; `/status` tells how many more "
                              "there are")
    priorities: CapacityPriorities = CapacityPriorities()
    resources: dict[str, Resource] = Field(default_factory=dict, description="name: query, entity, size, unit")

    @field_validator("resources")
    @classmethod
    def _names_are_labels(cls, resources: dict[str, Resource]) -> dict[str, Resource]:
        for name in resources:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"name {name!r}; expected lower case letters with digits and _: rename the resource")
        return resources
