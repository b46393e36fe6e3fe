"""Curves written into VictoriaMetrics, whose storage takes samples that lie in the future: instead of remote read.

    forecast_<signal>{percentile="p10|p50|p90", profile=..., server=..., source="curve"}
    once per step, for each k of 96: value k at (start of the present step) + k steps - k milliseconds

Every instant of the future is forecast again and again, and what is written stays. The milliseconds order what is written
for one instant by its age: the shorter the look ahead, the later the sample, so that `last_over_time(...[5m])` at any whole
step sees the newest forecast, whatever the storage does with samples of one timestamp. What is past keeps the forecast made
one step before.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable

import numpy as np
import orjson
import requests

from forecaster.publish.remote_read import SOURCE
from forecaster.publish.result import PERCENTILES, Result
from forecaster.sources.transport import fetch

SERVERS = 50  # of one request: some 3 MB of text
_MAX_ANSWER = 1 << 16


class PushError(Exception):
    """Curves were not taken; the message says by whom and why."""


class Push:
    """Writes each Result's curves to ``url`` once per step, in at most ``timeout`` seconds, because cycles wait for it. Not
    thread-safe: the cycle owns it. ``clock`` counts seconds from any beginning."""

    def __init__(self, url: str, session: requests.Session, timeout: float, clock: Callable[[], float] = time.monotonic):
        self._url, self._session = f"{url.rstrip('/')}/api/v1/import", session
        self._timeout, self._clock = timeout, clock
        self._written: int | None = None

    def due(self, now: float, step: float) -> bool:
        """Whether a new step has begun since curves were last written."""
        return self._written != int(now // step)

    def send(self, result: Result, stopped: Callable[[], bool] = lambda: False) -> int:
        """Writes the curves of all live servers and returns the number of samples; PushError if one request fails or time is
        up, and the step counts as written all the same: the next one brings everything anew."""
        self._written = int(result.issued // result.step)
        live, samples, end = np.flatnonzero(result.live), 0, self._clock() + self._timeout
        for begin in range(0, len(live), SERVERS):
            if stopped():
                break
            left = end - self._clock()
            if left <= 0:
                raise PushError(f"{self._url}: {begin} of {len(live)} servers written within {self._timeout:g}s; expected all: "
                                "raise push.timeout, or divide the fleet into shards")
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
            raise PushError(f"{self._url}: HTTP 404; expected VictoriaMetrics' import API. Prometheus has none, and samples from "
                            "the future would block its scrapes: use remote read with it")
        if answer.status >= 300:
            raise PushError(f"{self._url}: HTTP {answer.status}: {answer.body[:200].decode('utf-8', 'replace').strip()}")


def lines(result: Result, servers: np.ndarray) -> tuple[bytes, int]:
    """(JSON lines of VictoriaMetrics' import API, samples) of these servers' curves; NaN has no sample."""
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
