"""All views of the forecaster, as one site."""

from collections.abc import Callable

from forecaster.pages import fleet
from forecaster.pages.seen import Look
from serving.page.site import Site

_LINKS = (("/runbook", "Runbook"),)


def site(look: Look, clock: Callable[[], float]) -> Site:
    """The forecaster's pages; clock: Unix seconds of the source."""
    return Site("Fleetcast", (fleet.view(look),), ("forecaster.pages",), _LINKS, clock=clock)
