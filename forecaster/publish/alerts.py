"""What needs attention: the servers with a risk or an incident, most urgent first, and the fleet's risk."""

from typing import Any

import numpy as np
import numpy.typing as npt

from forecaster.capacity.outlook import Outlook
from forecaster.publish.capacity_json import worst
from forecaster.publish.result import PERCENTILES, Result
from forecaster.publish.values import iso, number, numbers, whole
from forecaster.risk.chances import WINDOWS
from forecaster.risk.priority import PRIORITIES
from forecaster.risk.score import COMPONENTS, RISK_STEPS
from forecaster.risk.state import State, of_fleet
from forecaster.risk.thresholds import Roles

_SHORT = {"cpu": "cpu", "memory": "mem", "latency": "latency"}  # component -> prefix of its keys in an alert
_P90 = PERCENTILES.index("p90")


def by_urgency(result: Result) -> list[int]:
    """The servers' rows: by priority, then highest score, then chance, or the other way where chances decide; then by
    name; stale ones last."""
    risk = result.risk
    rank = [PRIORITIES.index(one) if one else len(PRIORITIES) for one in risk.priority]
    chances = [np.nan_to_num(chance, nan=-1.0) for chance in risk.severe.values()]
    chance = np.max(chances, axis=0)
    score = np.nan_to_num(risk.score, nan=-1.0)
    first, second = (score, chance) if risk.by == "score" else (chance, score)
    keys = zip(result.stale.tolist(), rank, (-first).tolist(), (-second).tolist(), result.servers, strict=True)
    return [row for row, _ in sorted(enumerate(keys), key=lambda one: one[1])]


def alerts(result: Result, roles: Roles, outlook: Outlook | None = None) -> list[dict[str, Any]]:
    """One entry for each live server of P1 or P2, with a score above 0, with an incident to name, or with something
    that fills up as P1 or P2, most urgent first.

    <component>_now, _30m and _delta: the observed value, the p90 forecast 30 minutes ahead, their difference.
    pending: since when it is P1 or P2 and until when that has to last for its alert, null where the alert goes on or it
    is neither. incidents: those that are known of the server, most urgent first. capacity: what of it fills up first,
    as in GET /capacity, null without any.
    """
    risk = result.risk
    urgent = np.array([one in PRIORITIES[:2] for one in risk.priority], bool)
    if risk.by == "score":
        urgent |= np.nan_to_num(risk.score) > 0
    if risk.incidents is not None:
        urgent |= risk.incidents.leading >= 0
    if outlook is not None:
        urgent |= np.array([server in outlook.urgent for server in result.servers], bool)
    listed = urgent & result.live
    rows = np.array([s for s in by_urgency(result) if listed[s]], np.int64)
    columns = {name: result.signals.index(signal) for name in COMPONENTS
               if (signal := getattr(roles, name)) in result.signals}
    observed = result.observed[rows][:, [*columns.values()]].astype(np.float64)
    ahead = result.forecast[rows][:, [*columns.values()], RISK_STEPS - 1, _P90].astype(np.float64)
    moments = {moment: numbers(values) for moment, values in
               (("now", observed), ("30m", ahead), ("delta", ahead - observed))}
    score, points, incidents = numbers(risk.score[rows]), numbers(risk.points[rows]), _incidents(result, rows)
    filling = worst(outlook, [result.servers[s] for s in rows.tolist()], result.issued)
    found = []
    for place, s in enumerate(rows.tolist()):
        alert = {"server_name": result.servers[s], "profile": result.profiles[s],
                 "state": State(result.state[s]).word, "priority": risk.priority[s], "risk_score": whole(score[place]),
                 "component": risk.component[s], "message": result.message(s), "method": result.method[s]}
        alert |= {f"{_SHORT[name]}_risk": whole(points[place][k]) for k, name in enumerate(COMPONENTS)}
        alert |= {f"{_SHORT[name]}_{moment}": whole(values[place][k])
                  for k, name in enumerate(columns) for moment, values in moments.items()}
        since, until = (iso(at) for at in result.pending[s])
        alert["pending"] = {"since": since, "until": until} if since is not None else None
        found.append({**alert, "incidents": incidents[place], "capacity": filling.get(result.servers[s])})
    return found


def _incidents(result: Result, rows: npt.NDArray[np.int64]) -> list[list[dict[str, Any]]]:
    """The known incidents of each of the servers at these rows, most urgent first."""
    found = result.risk.incidents
    if found is None:
        return [[] for _ in rows]
    chances = {f"{name}_{window}": numbers(of(window)[rows]) for window in WINDOWS
               for name, of in (("chance", found.chance.__getitem__), ("begin_chance", found.begin))}
    later = np.where(found.on, 1.0, np.nan_to_num(found.chance["8h"]))
    order = np.lexsort((-later, np.where(found.ranks < 0, len(PRIORITIES), found.ranks)), axis=1)
    before, listed = found.recurring, []
    for place, s in enumerate(rows.tolist()):
        listed.append([{
            "incident": found.names[i], "signal": found.conditions[i].signal, "limit": before.limits[i],
            "on": bool(found.on[s, i]), **{key: values[place][i] for key, values in chances.items()},
            "expected": iso(found.expected[s, i]),
            "recurring": {"on": int(before.on[s, i]), "held": int(before.held[s, i])} if before.step[s, i] else None,
            "priority": PRIORITIES[found.ranks[s, i]] if found.ranks[s, i] >= 0 else None,
        } for i in order[s].tolist() if found.known[s, i]])
    return listed


def pending(result: Result) -> dict[str, int]:
    """How many servers are P1, and P2, and have not been so for as long as the alert takes to fire."""
    waiting = [of for of, waits in zip(result.risk.priority, result.waits, strict=True) if waits]
    return {name: waiting.count(name) for name in PRIORITIES[:2]}


def environment(result: Result) -> dict[str, Any]:
    """The fleet's risk without stale servers: prob_* are weighted means, chance_* the chances of an incident on any
    server."""
    risk = result.risk
    return {**{f"prob_{window}": number(value) for window, value in risk.fleet_probability.items()},
            **{f"chance_{window}": number(value) for window, value in risk.severe_any.items()},
            "high_risk_servers": risk.high_risk, "high_risk_pending": pending(result)["P1"],
            "total_servers": int(result.live.sum()),
            "fleet_health": result.health, "state": of_fleet(result.state).word}
