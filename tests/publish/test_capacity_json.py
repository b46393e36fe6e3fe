"""What fills up as JSON: in order of urgency, by server and resource, in alerts, and the reason where there is none."""

from dataclasses import replace

import numpy as np
import pytest

from forecaster.capacity.outlook import About
from forecaster.publish.alerts import alerts
from forecaster.publish.capacity_json import about, capacity_blueprint, worst
from forecaster.risk.state import State, watched
from forecaster.risk.thresholds import Roles
from tests.outlooks import DAY, INSTANT, board_of, entity, make_outlook
from tests.results import Clock, app_of, make_result

ENTITIES = [entity("web1", "/late"), entity("web1", "/soon"), entity("web2", "/full"), entity("web2", "/never"),
            entity("web3", "memory", "memory")]
NEVER = float("nan")


@pytest.fixture
def outlook():
    chances = [[0, 0, 0, 0.6], [0.1, 0.6, 0.9, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0.3]]
    return make_outlook(ENTITIES, used=[0.5, 0.9, 1.0, 0.1, 0.7], priority=[3, 2, 0, 0, 0], chance=chances,
                        full=[False, False, True, False, False],
                        full_at=[INSTANT + 9 * DAY, INSTANT + DAY, INSTANT, NEVER, NEVER])


def get(outlook, path="/capacity", status=200, now=INSTANT):
    board = board_of(outlook) if outlook != "off" else None
    answer = app_of(capacity_blueprint(board, lambda: {"entities": 5}, Clock(now))).test_client().get(path)
    assert answer.status_code == status, answer.text
    return answer.get_json()


def test_the_list_begins_with_what_is_full_then_goes_by_date_then_by_chance(outlook):
    body = get(outlook)
    assert [one["entity"] for one in body["capacity"]] == ["/full", "/soon", "/late", "memory", "/never"]
    assert body["metadata"] == {"entities": 5}


def test_an_entry_has_date_chance_speed_and_step(outlook):
    soon = get(outlook)["capacity"][1]
    assert soon == {
        "server": "web1", "profile": "web", "resource": "filesystem", "entity": "/soon", "title": "File systems",
        "priority": "P2", "full": False, "pending": None, "used": 0.9, "limit": 1, "size": 1e11, "unit": "bytes",
        "full_at": {"p10": "2025-10-11T09:00:00.000+00:00", "p50": "2025-10-10T09:00:00.000+00:00",
                    "p90": "2025-10-09T09:00:00.000+00:00"},
        "chance": {"4h": 0.1, "24h": 0.6, "7d": 0.9, "14d": 1},
        "forecast": {horizon: {"p10": 0.5, "p50": 0.6, "p90": 0.7} for horizon in ("1d", "3d", "7d", "14d")},
        "growth_per_day": 0.01, "previous_growth_per_day": 0.001, "growth_changed": "2025-10-06T09:00:00.000+00:00",
        "largest_step": 0.02, "largest_step_at": "2025-10-09T08:00:00.000+00:00",
        "issued": "2025-10-09T09:00:00.000+00:00", "last_seen": "2025-10-09T09:00:00.000+00:00", "lost": False}
    assert get(outlook)["capacity"][-1]["full_at"] == {"p10": None, "p50": None, "p90": None}


def test_servers_and_resources_can_be_selected(outlook):
    def named(path: str) -> list[str]:
        return [one["entity"] for one in get(outlook, path)["capacity"]]

    assert named("/capacity?server=web1") == ["/soon", "/late"]
    assert named("/capacity?server=web1&server=web3&resource=memory") == ["memory"]
    assert named("/capacity?server=nobody") == []


def test_without_a_current_outlook_the_reason_is_said(outlook):
    assert "there is none yet" in get(None, status=503)["error"]
    assert "the latest is 1921 s old" in get(outlook, status=503, now=INSTANT + 1921)["error"]
    assert "nothing is watched" in get("off", status=404)["error"]


def test_what_is_full_and_may_only_be_a_ticket_comes_after_a_page():
    entities = (entity(name="/", resource="filesystem"), entity(name="memory", resource="memory"))
    outlook = make_outlook(entities, priority=(1, 0), full=(False, True))
    outlook = replace(outlook, resources=outlook.resources | {"memory": About("Memory", "bytes", "P3")})
    assert outlook.worst == {"web1": 0}
    assert replace(outlook, priority=np.array([0, 0], np.int8)).worst == {"web1": 1}
    alike = replace(outlook, resources=outlook.resources | {"memory": About("Memory", "bytes", "P1")})
    assert alike.worst == {"web1": 1}


def test_the_worst_of_a_server_goes_by_priority_then_by_date(outlook):
    found = worst(outlook, ["web1", "web2", "nobody"], INSTANT)
    assert {server: one["entity"] for server, one in found.items()} == {"web1": "/soon", "web2": "/full"}
    assert worst(None, ["web1"], INSTANT) == {}


def test_what_has_not_lasted_as_long_as_its_alert_takes_is_pending_with_since_when_and_until_when():
    entities = [entity(name=name) for name in ("/new", "/lasted", "/ticket", "/rings", "/full")]
    of = make_outlook(entities, priority=[1, 1, 2, 1, 0], full=[False] * 4 + [True],
                      since=[INSTANT, INSTANT - 900, INSTANT - 600, INSTANT, INSTANT], rings=[False] * 3 + [True, True])
    pending = {one["entity"]: one["pending"] for one in get(of)["capacity"]}
    assert pending == {
        "/new": {"since": "2025-10-09T09:00:00.000+00:00", "until": "2025-10-09T09:15:00.000+00:00"},
        "/ticket": {"since": "2025-10-09T08:50:00.000+00:00", "until": "2025-10-09T09:50:00.000+00:00"},
        "/lasted": None, "/rings": None, "/full": None}
    assert about(of, True, INSTANT)["pending"] == {"P1": 1, "P2": 1}
    assert [one["pending"] for one in get(of, now=INSTANT + 900)["capacity"] if one["entity"] == "/new"] == [None]
    assert of.only(["web1"]).pending(INSTANT).shape == (5, 2) and of.only(["web2"]).pending(INSTANT).shape == (0, 2)
    [alert] = alerts(make_result(servers=("web1",), profiles=("web",), issued=INSTANT), Roles(), make_outlook(
        priority=1, since=INSTANT))
    assert alert["capacity"]["pending"]["until"] == "2025-10-09T09:15:00.000+00:00"


def test_status_counts_entities_by_priority(outlook):
    assert about(outlook, True, INSTANT + 60) == {
        "current": True, "issued": "2025-10-09T09:00:00.000+00:00", "age_seconds": 60, "entities": 5, "lost": 0,
        "full": 1, "priorities": {"P1": 0, "P2": 1, "P3": 1}, "pending": {"P1": 0, "P2": 0}}
    assert about(None, False, INSTANT)["entities"] == 0


def test_a_server_with_something_of_p2_or_full_is_watched_and_in_the_alerts_with_it(outlook):
    result = make_result(servers=("web1", "web2", "web3"), profiles=("web",) * 3, state=[0, 0, -1])
    assert alerts(result, Roles()) == []
    found = alerts(result, Roles(), outlook)
    assert [(one["server_name"], one["capacity"]["entity"]) for one in found] == [("web1", "/soon"), ("web2", "/full")]
    assert watched(result.state, result.servers, outlook.urgent).tolist() == [State.WATCH, State.WATCH, State.BLIND]
