"""All views of the forecaster, as one site."""

from collections.abc import Callable, Mapping

from forecaster.pages import alerts, capacity, fleet, record, server
from forecaster.pages.seen import Look
from serving.page.site import Site

_LINKS = (("/runbook", "Runbook"),)


def site(look: Look, clock: Callable[[], float], viewer: Callable[[], frozenset[str] | None] = lambda: None,
         elsewhere: Mapping[str, str] | None = None) -> Site:
    """The forecaster's pages; clock: Unix seconds of the source. viewer: the tenants that ask, None: all. elsewhere:
    addresses by title."""
    views = tuple(of.view(look) for of in (fleet, server, capacity, record, alerts))
    return Site("Fleetcast", views, ("forecaster.pages",), _LINKS, viewer, clock=clock, elsewhere=elsewhere)
