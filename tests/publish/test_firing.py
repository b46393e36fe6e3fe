"""What fires at Alertmanager, as a page asks for it: by a real HTTP server on loopback."""

import json
import threading
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from forecaster.publish.firing import Firing
from forecaster.sources.transport import http_session
from tests.grafana_stack import await_true
from tests.local_server import local_server
from tests.results import Clock


def alert(name="FleetcastServerP1", server="web1", silenced=(), inhibited=()) -> dict:
    return {"labels": {"alertname": name, "server": server}, "annotations": {"summary": "cpu is full"},
            "startsAt": "2026-03-01T10:00:00.000Z", "status": {"silencedBy": list(silenced),
                                                               "inhibitedBy": list(inhibited)}}


@contextmanager
def asking(respond, timeout=2.0):
    clock = Clock()
    with local_server(respond) as server:
        firing = Firing(server.url, 'a "fleet"', http_session(0), timeout, 15.0, clock)
        try:
            yield firing, server, clock
        finally:
            firing.close()


def answers(*alerts):
    return lambda request: request.answer(200, json.dumps(alerts))


def test_a_page_gets_the_fleets_alerts_and_which_of_them_are_silenced_or_inhibited():
    given = alert(), alert(server="web2", silenced=["id"]), alert(server="web3", inhibited=["id"])
    with asking(answers(*given)) as (firing, server, clock):
        found = firing.latest()
    assert [(one.name, one.labels["server"], one.state) for one in found.alerts] == [
        ("FleetcastServerP1", "web1", "firing"), ("FleetcastServerP1", "web2", "silenced"),
        ("FleetcastServerP1", "web3", "inhibited")]
    assert found.problem is None and found.at == clock.now and found.alerts[0].since == 1772359200.0
    assert parse_qs(urlsplit(server.seen[0].path).query) == {"filter": [r'fleet="a \"fleet\""']}


def test_whose_alerts_go_on_is_told_by_priority_also_where_they_are_silenced_or_inhibited():
    disk = {"resource": "filesystem", "entity": "/data"}
    given = [alert(server="web1"), alert("FleetcastServerP2", "web2", inhibited=["id"]),
             alert("FleetcastCapacityFull", "db1"), alert("FleetcastCapacityP1", "db2", silenced=["id"]),
             alert("FleetcastCapacityP2", "db2"), alert("FleetcastCapacityP3", "db3")]
    for one in given[2:]:
        one["labels"] |= disk
    with asking(answers(*given)) as (firing, *_):
        assert firing.servers() == ({"web1"}, {"web2"})
        assert firing.filling() == ({("db1", "filesystem /data"), ("db2", "filesystem /data")},
                                    {("db2", "filesystem /data")})
    with asking(lambda request: request.answer(503, "starting")) as (firing, *_):
        assert firing.servers() == firing.filling() == (set(), set())


def test_it_asks_once_a_refresh_and_only_when_a_page_does():
    with asking(answers()) as (firing, server, clock):
        assert not server.seen
        firing.latest(), firing.latest()
        clock.now += 14
        firing.latest()
        assert len(server.seen) == 1
        clock.now += 1
        firing.latest()
        await_true(lambda: firing.latest().at == clock.now, 5, "the second answer is there")
        assert len(server.seen) == 2


def test_what_is_wrong_is_said_and_a_page_does_not_wait_for_it_again():
    for respond, said in ((lambda request: request.answer(503, "starting"), "HTTP 503: starting"),
                          (answers(5), "not that of Alertmanager's API v2"),
                          (lambda request: request.answer(200, "<html>"), "unexpected character"),
                          (lambda request: request.answer(200, '{"a": 1}'), "not that of Alertmanager's API v2")):
        with asking(respond) as (firing, *_):
            assert said in firing.latest().problem and firing.latest().alerts == ()


def test_an_alertmanager_that_hangs_costs_a_page_one_second_and_one_connection():
    end = threading.Event()
    with asking(lambda request: end.wait(10), timeout=1.5) as (firing, server, clock):
        assert firing.latest() is None
        clock.now += 60
        assert firing.latest() is None or "no answer within 1.5s" in firing.latest().problem
        assert len(server.seen) == 1
        await_true(lambda: firing.latest() is not None, 5, "the deadline has passed")
        end.set()


def test_a_page_that_is_opened_after_hours_waits_for_a_new_answer_in_place_of_an_old_one():
    with asking(answers(alert())) as (firing, _, clock):
        first = firing.latest()
        clock.now += 5 * 3600
        second = firing.latest()
        assert second.at == clock.now
        assert second.alerts is first.alerts  # equal: one object, so that comparing it costs nothing
