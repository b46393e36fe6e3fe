"""Counters of connections, TLS handshakes and requests that a service did not serve.

Their values start at 0 for every label, so that `increase()` sees the first one.
"""

import logging
import time
from collections.abc import Callable, Iterator

from prometheus_client import Counter, Metric
from prometheus_client.registry import Collector

from serving.net.lanes import LANES

log = logging.getLogger(__name__)

PHASES = ("handshake", "head", "body", "send", "idle")  # those of serving.net.connections that have a deadline
REASONS = ("connection_limit", "memory_limit", *(f"{phase}_timeout" for phase in PHASES))
_PAUSE = 60.0  # s between two log lines about handshakes: a port scan makes thousands fail


class Traffic(Collector):
    """The counters; to be used on the event loop. ticks: seconds of a clock that only moves forward."""

    def __init__(self, ticks: Callable[[], float] = time.monotonic):
        self._ticks, self._said, self._unsaid = ticks, float("-inf"), 0
        self._closed = Counter(
            "fleetcast_web_connections_closed_total", "Connections that the service closed: to keep a limit "
            "(connection_limit, memory_limit), or as a phase took too long (handshake_timeout, head_timeout, "
            "body_timeout, send_timeout, and idle_timeout, which is normal).", ["reason"], registry=None)
        self._refused = Counter(
            "fleetcast_web_requests_refused_total", "Requests that got 503 as too many waited, by lane: health, "
            "metrics, reads (remote read) or pages (everything else).", ["lane"], registry=None)
        self._handshakes = Counter(
            "fleetcast_web_tls_handshake_failures_total", "TLS handshakes that failed or took too long.", registry=None)
        for reason in REASONS:
            self._closed.labels(reason)
        for lane in LANES:
            self._refused.labels(lane)

    def collect(self) -> Iterator[Metric]:
        for counter in (self._closed, self._refused, self._handshakes):
            yield from counter.collect()

    def closed(self, reason: str) -> None:
        """Counts a connection that was closed for one of REASONS."""
        self._closed.labels(reason).inc()

    def refused(self, lane: str) -> None:
        """Counts a request for which a lane had no room."""
        self._refused.labels(lane).inc()

    def handshake_failed(self, client: str, reason: object) -> None:
        """Counts a failed handshake, and logs the number of those since the last line, at most once a minute."""
        self._handshakes.inc()
        self._unsaid += 1
        now = self._ticks()
        if now - self._said >= _PAUSE:
            log.warning("TLS handshakes failed: %d since the last such line; the latest with %s: %s",
                        self._unsaid, client, reason or "the client has left")
            self._said, self._unsaid = now, 0
