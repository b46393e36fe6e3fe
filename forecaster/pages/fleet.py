"""The landing page: whether one can sleep, what comes first, every server, and the next 8 hours.

Of many servers the most urgent ROWS are rows of a table, and the others tiles with a name and a chance, so that 1,000
can be looked through and an update stays small.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import tzinfo
from math import isnan, nan
from typing import Any

import numpy as np
from markupsafe import Markup

from forecaster.capacity.outlook import MEDIAN, Outlook
from forecaster.models.unforecast import REASONS
from forecaster.pages import headline, words
from forecaster.pages.incidents import Coming, coming, moment
from forecaster.pages.seen import Look, Seen
from forecaster.publish.alerts import by_urgency
from forecaster.publish.api import SHOWN, first
from forecaster.publish.result import Result
from forecaster.risk.priority import PRIORITIES
from forecaster.risk.state import State, of_fleet
from serving import __version__
from serving.page.site import environment
from serving.page.view import Asked, Shown, View
from serving.shown import cut

ROWS = 80  # servers as rows; the others are tiles
FILLING = 5  # entities of what fills up first
LINKS = (
    ("/metrics", "forecasts and the forecaster's own metrics, for Prometheus"),
    ("/predictions/current", "all forecasts as JSON; ?server=NAME for one"),
    ("/alerts", "servers with a risk or an incident, most urgent first, as JSON"),
    ("/capacity", "what fills up, when and how likely, as JSON"),
    ("/status", "warm-up, incidents, model, source, ages and errors, as JSON"),
    ("/-/healthy", "whether the process answers"),
    ("/-/ready", "whether there is a current forecast"),
)
_PARTS: Any = environment("forecaster.pages").get_template("fleet_parts.html").module


def view(look: Look) -> View:
    """The view at /."""
    def part(name: str, value: object) -> str:
        """The fragment that the macro of this name makes."""
        return str(getattr(_PARTS, name)(value))

    def show(asked: Asked) -> Shown:
        seen = look.seen(asked.viewer)
        result = seen.result
        found = coming(result) if result is not None else ()
        order = _order(result) if result is not None else []
        filling = seen.outlook.urgent if seen.outlook is not None else frozenset[str]()
        given = {
            "headline": _headline(seen, found), "figures": _figures(seen), "line": _line(seen, found),
            "filling": _filling(seen.outlook, seen.now, seen.zone), "details": _details(seen),
            "unforecast": _unforecast(result)}
        fragments = {f"ui-{name}": part(name, value) for name, value in given.items()}
        badges = headline.badges(result) if result is not None else []
        rows = [_server(result, s, badges[s], filling) for s in order] if result is not None else []
        tiles = sorted(rows[ROWS:], key=lambda one: (float(one["rank"]), one["name"]))
        fragments |= {one["id"]: part("row", one) for one in rows[:ROWS]}
        fragments |= {one["id"]: part("tile", one) for one in tiles}
        lists = {"ui-rows": [one["id"] for one in rows[:ROWS]], "ui-tiles": [one["id"] for one in tiles]}
        return Shown(seen.last.issued if seen.last else None, seen.ttl, fragments, lists)

    return View("fleet", "/", "Fleet", "The fleet: what comes first, every server, the next 8 hours.", show,
                look.version, more=_filtered, scripts=("fleet.js",), styles=("fleet.css",))


def _filtered(shown: Shown, query: Mapping[str, str]) -> dict[str, object]:
    """For a page as it is without JavaScript: the servers, of which a filter hides some, and what can be chosen."""
    text, profile, priority = (query.get(key, "") for key in ("text", "profile", "priority"))
    wanted = [str(Markup('data-{}="{}"').format(key, given)) for key, given in
              (("profile", profile), ("priority", priority)) if given]
    found: dict[str, list[Markup]] = {}
    number = 0
    for key, ids in shown.lists.items():
        found[key] = []
        for html in (shown.fragments[name] for name in ids):
            said = f"{Markup(html).striptags()} {_profile(html)}"
            hit = all(mark in html for mark in wanted) and text.strip().lower() in said.lower()
            number += hit
            found[key].append(Markup(html if hit else html.replace(" ", " hidden ", 1)))  # in its tag
    profiles = sorted({_profile(html) for ids in found.values() for html in ids})
    return {"servers": found, "number": number, "total": sum(map(len, found.values())), "profiles": profiles,
            "priorities": PRIORITIES, "machine_links": LINKS}


def _profile(html: str) -> str:
    return Markup(html.partition('data-profile="')[2].partition('"')[0]).unescape()


def _headline(seen: Seen, found: tuple[Coming, ...]) -> dict[str, object]:
    """state and its colour, text and what comes first."""
    unknown = "Blind: no server is known"
    if seen.last is None:
        unknown = "No forecast yet: nothing can be said of servers"
    elif seen.result is None:
        unknown = f"Blind: forecasts are stale since {moment(seen.last.issued + seen.ttl, seen.last.zone)}"
    state, text, more = headline.headline(seen.result, seen.outlook, seen.now, seen.zone, unknown)
    if seen.result is None and seen.problem:
        more.append(seen.problem)
    elif seen.watched is not None and seen.outlook is None:
        more.append("What fills up is not known.")
    return {"state": state, "text": text, "more": " ".join(more), "next": found[0] if found else None}


def _figures(seen: Seen) -> dict[str, object]:
    """The calibrated chances of an incident on any server, unknown where the fleet is blind, and counts by state."""
    result = seen.result
    blind = result is None or of_fleet(result.state) is State.BLIND
    chances = {} if blind or result is None else result.risk.severe_any
    return {"chances": [(span, "unknown" if isnan(of := chances.get(window, nan)) else words.chance(of))
                        for window, span in (("30m", "30 minutes"), ("8h", "8 hours"))],
            "counts": [] if result is None else headline.counts(result),
            "total": 0 if result is None else len(result.servers)}


def _line(seen: Seen, found: tuple[Coming, ...]) -> dict[str, object]:
    """The next 8 hours: whole hours and incidents, at their place in percent of the width."""
    span, lanes = 8 * 3600.0, 10
    result = seen.result
    if result is None:
        return {"known": False}
    judged = np.isfinite(result.risk.severe["8h"]) & (result.state != State.BLIND)
    zone, start = result.zone, result.issued
    hours = [(round(100 * (at - start) / span, 1), f"{moment(at, zone)[:5]}")
             for at in np.arange(start // 3600 * 3600 + 3600, start + span, 3600).tolist()]
    marks = [{"x": round(max(0.0, min(100.0, 100 * (one.at - start) / span)), 1), "one": one,
              "name": cut(one.server, 26)} for one in found]
    return {"known": bool(found or judged.any()), "hours": hours, "marks": marks[:lanes], "left": len(marks[lanes:]),
            "zone": moment(start, zone).partition(" ")[2]}


def _filling(outlook: Outlook | None, now: float, zone: tzinfo) -> dict[str, object]:
    """What is full, or will be (p50) within 14 days, or has a priority: the first by date."""
    if outlook is None:
        return {"known": False, "rows": [], "left": 0, "unread": [], "waits_for": []}
    dates = outlook.filling.full_at[:, MEDIAN]
    there = outlook.full | (np.isfinite(dates) & ~outlook.meant) | (outlook.priority > 0)
    rows = [row for row in outlook.order if there[row]]
    waits, found = outlook.waits(now), []
    for row in rows[:FILLING]:
        one = outlook.entities[row]
        rank, date = int(outlook.priority[row]), dates[row]
        at = "full now" if outlook.full[row] else "no date" if isnan(date) else moment(date, zone, True)
        found.append({"server": one.server, "name": one.name, "resource": outlook.resources[one.resource].title,
                      "used": words.share(outlook.used[row]), "lost": bool(outlook.lost[row]), "at": at,
                      "priority": f"{PRIORITIES[rank - 1]}{' pending' if waits[row] else ''}" if rank else ""})
    return {"known": True, "rows": found, "left": len(rows) - len(found),
            "unread": [outlook.resources[name].title for name in outlook.unread],
            "waits_for": [outlook.resources[name].title for name in outlook.waits_for]}


def _order(result: Result) -> list[int]:
    """Rows: the most urgent state first, and what is not known before what is well; then as in by_urgency."""
    states = [State(one) for one in result.state.tolist()]
    return sorted(by_urgency(result), key=lambda s: _rank(states[s]))


def _rank(state: State) -> float:
    return -0.5 if state is State.BLIND else -float(state)


def _server(result: Result, s: int, badge: headline.Badge, filling: Collection[str]) -> dict[str, str]:
    """One server as its row and its tile show it."""
    risk, state = result.risk, State(result.state[s])
    chances = {} if state is State.BLIND else risk.severe
    named = risk.incidents is not None and risk.incidents.leading[s] >= 0
    name = result.servers[s]
    taken = name in ("main", "live") or name.startswith("ui-")  # ids of the page itself
    return {"name": name, "id": f"server {name}" if taken else name, "profile": result.profiles[s],
            "state": badge.word, "hue": badge.hue, "rank": str(_rank(state)),
            "priority": "stale" if result.stale[s] else risk.priority[s] or "",
            "about": _about(chances["8h"][s] if "8h" in chances else nan),
            "near": words.chance(chances["30m"][s] if "30m" in chances else nan),
            "later": words.chance(chances["8h"][s] if "8h" in chances else nan),
            "message": "Something of it fills up or is full" if name in filling and not named and state is State.WATCH
            else result.message(s) if risk.component[s] or named or state is State.BLIND else ""}


def _details(seen: Seen) -> list[tuple[str, object]]:
    """Item and value, of the service."""
    result, last, model = seen.result, seen.last, seen.model
    zone = last.zone if last else None
    methods = sorted(Counter(result.method).items()) if result else []
    shown = {"Model": model["model"], "Model problem": model["problem"],
             "No chances of incidents": model.get("chances_problem"), "Source": seen.source,
             "Source's clock": seen.clock, "Not ready": seen.problem,
             "Forecast issued": moment(last.issued, zone, True) if last else "no forecast yet",
             "Methods": ", ".join(f"{name} {number}" for name, number in methods),
             "Fleet health": result.health if result else "unknown",
             "Version": __version__}
    if seen.room is not None:
        shown["Servers held"] = f"{seen.room['held']} of at most {seen.room['limit']}"
        shown["Servers refused, as there is no room"] = seen.room["refused"]
    return [(name, value) for name, value in shown.items() if value]


def _unforecast(result: Result | None) -> dict[str, object]:
    """Servers that are up or known and not forecast, with the reason, at most SHOWN."""
    missing = result.unforecast if result is not None else {}
    names = first(missing)
    rows = [(name, REASONS[missing[name]]) for name in names[:SHOWN]]
    return {"known": result is not None, "total": len(missing), "rows": rows, "more": names[SHOWN:]}


def _about(chance: float) -> str:
    """To the nearest 5%, so that a tile changes seldom."""
    if isnan(chance):
        return "-"
    return "<5%" if chance < 0.05 else ">95%" if chance > 0.95 else f"{5 * round(20 * chance)}%"
