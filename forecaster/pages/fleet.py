"""The landing page: whether one can sleep, what comes first, every server, and the next 8 hours."""

from markupsafe import Markup

from forecaster.pages.seen import Look
from forecaster.publish.alerts import by_urgency
from forecaster.risk.state import State, of_fleet
from serving.page.view import Asked, Shown, View

_ROW = Markup('<li id="{0}"><b class="state" data-state="{1}">{1}</b> {0}</li>')


def view(look: Look) -> View:
    """The view at /."""
    def show(asked: Asked) -> Shown:
        seen = look.seen(asked.viewer)
        result, last = seen.result, seen.last
        state = of_fleet(result.state).word if result is not None else State.BLIND.word
        rows = {result.servers[s]: _ROW.format(result.servers[s], State(result.state[s]).word)
                for s in by_urgency(result)} if result is not None else {}
        headline = Markup('<h1 id="ui-headline">The fleet is {}</h1>').format(state)
        facts = Markup('<p id="ui-facts">{} {}</p>').format(seen.problem or "", seen.clock or "")
        if problem := seen.model["problem"]:
            facts += Markup('<p id="ui-model">Model problem: {}</p>').format(problem)
        return Shown(last.issued if last else None, seen.ttl, 
                     {"ui-headline": headline, "ui-facts": facts, **rows}, {"ui-rows": [*rows]})

    return View("fleet", "/", "Fleet", "The fleet: what comes first, every server.", show, look.version)
