"""Which tenants' servers a request gets: by its login, or by the header X-Scope-OrgID.

    login bound to tenants      theirs; the header may name one of them
    other logins, or none       the one that the header names; without it the whole fleet, or with tenants.required
                                nothing but /-/healthy and /-/ready

A header that names no tenant of the configuration is refused, also where that has none: a reload that removes the last
tenant must not give its callers the whole fleet. A request that gets a tenant's servers may only read. The header
proves nothing: it is for a proxy that sets it, or for callers that are trusted with the whole fleet.
"""

from flask import Response, g, request

from forecaster.tenants import Tenants
from serving.doors.logins import EVERYTHING, Caller, Scope
from serving.shown import quoted
from serving.web import RequestError

HEADER = "X-Scope-OrgID"  # as in Mimir, Cortex and Loki
_WITHOUT = ("/-/healthy", "/-/ready")  # probes send no header
NOBODY: frozenset[str] = frozenset()


def tenants() -> frozenset[str] | None:
    """The tenants of this request, None for the whole fleet; an error in one that was not admitted."""
    found: frozenset[str] | None = g.tenants
    return found


class Admission:
    """Admits requests as the configuration says."""

    def __init__(self, config: Tenants):
        self._known, self._required = frozenset(config.servers), config.required

    def admit(self, caller: Caller, scope: Scope) -> None:
        """Says in `tenants` what the request gets; RequestError 403 where that is nothing."""
        g.tenants = self._of(caller, request.headers.get(HEADER))
        if g.tenants is not None and scope != "read":
            raise RequestError(f"{request.method} {request.path[:100]} is not a tenant's", "Authorization",
                               f"a login that is not bound to tenants, without the header {HEADER}", 403)

    def mark(self, response: Response) -> Response:
        """Says to caches that answers differ by tenant."""
        response.vary.update(("Authorization", HEADER))
        return response

    def _of(self, caller: Caller, named: str | None) -> frozenset[str] | None:
        own, who = caller.tenants, caller.name or "a request without a login"
        everything = own is not None and EVERYTHING in own
        if named is not None:
            if not self._known:
                raise RequestError("the configuration has no tenants", HEADER,
                                   "a request without this header, or tenants in the configuration", 403)
            if named not in self._known or not (own is None or everything or named in own):
                raise RequestError(f"{who} may not read the tenant {quoted(named)}", HEADER,
                                   "a tenant of the configuration, and of the login where it is bound to some", 403)
            return frozenset((named,))
        if own is not None and not everything:
            if not own & self._known:
                raise RequestError(f"{who} is bound to no tenant of the configuration", "Authorization",
                                   "a login with tenants that are named in tenants.servers", 403)
            return own & self._known
        if own is None and self._required:
            if request.path in _WITHOUT:
                return NOBODY
            raise RequestError("a request needs a tenant", HEADER,
                               "this header with a tenant, or a login that is bound to some", 403)
        return None
