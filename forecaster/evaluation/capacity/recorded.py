"""Courses from a Prometheus: the resources of the configuration, read as in serving, every 5 minutes."""

from __future__ import annotations

import time
from threading import Event

import numpy as np

from forecaster.capacity.reader import ResourceReader
from forecaster.capacity.series import settled
from forecaster.capacity.today import of_today
from forecaster.config import ForecasterConfig
from forecaster.evaluation.capacity.courses import HISTORY, STEP, Courses
from forecaster.readings import Labels
from forecaster.service.assembly import make_session
from forecaster.sources.shard import WHOLE


def recorded(config: ForecasterConfig, name: str, start: float, end: float) -> Courses:
    """Those of one resource from ``start`` to ``end``, Unix seconds, after four weeks of history; no entities where it
    has no series. The resource stands in for the pattern. Raises SourceError."""
    source, resource = config.source, config.capacity.resources[name]
    reader = ResourceReader(name, resource, str(source.url), make_session(source, source.retries), source.timeout,
                            Labels(source.server_label, source.profile_label, source.default_profile), WHOLE,
                            source.parameters, time.time, Event())
    first = start // 3600 * 3600 - HISTORY * 3600
    found = settled(reader.read(first, end, STEP))
    sizes = of_today(np.ones_like(found.used), np.append(found.size, found.size[:, -1:], 1))
    rows = len(found.entities)
    return Courses(first, found.used, sizes, np.full(rows, resource.limit, np.float32),
                   [(one.server, one.name) for one in found.entities], [name] * rows)
