"""A site: views, their streams and their files."""

import re
import time
from contextlib import ExitStack

import orjson
import pytest
from flask import request
from markupsafe import Markup

from serving.doors.entry import Doors
from serving.net.streams import Places
from serving.page.site import Site
from serving.page.view import Shown, View, moves
from serving.refusals import RequestError
from serving.web import Service, create_app
from tests.doors import token_of, write_tokens
from tests.grafana_stack import await_true
from tests.served import Reply, Served, everything


class Counter:
    """A view of one number, and a list of as many."""

    def __init__(self):
        self.number, self.shown, self.gone = 1, 0, False
        view = View("document", "/ui/number", "Number", "A number.", self.show, lambda: self.number, keys=("of",),
                    more=lambda shown, query: {"body": Markup(shown.fragments["ui-number"])})
        self.site = Site("Test", [view], clock=lambda: 110.0)
        self.app = create_app(Service("test", "For tests."), self.site.blueprint())

    def show(self, asked):
        self.shown += 1
        if self.gone or asked.query.get("of") == "nobody":
            raise RequestError("there is no server 'nobody'", "of", "a server", 404)
        rows = {f"row{n}": f'<li id="row{n}">{n}</li>' for n in range(self.number)}
        number = Markup('<p id="ui-number">{} of {}</p>').format(self.number, asked.query.get("of", "<all>"))
        return Shown(100.0, 60.0, {"ui-number": number, **rows}, {"rows": [*rows]})


@pytest.fixture
def counter():
    return Counter()


def messages(text: bytes) -> list[dict]:
    return [orjson.loads(line[6:]) for line in text.split(b"\n") if line.startswith(b"data: ")]


def wait_for(connection, what: bytes) -> bytes:
    text = b""
    while what not in text:
        part = connection.recv(1 << 16)
        assert part, text
        text += part
    return text


def listen(served, query="") -> object:
    return served.connect(f"GET /ui/events?view=document{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


def test_what_stands_elsewhere_is_linked_at_the_foot_for_those_who_see_all(counter):
    asks = None
    site = Site("Test", [View("document", "/ui/number", "Number", "A number.", counter.show, lambda: 1,
                              more=lambda shown, query: {"body": Markup("")})], viewer=lambda: asks,
                elsewhere={"The <pager>": "http://127.0.0.1:8003/?a=1&b=2"})
    client = create_app(Service("test", "For tests."), site.blueprint()).test_client()
    foot = '<a href="http://127.0.0.1:8003/?a=1&amp;b=2" rel="noreferrer">The &lt;pager&gt;</a>'
    assert foot in client.get("/ui/number").text
    asks = frozenset({"pay"})
    assert "Elsewhere" not in client.get("/ui/number").text
    assert "Elsewhere" not in counter.app.test_client().get("/ui/number").text


def test_a_page_is_whole_escaped_and_refers_to_its_stream(counter):
    page = counter.app.test_client().get("/ui/number?of=%3Cb%3E&other=1").text
    assert '<p id="ui-number">1 of &lt;b&gt;</p>' in page and 'aria-current="page">Number</a>' in page
    assert re.search(r'data-stream="/ui/events\?view=document&amp;since=[0-9a-f]+-1&amp;of=%3Cb%3E"', page)
    assert 'data-age="10.0"' in page and "other=" not in page


def test_what_is_wrong_with_a_query_is_said_on_a_page_and_by_the_stream(counter):
    client = counter.app.test_client()
    page = client.get("/ui/number?of=nobody")
    assert page.status_code == 404 and "there is no server &#39;nobody&#39;" in page.text and "<nav" in page.text
    assert client.get("/ui/events?view=document&of=nobody").get_json()["field"] == "of"
    assert client.get("/ui/events?view=none").status_code == 404


def test_all_who_ask_the_same_get_one_rendering_until_there_is_something_new(counter):
    client = counter.app.test_client()
    for _ in range(3):
        client.get("/ui/number")
    assert counter.shown == 1
    client.get("/ui/number?of=a")
    counter.number = 2
    client.get("/ui/number")
    assert counter.shown == 3


def test_a_stream_sends_what_changed_since_the_page_and_ends_with_the_site(counter):
    page = counter.app.test_client().get("/ui/number").text
    since = re.search(r"since=([0-9a-f]+-\d+)", page)[1]
    with Served(counter.app) as served, listen(served, f"&since={since}") as connection:
        begun = wait_for(connection, b"retry: 3000")
        assert b"text/event-stream" in begun and b"data:" not in begun
        counter.number = 2
        [message] = messages(wait_for(connection, b"}\n\n"))
        assert message == {
            "issued": 100.0, "age": 10.0, "ttl": 60.0, "lists": {"rows": [[0, 1], "row1"]},
            "set": {"ui-number": '<p id="ui-number">2 of &lt;all&gt;</p>', "row1": '<li id="row1">1</li>'}}
        counter.number = 1
        assert messages(wait_for(connection, b"}\n\n"))[0]["gone"] == ["row1"]
        counter.site.close()
        wait_for(connection, b"0\r\n\r\n")


def test_a_stream_ends_once_the_files_of_logins_have_changed(counter, tmp_path, monkeypatch):
    monkeypatch.setattr("serving.net.http.PAUSE", 0.05)
    ticks = [0.0]
    doors = Doors("test", tokens=write_tokens(tmp_path), ticks=lambda: ticks[0])
    app = create_app(Service("test", "For tests."), counter.site.blueprint(), doors=doors)
    login = f"Authorization: Bearer {token_of('reader')}"
    with Served(app) as served:
        asked = f"GET /ui/events?view=document HTTP/1.1\r\nHost: localhost\r\n{login}\r\n\r\n"
        with served.connect(asked.encode()) as connection:
            wait_for(connection, b"}\n\n")
            ticks[0] = 2.0
            counter.number = 2
            wait_for(connection, b"}\n\n")  # unchanged files end nothing
            (tmp_path / "reader.token").write_text("another-token-0123456789")
            ticks[0] = 4.0
            wait_for(connection, b"0\r\n\r\n")
        assert served.get("/ui/events?view=document", login).status == 401


def test_a_changed_order_is_said_in_stretches_of_the_old_one():
    assert moves("abcdef", "abxfcd") == [[0, 2], "x", [5, 6], [2, 4]]
    assert moves("", "ab") == ["a", "b"] and moves("ab", "") == []


def test_who_comes_back_gets_what_it_missed_or_everything(counter):
    with Served(counter.app) as served:
        with listen(served) as connection:
            first = messages(text := wait_for(connection, b"}\n\n"))[0]
        assert first["set"].keys() == {"ui-number", "row0"}
        number = re.search(rb"id: (\S+)", text)[1].decode()
        counter.number = 2
        for since, rows in ((number, {"ui-number", "row1"}), ("another-1", {"ui-number", "row0", "row1"})):
            with listen(served, f"&since={since}") as connection:
                assert messages(wait_for(connection, b"}\n\n"))[0]["set"].keys() == rows


def test_there_is_a_bound_on_streams_and_a_client_that_left_makes_room(counter, monkeypatch):
    monkeypatch.setattr("serving.net.http.MOST", 4)
    with Served(counter.app) as served:
        with listen(served) as one, listen(served) as two:
            wait_for(one, b"retry"), wait_for(two, b"retry")
            refused = served.get("/ui/events?view=document")
            assert refused.status == 503 and refused.headers["retry-after"] == "30"
        await_true(lambda: not served.server.streams.taken, 10, "their places are free")


def test_a_viewer_with_many_streams_leaves_room_to_others(counter, monkeypatch):
    monkeypatch.setattr("serving.net.http.MOST", 4)
    counter.site._viewer = lambda: frozenset((request.args["of"],))
    with Served(counter.app) as served, ExitStack() as opened:
        def follows(viewer: str) -> bool:
            connection = opened.enter_context(listen(served, f"&of={viewer}"))
            return b" 200 " in wait_for(connection, b"\r\n\r\n").partition(b"\r\n")[0]

        assert [follows("team-a") for _ in range(3)] == [True, True, False]
        assert [follows("team-b") for _ in range(2)] == [True, False]


def test_a_viewer_takes_half_of_the_places_at_most_and_the_next_half_of_the_rest():
    places = Places(128)
    with ExitStack() as held:
        def take(viewer: str) -> int:
            taken = 0
            while places.free(viewer):
                held.enter_context(places.take(viewer))
                taken += 1
            return taken

        assert take("a") == 64
        assert [take(viewer) for viewer in "bcdefgh"] == [32, 16, 8, 4, 2, 1, 1]
    assert not places.taken


def test_a_service_with_open_streams_ends_at_once(counter):
    with Served(counter.app) as served:
        connection = listen(served)
        wait_for(connection, b"retry")
        started = time.monotonic()
    assert time.monotonic() - started < 2
    everything(connection)
    connection.close()


def test_files_are_kept_for_good_and_packed_for_who_accepts_it(counter):
    client = counter.app.test_client()
    path = re.search(r'href="(/ui/static/page\.[0-9a-f]{12}\.css)"', client.get("/ui/number").text)[1]
    plain, small = client.get(path), client.get(path, headers={"Accept-Encoding": "gzip"})
    assert plain.mimetype == "text/css" and "immutable" in plain.headers["Cache-Control"]
    assert small.headers["Content-Encoding"] == "gzip" and len(small.data) < len(plain.data) / 2
    assert client.get("/ui/static/page.css").status_code == 404


def test_a_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(counter):
    policy = counter.app.test_client().get("/ui/number").headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy and "unsafe" not in policy


def test_a_stream_without_news_is_shown_to_be_alive(counter, monkeypatch):
    monkeypatch.setattr("serving.net.http.SILENCE", 0.1)
    monkeypatch.setattr("serving.net.http.PAUSE", 0.05)
    with Served(counter.app) as served, listen(served) as connection:
        wait_for(connection, b"}\n\n")
        assert b"event: beat" in wait_for(connection, b"event: beat")


def test_a_head_request_for_a_stream_ends(counter):
    with Served(counter.app) as served:
        reply = served.ask(b"HEAD /ui/events?view=document HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert isinstance(reply, Reply) and reply.status == 200


def test_a_stream_of_what_is_no_more_ends_without_a_trace_in_the_log(counter, monkeypatch, caplog):
    monkeypatch.setattr("serving.net.http.PAUSE", 0.05)
    with Served(counter.app) as served, listen(served) as connection:
        wait_for(connection, b"}\n\n")
        counter.gone, counter.number = True, 2
        wait_for(connection, b"0\r\n\r\n")
    assert not caplog.records
