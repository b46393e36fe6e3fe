"""Plays a plan on the stack and keeps the chronicle."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.season.faults import Fault
from tests.season.observer import Ear, Season, Trouble
from tests.season.plan import Incident, Plan
from tests.season.stack import Stack

TICK = 0.1          # s of the wall between two looks at the pager
LATE = 2.0          # s of the wall that the machine itself may be late, beside the other tests on two cores
GIVE_UP = 1500.0    # fast s after which an incident ends although nobody has said it
QUIET = 1500.0      # fast s after the last fault in which all pages have to end
WIDTH = 180         # characters of a line of the chronicle
MENDING = 30.0      # s of the wall in which the stack is whole again after a fault


@dataclass
class Player:
    """Plays one season; `lines` is the chronicle, and `emit` takes each line of it."""

    stack: Stack
    plan: Plan
    emit: Callable[[str], None] = lambda line: None
    ear: Ear = field(default_factory=Ear)
    troubles: list[Trouble] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _waiting: list[tuple[float, Incident]] = field(default_factory=list)  # due at
    _running: list[tuple[float, Incident]] = field(default_factory=list)  # begun at

    def play(self) -> Season:
        """Starts the stack and plays the plan to its end; what was so and what was said."""
        self._begin()
        for slot, fault in enumerate(self.plan.faults):
            now = self.stack.clock()
            self._waiting += [(now + one.offset, one) for one in self.plan.incidents if one.slot == slot]
            self._suffer(fault)
        self._spend(QUIET, until=lambda: not self._waiting and not self._running and not self._open())
        world = self.stack.world
        return Season({name: one.overloaded for name, one in world.servers.items()},
                      {name: one.silent for name, one in world.servers.items()},
                      self.troubles, self.ear.said, self.stack.clock(), LATE * self.stack.factor)

    def _begin(self) -> None:
        """The start is as good as a fault: programs that start slower than others are away for them."""
        servers = frozenset(self.stack.world.servers)
        self.stack.start()
        self.troubles.append(Trouble("start", frozenset(), servers, begin=0.0, repaired=0.0, whole=self.stack.clock()))
        self._note("START  the stack is whole")

    def _suffer(self, fault: Fault) -> None:
        """One fault, its repair, and the time until the stack is whole."""
        stack, kind = self.stack, fault.kind
        trouble = Trouble(str(fault), kind.announced, frozenset(kind.blinds(stack, fault.detail)), stack.clock(),
                          holds_back=kind.holds_back)
        self.troubles.append(trouble)
        self._note(f"FAULT  {fault} for {fault.seconds:.0f} s")
        kind.begin(stack, fault.detail)
        self._spend(fault.seconds)
        kind.end(stack, fault.detail)
        trouble.repaired, repaired = stack.clock(), time.time()
        self._note(f"MENDED {fault}")
        mended = self._spend(MENDING * stack.factor, lambda: stack.whole(repaired))
        assert mended, f"not whole {MENDING:.0f} s after: {fault}"
        trouble.whole = stack.clock()
        self._note("WHOLE")

    def _spend(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Lets so many fast seconds pass, or fewer if a condition is met; whether it was."""
        deadline = self.stack.clock() + seconds
        while not until():
            if self.stack.clock() >= deadline:
                return False
            self._tick()
            time.sleep(TICK)
        return True

    def _tick(self) -> None:
        now, world = self.stack.clock(), self.stack.world
        for said in self.ear.hear(now, self.stack.received()):
            self._note(f"said   {said.kind} {said.status} {said.name} "
                       f"{said.server or said.labels.get('instance') or ''}: {said.words}")
        busy = {one.server for _, one in self._running}
        for due, one in [*self._waiting]:
            if now >= due and one.server not in busy:
                world.overload(one.server, True)
                busy.add(one.server)
                self._waiting.remove((due, one))
                self._running.append((now, one))
                self._note(f"server {one.server} overloaded for {one.seconds:.0f} s, silent {one.silent}")
        for begin, one in [*self._running]:
            self._go_on(now - begin, begin, one)

    def _go_on(self, age: float, begin: float, one: Incident) -> None:
        """The next step of an incident that has begun `age` seconds ago."""
        world, server = self.stack.world, self.stack.world.servers[one.server]
        silent = one.silent is not None and one.silent[0] <= age < sum(one.silent)
        if silent != server.is_silent:
            world.silence(one.server, silent)
            self._note(f"server {one.server} {'is silent' if silent else 'sends samples again'}")
        told = self.ear.open("FleetcastServerP1", one.server) or age > GIVE_UP
        if server.is_overloaded and age >= one.seconds and told:
            world.overload(one.server, False)
            self._note(f"server {one.server} is well{', but silent' if silent else ''}")
        if not server.is_overloaded and (one.silent is None or age >= sum(one.silent)):
            self._running.remove((begin, one))

    def _open(self) -> bool:
        """Whether a page is open."""
        last = {tuple(sorted(one.labels.items())): one for one in self.ear.said}
        return any(one.status == "firing" and one.kind == "PAGE" for one in last.values())

    def _note(self, text: str) -> None:
        fast = int(self.stack.clock())
        self.lines.append(f"{datetime.now(UTC):%H:%M:%S} {fast // 60:3d}:{fast % 60:02d} {text}"[:WIDTH])
        self.emit(self.lines[-1])
