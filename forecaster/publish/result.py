"""The one immutable outcome of a cycle, and the board it is pinned to for everyone who publishes it.

Letters: S servers, C signals, H horizon steps; the last axis of a forecast is p10, p50, p90.
"""

import threading
from dataclasses import dataclass

import numpy as np

from forecaster.memory.record import Proof
from forecaster.risk.score import Risk

PERCENTILES = ("p10", "p50", "p90")  # the last axis of Result.forecast, lowest first


@dataclass(frozen=True, eq=False)
class Result:
    """What one cycle found out; never changed after it is made, so it is read without a lock.

    Values are in the signals' own units; NaN where the source had nothing or nothing can be forecast.
    The arrays become read-only views; an array of the wrong shape or type is a bug and fails here.
    """

    issued: float                # Unix s, the instant the forecast starts from
    step: float                  # s between two horizon steps; step k (1-based) is issued + k*step
    servers: tuple[str, ...]     # S
    profiles: tuple[str, ...]    # S
    signals: tuple[str, ...]     # C
    observed: np.ndarray         # float32 (S, C), what the forecast started from
    trend: np.ndarray            # float32 (S, C), recent change per step
    forecast: np.ndarray         # float32 (S, C, H, 3)
    method: tuple[str, ...]      # S, "tft" or "heuristic"
    risk: Risk
    samples: np.ndarray          # int (S,), samples seen of each server
    required: int                # samples from which on a server is forecast by the model
    last_seen: np.ndarray        # float64 (S,), Unix s of the newest sample, NaN when never seen
    stale: np.ndarray            # bool (S,), True where the last sample is too old to forecast from
    proof: Proof | None = None   # how past forecasts did, per signal and shown horizon

    def __post_init__(self):
        servers, signals = len(self.servers), len(self.signals)
        for name, kind, shape in (("observed", np.float32, (servers, signals)),
                                  ("trend", np.float32, (servers, signals)),
                                  ("forecast", np.float32, (servers, signals, self.forecast.shape[2], 3)),
                                  ("samples", np.integer, (servers,)),
                                  ("last_seen", np.float64, (servers,)),
                                  ("stale", np.bool_, (servers,))):
            array = getattr(self, name)
            assert array.shape == shape, f"{name}: shape {array.shape}, expected {shape}"
            assert np.issubdtype(array.dtype, kind), f"{name}: {array.dtype}, expected {kind.__name__}"
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)
        assert len(self.profiles) == servers, f"profiles: {len(self.profiles)}, expected {servers}"
        assert len(self.method) == servers, f"method: {len(self.method)}, expected {servers}"

    @property
    def horizon(self) -> int:
        """H, the number of horizon steps."""
        return self.forecast.shape[2]

    @property
    def live(self) -> np.ndarray:
        """bool (S,): the servers whose forecasts may be shown."""
        return ~self.stale

    def index(self, server: str) -> int | None:
        """Where `server` stands in the arrays; None when it is not there."""
        return self.servers.index(server) if server in self.servers else None

    def age(self, now: float) -> float:
        """Seconds since the forecast was issued, never below 0 (a clock may be set back)."""
        return max(0.0, now - self.issued)

    def times(self) -> np.ndarray:
        """float64 (H,): the instants the horizon steps stand for, Unix s."""
        return self.issued + self.step * np.arange(1, self.horizon + 1)


class Board:
    """Holds the newest Result for the threads that show it.

    A Result older than `ttl` seconds is no longer current: whoever shows forecasts asks for `current`,
    whoever says how long ago something happened asks for `last`.
    """

    def __init__(self, ttl: float):
        self.ttl = ttl
        self._lock = threading.Lock()
        self._last: Result | None = None

    def publish(self, result: Result) -> None:
        """Makes `result` the newest."""
        with self._lock:
            self._last = result

    @property
    def last(self) -> Result | None:
        """The newest Result however old it is; None before the first."""
        with self._lock:
            return self._last

    def current(self, now: float) -> Result | None:
        """The newest Result, or None when there is none yet or it is older than the time-to-live."""
        result = self.last
        return result if result is not None and result.age(now) <= self.ttl else None
