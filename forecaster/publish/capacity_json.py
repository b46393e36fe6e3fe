"""What fills up as JSON: `GET /capacity`, the worst entity of a server in an alert, and the part of /status.

Shares are ratios of the size of today; times are ISO 8601 in UTC; null where unknown.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from flask import Blueprint, Response, request

from forecaster.board import Board
from forecaster.capacity.forecast import WINDOWS
from forecaster.capacity.lasting import P1, P2
from forecaster.capacity.outlook import PERCENTILES, PRIORITIES, Outlook
from forecaster.publish.capacity_gauges import HORIZONS
from forecaster.publish.values import iso, number, numbers
from serving.web import RequestError

_HOURS = [hours - 1 for hours in HORIZONS.values()]


def capacity_blueprint(board: Board[Outlook] | None, state: Callable[[], Mapping[str, Any]],
                       clock: Callable[[], float]) -> Blueprint:
    """GET /capacity over the board's latest Outlook, None where nothing is watched; `state` is that of /status."""
    blueprint = Blueprint("capacity", __name__)

    @blueprint.get("/capacity")
    def capacity() -> Response:
        """What fills up: full now, then by the date at which p50 is full, then by chance, as JSON; `?server=NAME` and
        `?resource=NAME`, repeatable, select."""
        if board is None:
            raise RequestError("nothing is watched that fills up", "capacity.resources",
                               "resources in the configuration, and source.kind prometheus", 404)
        now = clock()
        outlook = board.current(now)
        if outlook is None:
            last = board.last
            age = "there is none yet" if last is None else f"the latest is {now - last.instant:.0f} s old"
            raise RequestError(f"there is no current forecast of what fills up: {age}", "capacity",
                               f"one of at most {board.ttl:.0f} s; /status shows what fails", 503)
        servers, resources = set(request.args.getlist("server")), set(request.args.getlist("resource"))
        rows = [row for row in outlook.order if (not servers or outlook.entities[row].server in servers)
                and (not resources or outlook.entities[row].resource in resources)]
        body = {"capacity": entries(outlook, rows, now), "metadata": state()}
        return Response(orjson.dumps(body) + b"\n", mimetype="application/json", headers={"Cache-Control": "no-store"})

    return blueprint


def entries(of: Outlook, rows: list[int], now: float) -> list[dict[str, Any]]:
    """One entry for each of these rows, in their order; pending as in Lasting, of this instant (Unix s)."""
    filling = of.filling
    used, limit, size = (numbers(values[rows]) for values in (of.used, of.limit, of.size))
    ahead = numbers(filling.used[rows][:, _HOURS])
    chance = numbers(filling.chance[rows])
    speeds = [numbers(values[rows]) for values in (filling.growth, filling.growth_before, filling.step)]
    pending, found = of.pending(now), []
    for place, row in enumerate(rows):
        one, rank, (since, until) = of.entities[row], int(of.priority[row]), map(iso, pending[row].tolist())
        about = of.resources[one.resource]
        found.append({
            "server": one.server, "profile": one.profile, "resource": one.resource, "entity": one.name,
            "title": about.title, "priority": PRIORITIES[rank - 1] if rank else None, "full": bool(of.full[row]),
            "pending": {"since": since, "until": until} if since is not None else None,
            "used": used[place], "limit": limit[place], "size": size[place], "unit": about.unit,
            "full_at": _by(PERCENTILES, map(iso, filling.full_at[row].tolist())), "chance": _by(WINDOWS, chance[place]),
            "forecast": _by(HORIZONS, (_by(PERCENTILES, values) for values in ahead[place])),
            "growth_per_day": speeds[0][place], "previous_growth_per_day": speeds[1][place],
            "growth_changed": iso(filling.changed_at[row]), "largest_step": speeds[2][place],
            "largest_step_at": iso(filling.step_at[row]), "issued": iso(of.issued[row]),
            "last_seen": iso(of.last_seen[row]), "lost": bool(of.lost[row])})
    return found


def worst(of: Outlook | None, servers: Iterable[str], now: float) -> dict[str, dict[str, Any]]:
    """Of these servers, those that have any: the entity that matters most, as /capacity shows it."""
    if of is None:
        return {}
    rows = {server: of.worst[server] for server in servers if server in of.worst}
    return dict(zip(rows, entries(of, [*rows.values()], now), strict=True))


def about(of: Outlook | None, current: bool, now: float) -> dict[str, Any]:
    """The outcome's part of /status."""
    if of is None:
        return {"current": False, "issued": None, "age_seconds": None, "entities": 0, "lost": 0, "full": 0,
                "priorities": dict.fromkeys(PRIORITIES, 0), "pending": dict.fromkeys(PRIORITIES[:2], 0)}
    waits = of.waits(now)
    return {"current": current, "issued": iso(of.instant), "age_seconds": number(max(0.0, now - of.instant)),
            "entities": len(of.entities), "lost": int(of.lost.sum()), "full": int(of.full.sum()),
            "priorities": {name: int((of.priority == rank).sum()) for rank, name in enumerate(PRIORITIES, 1)},
            "pending": {name: int((waits & (of.urgency == rank)).sum()) for name, rank in (("P1", P1), ("P2", P2))}}


def _by(names: Iterable[str], values: Iterable[Any]) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))
