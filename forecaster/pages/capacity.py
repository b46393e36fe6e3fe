"""What fills up: everything that is watched, the first to be full first, and the course of one entity."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from markupsafe import Markup

from forecaster.capacity.forecast import WINDOWS
from forecaster.capacity.outlook import MEDIAN, PRIORITIES, Outlook
from forecaster.capacity.past import HOUR
from forecaster.pages import chart, words
from forecaster.pages.courses import short
from forecaster.pages.seen import Look, Seen
from forecaster.publish.values import begun
from serving.page.site import environment
from serving.page.view import Asked, Shown, View

SHOWN = 200  # rows
DAYS_BACK, DAYS_AHEAD = 7, 14
EVERY = 7 * 86400.0  # s between two marks of the time axis

_PARTS: Any = environment("forecaster.pages").get_template("capacity_parts.html").module


def view(look: Look) -> View:
    """The view at /ui/capacity?find=TEXT&resource=NAME, and with server, of (resource) and entity the course of one."""
    return View("capacity", "/ui/capacity", "Capacity",
                "What fills up, the first to be full first, and the course of one entity.",
                lambda asked: show(look.seen(asked.viewer), asked), look.version,
                keys=("find", "resource", "server", "of", "entity"), more=lambda shown, query: {"chosen": query},
                scripts=("chart.js",), styles=("charts.css",))


def show(seen: Seen, asked: Asked) -> Shown:
    """What the query asks for of the latest outlook."""
    of, query = seen.outlook, asked.query
    wanted = query.get("server", ""), query.get("of", ""), query.get("entity", "")
    if of is None:
        said = "There is no current forecast of what fills up." if seen.watched else "Nothing is watched that fills up."
        return Shown(seen.filled if seen.watched else seen.now, seen.watched or seen.ttl, {
            "cap-head": str(_PARTS.head(said, [], [])), "cap-more": str(_PARTS.more(0)),
            **unknown(wanted), "cap-form": str(_PARTS.form({}, query))}, {"cap-rows": []})
    rows = chosen(of, query.get("find", ""), query.get("resource", ""))
    titles = {name: about.title for name, about in of.resources.items()}
    listed = {key(of, row): str(_PARTS.row(key(of, row), one, seen.zone, words))
              for row, one in zip(rows[:SHOWN], entries(of, rows[:SHOWN], seen), strict=True)}
    place = of.places.get(wanted)
    data = {} if place is None else {"chart-0": values(of, place, str(seen.zone))}
    fragments = {
        "cap-head": str(_PARTS.head(sentence(of, seen), counts(of, seen.now), unseen(of))),
        "cap-form": str(_PARTS.form(titles, query)),
        "cap-more": str(_PARTS.more(max(0, len(rows) - SHOWN))),
        **listed,
    }
    if place is None:
        fragments |= unknown(wanted)
    else:
        [one] = entries(of, [place], seen)
        fragments |= {"cap-one": str(_PARTS.one(one, seen.zone, words)), "draw-0": str(drawing(of, place))}
    return Shown(of.instant, seen.watched or seen.ttl, fragments, {"cap-rows": [*listed]}, data)


def unknown(wanted: tuple[str, str, str]) -> dict[str, str]:
    """The fragments of one entity (server, resource, name) of which nothing is known; none of no entity."""
    return {"cap-one": str(_PARTS.unknown(*wanted)), "draw-0": str(_PARTS.blank())} if wanted[2] else {}


def chosen(of: Outlook, find: str, resource: str) -> list[int]:
    """Rows in the order in which they are full, what is meant to be last, of this resource, with this text in the
    server's or entity's name."""
    text = find.casefold()
    rows = sorted(of.order, key=lambda row: bool(of.meant[row]))
    return [row for row in rows if (one := of.entities[row]) and resource in ("", one.resource)
            and (text in one.server.casefold() or text in one.name.casefold())]


def key(of: Outlook, row: int) -> str:
    """An id of the row's element."""
    one = of.entities[row]
    return "e-" + hashlib.blake2s(f"{one.server}\0{one.resource}\0{one.name}".encode(), digest_size=8).hexdigest()


def entries(of: Outlook, rows: list[int], seen: Seen) -> list[dict[str, object]]:
    """What rows show: shares in 0..1, times in Unix s; pending: since when, and when the alert fires, in words."""
    pending = of.pending(seen.now).tolist()
    return [_entry(of, row) | {"pending": begun(since, until, seen.zone) if math.isfinite(since) else None}
            for row in rows for since, until in [pending[row]]]


def _entry(of: Outlook, row: int) -> dict[str, object]:
    filling, rank = of.filling, int(of.priority[row])
    return {
        "entity": of.entities[row], "title": of.resources[of.entities[row].resource].title,
        "unit": of.resources[of.entities[row].resource].unit, "used": float(of.used[row]),
        "limit": float(of.limit[row]), "size": float(of.size[row]), "full": bool(of.full[row]),
        "meant": bool(of.meant[row]),
        "dates": filling.full_at[row].tolist(),
        "date": float(filling.full_at[row, MEDIAN]),
        "chances": dict(zip(WINDOWS, filling.chance[row].tolist(), strict=True)),
        "growth": float(filling.growth[row]), "growth_before": float(filling.growth_before[row]),
        "changed": float(filling.changed_at[row]), "step": float(filling.step[row]),
        "stepped": float(filling.step_at[row]),
        "priority": PRIORITIES[rank - 1] if rank else "", "lost": bool(of.lost[row]), "issued": float(of.issued[row]),
        "seen": float(of.last_seen[row]),
    }


def counts(of: Outlook, now: float) -> list[tuple[str, int]]:
    """How many are full now, and of each priority, of which some are pending."""
    waits, ranked = of.waits(now), [(name, of.priority == rank) for rank, name in enumerate(PRIORITIES, 1)]
    return [("full now", int(of.full.sum())),
            *((f"{name}{f' ({number} pending)' if (number := int((waits & at).sum())) else ''}", int(at.sum()))
              for name, at in ranked),
            ("watched", len(of.entities)), ("silent", int(of.lost.sum()))]


def sentence(of: Outlook, seen: Seen) -> str:
    """What is full first."""
    if not of.entities:
        return "Nothing is known yet that fills up"
    row = chosen(of, "", "")[0]
    one, date = of.entities[row], float(of.filling.full_at[row, MEDIAN])
    if of.full[row]:
        return f"{one.name} of {one.server} is full"
    if math.isfinite(date) and not of.meant[row]:
        return f"{one.name} of {one.server} is full first: {words.date(date, seen.zone)} (p50)"
    nothing = "Of what can be read, nothing" if of.unread or of.waits_for else "Nothing"
    return f"{nothing} is expected to be full within 14 days"


def unseen(of: Outlook) -> list[str]:
    """What the list lacks: resources whose history is being read, those that cannot be read, and those of which nothing
    is found."""
    unread, empty = (", ".join(of.resources[name].title for name in names) for names in (of.unread, of.empty))
    waits = ", ".join(of.resources[name].title for name in of.waits_for)
    return [*([f"Not known yet, history is being read: {waits}."] if waits else []),
            *([f"Cannot be read, /status says why: {unread}."] if unread else []),
            *([f"Nothing is found of: {empty}."] if empty else [])]


def drawing(of: Outlook, row: int) -> Markup:
    """The last week and the next 14 days of one entity."""
    now, ahead = float(of.issued[row]), of.filling.used[row].astype(float)
    at, past = _past(of, row)
    start, end = now - DAYS_BACK * 86400, now + DAYS_AHEAD * 86400
    frame = chart.Frame(start, end, 0.0, max(1.0, chart.top([past, ahead, float(of.limit[row])])))
    instants = of.instants(row)
    paths = [("band", frame.band(instants, ahead[:, 0], ahead[:, 2])), ("limit", frame.across(float(of.limit[row]))),
             ("median", frame.line(instants, ahead[:, MEDIAN])), ("measured", frame.line(at, past, 3 * HOUR)),
             ("now", frame.up(now))]
    low, middle, high = (words.share(value) for value in ahead[-1])
    label = f"Used share: now {words.share(float(of.used[row]))}; in 14 days {middle}, p10 to p90 {low} to {high}"
    return chart.drawing("0", paths, label, [words.share(tick) for tick in frame.ticks],
                         chart.marks(start, end, now, EVERY))


def values(of: Outlook, row: int, zone: str) -> dict[str, object]:
    """What the cursor of the chart reads, in percent by the hour."""
    now = float(of.issued[row])
    at, past = _past(of, row)
    return {"title": of.entities[row].name, "unit": "%", "step": HOUR, "now": now, "zone": zone,
            "start": now - DAYS_BACK * 86400, "end": now + DAYS_AHEAD * 86400,
            "first": round((at[0] - now) / HOUR) if at.size else 0, "measured": short(100 * past),
            "ahead": 1, "forecast": short(100 * of.filling.used[row].T)}


def _past(of: Outlook, row: int) -> tuple[np.ndarray, np.ndarray]:
    """(instants, used shares) of the last week, by the hour."""
    past = of.week[row].astype(float) if of.week is not None else np.zeros(0)
    return (of.instant // HOUR - np.arange(len(past))[::-1]) * HOUR, past
