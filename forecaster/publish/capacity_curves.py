"""Curves of what fills up over remote read: one sample an hour for 14 days.

    forecast_capacity_used_ratio{entity=..., percentile="p10|p50|p90", profile=..., resource=..., server=...,
                                 source="curve"}
    sample k of 336 at the pass + k hours

Prometheus shows a sample for 5 minutes: to draw these curves, take a range of an hour, as in
`last_over_time(forecast_capacity_used_ratio{source="curve"}[1h])`.
"""

import numpy as np

from forecaster.capacity.forecast import HORIZON
from forecaster.capacity.outlook import PERCENTILES, Entity, Outlook
from forecaster.publish import remote_pb as pb
from forecaster.publish.budget import Budget
from forecaster.publish.matching import SOURCE, accepted

NAME = "forecast_capacity_used_ratio"


def select(outlook: Outlook, query: pb.Message, budget: Budget) -> list[tuple[int, int]]:
    """(entity, percentile) of the series that every matcher accepts, in label order: as Prometheus sorts series."""
    entities = outlook.entities
    keep = accepted(query.matchers, {
        "__name__": [NAME], "source": [SOURCE], "percentile": PERCENTILES,
        "server": [one.server for one in entities], "resource": [one.resource for one in entities],
        "entity": [one.name for one in entities], "profile": [one.profile for one in entities]}, budget)
    if keep is None or not (keep["__name__"].all() and keep["source"].all()):
        return []
    rows = np.flatnonzero(keep["server"] & keep["resource"] & keep["entity"] & keep["profile"]).tolist()
    percentiles = np.flatnonzero(keep["percentile"]).tolist()
    budget.take(len(rows) * len(percentiles), samples(query))
    found = [(row, q) for row in rows for q in percentiles]
    return sorted(found, key=lambda one: _labels(entities[one[0]], one[1]))


def _labels(entity: Entity, percentile: int) -> list[tuple[str, str]]:
    """The labels of a series by name; an empty one is none."""
    labels = (("__name__", NAME), ("entity", entity.name), ("percentile", PERCENTILES[percentile]),
              ("profile", entity.profile), ("resource", entity.resource), ("server", entity.server), ("source", SOURCE))
    return [(name, value) for name, value in labels if value]


def samples(query: pb.Message) -> int:
    """The most samples of one series that the query's range may hold."""
    return int(min(HORIZON, max(0, (query.end_timestamp_ms - query.start_timestamp_ms) // 3_600_000 + 1)))


def fill(found: pb.Message, outlook: Outlook, series: list[tuple[int, int]], query: pb.Message) -> None:
    """Adds the series to a QueryResult. NaN has no sample."""
    for row, percentile in series:
        instants = np.rint(outlook.instants(row) * 1000).astype(np.int64)
        curve = outlook.filling.used[row, :, percentile]
        inside = (instants >= query.start_timestamp_ms) & (instants <= query.end_timestamp_ms) & np.isfinite(curve)
        if not inside.any():
            continue
        one = found.timeseries.add()
        one.samples.extend(pb.Sample(timestamp=at, value=value) for at, value in
                           zip(instants[inside].tolist(), curve[inside].tolist(), strict=True))
        labels = _labels(outlook.entities[row], percentile)
        one.labels.extend(pb.Label(name=name, value=value) for name, value in labels)
