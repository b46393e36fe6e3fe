"""What all sources share: readings, the Source protocol, the errors, and small helpers.

S servers, C signals, N instants. Instants are Unix seconds. Values are float32 in signal units, NaN where the
source has no value; infinite values count as none.

    SourceError            base of all errors of a source; the message names source, signal and remedy
      SourceUnreachable    no answer that can be read: TLS, unreadable credentials
        SourceDown         no answer at all: connection refused or closed, timeout, or 502 to 504 of somebody before it
      SourceRefused        an error as the answer; .status (HTTP), .error_type and .error are as Prometheus sends them
      SourceNonsense       an unusable answer: not JSON, unexpected shape, no series that names its server
      NoData               a valid answer without any series
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

NO_TEXT = "series with a label whose value is no text are left out"


class SourceError(Exception):
    """Base of everything a source raises."""


class SourceUnreachable(SourceError):
    """No answer, or none in time."""


class SourceDown(SourceUnreachable):
    """Nobody answers: connection refused, reset or closed, no such host, a timeout, or HTTP 502, 503 or 504 without an
    answer of the query API: of a proxy, or while Prometheus starts."""


class SourceRefused(SourceError):
    """An error as the answer."""

    def __init__(self, message: str, status: int, error_type: str = "", error: str = ""):
        super().__init__(message)
        self.status, self.error_type, self.error = status, error_type, error


class SourceNonsense(SourceError):
    """An answer that cannot be used."""


class NoData(SourceError):
    """A valid answer without any series."""


@dataclass(frozen=True, eq=False)
class Reading:
    """One instant: servers and profiles (S,), values float32 (S, C).

    A signal of `failed` could not be read, and its column is NaN. `left_out` counts, by signal, series and values that
    were read and are not used; `refused` servers that were read and for which there is no room. `up` are the servers
    whose scrape succeeds, with or without values, `listed` these and those whose scrape fails; None where the source
    does not know them.
    """

    instant: float
    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    values: np.ndarray
    failed: Mapping[str, SourceError] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    up: tuple[str, ...] | None = None
    listed: tuple[str, ...] | None = None
    refused: int = 0


@dataclass(frozen=True, eq=False)
class Readings:
    """A range: instants float64 (N,) rising, servers and profiles (S,), values float32 (N, S, C).

    A signal of `failed` could not be read, or not to its end; where it was not read, its values are NaN.
    """

    instants: np.ndarray
    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    values: np.ndarray
    failed: Mapping[str, SourceError] = field(default_factory=dict)


class Source(Protocol):
    """What the cycle reads from. Servers are sorted by name; latest and range may raise any SourceError.

    What cannot be used costs only itself: one series, or one signal. They raise where no signal could be read.
    """

    def latest(self, instant: float) -> Reading:
        """Each signal, a mean over the trailing step, at `instant`; NoData if there is no series."""

    def range(self, start: float, end: float, step: float, offset: float = 0.0) -> Readings:
        """The same at every multiple of `step`, plus `offset`, in start..end; no servers if there is no series."""

    def describe(self) -> dict[str, Any]:
        """What it reads and the state of the latest read, for /status."""

    def close(self) -> None:
        """Closes the connections."""


def milliseconds(name: str, seconds: float) -> int:
    """Seconds as milliseconds; ValueError naming the quantity unless positive and whole."""
    whole = round(seconds * 1000)
    if whole <= 0 or abs(whole - seconds * 1000) > 1e-6:
        raise ValueError(f"{name} is {seconds}s: expected a positive number of whole milliseconds")
    return whole


def grid(start: float, end: float, step: float, offset: float = 0.0) -> np.ndarray:
    """Every multiple of `step`, plus `offset`, in start..end, both included, as float64 (N,) Unix seconds."""
    step_ms, offset_ms = milliseconds("step", step), round(offset * 1000)
    first, last = (round(instant * 1000) - offset_ms for instant in (start, end))
    return (np.arange(-(-first // step_ms), last // step_ms + 1) * step_ms + offset_ms) / 1000


def numbers32(values: Any) -> np.ndarray:
    """float32 of the same shape; what is not finite there becomes NaN."""
    with np.errstate(over="ignore"):
        single = np.asarray(values, np.float64).astype(np.float32)
    return np.where(np.isfinite(single), single, np.float32(np.nan))


def named(signals: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    """Signals by name, from a mapping or from objects that have a .name; ValueError if there are none."""
    found = dict(signals) if isinstance(signals, Mapping) else {signal.name: signal for signal in signals}
    if not found:
        raise ValueError("a source needs at least one signal")
    return found


@dataclass(frozen=True)
class Labels:
    """The labels of a series that name the server and its profile (None: no label); how long a name may be (`longest`),
    and all labels of a series together (`altogether`), in characters."""

    server: str = "server"
    profile: str | None = "profile"
    default_profile: str = "generic"
    longest: int = 1024
    altogether: int = 16_384

    def server_of(self, labels: Mapping[str, str]) -> str | None:
        """The server's name, None if the series has none that can be used."""
        name = labels.get(self.server)
        return name if isinstance(name, str) and 0 < len(name) <= self.longest else None

    def refusal(self, labels: Mapping[str, Any]) -> str | None:
        """Why a series with these labels, which may be of any JSON type, is left out; None where it is used."""
        if not set(map(type, labels.values())) <= {str}:
            return NO_TEXT
        if (length := sum(map(len, labels.values())) + sum(map(len, labels))) > self.altogether:
            return f"series with more than {self.altogether} characters of labels are left out (limits.labels_length)"
        if length > self.longest and any(len(labels.get(of or "", "")) > self.longest
                                         for of in (self.server, self.profile)):
            return f"series with a name of more than {self.longest} characters are left out (limits.name_length)"
        return None if labels.get(self.server) else self.unnamed

    @property
    def unnamed(self) -> str:
        """What is said of series without a server."""
        return (f"series without the label {self.server!r} are left out (aggregate by that label, or set server_label "
                "to the one that names servers)")

    @property
    def doubled(self) -> str:
        """What is said of servers with several series at once."""
        return ("servers with more than one series, of which the largest value counts (aggregate by the label, for "
                f"example max by ({self.server}{f', {self.profile}' if self.profile else ''}) (...))")

    def profile_of(self, labels: Mapping[str, str]) -> str | None:
        """The profile's name, None if the series has none."""
        return labels.get(self.profile) or None if self.profile else None

    def profiles(self, servers: Sequence[str], found: Mapping[str, str]) -> tuple[str, ...]:
        """Profile of each server (S,), the default where none was found."""
        return tuple(found.get(server, self.default_profile) for server in servers)
