"""The immutable result of a cycle, and the board on which all publishers find the latest one.

Letters: S servers, C signals, H horizon steps; the last axis of a forecast is p10, p50, p90.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo

import numpy as np
import numpy.typing as npt

from forecaster.memory.record import Proof
from forecaster.publish.values import begun
from forecaster.risk.score import Risk
from forecaster.risk.state import State

PERCENTILES = ("p10", "p50", "p90")  # the last axis of Result.forecast, lowest first


@dataclass(frozen=True, eq=False)
class Result:
    """The result of one cycle; it never changes, so that it is read without a lock.

    Values are in the signals' own units; NaN where the source had no value or nothing can be forecast.
    The arrays become read-only views; an array of the wrong shape or type is a bug and fails here.
    """

    issued: float                # Unix s, the instant the forecast starts from
    step: float                  # s between two horizon steps; step k (1-based) is at issued + k*step
    servers: tuple[str, ...]     # S
    profiles: tuple[str, ...]    # S
    signals: tuple[str, ...]     # C
    observed: npt.NDArray[np.float32]         # float32 (S, C), from which the forecast starts
    trend: npt.NDArray[np.float32]            # float32 (S, C), recent change per step
    forecast: npt.NDArray[np.float32]         # float32 (S, C, H, 3)
    method: tuple[str, ...]      # S, "tft" or "heuristic"
    risk: Risk
    samples: npt.NDArray[np.int64]          # int (S,), samples seen of each server
    required: int                # samples from which on the model forecasts a server
    last_seen: npt.NDArray[np.float64]        # float64 (S,), Unix s of the newest sample, NaN when never seen
    stale: npt.NDArray[np.bool_]            # bool (S,), True where the last sample is too old to forecast from
    state: npt.NDArray[np.int64]            # int (S,), of State; BLIND where it is stale
    pending: npt.NDArray[np.float64]        # float64 (S, 2), as Course.pending
    proof: Proof | None = None   # figures of past forecasts, per signal and shown horizon
    pages: npt.NDArray[np.int64] | None = None  # int (rules, ways to turn out), as Pages.counts
    unforecast: Mapping[str, str] = field(default_factory=dict)  # server, also of none of the rows -> why, by name
    optional: frozenset[str] = frozenset()  # signals that a server may lack

    def __post_init__(self) -> None:
        servers, signals = len(self.servers), len(self.signals)
        for name, kind, shape in (("observed", np.float32, (servers, signals)),
                                  ("trend", np.float32, (servers, signals)),
                                  ("forecast", np.float32, (servers, signals, self.forecast.shape[2], 3)),
                                  ("samples", np.integer, (servers,)),
                                  ("last_seen", np.float64, (servers,)),
                                  ("stale", np.bool_, (servers,)),
                                  ("state", np.integer, (servers,)),
                                  ("pending", np.float64, (servers, 2))):
            array = getattr(self, name)
            assert array.shape == shape, f"{name}: shape {array.shape}, expected {shape}"
            assert np.issubdtype(array.dtype, kind), f"{name}: {array.dtype}, expected {kind.__name__}"
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)
        assert len(self.profiles) == servers, f"profiles: {len(self.profiles)}, expected {servers}"
        assert len(self.method) == servers, f"method: {len(self.method)}, expected {servers}"

    def only(self, servers: Collection[str]) -> "Result":
        """That of these servers, as a fleet of their own. The record's figures are of all servers together, and left
        out."""
        rows = np.flatnonzero(np.array([name in servers for name in self.servers], bool))
        kept = rows.tolist()
        return replace(
            self, servers=tuple(self.servers[row] for row in kept), profiles=tuple(self.profiles[row] for row in kept),
            observed=self.observed[rows], trend=self.trend[rows], forecast=self.forecast[rows],
            method=tuple(self.method[row] for row in kept), risk=self.risk.only(rows), samples=self.samples[rows],
            last_seen=self.last_seen[rows], stale=self.stale[rows], state=self.state[rows], pending=self.pending[rows],
            unforecast={name: reason for name, reason in self.unforecast.items() if name in servers}, proof=None,
            pages=None)

    @property
    def horizon(self) -> int:
        """H, the number of horizon steps."""
        return int(self.forecast.shape[2])

    @property
    def live(self) -> npt.NDArray[np.bool_]:
        """bool (S,): the servers whose forecasts may be shown."""
        return ~self.stale

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """bool (S, C): the signals without a forecast that are not optional, of servers that have one of any signal."""
        without = np.isnan(self.forecast[:, :, 0, 1])
        some = ~np.all(without, axis=1, keepdims=True)
        missing: npt.NDArray[np.bool_] = without & some & np.array([name not in self.optional for name in self.signals])
        return missing

    @property
    def health(self) -> str:
        """The fleet's health; "unknown" in place of "healthy" where a server is BLIND."""
        blind = self.risk.health == "healthy" and (self.state == State.BLIND).any()
        return "unknown" if blind else self.risk.health

    @property
    def waits(self) -> npt.NDArray[np.bool_]:
        """bool (S,): the servers whose P1 or P2 has begun, and has not lasted for as long as its alert takes."""
        return np.isfinite(self.pending[:, 0])

    @property
    def zone(self) -> tzinfo:
        """The time zone of the configuration."""
        return self.risk.incidents.zone if self.risk.incidents is not None else UTC

    def message(self, server: int) -> str:
        """One sentence for an on-call person about the server at this index; of one that is BLIND, what was said."""
        said = self.risk.message(server)
        if np.isfinite(self.pending[server, 0]):
            since, fires = self.begun(server)
            return f"{self.risk.priority[server]} {since}, its alert {fires}; {said}"
        if self.state[server] != State.BLIND or not self.last_seen[server] > 0:
            return said
        return f"Not seen since {datetime.fromtimestamp(self.last_seen[server], UTC):%H:%M:%S %Z}; before that: {said}"

    def begun(self, server: int) -> tuple[str, str]:
        """Since when the server at this index is P1 or P2, and when its alert fires, where it waits."""
        since, until = self.pending[server].tolist()
        return begun(since, until, self.zone)

    def index(self, server: str) -> int | None:
        """The row of `server` in the arrays, None where it is unknown."""
        return self.servers.index(server) if server in self.servers else None

    def age(self, now: float) -> float:
        """Seconds since the forecast was issued, at least 0 (a clock may be set back)."""
        return max(0.0, now - self.issued)

    def times(self) -> npt.NDArray[np.float64]:
        """float64 (H,): the instants of the horizon steps, Unix s."""
        return self.issued + self.step * np.arange(1, self.horizon + 1, dtype=np.float64)
