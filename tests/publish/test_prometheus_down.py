"""FleetcastPrometheusDown: when it begins, what it says, and when it ends."""

import json
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from forecaster.publish.alertmanager import Alertmanager, AlertmanagerError
from forecaster.readings import SourceDown
from forecaster.sources.transport import http_session
from tests.local_server import LocalServer, Request, local_server
from tests.results import ISSUED, Clock

DOWN = SourceDown("Connection refused")


@pytest.fixture
def server():
    with local_server(lambda request: request.answer(200, "")) as running:
        yield running


class Bench:
    """A cycle every 15 s that tells Alertmanager what became of its query."""

    def __init__(self, server: LocalServer, fleet: str | None = None, listen: str = "127.0.0.1:8000",
                 clock: Clock | None = None, elapsed: Clock | None = None, scheme: str = "http"):
        self.server, self.clock, self.elapsed = server, clock or Clock(ISSUED), elapsed or Clock(0.0)
        self.told = Alertmanager(server.url, http_session(retries=0), 1.0, "http://prometheus:9090", listen, fleet,
                                 45.0, 150.0, 15.0, self.clock, self.elapsed, scheme)

    @property
    def posts(self) -> list[Request]:
        """What was sent, without what was asked."""
        return [request for request in self.server.seen if request.command == "POST"]

    def run(self, down: SourceDown | None, cycles: int = 1) -> list[dict]:
        """The alerts of these cycles."""
        before = len(self.posts)
        for _ in range(cycles):
            self.clock.now += 15
            self.elapsed.now += 15
            if self.told.due(down):
                self.told.send()
        bodies = [json.loads(request.body) for request in self.posts[before:]]
        assert all(len(body) == 1 for body in bodies)
        return [body[0] for body in bodies]


def unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_it_begins_after_45_seconds_without_an_answer_and_is_sent_every_cycle(server):
    bench = Bench(server)
    assert bench.run(None, 3) == bench.run(DOWN, 2) == []
    last_answer = bench.clock.now - 30
    sent = bench.run(DOWN, 5)
    assert [unix(one["startsAt"]) for one in sent] == [last_answer] * 5
    assert [unix(one["endsAt"]) for one in sent] == [last_answer + 45 + n * 15 + 150 for n in range(5)]
    assert {request.path for request in bench.posts} == {"/api/v2/alerts"}


def test_a_prometheus_that_never_answered_counts_from_the_start(server):
    assert len(Bench(server).run(DOWN, 4)) == 2


def test_a_restart_of_prometheus_is_no_alert(server):
    bench = Bench(server)
    for _ in range(10):
        assert bench.run(DOWN, 2) == bench.run(None) == []


def test_it_ends_once_prometheus_has_answered_for_150_seconds_without_a_gap(server):
    bench = Bench(server)
    bench.run(DOWN, 3)
    assert len(bench.run(None, 10)) == 10 and len(bench.run(DOWN)) == 1
    going = bench.run(None, 10)
    back = bench.clock.now - 135
    assert {unix(one["endsAt"]) for one in going} == {back + 150}, "also where the forecaster dies meanwhile"
    assert bench.told.active
    ended = bench.run(None, 30)
    assert len(ended) == 20, "for five minutes, in case Alertmanager restarts before it has told anybody"
    assert {unix(one["endsAt"]) for one in ended} == {back} and ended[0]["labels"] == going[0]["labels"]
    assert not bench.told.active
    assert ended[0]["annotations"]["summary"] == "Prometheus at http://prometheus:9090 answers again"
    assert bench.run(DOWN, 2) == [] and len(bench.run(DOWN)) == 1, "it can begin again"


def test_an_alert_that_an_earlier_process_may_have_begun_is_ended(server):
    bench = Bench(server)
    first = bench.clock.now + 15
    assert bench.run(None, 10) == []
    ended = bench.run(None, 40)
    assert len(ended) == 20 and {unix(one[key]) for one in ended for key in ("startsAt", "endsAt")} == {first}


@pytest.mark.parametrize("step", [-180, 180, 600])
def test_a_clock_that_is_set_neither_begins_nor_ends_it(server, step):
    bench = Bench(server)
    last_answer = bench.clock.now
    bench.run(DOWN, 3)
    bench.clock.now += step
    [down] = bench.run(DOWN)
    assert (unix(down["startsAt"]), unix(down["endsAt"])) == (last_answer, last_answer + 60 + 150)
    bench.clock.now -= step  # as Prometheus says when it answers
    assert {unix(one["endsAt"]) for one in bench.run(None, 10)} == {last_answer + 75 + 150}
    bench.clock.now += step
    assert unix(bench.run(None)[0]["endsAt"]) == last_answer + 75


def test_a_reload_neither_begins_nor_ends_it_anew(server):
    bench = Bench(server)
    bench.run(DOWN, 3)
    bench.run(None, 9)
    reloaded = Bench(server, clock=bench.clock, elapsed=bench.elapsed)
    reloaded.told.keep(bench.told)
    assert reloaded.told.active
    assert unix(reloaded.run(None)[0]["endsAt"]) > bench.clock.now, "it goes on"
    assert unix(reloaded.run(None)[0]["endsAt"]) < bench.clock.now, "and ends as it would have"


def test_it_names_fleet_and_forecaster_prometheus_error_and_where_to_look(server):
    [alert] = Bench(server).run(DOWN, 3)
    assert alert["labels"] == {
        "alertname": "FleetcastPrometheusDown", "job": "forecaster", "fleet": "127.0.0.1:8000",
        "instance": "127.0.0.1:8000", "priority": "P1", "severity": "critical"}
    told = alert["annotations"]
    assert told["summary"] == "Prometheus at http://prometheus:9090 has not answered since 08:53 UTC"
    assert told["description"].endswith("; Connection refused")
    assert told["runbook_url"] == "http://127.0.0.1:8000/runbook#fleetcastprometheusdown"
    assert told["dashboard_url"] == "http://127.0.0.1:8000/"


@pytest.mark.parametrize(("listen", "fleet", "named", "link"), [
    ("0.0.0.0:8002", None, "127.0.0.1:8002", "127.0.0.1:8002"), ("[::]:8000", None, "127.0.0.1:8000", "127.0.0.1:8000"),
    ("0.0.0.0:8000", "production", "production", "127.0.0.1:8000"), ("0.0.0.0:8000", "web:80", "web:80", "web:80")])
def test_the_fleet_is_named_as_configured_or_by_an_address_that_can_be_opened(server, listen, fleet, named, link):
    [alert] = Bench(server, fleet, listen).run(DOWN, 3)
    assert alert["labels"]["fleet"] == named and f"http://{link}/runbook" in alert["annotations"]["runbook_url"]


def test_where_alertmanager_fails_the_next_cycle_tries_again_also_to_end_it(server):
    bench = Bench(server)
    bench.run(DOWN, 2)
    server.respond = lambda request: request.answer(404, "404 page not found")
    with pytest.raises(AlertmanagerError, match="HTTP 404: 404 page not found; expected Alertmanager's API v2"):
        bench.run(DOWN)
    server.respond = lambda request: request.answer(200, "")
    assert len(bench.run(DOWN)) == 1 and len(bench.run(None, 10)) == 10
    server.respond = lambda request: request.answer(500, "")
    with pytest.raises(AlertmanagerError, match="HTTP 500"):
        bench.run(None)
    server.respond = lambda request: request.answer(200, "")
    assert unix(bench.run(None)[0]["endsAt"]) == bench.clock.now - 165


def test_an_alertmanager_that_hangs_is_given_up_after_its_timeout(server):
    bench, released = Bench(server), threading.Event()
    server.respond = lambda request: released.wait(30)
    try:
        with pytest.raises(AlertmanagerError, match="no answer within 1s; check alertmanager.url"):
            bench.run(DOWN, 3)
    finally:
        released.set()


@pytest.mark.parametrize(("age", "sent"), [(60, 0), (90, 1)])
def test_a_prometheus_of_which_alertmanager_hears_is_not_down(server, age, sent):
    now = datetime.now(UTC)  # as the server's
    told = [{"updatedAt": (now - timedelta(seconds=seconds)).isoformat()} for seconds in (300, age)]
    server.respond = lambda request: request.answer(200, json.dumps(told))
    bench = Bench(server, "production")
    assert len(bench.run(DOWN, 3)) == sent
    asked = parse_qs(urlsplit(server.seen[0].path).query)["filter"]
    assert asked[0] == 'fleet="production"' and 'alertname=~"FleetcastWatchdog|' in asked[1]


def test_it_ends_where_alertmanager_hears_of_prometheus_though_the_forecaster_does_not(server):
    bench = Bench(server)
    assert len(bench.run(DOWN, 3)) == 1
    told = json.dumps([{"updatedAt": datetime.now(UTC).isoformat()}])
    server.respond = lambda request: request.answer(200, told)
    heard = bench.clock.now + 15
    ended = bench.run(DOWN, 40)[10:]
    assert [unix(one["endsAt"]) for one in ended] == [heard], "a forecaster that hears nothing itself says it once"


def test_its_links_are_https_where_the_forecaster_is_served_so(server):
    [told] = Bench(server, scheme="https").run(DOWN, 3)
    assert {*told["annotations"].values(), told["generatorURL"]} >= {
        "https://127.0.0.1:8000/", "https://127.0.0.1:8000/runbook#fleetcastprometheusdown",
        "https://127.0.0.1:8000/status"}
