"""Prometheus' remote read: the whole forecast as curves whose samples lie in the future and are not stored.

    forecast_<signal>{percentile="p10|p50|p90", profile=..., server=..., source="curve"}
    sample k of 96 at issued + k steps

The curves of what fills up are in capacity_curves.

At each instant, Prometheus shows the latest sample of the last 5 minutes: between two samples the curve keeps the
value of the earlier one. A range query from now to now + 8 h with a step of 5 minutes returns 96 points, one for each
sample: none at now, where the first sample is still ahead, then sample k at now + k steps. Where the query does not
start at now (Grafana aligns it to the step), a range of 8 h may hold 95 of them. `max_over_time(...[8h] offset -8h)`
asked now covers all 96. The instants of the samples move with every refresh.

A query is answered only if it has the matcher source="curve" (Prometheus' `required_matchers`), so that a plain
forecast_cpu_pct never mixes gauges and curves. Curves have no `job` or `instance`, which scraping adds; a matcher on
them selects nothing here. Prometheus adds its `external_labels` to the matchers it sends; where it has any, the
remote_read section needs `filter_external_labels: false`.
"""

import time
from collections.abc import Callable, Iterable

import cramjam
import numpy as np
import numpy.typing as npt
import re2
from flask import Blueprint, Response, request
from google.protobuf.message import DecodeError

from forecaster.board import Board
from forecaster.capacity.outlook import Outlook
from forecaster.publish import capacity_curves
from forecaster.publish import remote_pb as pb
from forecaster.publish.budget import Budget
from forecaster.publish.matching import SOURCE, accepted, asks_for_curves
from forecaster.publish.result import PERCENTILES, Result
from serving.doors.entry import needs
from serving.shown import quoted
from serving.web import RequestError

BODY_LIMIT = 1 << 20  # bytes, compressed and not: a request is some matchers, a thousand times smaller
SAMPLE_LIMIT = 1_000_000  # one signal of 3,400 servers: about 20 MB and one second of work


def remote_read_blueprint(board: Board[Result], clock: Callable[[], float] = time.time,
                          sample_limit: int = SAMPLE_LIMIT, capacity: Board[Outlook] | None = None) -> Blueprint:
    """POST /api/v1/read over the current Result and Outlook; an expired one answers with no series."""
    blueprint = Blueprint("remote_read", __name__)

    @blueprint.post("/api/v1/read")
    @needs("read")
    def read() -> Response:
        """Prometheus' remote read: curves of the future."""
        request.max_content_length = BODY_LIMIT
        encoding = request.headers.get("Content-Encoding")
        try:
            return _answered(decode(request.get_data(cache=False), encoding, request.mimetype or None))
        finally:
            re2.purge()  # its cache would keep 128 expressions with the memory of each

    def _answered(query: pb.Message) -> Response:
        now = clock()
        response = answer(board.current(now), query, sample_limit, capacity.current(now) if capacity else None)
        body = bytes(cramjam.snappy.compress_raw(response.SerializeToString()))
        return Response(body, mimetype="application/x-protobuf", headers={"Content-Encoding": "snappy"})

    return blueprint


def decode(body: bytes, encoding: str | None, content_type: str | None) -> pb.Message:
    """The ReadRequest in a request's body. `encoding` and `content_type` are its headers, None where not given.

    Raises RequestError: 415 for another form, 413 for too large a body, 400 for a broken one.
    """
    for header, given, expected in (("Content-Encoding", encoding, "snappy"),
                                    ("Content-Type", content_type, "application/x-protobuf")):
        if given not in (None, expected):
            raise RequestError(f"the request's {header} is {quoted(given)}", header, expected, 415)
    expected = "a prometheus.ReadRequest message (protobuf) in snappy's block format"
    if not body:
        raise RequestError("the request's body is empty", "body", expected)
    try:
        size = cramjam.snappy.decompress_raw_len(body)
        if size > BODY_LIMIT:  # checked before unpacking: a small body can unpack to any size
            raise RequestError(f"the request is {size} bytes when unpacked", "body", f"at most {BODY_LIMIT} bytes", 413)
        message = pb.ReadRequest.FromString(bytes(cramjam.snappy.decompress_raw(body)))
    except cramjam.DecompressionError as error:
        raise RequestError(f"the request's body is not a snappy block ({error})", "body", expected) from error
    except DecodeError as error:
        raise RequestError("the request's body is not a ReadRequest message", "body", expected) from error
    accepted = message.accepted_response_types
    if accepted and pb.SAMPLES not in accepted:
        raise RequestError(f"the request accepts response types {quoted(list(accepted[:20]))} only",
                           "accepted_response_types",
                           f"{pb.SAMPLES} (samples) among them: streamed chunks are not offered")
    return message


def answer(result: Result | None, request: pb.Message, sample_limit: int = SAMPLE_LIMIT,
           outlook: Outlook | None = None) -> pb.Message:
    """A ReadResponse with one QueryResult for each query of the ReadRequest, in its order. Raises RequestError."""
    response, budget = pb.ReadResponse(), Budget(sample_limit)
    budget.admit(request)
    for query in request.queries:
        found = response.results.add()
        if not asks_for_curves(query.matchers):
            continue
        if outlook is not None:
            capacity_curves.fill(found, outlook, capacity_curves.select(outlook, query, budget), query)
        if result is not None:
            instants = _instants(result)
            steps = np.flatnonzero((instants >= query.start_timestamp_ms) & (instants <= query.end_timestamp_ms))
            series = select(result, query.matchers, steps.size, budget) if steps.size else []
            _fill(found, result, series, steps, instants[steps])
    return response


def _instants(result: Result) -> npt.NDArray[np.int64]:
    """int64 (H,), ms: the instants of the samples. The start is rounded once, so that they are evenly spaced."""
    return round(result.issued * 1000) + np.rint((result.times() - result.issued) * 1000).astype(np.int64)


def select(result: Result, matchers: Iterable[pb.Message], steps: int, budget: Budget) -> list[tuple[int, int, int]]:
    """(signal, percentile, server) indices of the series that every matcher accepts, in label order.

    Label order is __name__, percentile, profile, server: as Prometheus sorts series. Stale servers have none.
    steps: how many samples of each are asked for.
    """
    values = {  # values of each label along one axis of the forecast: S + C + 3 comparisons instead of 3*S*C
        "__name__": [f"forecast_{signal}" for signal in result.signals],
        "percentile": PERCENTILES,
        "server": result.servers,
        "profile": result.profiles,
        "source": (SOURCE,),
    }
    keep = accepted(matchers, values, budget)
    if keep is None or not keep["source"].all():
        return []
    kept = np.flatnonzero(keep["server"] & keep["profile"] & result.live).tolist()
    servers = sorted(kept, key=lambda s: (result.profiles[s], result.servers[s]))
    signals = sorted(np.flatnonzero(keep["__name__"]).tolist(), key=lambda c: result.signals[c])
    percentiles: list[int] = np.flatnonzero(keep["percentile"]).tolist()
    budget.take(len(signals) * len(percentiles) * len(servers), steps)
    return [(c, q, s) for c in signals for q in percentiles for s in servers]


def _fill(found: pb.Message, result: Result, series: list[tuple[int, int, int]], steps: npt.NDArray[np.int64],
          instants: npt.NDArray[np.int64]) -> None:
    """Adds the series to a QueryResult; `instants` (int64, ms) are those of `steps`. NaN has no sample."""
    whole = pb.TimeSeries(samples=[pb.Sample(timestamp=instant) for instant in instants.tolist()])
    for signal, percentile, server in series:
        curve = result.forecast[server, signal, steps, percentile]
        known = np.isfinite(curve)
        if not known.any():
            continue
        one = found.timeseries.add()
        if known.all():  # to copy the timestamps and set values is several times as fast as adding pairs
            one.CopyFrom(whole)
        else:
            one.samples.extend(pb.Sample(timestamp=instant) for instant in instants[known].tolist())
        for sample, value in zip(one.samples, curve[known].tolist(), strict=True):
            sample.value = value
        labels = (("__name__", f"forecast_{result.signals[signal]}"), ("percentile", PERCENTILES[percentile]),
                  ("profile", result.profiles[server]), ("server", result.servers[server]), ("source", SOURCE))
        one.labels.extend(pb.Label(name=name, value=value) for name, value in labels if value)
