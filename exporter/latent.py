"""The hidden condition of a fleet at one simulated minute, and how it changes within a minute.

States jump, multipliers approach the multiplier of the state, and load noise is a first-order autoregressive process
with unit variance. Shapes: S servers, M = 8 metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from exporter.physics import Flags, Floats
from exporter.profiles import METRICS, Dynamics

RELEASED = -1  # the mode of servers after a scenario has ended and until they are healthy


@dataclass
class Latent:
    """Everything that the future of a fleet depends on. Arrays are (S,); own is (S, M)."""

    minute: int
    state: NDArray[np.int8]  # index into profiles.STATES
    multiplier: Floats
    distress: Floats  # 0 to 1
    slow: Floats
    fast: Floats
    own: Floats
    mode: NDArray[np.int8]  # 0 natural, 1 + i affected by scenario i, or RELEASED

    @classmethod
    def calm(cls, minute: int, servers: int) -> Latent:
        """All servers healthy, without noise."""
        state, mode = np.zeros((2, servers), np.int8)
        distress, slow, fast = np.zeros((3, servers))
        return cls(minute, state, np.ones(servers), distress, slow, fast, np.zeros((servers, len(METRICS))), mode)

    def repeated(self, copies: int) -> Latent:
        """The same condition for ``copies`` x S servers, copy by copy."""
        minute, *arrays = vars(self).values()
        return Latent(minute, *(np.concatenate([array] * copies) for array in arrays))

    @property
    def shared(self) -> Floats:
        """The load noise that the metrics of a server share, (S,)."""
        return (self.slow + self.fast) / sqrt(2)

    def add_noise(self, normal: NDArray[np.float32], dynamics: Dynamics) -> None:
        """Moves the noise on by a minute; normal (S, 2 + M): standard normal draws for slow, fast and own."""
        for array, minutes, part in (
            (self.slow, dynamics.slow_minutes, normal[:, 0]),
            (self.fast, dynamics.fast_minutes, normal[:, 1]),
            (self.own, dynamics.own_minutes, normal[:, 2:]),
        ):
            keep = exp(-1 / minutes)
            array *= keep
            array += sqrt(1 - keep**2) * part

    def assign_modes(self, affected: Flags, scenario: int) -> None:
        """Puts the affected servers (S,) under a scenario, and releases those that an earlier one affected."""
        self.mode[(self.mode > 0) & ~affected] = RELEASED
        self.mode[affected] = 1 + scenario
        self.mode[(self.mode == RELEASED) & (self.state == 0)] = 0

    def transit(self, chance: Floats, uniform: NDArray[np.float32]) -> None:
        """Lets servers change state; chance (S, states): cumulative chance of each next state; uniform (S,): draws."""
        moved = uniform < chance[:, -1]
        if moved.any():
            self.state[moved] = np.argmax(uniform[moved, None] < chance[moved], -1)

    def approach(self, multiplier: Floats, distress: Floats, dynamics: Dynamics) -> None:
        """Moves multiplier and distress towards these targets, (S,)."""
        keep = exp(-1 / dynamics.multiplier_minutes)
        self.multiplier += (1 - keep) * (multiplier - self.multiplier)
        self.distress += (1 - keep) * (distress - self.distress)
