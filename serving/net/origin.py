"""Refuses what a web page of another origin makes a browser send, and tells browsers what an answer may do.

A page of an attacker can have a browser send requests to any address that the browser reaches, with a content type
that forms have; and by answering a DNS query for its own name with this service's address (DNS rebinding), read what
comes back. So the name in the header Host must be one of this service, and a request that can change something must
not come from another origin. IP addresses cannot be rebound and are always taken.

    403   a Host that is no name of this service; another origin; a reload without --web.enable-lifecycle
    415   a change with the content type of a form
"""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from serving.net.options import WebOptions
from serving.net.wsgi import HOST, Answer, Application, Environ, Headers, refusal

_READS = ("GET", "HEAD", "OPTIONS")
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
_PRIVATE = (".internal", ".local", ".svc")  # no public name ends so: ICANN's .internal, RFC 6762, Kubernetes
_RELOAD = "/-/reload"
_EMBEDDED = "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"  # what default-src does not cover
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'",
}


def secured(headers: Headers) -> Headers:
    """An answer's headers with those of SECURITY_HEADERS that it lacks; no policy lets others embed a page."""
    given = {name.lower(): value for name, value in headers}
    headers = [*headers, *((name, value) for name, value in SECURITY_HEADERS.items() if name.lower() not in given)]
    return [(name, f"{value}; {_EMBEDDED}") if _open(name, value) else (name, value) for name, value in headers]


def _open(name: str, value: str) -> bool:
    return name.lower() == "content-security-policy" and "frame-ancestors" not in value


class Guard:
    """An application behind the checks of this module. listen: the host that it listens on, a name or an address."""

    def __init__(self, application: Application, listen: str, options: WebOptions):
        self._application, self._lifecycle = application, options.lifecycle
        allowed = options.allowed_hosts
        self._names = {"localhost", listen.lower(), socket.gethostname().lower(), *allowed}
        self._suffixes = (".localhost", *(name[1:] for name in allowed if name.startswith("*.")))
        self._local = _loopback(listen)
        if not self._local:
            self._suffixes += _PRIVATE

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        refused = self._check(environ)
        if refused is not None:
            start_response(refused.status, refused.headers)
            return refused.body
        return self._application(environ, start_response)

    def _check(self, environ: Environ) -> Answer | None:
        """The refusal of a request, or None."""
        host, method, path = environ.get("HTTP_HOST"), environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if host is not None and (refused := self._check_host(host)) is not None:  # HTTP/1.0 may leave it out
            return refused
        if method in _READS:
            return None
        if path == _RELOAD and method in ("POST", "PUT") and not self._lifecycle:
            return refusal("403 Forbidden", "a reload over HTTP is not enabled", "path",
                           "a start with --web.enable-lifecycle, or SIGHUP in place of the request")
        site = environ.get("HTTP_SEC_FETCH_SITE", "none")
        if site not in ("none", "same-origin"):
            return refusal("403 Forbidden", f"a web page of another origin sent the request ({site[:40]})",
                           "Sec-Fetch-Site", "same-origin or none")
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and (host is None or _netloc(origin) != host.lower()):
            return refusal("403 Forbidden", f"a web page of another origin sent the request ({origin[:100]})",
                           "Origin", "that of this service, or none")
        kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if kind in _FORMS:
            return refusal("415 Unsupported Media Type", f"the content type {kind} is one of forms", "Content-Type",
                           "application/json, or that of the request's protocol")
        return None

    def _check_host(self, host: str) -> Answer | None:
        match = HOST.fullmatch(host)
        name = match[1].strip("[]").lower().rstrip(".") if match else ""
        if self._known(name):
            return None
        return refusal("403 Forbidden", f"{name[:100]} is no name of this service", "Host",
                       f"an IP address or a known name; start with --web.allowed-hosts={name[:100]} if it is one")

    def _known(self, name: str) -> bool:
        if name in self._names or "*" in self._names or name.endswith(self._suffixes) or _address(name):
            return True
        return bool(name) and "." not in name and not self._local


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _loopback(host: str) -> bool:
    return host.lower() == "localhost" or (_address(host) and ipaddress.ip_address(host).is_loopback)
