"""A service as the web side and the runner see it: its name, its landing page, and how to reload and close it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask, Response

from serving import ServingError

log = logging.getLogger(__name__)

_EXTENSION = "fleetcast_service"
_RELOAD_ERRORS = (ServingError, ValueError, OSError)


@dataclass(frozen=True)
class Service:
    """What the common pages show and do; every callable must be safe to call from any thread.

    landing: the page at /, or None for the name and the description. ready: None, or the reason why the service is not
    ready. reload: reads the settings again; raises ServingError, ValueError or OSError and changes nothing if they are
    invalid; None if there is nothing to reload. close: ends the service's threads.
    """

    name: str
    description: str
    landing: Callable[[], Response] | None = None
    ready: Callable[[], str | None] = lambda: None
    reload: Callable[[], None] | None = None
    close: Callable[[], None] = lambda: None

    def attach(self, app: Flask) -> None:
        """Makes this the service of an application."""
        app.extensions[_EXTENSION] = self

    @classmethod
    def of(cls, app: Flask) -> "Service | None":
        """The service of an application, or None."""
        service = app.extensions.get(_EXTENSION)
        return service if isinstance(service, cls) else None

    def try_reload(self) -> str | None:
        """Reloads the settings; None, or why the reload failed and the previous settings stay in use."""
        try:
            if self.reload is not None:
                self.reload()
        except _RELOAD_ERRORS as error:
            message = f"reload failed, the previous settings stay in use: {error}"
            log.error("%s", "; ".join(message.split("\n")))
            return message
        return None
