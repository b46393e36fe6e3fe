"""What needs attention: the forecaster's own view of it, and what fires at Alertmanager."""

from __future__ import annotations

from typing import Any

from forecaster.pages import words
from forecaster.pages.headline import badges
from forecaster.pages.seen import Look, Seen
from forecaster.publish.alerts import alerts
from forecaster.publish.firing import Alert, Answer
from forecaster.publish.result import Result
from forecaster.risk.state import State
from serving.page.site import environment
from serving.page.view import Asked, Shown, View

SHOWN = 100  # of each table
STATES = ("firing", "silenced", "inhibited")

_PARTS: Any = environment("forecaster.pages").get_template("alerts_parts.html").module


def view(look: Look) -> View:
    """The view at /ui/alerts."""
    return View("alerts", "/ui/alerts", "Alerts",
                "Servers that need attention, and what fires at Alertmanager.",
                lambda asked: show(look.seen(asked.viewer), asked), look.version,
                styles=("charts.css",))


def show(seen: Seen, _: Asked) -> Shown:
    """Own risks, and the alerts that the viewer may see."""
    result = seen.result
    own = alerts(result, seen.roles, seen.outlook) if result is not None else []
    shown = dict(zip(result.servers, badges(result), strict=True)) if result is not None else {}
    answer = seen.firing.latest() if seen.firing is not None else None
    sent = visible(answer, seen)
    last = seen.last
    about = (seen.firing.url if seen.whole else "", seen.firing.fleet) if seen.firing is not None else None
    fragments = {
        "al-head": _PARTS.head(sentence(seen, own, sent, answer)),
        "al-own": _PARTS.own(own[:SHOWN], shown, len(own), unseen(result), words),
        "al-sent": _PARTS.sent(sent[:SHOWN], len(sent), answer, about, seen.zone, words),
    }
    return Shown(last.issued if last is not None else None, seen.ttl, {key: str(of) for key, of in fragments.items()})


def visible(answer: Answer | None, seen: Seen) -> list[dict[str, Any]]:
    """Alerts as rows, firing ones first, then the highest priority, then the newest; those of a tenant's servers only,
    where the viewer does not see the whole fleet."""
    found = answer.alerts if answer is not None else ()
    if not seen.whole:
        names = {*seen.last.servers, *seen.last.unforecast} if seen.last is not None else set()
        found = tuple(one for one in found if one.labels.get("server") in names)

    def urgency(one: Alert) -> tuple[int, str, float, str]:
        return STATES.index(one.state), one.labels.get("priority", "P9"), -one.since, one.name

    return [row(one) for one in sorted(found, key=urgency)]


def row(one: Alert) -> dict[str, Any]:
    """What a row shows of an alert; its runbook entry where it is one of ours."""
    return {"name": one.name, "server": one.labels.get("server", ""), "state": one.state, "since": one.since,
            "priority": one.labels.get("priority", one.labels.get("severity", "")),
            "runbook": f"/runbook#{one.name.lower()}" if one.name.startswith("Fleetcast") else "",
            "summary": one.annotations.get("summary", ""), "more": one.annotations.get("description", "")}


def unseen(result: Result | None) -> int | None:
    """How many servers are BLIND, None without a current forecast."""
    return None if result is None else int((result.state == State.BLIND).sum())


def sentence(seen: Seen, own: list[dict[str, Any]], sent: list[dict[str, Any]], answer: Answer | None) -> str:
    """The page in one sentence."""
    if seen.result is None:
        return "There is no current forecast"
    firing = sum(one["state"] == "firing" and one["name"] != "FleetcastWatchdog" for one in sent)
    blind = unseen(seen.result)
    urgent = f"{len(own)} {'server needs' if len(own) == 1 else 'servers need'} attention" if own else \
        "No server needs attention" if not blind else "No server that can be judged needs attention"
    if blind:
        urgent += f", {blind} cannot be judged (BLIND)"
    if answer is None or answer.problem:
        return f"{urgent}; what is firing is not known"
    return f"{urgent}, {firing or 'no'} {'alert is' if firing < 2 else 'alerts are'} firing"
