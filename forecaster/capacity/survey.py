"""The Outlook of what is held: the forecast of all entities of all resources, their priorities, and what is full.

Letters: N entities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt

from forecaster.capacity.forecast import HORIZON, WINDOW_HOURS, Filling, Weights, forecast
from forecaster.capacity.growth import WEEK
from forecaster.capacity.held import Held
from forecaster.capacity.outlook import PRIORITIES, About, Entity, Outlook
from forecaster.capacity.past import HOUR, Bools, Floats, Past
from forecaster.capacity.priority import priority
from forecaster.capacity.settings import CapacityConfig


def survey(instant: int, held: Mapping[str, Held], config: CapacityConfig, weights: Weights, before: Outlook | None,
           default_profile: str) -> Outlook:
    """The outlook at `instant`, to which all of `held` (by resource) have moved. Entities that are lost keep their
    forecast of `before`."""
    unsorted = [Entity(one.server, name, one.name, profile or default_profile)
                for name, of in held.items() for one, profile in zip(of.entities, of.profiles, strict=True)]
    order = sorted(range(len(unsorted)), key=lambda n: (unsorted[n].server, unsorted[n].resource, unsorted[n].name))
    entities = tuple(unsorted[n] for n in order)
    pasts = [of.past() for of in held.values()]
    hourly, recent = (np.concatenate([past[k] for past in pasts])[order] for k in (0, 1))
    used, size, last_seen, lost, young = (np.concatenate([getattr(of, name)() if name == "used" else getattr(of, name)
                                                          for of in held.values()])[order]
                                          for name in ("used", "size", "last_seen", "lost", "young"))
    about = [config.resources[one.resource] for one in entities]
    limit = np.array([of.limit for of in about], np.float32)
    filling = forecast(Past(float(instant), hourly, recent, limit), weights)
    issued = np.full(len(entities), float(instant))
    if before is not None:
        filling = _kept(filling, issued, entities, lost, before)
    filling = _within(filling, issued, np.array([of.horizon for of in about]))
    rank = priority(used, filling.chance, limit, config.priorities.guards)
    highest = np.array([len(PRIORITIES) + 1 if of.highest is None else PRIORITIES.index(of.highest) + 1
                        for of in about], np.int8)
    rank = np.where((rank > 0) & (highest <= len(PRIORITIES)), np.maximum(rank, highest), 0).astype(np.int8)
    return Outlook(
        instant=float(instant), entities=entities,
        resources={name: About(of.title or name, of.unit, of.highest) for name, of in config.resources.items()},
        used=used, limit=limit, size=size, last_seen=last_seen, issued=issued, lost=lost, filling=filling,
        priority=rank, full=_full(used, limit, hourly, recent, young), week=hourly[:, -WEEK:].copy())


def _kept(filling: Filling, issued: npt.NDArray[np.float64], entities: tuple[Entity, ...], lost: Bools,
          before: Outlook) -> Filling:
    """The forecast with the rows of `before` for those that are lost, whose `issued` is written."""
    pairs = [(row, before.places[key]) for row in np.flatnonzero(lost).tolist()
             if (key := (entities[row].server, entities[row].resource, entities[row].name)) in before.places]
    if not pairs:
        return filling
    rows, theirs = np.array(pairs).T
    issued[rows] = before.issued[theirs]
    made = {field.name: np.array(getattr(filling, field.name)) for field in fields(filling)}
    for name, values in made.items():
        values[rows] = getattr(before.filling, name)[theirs]
    return replace(filling, **made)


def _within(filling: Filling, issued: npt.NDArray[np.float64], horizon: npt.NDArray[np.float64]) -> Filling:
    """The forecast up to each entity's horizon (N,) in s; NaN beyond."""
    if (horizon >= HORIZON * HOUR).all():
        return filling
    beyond = np.arange(1, HORIZON + 1) * HOUR > horizon[:, None]
    longer = np.array(WINDOW_HOURS) * HOUR > horizon[:, None]
    return replace(
        filling, used=np.where(beyond[:, :, None], np.float32(np.nan), filling.used),
        full_at=np.where(filling.full_at > (issued + horizon)[:, None], np.nan, filling.full_at),
        chance=np.where(longer, np.float32(np.nan), filling.chance))


def _full(used: Floats, limit: Floats, hourly: Floats, recent: Floats, young: Bools) -> Bools:
    """bool (N,): at the limit now, and young or below it within the last week: not what is meant to be full."""
    below = (hourly[:, -WEEK:] < limit[:, None]).any(1) | (recent < limit[:, None]).any(1)
    found: Bools = (used >= limit) & (below | young)
    return found
