"""The forecaster's pages over boards and a clock that a test sets, without a forecaster."""

import html
import re
from functools import cached_property

from forecaster.board import Board
from forecaster.pages.seen import Look, Seen
from forecaster.pages.site import site
from forecaster.risk.thresholds import Roles
from serving.net import wsgi
from serving.net.options import WebOptions
from serving.net.origin import Guard
from serving.net.streams import STREAM
from serving.web import Service, create_app
from tests.outlooks import board_of
from tests.results import Clock
from tests.served import Served

MODEL = {"model": "default", "configured": True, "loaded": True, "problem": None, "chances_problem": None}
LINKS = {"Simulated fleet": "http://127.0.0.1:8001/", "Pager": "http://127.0.0.1:8003/"}


class Stage:
    """What the pages show: put() a Result or an Outlook on it, or set what is known of the service."""

    def __init__(self, ttl: float = 120.0):
        self.clock, self.board, self.filling = Clock(), Board(ttl), board_of(None)
        self.model, self.problem = dict(MODEL), None
        self.more: dict[str, object] = {}  # further fields of Seen
        self.site = site(Look(self.seen, self.version), self.clock, lambda: None, LINKS)
        self.app = create_app(Service("forecaster", "For tests.", landing=lambda: self.site.page("fleet")),
                              self.site.blueprint())

    @cached_property
    def served(self) -> Served:
        return Served(Guard(self.app, "127.0.0.1", WebOptions()))

    def put(self, result=None, outlook=None) -> None:
        """The latest forecasts; the clock goes to the instant they were issued."""
        if result is not None:
            self.clock.now = result.issued
            self.board.publish(result)
        if outlook is not None:
            self.filling.publish(outlook)

    def seen(self, viewer=None) -> Seen:
        now = self.clock()
        return Seen(now=now, ttl=self.board.ttl, last=self.board.last, result=self.board.current(now),
                    outlook=self.filling.current(now), roles=Roles(), model=self.model, source="prometheus",
                    clock=None, room={"held": 3, "limit": 20_000, "refused": 0}, problem=self.problem, **self.more)

    def version(self) -> object:
        now = self.clock()
        return id(self.board.last), self.board.current(now) is None, id(self.filling.last), self.problem

    def update(self, page: str) -> bytes:
        """The first message of the stream that a page follows."""
        address = html.unescape(re.search('data-stream="([^"]+)"', page)[1])
        request = wsgi.environ("GET", address, "HTTP/1.1", (("Host", "localhost"),))
        request |= {"wsgi.url_scheme": "http", "SERVER_NAME": "localhost", "SERVER_PORT": "80"}
        wsgi.run(self.app, request)
        return request[STREAM].message()

    @property
    def address(self) -> str:
        host, port = self.served.address
        return f"http://{host}:{port}"
