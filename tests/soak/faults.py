"""The faults of a soak: what is done, for how long, and how long afterwards forecasts may be missing or old."""

import random
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from tests.soak.world import FORECASTERS, OURS, RELOADED, World

EXTRA = 5  # servers without a profile of their own in exporter/fleet.yml, from which the churn starts


@dataclass(frozen=True)
class Fault:
    """begin returns what ends it. seconds: how long it lasts. excuses: the parts that need not answer until `grace`
    seconds after its end; with a forecaster, the exporter or Prometheus among them forecasts need not be new."""

    name: str
    begin: Callable[[World], Callable[[], None]]
    seconds: float = 0.0
    excuses: frozenset[str] = frozenset()
    grace: float = 60.0


def _nothing() -> None:
    """Such a fault is over when it has begun."""


def _kill(name: str) -> Fault:
    def begin(world: World) -> Callable[[], None]:
        world.send(name, signal.SIGKILL)
        return _nothing

    return Fault(f"kill -9 {name}", begin, excuses=frozenset({name}))


def _freeze(name: str, seconds: float) -> Fault:
    def begin(world: World) -> Callable[[], None]:
        world.send(name, signal.SIGSTOP)
        return lambda: world.send(name, signal.SIGCONT)

    return Fault(f"freeze {name}", begin, seconds, frozenset({name}))


def _clock(by: float) -> Fault:
    def begin(world: World) -> Callable[[], None]:
        world.step_clock(by)
        return lambda: world.step_clock(0.0)

    return Fault(f"clock {by:+.0f} s", begin, 45, frozenset(FORECASTERS))


def _reload(name: str, times: int) -> Fault:
    def begin(world: World) -> Callable[[], None]:
        for _ in range(times):
            world.send(name, signal.SIGHUP)
        return _nothing

    return Fault(f"reload {name}, {times} times", begin, 5)


def _storm(number: int) -> Fault:
    def begin(world: World) -> Callable[[], None]:
        world.storm(number)
        return _nothing

    return Fault(f"{number} alerts at once", begin, 10)


def _scenario(name: str) -> Fault:
    def begin(world: World) -> Callable[[], None]:
        with suppress(OSError):
            world.seen.set_scenario(name)
        return _nothing

    return Fault(f"scenario {name}", begin, 5)


def _full_disk(world: World) -> Callable[[], None]:
    file = world.storage / "filler"
    with suppress(OSError), file.open("wb", buffering=0) as opened:
        while True:
            opened.write(bytes(1 << 16))
    world.send("forecaster", signal.SIGHUP)  # which writes snapshots
    return lambda: file.unlink(missing_ok=True)


def _churn(servers: int) -> Fault:
    def begin(world: World) -> Callable[[], None]:
        world.resize(servers)
        return _nothing

    return Fault(f"{servers - EXTRA:+d} servers", begin, 10, frozenset({"servers"}), 90)


def _slow_clients(world: World) -> Callable[[], None]:
    """Clients that send a part of a request and nothing more, at every service of ours."""
    clients = []
    for name in OURS:
        for number in range(60):
            with suppress(OSError):
                client = socket.create_connection(("127.0.0.1", world.stack.layout.ports[name]), 1)
                clients.append(client)
                client.sendall((b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b",
                                b"POST /page HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\nx")[number % 4])

    def end() -> None:
        for client in clients:
            client.close()

    return end


def faults(world: World) -> list[Fault]:
    """All that this machine can have."""
    made = [*map(_kill, world.names), _freeze("prometheus", 40), _freeze("forecaster", 30), _freeze("exporter", 20),
            _freeze("alertmanager", 20), _clock(-300), _clock(300), *(_reload(name, 3) for name in RELOADED),
            _reload("forecaster", 10), _storm(2000), _scenario("critical"), _scenario("healthy"), _churn(EXTRA + 60),
            _churn(EXTRA), _churn(EXTRA + 15), Fault("slow clients", _slow_clients, 30)]
    return [*made, Fault("full disk", _full_disk, 30)] if world.disk else made


def drawn(possible: list[Fault], chance: random.Random) -> Iterator[Fault]:
    """All faults in random order, again and again."""
    while True:
        yield from chance.sample(possible, len(possible))
