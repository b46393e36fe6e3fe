"""All views of the forecaster, as one site."""

from collections.abc import Callable

from forecaster.pages import alerts, capacity, fleet, record, server
from forecaster.pages.seen import Look
from serving.page.site import Site

_LINKS = (("/runbook", "Runbook"),)


def site(look: Look, clock: Callable[[], float]) -> Site:
    """The forecaster's pages; clock: Unix seconds of the source."""
    views = tuple(of.view(look) for of in (fleet, server, capacity, record, alerts))
    return Site("Fleetcast", views, ("forecaster.pages",), _LINKS, clock=clock)
