"""What the pages show of a forecaster, as of one instant."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from forecaster.capacity.outlook import Outlook
from forecaster.memory.memory import Memory
from forecaster.publish.firing import Firing
from forecaster.publish.result import Result
from forecaster.risk.thresholds import Roles
from forecaster.signals import Signal

UTC = ZoneInfo("UTC")


@dataclass(frozen=True)
class Seen:
    """What is known at `now` (Unix seconds). A view reads this and nothing else of the forecaster."""

    now: float
    ttl: float                   # s, the age from which on a forecast is stale
    last: Result | None          # the latest of any age
    result: Result | None        # the latest, None where it is stale
    outlook: Outlook | None      # what fills up, None where it is stale or not watched
    roles: Roles                 # the signals of cpu, memory and latency
    model: Mapping[str, object]  # as in /status
    source: str                  # kind of source
    clock: str | None            # what is said of the source's clock
    room: Mapping[str, int] | None  # servers that are held, limit, refused; None where that is not for the viewer
    problem: str | None          # why the service is not ready
    signals: Mapping[str, Signal] = field(default_factory=dict)  # by name
    horizons: Mapping[str, int] = field(default_factory=dict)    # those of the record, in steps
    zone: ZoneInfo = UTC               # of the times that people read
    memory: Memory | None = None       # of the servers in `last`, by name; and the record
    firing: Firing | None = None       # asks for what fires at Alertmanager, None without one
    watched: float | None = None       # s, the age from which on `outlook` is stale; None: nothing is watched
    whole: bool = True                 # whether the viewer sees the whole fleet, and what is known of it only
    filled: float | None = None        # Unix s of the latest outlook of any age


@dataclass(frozen=True)
class Look:
    """How the pages see a forecaster. seen: by the tenants that ask (Site.viewer), None: all. version: another value as
    soon as there is something new to see; it is asked every second, and only reads memory."""

    seen: Callable[[frozenset[str] | None], Seen]
    version: Callable[[], object]
