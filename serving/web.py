"""The web side of a service: landing page, health, readiness, reload and JSON errors.

`create_app(service, *blueprints)` makes the Flask application; `serve` (serving.runner) runs it.

    GET      /            landing page
    GET      /-/healthy   200 as long as the process answers
    GET      /-/ready     200, or 503 and the reason
    POST|PUT /-/reload    200, or 500 and the reason with the old settings kept

Every 4xx and 5xx body is JSON with the keys error, field and expected, except that of /-/ready.

    RequestError (ServingError)   raised by a view: answered as such a body
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from markupsafe import Markup, escape
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from serving import ServingError
from serving.runner import RELOAD_ERRORS, ListenError, serve

__all__ = ["ListenError", "RequestError", "Service", "Table", "create_app", "pages", "serve", "service_of"]

log = logging.getLogger(__name__)

_EXTENSION = "fleetcast_service"
_MAX_REQUEST_BYTES = 1 << 20
_STYLE = """
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1.5rem 0; width: 100% }
caption { text-align: start; font-weight: 600; padding-bottom: .25rem }
th, td { text-align: start; padding: .3rem .75rem .3rem 0; vertical-align: top;
  border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent) }
thead th { font-weight: 600 } tbody th { font-weight: 400; white-space: nowrap }
td { overflow-wrap: anywhere; font-variant-numeric: tabular-nums }
"""


class RequestError(ServingError):
    """A request that cannot be served: what was wrong, in which field, and what was expected there.

    `more` adds further keys to the JSON body.
    """

    def __init__(self, error: str, field: str, expected: str, status: int = 400, **more: Any):
        super().__init__(error)
        self.body = {"error": error, "field": field, "expected": expected, **more}
        self.status = status


@dataclass(frozen=True)
class Table:
    """A table of the landing page; the first cell of each row is its heading."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Service:
    """What the web side needs to know of a service; every callable must be safe to call from any thread.

    `links` are (path or address, what it is) pairs, `status` a small flat mapping for the landing
    page, `tables` further tables for it. `ready` returns None, or why the service is not ready.
    `reload` reads the settings again and raises, changing nothing, where they cannot be used;
    None where there is nothing to reload. `close` ends the service's threads.
    """

    name: str
    description: str
    links: tuple[tuple[str, str], ...] = ()
    status: Callable[[], Mapping[str, object]] = field(default=dict)
    tables: Callable[[], Sequence[Table]] = field(default=tuple)
    ready: Callable[[], str | None] = field(default=lambda: None)
    reload: Callable[[], None] | None = None
    close: Callable[[], None] = field(default=lambda: None)


def create_app(
    service: Service, *blueprints: Blueprint, max_request_bytes: int = _MAX_REQUEST_BYTES
) -> Flask:
    """A Flask application with the common pages of `service` and the given blueprints."""
    app = Flask(service.name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = max_request_bytes
    app.json.sort_keys = False
    app.register_blueprint(pages(service))
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    return app


def service_of(app: Flask) -> Service | None:
    """The service whose pages an application carries."""
    return app.extensions.get(_EXTENSION)


def pages(service: Service) -> Blueprint:
    """The blueprint with the common pages and the JSON error bodies of one service."""
    blueprint = Blueprint("pages", __name__)

    @blueprint.record_once
    def remember(state: Any) -> None:
        state.app.extensions[_EXTENSION] = service

    @blueprint.get("/")
    def landing() -> Response:
        """The landing page: status, and links to the other pages."""
        response = Response(_landing_page(service), mimetype="text/html")
        response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
        response.headers["Cache-Control"] = "no-store"
        return response

    @blueprint.get("/-/healthy")
    def healthy() -> Response:
        """200 while the process answers."""
        return _text(f"{service.name} is healthy.")

    @blueprint.get("/-/ready")
    def ready() -> Response:
        """200 when the service is ready, else 503 and the reason."""
        reason = service.ready()
        return _text(f"{service.name} is ready.") if reason is None else _text(reason, 503)

    @blueprint.route("/-/reload", methods=["POST", "PUT"])
    def reload() -> Response:
        """Reads the settings again, as SIGHUP does; if invalid, 500 and the reason, and the old ones stay in use."""
        if service.reload is None:
            return _text("Nothing to reload.")
        try:
            service.reload()
        except RELOAD_ERRORS as error:
            log.error("reload failed, the previous settings stay in use: %s", error)
            body = {
                "error": f"reload failed, the previous settings stay in use: {error}",
                "field": "settings",
                "expected": "settings that can be used; correct them and reload again",
            }
            return _json(body, 500)
        return _text("Reloaded.")

    @blueprint.app_errorhandler(RequestError)
    def request_error(error: RequestError) -> Response:
        return _json(error.body, error.status)

    @blueprint.app_errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        response = _json(_error_body(error), error.code or 500)
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return response

    return blueprint


def _error_body(error: HTTPException) -> dict[str, str]:
    """The JSON body for an error that Flask raised itself."""
    if isinstance(error, NotFound):
        paths = sorted({rule.rule for rule in current_app.url_map.iter_rules()})
        return {
            "error": f"there is nothing at {request.path}",
            "field": "path",
            "expected": f"one of {', '.join(paths)}",
        }
    if isinstance(error, MethodNotAllowed):
        methods = ", ".join(sorted(set(error.valid_methods or ()) - {"OPTIONS", "HEAD"}))
        return {
            "error": f"{request.path} does not take {request.method}",
            "field": "method",
            "expected": methods,
        }
    if (error.code or 500) >= 500:
        return {
            "error": "the service failed to answer; its log has the details",
            "field": "service",
            "expected": "an answer; try again, and report it if it stays",
        }
    return {"error": error.description or error.name, "field": "request", "expected": "a well-formed request"}


def _json(body: Mapping[str, object], status: int) -> Response:
    response = jsonify(body)
    response.status_code = status
    return response


def _text(message: str, status: int = 200) -> Response:
    return Response(f"{message}\n", status, mimetype="text/plain")


def _landing_page(service: Service) -> str:
    """The landing page: plain HTML that needs nothing from elsewhere."""
    tables = [
        Table("Pages", ("Path", "What it is"), [(_link(path), what) for path, what in service.links]),
        Table("Status", ("Item", "Value"), list(service.status().items())),
        *service.tables(),
    ]
    body = Markup("").join(_table(table) for table in tables if table.rows)
    name, description = escape(service.name), escape(service.description)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{name}</h1>\n<p>{description}</p>\n{body}</main>\n</body>\n</html>\n"
    )


def _link(address: str) -> Markup:
    return Markup('<a href="{0}">{0}</a>').format(address)


def _table(table: Table) -> Markup:
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(column) for column in table.columns)
    rows = Markup("").join(_row(row) for row in table.rows)
    return Markup(
        "<table>\n<caption>{}</caption>\n<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody>\n</table>\n"
    ).format(table.caption, head, rows)


def _row(row: Sequence[object]) -> Markup:
    heading = Markup('<th scope="row">{}</th>').format(row[0])
    return Markup("<tr>{}{}</tr>\n").format(
        heading, Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row[1:])
    )
