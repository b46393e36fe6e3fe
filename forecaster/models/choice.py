"""Which engine computes: the fastest that works on this machine and agrees with PyTorch in full precision."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from forecaster.models.eager import Cuda, Eager
from forecaster.models.engine import Engine, Inputs
from forecaster.models.network import Network, SeriesNetwork

AGREEMENT = 1e-3  # largest difference of the compiled from the eager pass, as a share of 1 + the value
HALF_AGREEMENT = 2e-2  # the same for half precision
SWITCH = "FLEETCAST_COMPILED"  # environment variable; 0 switches the compiled pass off

log = logging.getLogger(__name__)


def choose(eager: Eager[Any], rehearsal: Inputs) -> Engine:
    """The compiled engine on the CPU or the one in half precision on a GPU, if it works and agrees with ``eager`` on
    the rehearsal's inputs; else ``eager``."""
    make: Callable[[Eager[Any]], Engine]
    if eager.device.type == "cpu":
        if os.environ.get(SWITCH) == "0":
            log.info("the compiled forward pass is switched off by %s=0; PyTorch's is used", SWITCH)
            return eager
        what, make, limit = "the compiled forward pass", _compiled, AGREEMENT
    elif eager.device.type == "cuda" and isinstance(eager.network, Network):  # half precision is too coarse for views
        what, make, limit = "half precision", Cuda, HALF_AGREEMENT
    else:
        return eager
    try:
        engine = make(eager)
        expected, found = eager(rehearsal), engine(rehearsal)
        apart = float(np.max(np.abs(found - expected) / (1 + np.abs(expected))))
        if not apart <= limit:
            raise ArithmeticError(f"it differs from PyTorch's by {apart:.2g}, expected at most {limit:g}")
    except Exception as error:  # noqa: BLE001  an unknown processor or a locked-down kernel may raise anything
        log.warning("%s cannot be used: %s; PyTorch's is used, which is several times slower", what, error)
        return eager
    return engine


def _compiled(eager: Eager[Any]) -> Engine:
    from forecaster.models.compiled import passes  # needs llvmlite, which not every platform has

    return passes.CompiledSeries(eager) if isinstance(eager.network, SeriesNetwork) else passes.Compiled(eager)
