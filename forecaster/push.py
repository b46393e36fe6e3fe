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
import json
from collections.abc import Callable

import numpy as np
import requests

from forecaster.remote_read import SOURCE
from forecaster.result import PERCENTILES, Result
from forecaster.transport import fetch

SERVERS = 50  # of one request: some 3 MB of text
_MAX_ANSWER = 1 << 16


class PushError(Exception):
    """Curves were not taken; the message says by whom and why."""


class Push:
    """Writes each Result's curves to ``url`` once per step. Not thread-safe: the cycle owns it."""

    def __init__(self, url: str, session: requests.Session, timeout: float):
        self._url, self._session, self._timeout = f"{url.rstrip('/')}/api/v1/import", session, timeout
        self._written: int | None = None

    def due(self, now: float, step: float) -> bool:
        """Whether a new step has begun since curves were last written."""
        return self._written != int(now // step)

    def send(self, result: Result, stopped: Callable[[], bool] = lambda: False) -> int:
        """Writes the curves of all live servers and returns the number of samples; PushError if one request fails, and the
        step counts as written all the same: the next one brings everything anew."""
        self._written = int(result.issued // result.step)
        live, samples = np.flatnonzero(result.live), 0
        for begin in range(0, len(live), SERVERS):
            if stopped():
                break
            text, count = lines(result, live[begin : begin + SERVERS])
            self._post(text)
            samples += count
        return samples

    def _post(self, text: bytes) -> None:
        try:
            response, body = fetch(
                self._session, "POST", self._url, self._timeout, _MAX_ANSWER,
                data=gzip.compress(text, 1, mtime=0), headers={"Content-Encoding": "gzip"},
            )
        except (OSError, ValueError) as error:
            raise PushError(f"{self._url}: {error}; check push.url and its credentials") from error
        if response.status_code == 404:
            raise PushError(f"{self._url}: HTTP 404; expected VictoriaMetrics' import API. Prometheus has none, and samples from "
                            "the future would block its scrapes: use remote read with it")
        if response.status_code >= 300:
            raise PushError(f"{self._url}: HTTP {response.status_code}: {body[:200].decode('utf-8', 'replace').strip()}")


def lines(result: Result, servers: np.ndarray) -> tuple[bytes, int]:
    """(JSON lines of VictoriaMetrics' import API, samples) of these servers' curves; NaN has no sample."""
    steps = np.arange(1, result.horizon + 1)
    start = round(result.issued // result.step * result.step * 1000)
    instants = start + np.rint(steps * result.step * 1000).astype(np.int64) - steps
    every, out, samples = json.dumps(instants.tolist()), [], 0
    for server in servers.tolist():
        labels = {"profile": result.profiles[server], "server": result.servers[server], "source": SOURCE}
        curves = np.round(result.forecast[server].astype(np.float64), 6)
        for c, signal in enumerate(result.signals):
            for q, percentile in enumerate(PERCENTILES):
                values, known = curves[c, :, q], np.isfinite(curves[c, :, q])
                if not known.any():
                    continue
                metric = {"__name__": f"forecast_{signal}", "percentile": percentile, **labels}
                when = every if known.all() else json.dumps(instants[known].tolist())
                out.append(f'{{"metric":{json.dumps(metric)},"values":{json.dumps(values[known].tolist())},"timestamps":{when}}}\n')
                samples += int(known.sum())
    return "".join(out).encode(), samples
