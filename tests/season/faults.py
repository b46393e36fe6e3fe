"""The faults: what breaks, how it is repaired, and what an observer may expect of it."""

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.season.exporter import SIGNALS
from tests.season.observer import NO_CHAIN, NO_FORECASTS, NO_PROMETHEUS, NO_SAMPLES
from tests.season.stack import BROKEN, EXPORTERS, FORECASTERS, Stack
from tests.season.world import BIG, SMALL

Act = Callable[[Stack, Any], None]


@dataclass(frozen=True)
class Kind:
    """One kind of fault. `details` are what it may hit, `seconds` its shortest and longest time; 0: as long as the
    repair takes.

    announced: the pages of which one has to come within two minutes, as the fleet or a shard is not seen; or none.
    blinds: the servers (all, those of the detail's shard or exporter, none) of which nothing can be learned.
    holds_back: what is learned does not reach the pager.
    """

    name: str
    begin: Act
    end: Act
    details: tuple[Any, ...]
    seconds: tuple[float, float]
    announced: frozenset[str] = frozenset()
    blinds: Callable[[Stack, Any], list[str]] = field(default=lambda stack, detail: list(stack.world.servers))
    holds_back: bool = False

    def draw(self, chance: random.Random) -> "Fault":
        """One fault of this kind."""
        return Fault(self, chance.choice(self.details), chance.uniform(*self.seconds))


@dataclass(frozen=True)
class Fault:
    """A fault of a season."""

    kind: Kind
    detail: Any
    seconds: float

    def __str__(self) -> str:
        return f"{self.kind.name} {self.detail if self.detail is not None else ''}".strip()


def _kill(stack: Stack, names: tuple[str, ...]) -> None:
    for name in names:
        stack.programs[name].stop()


def _start(stack: Stack, names: tuple[str, ...]) -> None:
    for name in names:
        stack.programs[name].start()


def _freeze(stack: Stack, names: tuple[str, ...]) -> None:
    for name in names:
        stack.programs[name].freeze(True)


def _thaw(stack: Stack, names: tuple[str, ...]) -> None:
    for name in names:
        stack.programs[name].freeze(False)


def _end_orderly(stack: Stack, names: tuple[str, ...]) -> None:
    for name in names:
        stack.programs[name].stop(signal.SIGTERM)


def _nothing(stack: Stack, detail: Any) -> None:
    """The fault is over when it has begun."""


def _of_shards(stack: Stack, names: tuple[str, ...]) -> list[str]:
    return [server for server, one in stack.world.servers.items() if FORECASTERS[one.shard] in names]


def _of_exporters(stack: Stack, names: tuple[str, ...]) -> list[str]:
    return [server for server, one in stack.world.servers.items() if EXPORTERS[one.exporter] in names]


def _nobody(stack: Stack, detail: Any) -> list[str]:
    return []


def _restart(stop: Act) -> Act:
    def begin(stack: Stack, names: tuple[str, ...]) -> None:
        stop(stack, names)
        _start(stack, names)

    return begin


def _other_shard(stack: Stack, number: int) -> None:
    """A forecaster takes the share of another one, as after a mistake in its configuration."""
    stack.change(FORECASTERS[number], stack.forecaster(number, shard=(number + 1) % len(FORECASTERS)))


def _own_shard(stack: Stack, number: int) -> None:
    stack.change(FORECASTERS[number], stack.forecaster(number))


def _off(stack: Stack, detail: tuple[int, float]) -> None:
    stack.shift(*detail)


def _right(stack: Stack, detail: tuple[int, float]) -> None:
    stack.shift(detail[0], 0.0)


def _break(stack: Stack, name: str) -> None:
    right = stack.files[name].read_text()
    stack.change(name, right + BROKEN)


def _mend(stack: Stack, name: str) -> None:
    stack.change(name, stack.files[name].read_text().removesuffix(BROKEN))


def _refuse(stack: Stack, signals: tuple[str, ...]) -> None:
    stack.world.refuse(*signals)


def _accept(stack: Stack, signals: tuple[str, ...]) -> None:
    stack.world.refuse()


def _holes(stack: Stack, share: float) -> None:
    stack.world.holes(share)


def _whole(stack: Stack, share: float) -> None:
    stack.world.holes(0.0)


_LONG = (150, 170)    # s: two minutes until it is announced, and some to see that it stays so
_LONGER = (150, 330)  # s: beyond the 4 minutes after which Alertmanager ends the alerts of a silent Prometheus
_SHORT = (45, 100)
_ONE, _ALL = tuple((name,) for name in FORECASTERS), (FORECASTERS,)
_PROMETHEUS, _ALERTMANAGER = (("prometheus",),), (("alertmanager",),)

KINDS = {kind.name: kind for kind in (
    Kind("forecaster killed", _kill, _start, _ONE + _ALL, _LONG, NO_FORECASTS, _of_shards),
    Kind("forecaster frozen", _freeze, _thaw, _ONE + _ALL, _LONG, NO_FORECASTS, _of_shards),
    Kind("exporter killed", _kill, _start, ((EXPORTERS[BIG],),), _LONG, NO_SAMPLES, _of_exporters),
    Kind("Prometheus killed", _kill, _start, _PROMETHEUS, _LONGER, NO_PROMETHEUS),
    Kind("Prometheus frozen", _freeze, _thaw, _PROMETHEUS, _LONGER, NO_PROMETHEUS),
    Kind("Alertmanager away", _end_orderly, _start, _ALERTMANAGER, _LONG, NO_CHAIN, holds_back=True),
    Kind("shard lost", _other_shard, _own_shard, tuple(range(len(FORECASTERS))), _LONG, NO_FORECASTS,
         lambda stack, number: _of_shards(stack, (FORECASTERS[number],))),
    Kind("all queries refused", _refuse, _accept, (SIGNALS,), _LONG, NO_FORECASTS),
    Kind("forecaster restarted", _restart(_kill), _nothing, _ONE, (0, 0), blinds=_of_shards),
    Kind("Prometheus restarted", _restart(_kill), _nothing, _PROMETHEUS, (0, 0)),
    Kind("Alertmanager restarted", _restart(_end_orderly), _nothing, _ALERTMANAGER, (0, 0), holds_back=True),
    Kind("exporter of few killed", _kill, _start, ((EXPORTERS[SMALL],),), _SHORT, blinds=_of_exporters),
    Kind("clock off", _off, _right, tuple((number, by) for number in range(len(FORECASTERS)) for by in (-180.0, 180.0)),
         _LONG, blinds=_nobody),
    Kind("broken file", _break, _mend, (*FORECASTERS, "prometheus", "alertmanager"), _SHORT, blinds=_nobody),
    Kind("query refused", _refuse, _accept, tuple((name,) for name in SIGNALS), _SHORT),
    Kind("holes", _holes, _whole, (0.2, 0.35, 0.5), _SHORT, blinds=_nobody),
)}
BLINDING = tuple(name for name, kind in KINDS.items() if kind.announced)
OTHERS = tuple(name for name, kind in KINDS.items() if not kind.announced)
