"""Writes curves into VictoriaMetrics, which stores samples of the future. Instead of remote read.

    forecast_<signal>{percentile="p10|p50|p90", profile=..., server=..., source="curve"}
    once per step, for k = 1..96: value k at (start of the current step) + k steps - k milliseconds

Every future instant is forecast once per step, and written samples stay. The milliseconds order the samples of one
instant: the later the forecast, the later its sample. `last_over_time(...[5m])` at a multiple of the step therefore
returns the latest forecast, independent of how the storage treats equal timestamps. For the past it returns the
forecast made one step before.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable

import numpy as np
import orjson
import requests

from forecaster.publish.matching import SOURCE
from forecaster.publish.result import PERCENTILES, Result
from forecaster.sources.transport import fetch

SERVERS = 50  # per request: some 3 MB of text
_MAX_ANSWER = 1 << 16


class PushError(Exception):
    """Curves were not written; the message names the address and the reason."""


class Push:
    """Writes each Result's curves to ``url`` once per step, in at most ``timeout`` seconds, as cycles wait for it. Not
    thread-safe. ``clock`` returns seconds of any epoch."""

    def __init__(self, url: str, session: requests.Session, timeout: float,
                 clock: Callable[[], float] = time.monotonic):
        self._url, self._session = f"{url.rstrip('/')}/api/v1/import", session
        self._timeout, self._clock = timeout, clock
        self._written: int | None = None

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def due(self, now: float, step: float) -> bool:
        """Whether a new step has begun since the last send."""
        return self._written != int(now // step)

    def send(self, result: Result, stopped: Callable[[], bool] = lambda: False) -> int:
        """Writes the curves of all live servers; returns the number of samples.

        PushError if a request fails or the time is up. The step then counts as written, too: the next one writes all
        curves again.
        """
        self._written = int(result.issued // result.step)
        live, samples, end = np.flatnonzero(result.live), 0, self._clock() + self._timeout
        for begin in range(0, len(live), SERVERS):
            if stopped():
                break
            left = end - self._clock()
            if left <= 0:
                raise PushError(f"{self._url}: {begin} of {len(live)} servers written within {self._timeout:g}s; "
                                "expected all: raise push.timeout, or divide the fleet into shards")
            text, count = lines(result, live[begin : begin + SERVERS])
            self._post(text, left)
            samples += count
        return samples

    def _post(self, text: bytes, timeout: float) -> None:
        try:
            answer = fetch(self._session, "POST", self._url, timeout, _MAX_ANSWER, gzip.compress(text, 1, mtime=0),
                           {"Content-Encoding": "gzip"})
        except (OSError, ValueError) as error:
            raise PushError(f"{self._url}: {error}; check push.url and its credentials") from error
        if answer.status == 404:
            raise PushError(f"{self._url}: HTTP 404; expected VictoriaMetrics' import API. Prometheus has none, and "
                            "samples of the future would block its scrapes: use remote read with it")
        if answer.status >= 300:
            opening = answer.body[:200].decode("utf-8", "replace").strip()
            raise PushError(f"{self._url}: HTTP {answer.status}: {opening}")


def lines(result: Result, servers: np.ndarray) -> tuple[bytes, int]:
    """These servers' curves as JSON lines of VictoriaMetrics' import API, and the number of samples; NaN has none."""
    steps = np.arange(1, result.horizon + 1)
    start = round(result.issued // result.step * result.step * 1000)
    instants = start + np.rint(steps * result.step * 1000).astype(np.int64) - steps
    out, samples = [], 0
    for server in servers.tolist():
        labels = {"profile": result.profiles[server], "server": result.servers[server], "source": SOURCE}
        curves = np.ascontiguousarray(result.forecast[server].transpose(0, 2, 1))
        for c, signal in enumerate(result.signals):
            for percentile, values in zip(PERCENTILES, curves[c], strict=True):
                known = np.isfinite(values)
                if not known.any():
                    continue
                metric = {"__name__": f"forecast_{signal}", "percentile": percentile, **labels}
                line = {"metric": metric, "values": values[known], "timestamps": instants[known]}
                out.append(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))
                samples += int(known.sum())
    return b"".join(out), samples
