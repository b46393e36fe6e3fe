"""The bounds of a signal: which of the values read are taken as measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecaster.readings import numbers32
from forecaster.sources.notes import Notes

BELOW = 0.02  # of max - min; a rate over uneven scrapes is off by about a scrape's jitter in its window
ABOVE = 0.1  # of max - min; some count more than all of a processor, and such a host is full, not unknown
HAIR = 1e-6  # of the bound's size, at least of 1, where only one bound is given: rounding

NO_NUMBER = "values that are NaN or infinite are left out"


@dataclass(frozen=True)
class Bounds:
    """Lowest and highest possible value, in signal units; infinite where there is none."""

    low: float = -math.inf
    high: float = math.inf

    @classmethod
    def of(cls, signal: Any) -> Bounds:
        """Those of a signal that may have .min and .max, None standing for no bound."""
        low, high = getattr(signal, "min", None), getattr(signal, "max", None)
        return cls(-math.inf if low is None else low, math.inf if high is None else high)

    def measured(self, values: Any, notes: Notes, name: Callable[[int], object]) -> np.ndarray:
        """Values (n,) as float32, NaN for what is left out, which `notes` tell; `name` names the series of a value.

        A value below or above them by at most BELOW or ABOVE of the range (HAIR where the other bound is infinite)
        counts as the bound. One further away is no measurement: a counter that stepped back, a wrong unit, a sum
        counted twice.
        """
        single = numbers32(values)
        lacking = np.isnan(single)
        low, high = np.float32(self.low), np.float32(self.high)
        outside = (single < low) | (single > high)
        if lacking.any():
            self._note(notes, NO_NUMBER, lacking, values, name)
        if outside.any():
            beyond = (single < low - self._slack(self.low, BELOW)) | (single > high + self._slack(self.high, ABOVE))
            if beyond.any():
                self._note(notes, f"values beyond {self.low:g}..{self.high:g} are left out", beyond, values, name)
            single = np.where(beyond, np.float32(np.nan), np.clip(single, low, high))
        return single

    @staticmethod
    def _note(notes: Notes, reason: str, mask: np.ndarray, values: Any, name: Callable[[int], object]) -> None:
        places: list[int] = np.flatnonzero(mask).tolist()
        notes.add(reason, (f"{values[n]:g} of {name(n)}" for n in places), len(places))

    def _slack(self, bound: float, share: float) -> np.float32:
        width = self.high - self.low
        return np.float32(share * width if math.isfinite(width) else
                          HAIR * max(1.0, abs(bound)) if math.isfinite(bound) else 0.0)
