"""The calendar and the transition rates of ``fleet.yml`` as arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exporter.profiles import STATES, FleetConfig, Transition

HOUR, DAY = 60, 1440  # minutes
MONDAY = 4 * DAY  # minute 0 of the Unix era was a Thursday


def weekend(minute: int) -> bool:
    """Whether a minute of the Unix era lies on a Saturday or Sunday, UTC."""
    return (minute - MONDAY) // DAY % 7 >= 5


def weekday_morning(minute: int) -> bool:
    """Whether a minute of the Unix era lies between 06:00 and 09:00 UTC on a weekday."""
    return 6 * HOUR <= minute % DAY < 9 * HOUR and not weekend(minute)


def daily_multipliers(config: FleetConfig) -> list[float]:
    """The diurnal multiplier at each minute of the week from Monday 00:00 UTC, weekends included."""
    minute = np.arange(7 * DAY)
    hours, multipliers = zip(*config.diurnal, strict=True)
    today, yesterday = minute // DAY >= 5, (minute // DAY - 1) % 7 >= 5
    ramp = np.minimum(minute % DAY / config.weekend_ramp_minutes, 1.0)
    weekend = ramp * today + (1 - ramp) * yesterday
    week = np.interp(minute % DAY / HOUR, hours, multipliers) * (1 - weekend * (1 - config.weekend_multiplier))
    return [float(multiplier) for multiplier in week]


def transition_rates(table: dict[str, dict[str, Transition]]) -> NDArray[np.float64]:
    """Chances per minute, (from state, to state, kind): kind 0 always, 1 on mornings only, 2 scaled by load."""
    rates = np.zeros((len(STATES), len(STATES), 3))
    for source, targets in table.items():
        for target, t in targets.items():
            rates[STATES.index(source), STATES.index(target), ("always", "morning", "load").index(t.during)] = t.rate
    return rates
