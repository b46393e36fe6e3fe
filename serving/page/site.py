"""The pages of a service: its views under their addresses, their navigation, static files and streams.

    GET  /ui/events?view=NAME    what changed on a view, as server-sent events
    GET  /ui/static/NAME         static files

A view is rendered at most once for each new version of what it shows and each query, whoever asks.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import resources
from importlib.resources.abc import Traversable

from flask import Blueprint, Response, request
from jinja2 import BaseLoader, ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from serving.net.streams import STREAM
from serving.page.assets import Assets
from serving.page.packed import packed
from serving.page.view import Asked, Kept, Shown, View, numbered
from serving.refusals import RequestError

POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
          "form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
_OURS = "serving.page"
_MOST = 64  # renderings that are kept
_NOTHING: Mapping[str, object] = {
    "here": "", "stream": None, "shown": None, "age": None, "scripts": (), "styles": (), "again": None, "query": {}}
REFRESH = 30  # seconds after which a page without updates is read anew


def environment(*packages: str) -> Environment:
    """Jinja with the templates of these packages and of the common look; text is escaped, unknown variables fail."""
    loaders: list[BaseLoader] = [FileSystemLoader(str(_folder(name, "templates"))) for name in (*packages, _OURS)]
    return Environment(loader=ChoiceLoader(loaders), autoescape=True, trim_blocks=True, lstrip_blocks=True,
                       undefined=StrictUndefined)


class Site:
    """The pages of the service `name`.

    packages: those with a folder `templates` and a folder `static`, such as forecaster.pages. links: (address, text)
    pairs in the navigation after the views. viewer: called in a request; who asks, where views differ by it (see
    Asked). elsewhere: addresses by text, at the foot, for who sees all. more: static files by name. clock: Unix
    seconds.
    """

    def __init__(self, name: str, views: Sequence[View], packages: Sequence[str] = (),
                 links: Sequence[tuple[str, str]] = (), viewer: Callable[[], frozenset[str] | None] = lambda: None,
                 more: Mapping[str, bytes] | None = None, clock: Callable[[], float] = time.time,
                 elsewhere: Mapping[str, str] | None = None):
        self.name, self.over, self.clock = name, False, clock
        self._views = {view.name: view for view in views}
        self._viewer, self._elsewhere = viewer, dict(elsewhere or {})
        self._assets = Assets(*(_folder(package, "static") for package in (_OURS, *packages)), more=more)
        self._pages = environment(*packages)
        self._pages.globals.update(site=name, views=[view for view in views if view.listed], links=links,
                                   asset=self._assets.address, refresh=REFRESH)
        self._kept: OrderedDict[tuple[str, Asked], Kept] = OrderedDict()
        self._count, self._lock = 0, threading.Lock()
        self._rendering = {view.name: threading.Lock() for view in views}

    def close(self) -> None:
        """Ends the streams; their clients connect to what takes this site's place."""
        self.over = True

    def blueprint(self) -> Blueprint:
        """Every view but the one at "/", which is Service.landing, the stream and the static files."""
        blueprint = Blueprint("ui", __name__)
        for view in self._views.values():
            if view.path != "/":
                answer = partial(self.page, view.name)
                answer.__doc__ = view.about
                blueprint.add_url_rule(view.path, f"view_{view.name}", answer, methods=["GET"])

        @blueprint.get("/ui/events")
        def events() -> Response:
            """What changes on a page (`?view=NAME`), as server-sent events."""
            view = self._views.get(name := request.args.get("view", ""))
            if view is None:
                raise RequestError(f"there is no view {name[:100]!r}", "view", f"one of {', '.join(self._views)}", 404)
            asked = self._asked(view)
            self.current(view, asked)  # refuses a wrong query
            since = request.headers.get("Last-Event-ID") or request.args.get("since", "")
            request.environ[STREAM] = _Listener(self, view, asked, since)
            return Response(mimetype="text/event-stream", headers={"Cache-Control": "no-store"})

        @blueprint.get("/ui/static/<name>")
        def static(name: str) -> Response:
            """Scripts, styles and icons of the pages."""
            answer = self._assets.answer(name)
            if answer is None:
                raise RequestError("there is no such file", "path", "an address that a page of this version has", 404)
            return answer

        return blueprint

    def page(self, name: str) -> Response:
        """A view as a whole page; called in a request."""
        view = self._views[name]
        try:
            kept = self.current(view, self._asked(view))
        except RequestError as error:
            return self.render("problem.html", f"{view.title}", status=error.status, here=view.name, error=error.body)
        query = request.args.to_dict()
        stream = {"view": view.name, "since": kept.number, **{key: query[key] for key in view.keys if key in query}}
        shown = kept.shown
        return self.render(f"{view.name}.html", view.title, more=view.more(shown, query), here=view.name, stream=stream,
                           shown=shown, age=shown.age(self.clock()), scripts=view.scripts, styles=view.styles,
                           fragments={key: Markup(html) for key, html in shown.fragments.items()}, query=query)

    def document(self, title: str, body: Markup, here: str = "") -> Response:
        """A page without updates around `body`; here: its address in the navigation."""
        return self.render("document.html", title, body=body, here=here)

    def render(self, template: str, title: str, status: int = 200, more: Mapping[str, object] | None = None,
               **variables: object) -> Response:
        """A page from a template that extends layout.html."""
        elsewhere = self._elsewhere if self._viewer() is None else {}
        given = dict(_NOTHING) | {"title": title, "elsewhere": elsewhere} | variables | dict(more or {})
        text = self._pages.get_template(template).render(given)
        response = packed(text.encode(), request.headers)
        response.status_code, response.mimetype = status, "text/html"
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-store"
        return response

    def current(self, view: View, asked: Asked) -> Kept:
        """The rendering of a view as of now, which may have been made before."""
        key = view.name, asked
        with self._rendering[view.name]:
            version = view.version()
            with self._lock:
                old = self._kept.get(key)
            if old is not None and old.version == version:
                return old
            shown = view.show(asked)
            with self._lock:
                self._count += 1
                new = Kept(numbered(self._count), version, shown, (old.number, old.shown) if old else None)
                self._kept[key] = new
                self._kept.move_to_end(key)
                while len(self._kept) > _MOST:
                    self._kept.popitem(last=False)
            return new

    def _asked(self, view: View) -> Asked:
        return Asked({key: request.args[key] for key in view.keys if key in request.args}, self._viewer())


class _Listener:
    """One client of a stream (serving.net.streams.Feed)."""

    def __init__(self, site: Site, view: View, asked: Asked, since: str):
        self._site, self._view, self._asked, self._since = site, view, asked, since
        self.viewer = asked.viewer
        self._version: object = None
        self._shown: Shown | None = None  # on the client's page
        self._first, self._gone = True, False

    @property
    def over(self) -> bool:
        return self._site.over or self._gone

    def due(self) -> bool:
        return self._first or self._view.version() != self._version

    def message(self) -> bytes:
        try:
            kept = self._site.current(self._view, self._asked)
        except RequestError:  # as when the server is no more; the client connects anew, and is told
            self._gone = True
            return b""
        self._version, known = kept.version, kept.number == self._since
        text = b"retry: 3000\n\n" if self._first else b""
        if not known:
            text += kept.message(self._since, self._shown, self._site.clock())
        self._first, self._since, self._shown = False, kept.number, kept.shown
        return text


def _folder(package: str, name: str) -> Traversable:
    return resources.files(package).joinpath(name)


