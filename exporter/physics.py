"""How a server's metrics follow from its hidden condition: load, trouble and noise. Pure functions of arrays.

CPU, disk and network carry the load. Memory follows it weakly and trouble strongly. Latency, errors and garbage
collection pauses are flat until a resource runs short and then rise steeply (the knee of a queue near saturation).
Shapes: leading dimensions are free, S servers, M = 8 metrics in the order of ``profiles.METRICS``.
"""

from __future__ import annotations

import numpy as np

from exporter.profiles import Dynamics

LOAD_DRIVEN = np.array([1, 0, 1, 0, 1, 1, 0, 0], bool)  # cpu, disk, network in and out share the load noise
CEILING = np.array([100, 100, np.inf, np.inf, np.inf, np.inf, 1, np.inf])  # physical bounds; all are >= 0
MEMORY_DAILY = 0.15  # memory's response to the daily curve
MEMORY_BUSY, MEMORY_DISTRESS = 0.4, 0.7  # its response to a multiplier: sessions and buffers; leaks and queues
CALM = 0.7  # a server in distress is pinned by its trouble: this share of its noise is gone


def knee(demand: np.ndarray, start: float, width: float = 0.05) -> np.ndarray:
    """Smooth ramp: 0 well below ``start``, rising with slope 1 above it."""
    return width * np.logaddexp(0.0, (demand - start) / width)


def saturate(percent: np.ndarray, start: float = 90.0) -> np.ndarray:
    """Identity up to ``start`` percent, approaching but never passing 100 beyond it."""
    room = 100.0 - start
    over = np.maximum(percent - start, 0.0)
    return np.where(percent > start, start + room * -np.expm1(-over / room), percent)


def respond(
    mean: np.ndarray,
    std: np.ndarray,
    daily: np.ndarray,
    multiplier: np.ndarray,
    distress: np.ndarray,
    shared: np.ndarray,
    own: np.ndarray,
    dynamics: Dynamics,
) -> np.ndarray:
    """Metrics, float64 (..., S, M), in signal units.

    mean, std (S, M): baselines. daily, multiplier, distress (0-1), shared (..., S): the diurnal multiplier, the
    approached state multiplier, how far the server is in the grip of trouble, the load noise. own (..., S, M): noise
    of each metric. Distress holds a server at least at daytime load: its trouble is not traffic and does not sleep.
    """
    daily = daily + distress * (np.maximum(daily, 1.0) - daily)
    share = np.where(LOAD_DRIVEN, dynamics.shared_share, 0.0)
    noise = np.sqrt(share) * shared[..., None] + np.sqrt(1 - share) * own
    noise = np.clip(noise, -2.5, 2.5) * (dynamics.noise_share * (1 - CALM * distress))[..., None]
    level = mean * np.where(LOAD_DRIVEN, multiplier[..., None], 1.0)  # noise does not grow with a state's multiplier
    out = np.maximum(level + std * noise, 0.1 * mean) * np.where(LOAD_DRIVEN, daily[..., None], 1.0)
    response = MEMORY_BUSY + distress * (MEMORY_DISTRESS - MEMORY_BUSY)
    cpu = out[..., 0] / 100
    memory = out[..., 1] * (1 + MEMORY_DAILY * (daily - 1)) * (1 + response * (multiplier - 1)) / 100
    traffic = 0.8 + 0.2 * daily
    out[..., 0], out[..., 1] = saturate(100 * cpu), saturate(100 * memory)
    out[..., 3] *= traffic * (1 + 90 * knee(cpu, 0.7) ** 2)
    out[..., 6] = np.minimum(out[..., 6] * (1 + 150 * knee(cpu, 0.8) ** 2), 1.0)
    out[..., 7] *= traffic * (1 + 40 * knee(memory, 0.8) ** 2)
    return out
