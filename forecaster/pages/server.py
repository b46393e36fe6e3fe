"""One server: measured and forecast on one axis, chances and what speaks for them, what fills up, its record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecaster.capacity.outlook import MEDIAN, Outlook
from forecaster.capacity.outlook import PRIORITIES as FILLING_PRIORITIES
from forecaster.memory.by_server import DAYS as DAYS_SCORED
from forecaster.memory.by_server import figures
from forecaster.memory.pages import DAYS as PAGE_DAYS
from forecaster.models.unforecast import REASONS
from forecaster.pages import pages, words
from forecaster.pages.courses import DAY, Course
from forecaster.pages.headline import Badge, badge, badges
from forecaster.pages.seen import Look, Seen
from forecaster.publish.result import Result
from forecaster.risk.incidents import DAYS
from forecaster.risk.priority import PRIORITIES
from forecaster.risk.score import COMPONENTS
from forecaster.risk.state import State
from serving.page.site import environment
from serving.page.view import Asked, Shown, View
from serving.refusals import RequestError
from serving.shown import cut

BACK, BACK_WITH_PAST = 2 * 3600.0, 4 * 3600.0  # s of the past that a chart shows
AHEAD = 8 * 3600.0
FINE = 8  # signals up to which every step of a forecast is drawn; of more, an update would be too large
THIN = 120.0  # s between two measured values of a chart
PAGES = 8  # that are listed
SHOWN = (0, 1800, 3600, 7200, 14400, 28800)  # s from now, in the table of a chart

_PARTS: Any = environment("forecaster.pages").get_template("server_parts.html").module


def view(look: Look) -> View:
    """The view at /ui/server?name=NAME[&at=UNIX]."""
    return View("server", "/ui/server", "Server",
                "One server: measured and forecast, incidents, what fills up, its record.",
                lambda asked: show(look.seen(asked.viewer), asked), look.version,
                keys=("name", "at"), more=lambda shown, query: {"name": query.get("name", "")},
                scripts=("chart.js",), styles=("charts.css",), listed=False)


def show(seen: Seen, asked: Asked) -> Shown:
    """What is known of the server; RequestError for a name that nothing is known of, or an `at` that is no time."""
    name, last = asked.query.get("name", ""), seen.last
    marked = moment(asked.query.get("at"))
    row = last.index(name) if last is not None else None
    if last is not None and row is None and name not in last.unforecast and not mounts(seen.outlook, name, seen.now):
        raise RequestError(f"there is no server {cut(name)!r}", "name", "the name of a server on the page Fleet", 404)
    result = current(seen, row)
    found = courses(seen, name, result)
    start, end = span(seen)
    fragments = {
        "server-head": _PARTS.head(name, *headline(seen, name, row)),
        "server-notes": _PARTS.notes(notes(seen, name, row)),
        "server-chances": _PARTS.chances(chances(result, row), words),
        "server-pages": sent(seen, name),
        "server-points": _PARTS.points(points(result, row)),
        "server-fill": _PARTS.fill(mounts(seen.outlook, name, seen.now), unfilled(seen), seen.zone, words),
        "server-record": _PARTS.record(*proven(seen, name), DAYS_SCORED, words),
        "server-at": _PARTS.at(marked, [(one, *one.of(marked)) for one in found] if marked is not None else [],
                               marked is None or start <= marked <= end, seen.zone, words),
    }
    for number, one in enumerate(found):
        fragments[f"cap-{number}"] = _PARTS.caption(number, one)
        fragments[f"draw-{number}"] = one.drawing(number, start, end, marked) if one.known else _PARTS.blank(number)
        fragments[f"table-{number}"] = _PARTS.figures(number, one, SHOWN, seen.zone, words)
    data = {f"chart-{number}": one.data() | {"start": start, "end": end, "zone": str(seen.zone)}
            for number, one in enumerate(found)}
    return Shown(last.issued if last is not None else None, seen.ttl,
                 {key: str(html) for key, html in fragments.items()}, data=data)


def moment(text: str | None) -> float | None:
    """Unix s of the parameter `at`; RequestError where it is none."""
    if not text:
        return None
    try:
        at = float(text)
    except ValueError:
        at = math.nan
    if not 0 <= at < 1e11:
        raise RequestError(f"at is {cut(text)!r}", "at", "Unix seconds, such as 1760000000", 400)
    return at


def current(seen: Seen, row: int | None) -> Result | None:
    """The result whose forecast of this server may be shown as current."""
    result = seen.result
    if result is None or row is None or result.stale[row] or result.state[row] == State.BLIND:
        return None
    return result


def span(seen: Seen) -> tuple[float, float]:
    """(start, end) of the charts, Unix s."""
    now = seen.result.issued if seen.result is not None else seen.now
    past = seen.memory is not None and seen.memory.past is not None
    return now - (BACK_WITH_PAST if past else BACK), now + AHEAD


def courses(seen: Seen, server: str, result: Result | None) -> list[Course]:
    """All signals of one server, in the order of the configuration; `result` where its forecast is current."""
    start, end = span(seen)
    now, last = end - AHEAD, seen.last
    signals = last.signals if last is not None else tuple(seen.signals)
    row = last.index(server) if last is not None else None
    none = np.zeros(0), np.zeros((0, len(signals)), np.float32)
    measured = before = none
    said, lead = (np.zeros(0), np.zeros((0, len(signals), 3), np.float32)), 1800.0
    if seen.memory is not None and row is not None:
        measured = seen.memory.measured(server, start, now)
        before = seen.memory.measured(server, start - DAY, end - DAY)
        if (kept := seen.memory.said(server)) is not None:
            lead, said = kept[0], kept[1:]
    coarse = 1 if len(signals) <= FINE else len(signals) // 4
    thin = _thinned(measured[0], THIN * coarse) & (measured[0] >= start)
    earlier = np.flatnonzero(before[0] >= start - DAY)[::2 * coarse]
    ahead = result.times() if result is not None else np.zeros(0)
    conditions = last.risk.incidents if last is not None else None
    found = []
    for c, signal in enumerate(signals):
        limits = () if conditions is None or row is None else tuple(
            (conditions.names[i], one) for i, one in enumerate(conditions.conditions)
            if one.signal == signal and (result is None or conditions.known[row, i]))
        later = (said[0] >= start) & (said[0] <= (end if result is not None else now))
        found.append(Course(
            name=signal, signal=seen.signals[signal], now=now, step=last.step if last is not None else 300.0,
            limits=limits, at=measured[0][thin], measured=measured[1][thin, c], ahead=ahead,
            forecast=result.forecast[row, c] if result is not None else np.zeros((0, 3), np.float32),
            said_at=said[0][later], said=said[1][later][:, c], lead=lead, before_at=before[0][earlier] + DAY,
            before=before[1][earlier, c], coarse=coarse))
    return found


def _thinned(at: NDArray[np.float64], seconds: float) -> NDArray[np.bool_]:
    """bool (N,): of these instants, the last one of each stretch of so many seconds."""
    part = at // seconds
    return np.append(part[1:] != part[:-1], np.ones(min(len(at), 1), bool))


def headline(seen: Seen, name: str, row: int | None) -> tuple[Badge, str, str]:
    """(state, profile, one sentence)."""
    last = seen.last
    if last is None or row is None:
        filling = seen.outlook is not None and any(one.server == name for one in seen.outlook.entities)
        said = "None of its signals is forecast; what of it fills up is" if filling else \
            "Nothing is forecast for this server"
        return badge(State.BLIND), "", said
    if seen.result is None:
        return badge(State.BLIND), last.profiles[row], "There is no current forecast"
    return badges(last)[row], last.profiles[row], last.message(row)


def notes(seen: Seen, name: str, row: int | None) -> list[str]:
    """What limits what is said here, one sentence each."""
    last, found = seen.last, []
    if last is None:
        return [f"There is no forecast yet. {seen.problem or ''}".strip()]
    if seen.result is None:
        found.append(f"The latest forecast is {words.span(last.age(seen.now))} old and no longer shown. "
                     f"{seen.problem or ''}".strip())
    if name in last.unforecast:
        found.append(f"Not forecast: {REASONS[last.unforecast[name]]}.")
    if row is None:
        return found
    if last.stale[row] or last.state[row] == State.BLIND:
        seen_at = float(last.last_seen[row])
        found.append(f"Last seen {words.date(seen_at, seen.zone)}, {words.span(max(0.0, seen.now - seen_at))} ago."
                     if seen_at > 0 else "Never seen.")
    elif last.samples[row] < last.required:
        found.append(f"Warming up: {last.samples[row]} of {last.required} samples. Until then the trend forecasts it, "
                     "without chances.")
    elif last.method[row] != "tft":
        found.append("The trend heuristic forecasts it, not the model.")
    if lacking := [last.signals[c] for c in np.flatnonzero(last.missing[row])]:
        found.append(f"No forecast of {', '.join(lacking)}: they have no values.")
    return found


def chances(result: Result | None, row: int | None) -> list[dict[str, object]]:
    """The incidents of the server that are known, most urgent first; chances in 0..1, times in Unix s."""
    if result is None or row is None or (found := result.risk.incidents) is None:
        return []
    later = np.where(found.on[row], 1.0, np.nan_to_num(found.chance["8h"][row]))
    order = np.lexsort((-later, np.where(found.ranks[row] < 0, len(PRIORITIES), found.ranks[row])))
    return [{
        "name": found.names[i], "text": found.texts[i], "lasting": found.conditions[i].lasting,
        "on": bool(found.on[row, i]), "expected": float(found.expected[row, i]), "zone": found.zone,
        "soon": float(found.chance["30m"][row, i]), "later": float(found.chance["8h"][row, i]),
        "priority": PRIORITIES[found.ranks[row, i]] if found.ranks[row, i] >= 0 else "",
        "before": found.recurring.text(row, i), "days": int(found.days[row, i]), "of": DAYS,
    } for i in order.tolist() if found.known[row, i]]


def points(result: Result | None, row: int | None) -> dict[str, object] | None:
    """The risk score and what it is made of; None where it is not known or chances decide the priority."""
    if result is None or row is None or result.risk.by != "score" or np.isnan(result.risk.score[row]):
        return None
    parts = {name: float(value) for name, value in zip(COMPONENTS, result.risk.points[row], strict=True)}
    return {"score": float(result.risk.score[row]), "parts": parts, "priority": result.risk.priority[row]}


def proven(seen: Seen, name: str) -> tuple[list[tuple[str, float, float, int]], float]:
    """([(title, coverage, loss, outcomes)] of the signals of this server with anything scored, lead in s)."""
    found = seen.memory.scored(name) if seen.memory is not None else None
    if found is None or seen.last is None:
        return [], 0.0
    lead, sums = found
    titles = [seen.signals[signal].title or signal for signal in seen.last.signals]
    return [(title, *of) for title, of in zip(titles, figures(sums), strict=True) if of[2]], lead


def sent(seen: Seen, name: str) -> str:
    """The fragment of this server's pages and how they turned out."""
    found = pages.of(seen, name)
    if found is None:
        return str(_PARTS.pages([], [], 0, seen.zone, words))
    episodes, weeks = found
    own = [one for one in pages.tallies(episodes, weeks, False) if one.pages]
    return str(_PARTS.pages(own, pages.lines(episodes, (), PAGES), PAGE_DAYS, seen.zone, words))


def unfilled(seen: Seen) -> str:
    """Why nothing of a server is shown as what fills up."""
    if seen.watched is not None and seen.outlook is None:
        return "Unknown: there is no current forecast of what fills up."
    return "Nothing of this server is watched that fills up."


def mounts(outlook: Outlook | None, server: str, now: float) -> list[Mapping[str, object]]:
    """What of this server fills up, the first to be full first."""
    if outlook is None:
        return []
    waits = outlook.waits(now)
    return [{
        "entity": one, "title": outlook.resources[one.resource].title, "used": float(outlook.used[row]),
        "pending": bool(waits[row]),
        "full": bool(outlook.full[row]), "meant": bool(outlook.meant[row]),
        "date": float(outlook.filling.full_at[row, MEDIAN]),
        "chance": float(outlook.filling.chance[row, 2]), "growth": float(outlook.filling.growth[row]),
        "priority": FILLING_PRIORITIES[rank - 1] if (rank := int(outlook.priority[row])) else "",
    } for row in outlook.order if (one := outlook.entities[row]).server == server]
