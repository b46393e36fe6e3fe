"""A server's metrics as a function of its hidden condition: load, distress and noise. Pure functions of arrays.

CPU, disk and network follow the load. Memory follows load weakly and distress strongly. Latency, error rate and
garbage collection pauses are flat until a resource is nearly saturated, and then rise steeply, as in a queue.
Shapes: any leading dimensions, S servers, M = 8 metrics in the order of ``profiles.METRICS``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exporter.profiles import Dynamics

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LOAD_DRIVEN = np.array([1, 0, 1, 0, 1, 1, 0, 0], bool)  # cpu, disk, network in and out share the load noise
CEILING = np.array([100, 100, np.inf, np.inf, np.inf, np.inf, 1, np.inf])  # upper bounds; the lower bound is 0
MEMORY_DAILY = 0.15  # response of memory to the diurnal multiplier
MEMORY_BUSY, MEMORY_DISTRESS = 0.4, 0.7  # its response to a state's multiplier: sessions and buffers; leaks and queues
CALM = 0.7  # share of the noise that a server in distress loses


def knee(demand: Floats, start: float, width: float = 0.05) -> Floats:
    """Smooth ramp (softplus): 0 well below ``start``, slope 1 well above it; ``width`` is how far the bend reaches."""
    return width * np.logaddexp(0.0, (demand - start) / width)


def saturate(percent: Floats, start: float = 90.0) -> Floats:
    """Identity up to ``start`` percent; above it, an exponential approach to 100."""
    room = 100.0 - start
    over = np.maximum(percent - start, 0.0)
    return np.where(percent > start, start + room * -np.expm1(-over / room), percent)


def respond(
    mean: Floats,
    std: Floats,
    daily: Floats,
    multiplier: Floats,
    distress: Floats,
    shared: Floats,
    own: Floats,
    dynamics: Dynamics,
) -> Floats:
    """Metrics, float64 (..., S, M), in signal units.

    mean, std (S, M): baselines. daily, multiplier, distress (0 to 1), shared (..., S): the diurnal multiplier, the
    smoothed multiplier of the state, the degree of distress, the load noise that all metrics share. own (..., S, M):
    the noise of each metric. A server in distress has at least daytime load at night, because its load is not traffic.
    """
    daily = daily + distress * (np.maximum(daily, 1.0) - daily)
    share = np.where(LOAD_DRIVEN, dynamics.shared_share, 0.0)
    noise = np.sqrt(share) * shared[..., None] + np.sqrt(1 - share) * own
    noise = np.clip(noise, -2.5, 2.5) * (dynamics.noise_share * (1 - CALM * distress))[..., None]
    level = mean * np.where(LOAD_DRIVEN, multiplier[..., None], 1.0)  # noise does not grow with a state's multiplier
    out: Floats = np.maximum(level + std * noise, 0.1 * mean) * np.where(LOAD_DRIVEN, daily[..., None], 1.0)
    response = MEMORY_BUSY + distress * (MEMORY_DISTRESS - MEMORY_BUSY)
    cpu = out[..., 0] / 100
    memory = out[..., 1] * (1 + MEMORY_DAILY * (daily - 1)) * (1 + response * (multiplier - 1)) / 100
    traffic = 0.8 + 0.2 * daily
    out[..., 0], out[..., 1] = saturate(100 * cpu), saturate(100 * memory)
    out[..., 3] *= traffic * (1 + 90 * knee(cpu, 0.7) ** 2)
    out[..., 6] = np.minimum(out[..., 6] * (1 + 150 * knee(cpu, 0.8) ** 2), 1.0)
    out[..., 7] *= traffic * (1 + 40 * knee(memory, 0.8) ** 2)
    return out
