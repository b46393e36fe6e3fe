"""The web side of a service: landing page, health, readiness, reload and JSON errors.

`create_app(service, *blueprints)` makes the Flask application; `serve` (serving.net.runner) runs it.

    GET      /            landing page
    GET      /-/healthy   200 while the process answers
    GET      /-/ready     200, or 503 and the reason
    POST|PUT /-/reload    200, or 500 and the reason; the previous settings then stay in use. With
                          --web.enable-lifecycle only (serving.net.origin)

The body of every other 4xx and 5xx answer is JSON with the keys error, field and expected.

    RequestError (ServingError)   raised by a view; answered with such a body
"""

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Blueprint, Flask, Response, current_app, jsonify, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from serving.doors.entry import Admit, Doors, only_of_everything
from serving.net.runner import serve
from serving.refusals import RequestError
from serving.service import Service
from serving.shown import cut

__all__ = ["RequestError", "Service", "create_app", "serve"]

_MAX_REQUEST_BYTES = 1 << 20


class _Json(DefaultJSONProvider):
    """JSON whose keys stay in the order in which they were given; read as RFC 8259 has it, to a bounded depth."""

    sort_keys = False

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return orjson.loads(s)


def create_app(service: Service, *blueprints: Blueprint, max_request_bytes: int = _MAX_REQUEST_BYTES,
               doors: Doors | None = None, admit: Admit = only_of_everything) -> Flask:
    """A Flask application with the common pages of `service` and the given blueprints, behind `doors`, of whose callers
    `admit` may refuse some."""
    app = Flask(service.name, static_folder=None)
    (doors or Doors(service.name)).guard(app, admit)
    app.config["MAX_CONTENT_LENGTH"] = max_request_bytes
    app.json = _Json(app)
    service.attach(app)
    for blueprint in (_pages(service), *blueprints):
        app.register_blueprint(blueprint)
    return app


def _pages(service: Service) -> Blueprint:
    """The blueprint with the common pages and the JSON error bodies of a service."""
    blueprint = Blueprint("pages", __name__)

    @blueprint.get("/")
    def landing() -> Response:
        """The landing page."""
        return service.landing() if service.landing is not None else _text(f"{service.name}: {service.description}")

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
        """Reads the settings again, as SIGHUP does; if invalid, 500 and the reason, and the old ones stay in use.
        Only with `--web.enable-lifecycle`, otherwise 403."""
        error = service.try_reload()
        if error is not None:
            expected = "valid settings; correct them and reload again"
            return _json({"error": error, "field": "settings", "expected": expected}, 500)
        return _text("Nothing to reload." if service.reload is None else "Reloaded.")

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
    """The JSON body for an error that Flask raised."""
    if isinstance(error, NotFound):
        paths = ", ".join(sorted({rule.rule for rule in current_app.url_map.iter_rules()}))
        return {"error": f"there is nothing at {cut(request.path)}", "field": "path", "expected": f"one of {paths}"}
    if isinstance(error, MethodNotAllowed):
        methods = ", ".join(sorted(set(error.valid_methods or ()) - {"OPTIONS", "HEAD"}))
        return {"error": f"{cut(request.path)} does not take {request.method}", "field": "method", "expected": methods}
    if (error.code or 500) >= 500:
        return {
            "error": "the service failed to answer; its log has the details",
            "field": "service",
            "expected": "an answer; try again, and report the problem if it persists",
        }
    return {"error": error.description or error.name, "field": "request", "expected": "a well-formed request"}


def _json(body: Mapping[str, object], status: int) -> Response:
    response = jsonify(body)
    response.status_code = status
    return response


def _text(message: str, status: int = 200) -> Response:
    return Response(f"{message}\n", status, mimetype="text/plain")
