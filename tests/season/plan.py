"""The plan of a season: incidents and faults drawn with a seed. All times are fast seconds.

Faults come one after the other, each in a slot of its own with a recovery after it; one that has to be announced is
preceded by one that has not, so that incidents are seen in between. Incidents go on beside them and beyond.
"""

import random
from dataclasses import dataclass

from tests.season.faults import BLINDING, KINDS, OTHERS, Fault


@dataclass(frozen=True)
class Incident:
    """A server is overloaded from `offset` after the begin of a slot for at least `seconds`, and until the pager has
    said so. `silent`: (after so long, for so long) it sends nothing."""

    slot: int
    offset: float
    server: str
    seconds: float
    silent: tuple[float, float] | None = None


@dataclass(frozen=True)
class Plan:
    """The faults in their order, and the incidents."""

    faults: tuple[Fault, ...]
    incidents: tuple[Incident, ...]


def draw(seed: int, incidents: int, servers: list[str]) -> Plan:
    """So many incidents, on some of `servers`, and two faults for five of them; every kind of fault occurs from 40
    incidents on."""
    chance = random.Random(seed)
    slots = max(2, round(incidents * 0.4))
    blinding, others = _order(chance, BLINDING, slots), _order(chance, OTHERS, slots)
    kinds = [kind for pair in zip(others, blinding, strict=True) for kind in pair][:slots]
    faults = tuple(KINDS[kind].draw(chance) for kind in kinds)
    used = chance.sample(servers, max(1, len(servers) * 4 // 5))
    made = []
    for number in range(incidents):
        slot = number * (slots - 1) // incidents  # none in the last one, so that the season ends soon after it
        length = chance.uniform(150, 350)
        silent = (chance.uniform(20, length), chance.uniform(60, 250)) if chance.random() < 0.4 else None
        made.append(Incident(slot, chance.uniform(0, faults[slot].seconds), used[number % len(used)], length, silent))
    return Plan(faults, tuple(made))


def _order(chance: random.Random, kinds: tuple[str, ...], number: int) -> list[str]:
    """So many of these kinds, in a drawn order, each again only after all others."""
    drawn: list[str] = []
    while len(drawn) < number:
        drawn += chance.sample(kinds, len(kinds))
    return drawn[:number]
