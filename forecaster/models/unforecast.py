"""Who is not forecast, and why: servers that are up or known and have no forecast of any signal; who lost one.

Servers that are up and never had a value are not in the memory. They are listed as long as the source names them, and
the memory has room for them (limits.servers).
"""

from __future__ import annotations

import sys

import numpy as np

from forecaster.memory.memory import Present
from forecaster.memory.ring import Flags
from forecaster.models.forecast import Forecast
from forecaster.readings import Reading

REASONS = {
    "no_values": "up or known, and no signal has a value to forecast from",
    "unusable_values": "has series, and none of their values is a number within the signal's bounds",
    "stale": "no value for stale_after",
}


def unforecast(forecast: Forecast, present: Present, reading: Reading, most: int = sys.maxsize) -> dict[str, str]:
    """The word of REASONS for every server without a forecast, by name; `reading` is the latest one. At most `most`
    servers are in the memory or listed here: those that are refused are only counted."""
    without = np.isnan(forecast.values[:, :, 0, 1]).all(axis=1)
    reasons = {present.servers[row]: "stale" if present.stale[row] else "no_values" for row in np.flatnonzero(without)}
    others = dict.fromkeys({*(reading.up or ())}.difference(present.servers), "no_values")
    others |= dict.fromkeys({*reading.servers}.difference(present.servers), "unusable_values")
    reasons |= dict(sorted(others.items())[:max(0, most - len(present.servers))])
    return dict(sorted(reasons.items()))


def lost(forecast: Forecast, present: Present, needed: Flags) -> Flags:
    """bool (S,): servers without a forecast of a signal that the encoder holds values of. needed: bool (C,), the
    signals that count."""
    held, without = np.isfinite(present.encoder).any(axis=2), np.isnan(forecast.values[:, :, 0, 1])
    found: Flags = (held & without & needed).any(axis=1)
    return found
