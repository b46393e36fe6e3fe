"""Which engine makes the numbers: the fastest that works on this machine and agrees with PyTorch's full pass."""

from __future__ import annotations

import logging
import os

import numpy as np

from forecaster.models.eager import Cuda, Eager
from forecaster.models.engine import Engine, Inputs
from forecaster.models.network import Network, SeriesNetwork

AGREEMENT = 1e-3  # of 1 + the value: what compiled and eager pass may differ by when a model is loaded
HALF_AGREEMENT = 2e-2  # the same of half and full precision
SWITCH = "FLEETCAST_COMPILED"  # environment variable; 0 keeps the compiled pass off

log = logging.getLogger(__name__)


def choose(eager: Eager, rehearsal: Inputs) -> Engine:
    """The fastest engine that works and agrees with the eager one on the rehearsal's inputs: compiled on the CPU, half
    precision on a card; else the eager one."""
    if eager.device.type == "cpu":
        if os.environ.get(SWITCH) == "0":
            log.info("the compiled forward pass is switched off by %s=0; PyTorch's is used", SWITCH)
            return eager
        what, make, limit = "the compiled forward pass", _compiled, AGREEMENT
    elif eager.device.type == "cuda" and isinstance(eager.network, Network):  # series mix views to the last bit
        what, make, limit = "half precision", Cuda, HALF_AGREEMENT
    else:
        return eager
    try:
        engine = make(eager)
        expected, found = eager(rehearsal), engine(rehearsal)
        apart = float(np.max(np.abs(found - expected) / (1 + np.abs(expected))))
        if not apart <= limit:
            raise ArithmeticError(f"it differs from PyTorch's by {apart:.2g}, expected at most {limit:g}")
    except Exception as error:  # noqa: BLE001  whatever a strange processor or a locked-down kernel makes of it
        log.warning("%s cannot be used: %s; PyTorch's full pass is, which is several times slower", what, error)
        return eager
    return engine


def _compiled(eager: Eager) -> Engine:
    from forecaster.models.compiled.passes import (  # needs llvmlite, which not every platform has
        Compiled,
        CompiledSeries,
    )

    return CompiledSeries(eager) if isinstance(eager.network, SeriesNetwork) else Compiled(eager)
