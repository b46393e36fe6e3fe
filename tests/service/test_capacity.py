"""The watch over what fills up: passes, failures that cost only themselves, history, reload, and its end."""

import json
import threading

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from forecaster.capacity.network import WeightsError
from forecaster.capacity.past import HOURS
from forecaster.config import load_config
from forecaster.memory.memory import PAGES_FILE
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.service import capacity, history
from forecaster.service.app import Forecaster
from forecaster.service.capacity import make_watch
from forecaster.sources.transport import http_session
from tests.grafana_stack import await_true
from tests.local_server import Request, local_server
from tests.results import Clock

NOW = 1_700_006_400.0 + 120  # two minutes past a whole hour
GROWTH = 0.16 / 86400  # share a second


class Mounts:
    """Answers range queries: used shares of these (server, mountpoint) that grow, and sizes of 100 GB."""

    def __init__(self):
        self.mounts = [("web1", "/"), ("web2", "/")]
        self.used, self.growth, self.days = 0.9, GROWTH, 5  # at NOW; a second; of history
        self.refused: dict[str, tuple[int, str]] = {}  # what a query contains -> status and error
        self.spans: list[tuple[float, float, float]] = []
        self.hang = threading.Event()
        self.hang.set()

    def __call__(self, request: Request) -> None:
        self.hang.wait(20)
        if request.path.endswith("/query"):  # of the cycle
            request.answer(400, json.dumps({"status": "error", "errorType": "bad_data", "error": "ranges only"}))
            return
        query, start, end, step = (request.form[key] for key in ("query", "start", "end", "step"))
        for part, (status, error) in self.refused.items():
            if part in query:
                body = {"status": "error", "errorType": "execution", "error": error}
                request.answer(status, json.dumps(body))
                return
        self.spans.append((float(start), float(end), float(step)))
        instants = np.arange(float(start), float(end) + 1, float(step)).tolist()
        result = [{"metric": {"server": server, "profile": "web", "mountpoint": mount},
                   "values": [[at, "1e11" if "avail" not in query else str(self.used + self.growth * (at - NOW))]
                              for at in instants if at > NOW - self.days * 86400]} for server, mount in self.mounts]
        result = [one for one in result if one["values"]]
        request.answer(200, json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}))


@pytest.fixture
def mounts():
    return Mounts()


@pytest.fixture
def server(mounts):
    with local_server(mounts) as server:
        yield server
        mounts.hang.set()


ALL = {"capacity.resources.filesystem.history": "28d"}


def config_of(server, **overrides):
    """Of a forecaster that reads no more history than a pass does, unless the overrides say so."""
    short = {} if "capacity.resources" in overrides else {"capacity.resources.filesystem.history": "1h"}
    return load_config("fleet", {"source.url": server.url, "model": "none", "source.retries": 0, **short, **overrides})


def watch_of(server, clock=None, **overrides):
    metrics = SelfMetrics(CollectorRegistry(), "0")
    metrics.capacity_watched(["filesystem"])
    return make_watch(config_of(server, **overrides), metrics, clock or Clock(NOW), http_session)


def metric(watch, name: str, **labels) -> float | None:
    return watch._metrics.registry.get_sample_value(f"forecaster_capacity_{name}", labels)


def test_a_pass_forecasts_every_entity_and_says_so(server):
    watch = watch_of(server)
    assert watch.run_once()
    outlook = watch.board.last
    assert outlook.instant == NOW - 120 and [one.server for one in outlook.entities] == ["web1", "web2"]
    assert outlook.used.tolist() == pytest.approx([0.9 - GROWTH * 120] * 2, abs=1e-5)
    assert outlook.size.tolist() == pytest.approx([1e11] * 2) and not outlook.lost.any()
    assert metric(watch, "last_success_timestamp_seconds") == NOW and metric(watch, "entities") == 2
    assert metric(watch, "failed", resource="filesystem") == 0


def test_growth_of_five_days_is_seen_with_its_date_and_priority(server):
    watch = watch_of(server, **ALL)
    watch.run_once()
    while watch.read_piece():
        pass
    assert watch.run_once()
    outlook = watch.board.last
    assert outlook.filling.growth.tolist() == pytest.approx([0.16, 0.16], rel=0.05)
    assert outlook.filling.full_at[0, 1] == pytest.approx(NOW + 15 * 3600, abs=3600)
    assert outlook.priority.tolist() == [2, 2] and outlook.urgent == {"web1", "web2"}


def test_what_is_full_when_it_is_first_seen_is_full_and_what_was_so_for_a_week_is_meant_to_be(server, mounts):
    mounts.growth, mounts.used, mounts.days = 0.0, 1.0, 9
    clock = Clock(NOW)
    watch = watch_of(server, clock, **ALL)
    watch.run_once()
    assert watch.board.last is None  # its history is not read yet
    while watch.read_piece():
        pass
    mounts.mounts = [*mounts.mounts, ("web3", "/")]
    clock.now += 600
    assert watch.run_once()
    outlook = watch.board.last
    assert [(one.server, full, meant) for one, full, meant in
            zip(outlook.entities, outlook.full.tolist(), outlook.meant.tolist(), strict=True)] == [
                ("web1", False, True), ("web2", False, True), ("web3", True, False)]
    while watch.read_piece():
        pass
    clock.now += 600
    assert watch.run_once() and watch.board.last.meant.all(), "its history was read, too"


def test_history_of_newcomers_is_read_once_for_all_of_them_and_not_too_often(server, mounts, monkeypatch):
    clock = Clock(NOW)
    watch = watch_of(server, clock, **ALL)

    def days(*newcomers: str) -> dict[str, float]:
        """Of each server, the days of history after a pass with these newcomers and what it reads between two."""
        mounts.mounts = [*mounts.mounts, *((server, "/") for server in newcomers)]
        clock.now += 600
        mounts.spans.clear()
        assert watch.run_once()
        while watch.read_piece():
            pass
        held = watch.held["filesystem"]
        return {one.server: round(float(np.isfinite(of).sum()) / 24, 1)
                for one, of in zip(held.entities, held.hourly, strict=True)}

    assert days() == {"web1": 5, "web2": 5}
    monkeypatch.setattr(history, "SPARE", 1e9)
    before = watch.held["filesystem"].hourly.copy()
    assert days("web3", "web4") == dict.fromkeys(["web1", "web2", "web3", "web4"], 5)
    assert max((end - start) / step for start, end, step in mounts.spans) < 24 and len(mounts.spans) == 2 * (1 + 28)
    assert np.array_equal(before, watch.held["filesystem"].hourly[:2], equal_nan=True)
    assert days() == dict.fromkeys(["web1", "web2", "web3", "web4"], 5) and len(mounts.spans) == 2, "once"
    assert days("web5")["web5"] < 1 and len(mounts.spans) == 2, "a moment ago"
    watch._history._rests.clear()
    assert days("web6") == dict.fromkeys(["web1", "web2", "web3", "web4", "web5", "web6"], 5)


def test_history_is_read_for_what_is_there_only_after_the_first_pass(server, mounts):
    found, mounts.mounts, clock = mounts.mounts, [], Clock(NOW)
    watch = watch_of(server, clock, **ALL)
    assert watch.run_once() and not watch.read_piece() and watch.board.last.entities == ()
    mounts.mounts = found
    clock.now += 600
    assert watch.run_once() and metric(watch, "failed", resource="filesystem") == 1
    while watch.read_piece():
        pass
    assert np.isfinite(watch.held["filesystem"].hourly).sum(axis=1).tolist() == [5 * 24] * 2
    assert np.isfinite(watch.held["filesystem"].recent).all()


def test_nothing_is_said_of_a_resource_before_its_history_is_read(server, mounts):
    mounts.growth, mounts.used = 0.0, 1.0
    mounts.refused = {"late": (503, "starting")}
    late = {"query": "late - avail", "entity": ["mountpoint"], "history": "2d"}
    clock = Clock(NOW)
    watch = watch_of(server, clock, **ALL, **{"capacity.resources.late": late})

    def said() -> tuple[object, ...]:
        return (metric(watch, "last_success_timestamp_seconds"), metric(watch, "failed", resource="filesystem"),
                metric(watch, "failed", resource="late"))

    assert watch.run_once() and watch.board.last is None and said() == (0, 1, 1)
    assert not watch.state()["resources"]["filesystem"]["shown"]
    while watch.read_piece():
        pass
    clock.now += 600
    assert watch.run_once() and said() == (clock.now, 0, 1)
    assert watch.board.last.full.tolist() == [True, True], "full for five days, and not for a week"
    mounts.refused = {}
    clock.now += 600
    assert watch.run_once() and watch.board.last.waits_for == ("late",) and said() == (clock.now, 0, 1)
    assert {one.resource for one in watch.board.last.entities} == {"filesystem"}
    while watch.read_piece():
        pass
    clock.now += 300
    assert watch.run_once() and {one.resource for one in watch.board.last.entities} == {"filesystem", "late"}
    assert said() == (clock.now, 0, 0) and not watch.board.last.waits_for


def test_a_history_that_cannot_be_read_is_waited_for_no_longer_than_its_alert_waits(server, mounts):
    mounts.growth, mounts.used = 0.0, 1.0
    answer, clock = mounts.__call__, Clock(NOW)

    def no_days(request: Request) -> None:
        if request.form.get("step") == "3600.000":
            request.answer(503, json.dumps({"status": "error", "errorType": "timeout", "error": "too busy"}))
        else:
            answer(request)

    server.respond = no_days
    watch = watch_of(server, clock, **ALL)
    assert watch.run_once() and not watch.read_piece() and watch.board.last is None
    clock.now += 600
    assert watch.run_once() and watch.board.last.full.all(), "as what is full when it is first seen"
    assert watch.state()["resources"]["filesystem"]["history_read"] < 0.1


@pytest.mark.parametrize(("highest", "rank"), [("P1", 2), ("P3", 3), ("none", 0)])
def test_a_resource_gives_at_most_its_highest_priority(server, highest, rank):
    resource = {"query": "1 - avail", "entity": ["mountpoint"], "history": "5d",
                "highest": None if highest == "none" else highest}
    watch = watch_of(server, **{"capacity.resources": {"filesystem": resource}})
    watch.run_once()
    while watch.read_piece():
        pass
    watch.run_once()
    assert set(watch.board.last.priority.tolist()) == {rank}
    assert watch.board.last.resources["filesystem"].highest == resource["highest"]


def test_history_is_read_between_passes_in_pieces_of_a_day(server, mounts):
    watch = watch_of(server, **ALL)
    watch.run_once()
    first = len(mounts.spans)
    pieces = 0
    while watch.read_piece():
        pieces += 1
    hours = [(end - start) / step + 1 for start, end, step in mounts.spans[first:]]
    assert max(hours) == 24 and sum(hours) / 2 == HOURS - 6 and pieces == len(hours) // 2 - 1
    assert np.isfinite(watch.held["filesystem"].hourly).sum(axis=1).tolist() == [5 * 24] * 2


def test_history_that_is_no_used_share_is_left_out_and_what_is_older_is_read(server, caplog):
    watch = watch_of(server, **ALL, **{"capacity.resources.filesystem.query": "1 - avail"})
    watch.run_once()
    watch._readers["filesystem"].queries["used"] = "size"  # 1e11
    while watch.read_piece():
        pass
    assert "divide by 100" in caplog.text and watch.held["filesystem"].read_share == 1


def test_a_resource_that_cannot_be_read_keeps_no_other_from_its_history(server, mounts):
    mounts.refused = {"broken": (422, "parse error")}
    watch = watch_of(server, **ALL, **{"capacity.resources.broken": {"query": "broken - avail"}})
    assert watch.run_once()
    while watch.read_piece():
        pass
    assert watch.held["filesystem"].read_share == 1 and watch.held["broken"].read_share == 0
    assert watch.run_once() and watch.board.last.unread == ("broken",) and not watch.board.last.waits_for
    mounts.refused = {}
    assert watch.run_once() and not watch.board.last.unread and watch.board.last.waits_for == ("broken",)


def test_ranges_that_are_refused_as_too_large_are_asked_for_in_smaller_pieces(server, mounts):
    watch = watch_of(server)
    answer, most = mounts.__call__, 10

    def limited(request: Request) -> None:
        if (float(request.form["end"]) - float(request.form["start"])) / float(request.form["step"]) >= most:
            request.answer(422, json.dumps({"status": "error", "errorType": "execution",
                                            "error": "query processing would load too many samples into memory"}))
        else:
            answer(request)

    server.respond = limited
    assert watch.run_once()
    assert watch.board.last.entities and np.isfinite(watch.held["filesystem"].recent).all()


def test_while_prometheus_is_down_the_outlook_stays_until_it_is_too_old(server, mounts):
    clock = Clock(NOW)
    watch = watch_of(server, clock)
    watch.run_once()
    before, mounts.refused = watch.board.last, {"server": (503, "starting")}
    clock.now += 600
    assert not watch.run_once()
    assert watch.board.current(clock.now) is before and "starting" in watch.state()["errors"]["query"]
    assert metric(watch, "failed", resource="filesystem") == 1
    assert metric(watch, "last_success_timestamp_seconds") == NOW
    clock.now = before.instant + 3 * 600 + 121
    assert watch.board.current(clock.now) is None and watch.state()["age_seconds"] == 1921


def test_a_silent_servers_last_forecast_is_kept_and_marked(server, mounts):
    clock = Clock(NOW)
    watch = watch_of(server, clock)
    watch.run_once()
    before = watch.board.last
    mounts.mounts = [("web1", "/")]
    for _ in range(3):
        clock.now += 900
        assert watch.run_once()
    outlook = watch.board.last
    row = outlook.places["web2", "filesystem", "/"]
    assert outlook.lost.tolist() == [False, True] and outlook.issued[row] == before.issued[row]
    assert np.array_equal(outlook.filling.used[row], before.filling.used[row])
    assert outlook.issued[0] == outlook.instant


def test_without_any_entity_a_pass_succeeds_with_nothing_to_show(server, mounts):
    mounts.mounts = []
    forecaster = Forecaster(lambda: config_of(server), Clock(NOW))
    assert forecaster.parts.capacity.run_once()
    client = forecaster.app.test_client()
    assert client.get("/capacity").get_json()["capacity"] == []
    assert 'observed_capacity_used_ratio{' not in client.get("/metrics").text


def test_a_reload_keeps_what_is_read_in_the_same_way_and_forgets_the_rest(server):
    old = watch_of(server)
    old.run_once()
    old.close()
    same, other = watch_of(server), watch_of(server, **{"capacity.resources.filesystem.query": "2 - avail"})
    same.keep(old)
    other.keep(old)
    assert same.board.last is old.board.last and same.held["filesystem"] is old.held["filesystem"]
    assert other.board.last is None and other.held["filesystem"].entities == ()


EASILY_P1 = {"capacity.priorities.p1_chance": 0.1}


def test_a_p1_is_pending_until_it_has_lasted_for_as_long_as_its_alert_takes_from_when_it_is_published(
        server, mounts):
    mounts.used, clock = 0.98, Clock(NOW)
    watch, waits = watch_of(server, clock, **EASILY_P1), []
    for _ in range(4):
        assert watch.run_once()
        waits.append(watch.board.last.waits(clock.now).tolist())
        clock.now += 600
    assert waits == [[True, True]] * 2 + [[False, False]] * 2
    assert not watch.board.last.lasting.rings[:, 1].any() and watch.board.last.lasting.rings[:, 0].all()
    begun = watch.board.last.lasting.since
    assert (begun == NOW).all()
    clock.now += watch.board.ttl + 600
    assert watch.run_once()
    assert not watch.board.last.waits(clock.now).any(), "its page goes on"
    assert (watch.board.last.lasting.since == clock.now).all(), "nobody saw whether it went on"


def test_a_reload_goes_on_with_what_is_pending(server, mounts):
    mounts.used, clock = 0.98, Clock(NOW)
    old = watch_of(server, clock, **EASILY_P1)
    old.run_once()
    old.close()
    new = watch_of(server, clock, **EASILY_P1)
    new.keep(old)
    clock.now += 600
    new.run_once()
    assert (new.board.last.lasting.since == NOW).all()


def test_after_a_restart_a_page_that_was_open_goes_on_and_what_had_only_begun_begins_anew(server, mounts, tmp_path):
    mounts.used = 0.98

    def forecaster():
        return Forecaster(lambda: config_of(server, storage=str(tmp_path), **EASILY_P1), Clock(NOW))

    one, yes = [("web1", "filesystem /")], np.ones(1, bool)
    was = forecaster()
    memory = was.parts.cycle.memory
    for back in range(6)[::-1]:
        memory.pages.capacity(NOW - 600 * (1 + back), one, np.ones((2, 1), bool), yes, ~yes, ~yes)
    was.close()
    memory.pages.snapshot(tmp_path / PAGES_FILE)
    again = forecaster()
    again.start()
    await_true(lambda: again.parts.capacity.board.last is not None, 30, "a pass")
    outlook = again.parts.capacity.board.last
    again.close()
    assert [one.server for one in outlook.entities] == ["web1", "web2"] and (outlook.priority == 1).all()
    assert outlook.waits(NOW).tolist() == [False, True]


def test_after_a_restart_without_a_record_what_fires_at_alertmanager_goes_on(server, mounts):
    mounts.used = 0.98
    fires = [{"labels": {"alertname": "FleetcastCapacityP1", "server": "web1", "resource": "filesystem", "entity": "/"},
              "annotations": {}, "startsAt": "2023-11-14T10:00:00Z", "status": {"silencedBy": [], "inhibitedBy": []}},
             {"labels": {"alertname": "FleetcastServerP1", "server": "web2"},
              "annotations": {}, "startsAt": "2023-11-14T10:00:00Z", "status": {"silencedBy": [], "inhibitedBy": []}}]
    with local_server(lambda request: request.answer(200, json.dumps(fires))) as alertmanager:
        again = Forecaster(lambda: config_of(server, **EASILY_P1, **{"alertmanager.url": alertmanager.url}), Clock(NOW))
        again.start()
        await_true(lambda: again.parts.capacity.board.last is not None, 30, "a pass")
        outlook, course = again.parts.capacity.board.last, again.parts.cycle.course
        shown = again.app.test_client().get("/capacity").get_json()["capacity"]
        again.close()
    assert (outlook.priority == 1).all() and outlook.waits(NOW).tolist() == [False, True]
    assert {one["server"]: one["pending"] is not None for one in shown} == {"web1": False, "web2": True}
    assert [*course._servers] == ["web2"] and course.rung[:, 0].all()


def test_a_full_disk_is_said_and_passes_go_on(server, tmp_path):
    (tmp_path / "file").write_text("")
    watch = watch_of(server, storage=str(tmp_path / "file"))
    watch.run_once()
    watch.close()
    assert "free space" in watch.state()["errors"]["snapshot"] and watch.board.last is not None


def test_the_thread_reads_all_history_by_itself_and_ends_when_told(server, monkeypatch, tmp_path):
    monkeypatch.setattr(capacity, "PAUSE", 0.0)
    monkeypatch.setattr(capacity, "BREAK", 0.0)
    watch = watch_of(server, storage=str(tmp_path), **ALL)
    watch.start()
    kept = tmp_path / "capacity-filesystem.npz"
    await_true(kept.exists, 30, "all history, saved at once: a crash does not wait for the next hour")
    assert watch.state()["resources"]["filesystem"]["history_read"] == 1
    assert watch.close(5) and kept.exists()
    again = watch_of(server, storage=str(tmp_path), **ALL)
    again.start()
    await_true(lambda: again.board.last is not None, 10, "a pass")
    assert again.close(5) and again.held["filesystem"].piece() is None


@pytest.mark.parametrize("at_first", ["nothing", "refused"])
def test_a_prometheus_that_has_just_started_is_asked_again_soon(server, mounts, monkeypatch, at_first):
    monkeypatch.setattr(capacity, "RETRY", 0.02)
    found, mounts.mounts = mounts.mounts, []
    if at_first == "refused":
        mounts.refused = {"server_filesystem": (503, "starting")}
    watch = watch_of(server)
    watch.start()
    await_true(lambda: len(server.seen) >= 6, 10, "several passes")
    mounts.mounts, mounts.refused = found, {}
    await_true(lambda: watch.board.last is not None and watch.board.last.entities, 10, "entities")
    assert watch.close(5)


def test_damaged_weights_cost_only_what_fills_up_and_are_named(server, monkeypatch):
    def load():
        raise WeightsError("capacity.npz: damaged; run fleet-forecaster train --capacity")

    monkeypatch.setattr(capacity.Weights, "load", load)
    watch = watch_of(server)
    watch.start()
    await_true(lambda: watch.errors.get("pass"), 10, "the error of the pass")
    assert watch.close(5) and "train --capacity" in watch.state()["errors"]["pass"]


def test_a_thread_that_hangs_in_a_query_changes_nothing_after_its_end(server, mounts):
    watch = watch_of(server)
    mounts.hang.clear()
    watch.start()
    await_true(lambda: len(server.seen) >= 2, 10, "two queries")
    assert not watch.close(0.1)
    mounts.hang.set()
    assert watch._ticker.join(10)
    assert watch.board.last is None and watch.held["filesystem"].entities == ()


def test_the_first_pass_waits_for_the_first_cycle_even_for_one_that_fails(server, mounts):
    mounts.hang.clear()
    forecaster = Forecaster(lambda: config_of(server), Clock(NOW))
    forecaster.start()
    await_true(lambda: len(server.seen) >= len(forecaster.parts.config.signals), 10, "the queries of a cycle")
    assert not any(request.path.endswith("query_range") for request in server.seen)
    mounts.hang.set()
    await_true(lambda: forecaster.parts.capacity.board.last is not None, 30, "a pass")
    assert forecaster.parts.board.last is None
    forecaster.close()


def test_an_end_before_the_first_cycle_is_over_ends_the_watch_as_well(server, mounts):
    mounts.hang.clear()
    forecaster = Forecaster(lambda: config_of(server), Clock(NOW))
    forecaster.start()
    await_true(lambda: server.seen, 10, "a query")
    forecaster.close()
    assert forecaster.parts.capacity.ended
    mounts.hang.set()


@pytest.mark.parametrize("overrides", [{"capacity.enabled": False}, {"capacity.resources": {}},
                                       {"source.kind": "scrape"}])
def test_nothing_is_watched_where_nothing_is_asked_for(server, overrides):
    assert watch_of(server, **overrides) is None


def test_it_is_on_every_page_of_the_forecaster(server):
    forecaster = Forecaster(lambda: config_of(server), Clock(NOW))
    client = forecaster.app.test_client()
    assert client.get("/capacity").status_code == 503
    assert "forecaster_capacity_last_success_timestamp_seconds 0.0" in client.get("/metrics").text
    assert forecaster.parts.capacity.run_once()
    assert [one["server"] for one in client.get("/capacity").get_json()["capacity"]] == ["web1", "web2"]
    assert 'observed_capacity_used_ratio{server="web1",profile="web",resource="filesystem",entity="/"}' in client.get(
        "/metrics").text
    status = client.get("/status").get_json()["capacity"]
    assert status["entities"] == 2 and status["resources"]["filesystem"]["error"] is None


def test_without_a_watch_pages_say_so_and_have_no_series(server):
    client = Forecaster(lambda: config_of(server, **{"capacity.enabled": False}), Clock(NOW)).app.test_client()
    series = [line for line in client.get("/metrics").text.splitlines() if "capacity" in line and line[0] != "#"]
    assert client.get("/capacity").status_code == 404 and series == []
    assert client.get("/status").get_json()["capacity"] == {"enabled": False}
