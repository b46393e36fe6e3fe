"""The doors of a service: TLS, logins and headers from files (`--web.config.file`, `--web.tokens.file`), an audit log.

Without these files a service takes every request, as plain HTTP. With users or tokens every request needs a login,
health and metrics too.

    401   no login, or a wrong one
    403   a token without the scope that the request needs, or bound to tenants where none are known
    429   too many passwords are being checked
"""

import argparse
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from flask import Flask, Response, current_app, g, request
from prometheus_client import Counter, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from serving.doors.audit import AuditLog
from serving.doors.logins import EVERYTHING, Busy, Caller, Scope, Tokens, Users
from serving.doors.reread import Note, Reread
from serving.doors.web_config import read
from serving.net.streams import STREAM, While
from serving.net.traffic import Traffic
from serving.refusals import RequestError

_FAILURES = ("missing", "password", "token", "scheme", "scope", "busy")  # why a login fails
_FLAGS = ("web.config.file", "web.tokens.file")
_SCOPE = "fleetcast_scope"  # the attribute of a view with the scope that it needs
View = TypeVar("View", bound=Callable[..., Any])


def needs(scope: Scope) -> Callable[[View], View]:
    """Says which scope a view needs. Other views need `read` for GET and `control` for other methods."""
    def mark(view: View) -> View:
        setattr(view, _SCOPE, scope)
        return view

    return mark


Admit = Callable[[Caller, Scope], None]


def only_of_everything(caller: Caller, _: Scope) -> None:
    """Refuses callers that are bound to tenants, as a service that knows none has nothing for them; RequestError."""
    if caller.tenants is not None and EVERYTHING not in caller.tenants:
        raise RequestError(f"{caller.name} is bound to tenants, and here are none", "Authorization",
                           "a login that is not bound to tenants", status=403)


@dataclass(frozen=True, eq=False)
class Web:
    """What the web configuration says: TLS, when its certificate ends (Unix s), headers of every answer, users."""

    tls: ssl.SSLContext | None = None
    expiry: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Users = field(default_factory=lambda: Users({}))


class Rules(NamedTuple):
    """What both files say; equal as long as neither was read anew."""

    web: Web
    tokens: Tokens


class Doors(Collector):
    """The doors of the service `name`; SettingsError if a file cannot be used.

    Each file counts by itself: while one cannot be used, changes of the other take effect.
    ticks: seconds of a clock that only moves forward; clock: Unix seconds. As a collector it has the metrics on the
    files, on logins that failed and on traffic that was not served.
    """

    def __init__(self, name: str, web_config: str | Path | None = None, tokens: str | Path | None = None,
                 audit_log: str | None = None, ticks: Callable[[], float] = time.monotonic,
                 clock: Callable[[], float] = time.time):
        self._name = name
        self._paths = web_config and Path(web_config), tokens and Path(tokens)
        self._users = Users({})  # the last ones
        self._web, self._tokens = Reread(self._read_web, ticks, clock), Reread(self._read_tokens, ticks, clock)
        self._audit = AuditLog(audit_log, name, clock) if audit_log else None
        self.traffic = Traffic(ticks)
        self._failed = Counter(
            "fleetcast_web_login_failures_total", "Requests that were refused for their login, by reason: missing, "
            "password or token (a wrong one), scheme (another kind of login), scope (the token lacks it), busy (too "
            "many passwords were being checked).", ["reason"], registry=None)
        for reason in _FAILURES:
            self._failed.labels(reason)

    @classmethod
    def of(cls, arguments: argparse.Namespace, name: str) -> "Doors":
        """The doors that the flags ask for."""
        return cls(name, arguments.web_config, arguments.web_tokens, arguments.audit_log)

    @classmethod
    def add_flags(cls, parser: argparse.ArgumentParser) -> None:
        """The flags of a command that serves."""
        cls.add_files(parser)
        parser.add_argument("--web.audit-log", dest="audit_log", metavar="FILE", help="file to write who changed "
                            "what to, as JSON lines, or - for standard output (default: none)")

    @staticmethod
    def add_files(parser: argparse.ArgumentParser) -> None:
        """The flags of the files."""
        parser.add_argument("--web.config.file", dest="web_config", metavar="FILE", help="TLS, users and headers, "
                            "in the format of Prometheus' file of this name (default: plain HTTP without a login)")
        parser.add_argument("--web.tokens.file", dest="web_tokens", metavar="FILE",
                            help="bearer tokens of machines, each with its scopes (default: none)")

    def tls(self) -> ssl.SSLContext | None:
        """The TLS of a new connection, None for plain HTTP; on the event loop, too."""
        return self._web.latest().tls

    def guard(self, app: Flask, admit: Admit = only_of_everything) -> None:
        """Lets only those requests into an application that may enter. `admit` may refuse further ones (RequestError),
        by the caller and the scope that the request needs."""
        app.before_request(lambda: self._enter(admit))
        app.after_request(self._leave)

    def collect(self) -> Iterator[Metric]:
        last = GaugeMetricFamily("fleetcast_web_config_last_reload_successful", "Whether the file of TLS and users, or "
                                 "of tokens, if any, could be used when it was last read, by flag.", labels=["file"])
        when = GaugeMetricFamily("fleetcast_web_config_last_reload_success_timestamp_seconds",
                                 "When the file of TLS and users, or of tokens, was last read with success, by flag.",
                                 labels=["file"])
        web, _ = self._web.current(), self._tokens.current()
        files: tuple[Reread[Web] | Reread[Tokens], ...] = self._web, self._tokens
        for flag, file in zip(_FLAGS, files, strict=True):
            last.add_metric([flag], file.error is None)
            when.add_metric([flag], file.last_success)
        yield from (last, when)
        expiry = GaugeMetricFamily("fleetcast_web_certificate_expiry_timestamp_seconds", "When the certificate of TLS "
                                   "ends; of a chain, the earliest end.")
        if web.expiry is not None:
            expiry.add_metric([], web.expiry)
        yield expiry
        yield from self._failed.collect()
        yield from self.traffic.collect()

    def _read_web(self, note: Note) -> Web:
        path, _ = self._paths
        if not path:
            return Web()
        web = read(path, note)
        self._users = Users(web.users, self._users)
        return Web(web.tls, web.expiry, web.headers, self._users)

    def _read_tokens(self, note: Note) -> Tokens:
        _, path = self._paths
        return Tokens.read(path, note) if path else Tokens({})

    def _enter(self, admit: Admit) -> None:
        """Refuses a request that may not enter; RequestError."""
        g.rules = rules = Rules(self._web.current(), self._tokens.current())
        g.caller = caller = self._caller(rules)
        g.scope = scope = _scope()
        if scope not in caller.scopes:
            self._failed.labels("scope").inc()
            raise RequestError(f"{caller.name} lacks the scope {scope}", "Authorization",
                               f"a login with the scope {scope} for {request.method} {request.path[:100]}", status=403)
        admit(caller, scope)

    def _caller(self, rules: Rules) -> Caller:
        if not rules.web.users and not rules.tokens:
            return Caller("")
        given = request.authorization
        kind, caller = given.type if given is not None else "", None
        try:
            if given is not None and kind == "basic" and rules.web.users.check(
                    given.username or "", given.password or "", request.remote_addr or ""):
                caller = rules.tokens.user(given.username or "")
        except Busy:
            self._failed.labels("busy").inc()
            raise RequestError("too many passwords are being checked", "Authorization", "fewer logins at once; "
                               "try again in a second", status=429) from None
        if given is not None and kind == "bearer":
            caller = rules.tokens.caller(given.token or "")
        if caller is None:
            reasons = {"": "missing", "basic": "password", "bearer": "token"}
            self._failed.labels(reasons.get(kind, "scheme")).inc()
            ways = [*["a user with the password"] * bool(rules.web.users), *["a bearer token"] * bool(rules.tokens)]
            problem = "the login is wrong" if given is not None else "this needs a login"
            raise RequestError(problem, "Authorization", " or ".join(ways), status=401)
        return caller

    def _leave(self, response: Response) -> Response:
        rules = g.get("rules") or Rules(Web(), Tokens({}))
        response.headers.update(rules.web.headers)
        if (feed := request.environ.get(STREAM)) is not None:  # its client logs in anew once the files have changed
            request.environ[STREAM] = While(
                feed, lambda: (self._web.latest(), self._tokens.latest()) == rules)
        if response.status_code == 401:
            if rules.web.users:
                response.headers.add("WWW-Authenticate", f'Basic realm="{self._name}", charset="UTF-8"')
            if rules.tokens:
                response.headers.add("WWW-Authenticate", "Bearer")
        if response.status_code == 429:
            response.headers["Retry-After"] = "1"
        if self._audit is not None and "scope" in g and g.scope == "control":
            self._audit.write(g.caller.name, request, response.status_code)
        return response


def _scope() -> Scope:
    """The scope that this request needs."""
    marked: Scope | None = getattr(current_app.view_functions.get(request.endpoint or ""), _SCOPE, None)
    return marked or ("read" if request.method in ("GET", "HEAD", "OPTIONS") else "control")
