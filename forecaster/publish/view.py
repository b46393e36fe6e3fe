"""What one reader sees: the whole fleet, or the servers of tenants.

A view has boards and collectors like those of the whole fleet, over Results and Outlooks of the tenants' servers only
(`Result.only`, `Outlook.only`). These and the text of the gauges are made when somebody asks, once for each Result.
"""

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from forecaster.board import Board, Derived
from forecaster.capacity.outlook import Outlook
from forecaster.publish.capacity_gauges import CapacityCollector
from forecaster.publish.collector import ForecastCollector
from forecaster.publish.result import Result
from forecaster.tenants import Tenant
from serving.exposition import Prepared


@dataclass(frozen=True)
class View:
    """The boards and collectors of a reader; those of what fills up are None where nothing is watched."""

    board: Board[Result]
    collector: ForecastCollector
    filling: Board[Outlook] | None = None
    filling_collector: CapacityCollector | None = None

    def exposition(self) -> tuple[Prepared, ...]:
        """The gauges to show now."""
        more = self.filling_collector.exposition() if self.filling_collector is not None else ()
        return *self.collector.exposition(), *more


class Views:
    """The views of a fleet by tenants. selectors: of the tenants by name."""

    def __init__(self, whole: View, selectors: Mapping[str, str]):
        self._whole = whole
        self._tenants = {name: Tenant(selector) for name, selector in selectors.items()}
        self._lock = threading.Lock()
        self._made: dict[frozenset[str], View] = {}

    def of(self, tenants: frozenset[str] | None) -> View:
        """The view of these tenants together; None: of the whole fleet. One that is not known has no servers."""
        if tenants is None:
            return self._whole
        known = tenants.intersection(self._tenants)
        with self._lock:
            if known not in self._made:
                self._made[known] = _view(self._whole, [self._tenants[name] for name in sorted(known)])
            return self._made[known]


def _view(whole: View, tenants: Collection[Tenant]) -> View:
    share = _Share(whole, tenants)
    board = Derived(whole.board.ttl, share.result)
    collector = whole.collector.over(board)
    if whole.filling is None or whole.filling_collector is None:
        return View(board, collector)
    filling = Derived(whole.filling.ttl, share.outlook)
    return View(board, collector, filling, whole.filling_collector.over(filling))


class _Share:
    """The tenants' part of the latest Result and Outlook."""

    def __init__(self, whole: View, tenants: Collection[Tenant]):
        self._whole, self._tenants = whole, tenants
        self._lock = threading.Lock()
        self._result: tuple[Result | None, Result | None] = None, None  # the whole one, and the part of it
        self._outlook: tuple[Outlook | None, Outlook | None] = None, None
        self._known: Mapping[str, str] = {}  # servers that are forecast -> profiles
        self._servers, self._filling = frozenset[str](), frozenset[str]()  # those of them, and of the Outlook's

    def result(self) -> Result | None:
        """That of the latest Result; None before the first."""
        with self._lock:
            return self._part()

    def outlook(self) -> Outlook | None:
        """That of the latest Outlook; None before the first. A server that is forecast has the profile of its
        forecast, as its series of what fills up may lack one."""
        with self._lock:
            self._part()
            latest = self._whole.filling.last if self._whole.filling is not None else None
            if latest is None:
                return None
            names = frozenset(one.server for one in latest.entities)
            servers = (self._servers & names) | self._others(names)
            if latest is not self._outlook[0] or servers != self._filling:
                self._outlook, self._filling = (latest, latest.only(servers)), servers
            return self._outlook[1]

    def _part(self) -> Result | None:
        latest = self._whole.board.last
        if latest is not None and latest is not self._result[0]:
            known = dict(zip(latest.servers, latest.profiles, strict=True))
            if known != self._known:
                self._known, self._servers = known, self._accepted(known.items())
            self._result = latest, latest.only(self._servers | self._others(latest.unforecast))
        return self._result[1]

    def _others(self, names: Iterable[str]) -> frozenset[str]:
        """Those of the servers that are not forecast, whose profiles are not known."""
        return self._accepted((name, None) for name in names if name not in self._known)

    def _accepted(self, servers: Iterable[tuple[str, str | None]]) -> frozenset[str]:
        return frozenset(name for name, profile in servers
                         if any(tenant.has(name, profile) for tenant in self._tenants))
