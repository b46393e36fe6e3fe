import pytest

from exporter.app import create_app
from exporter.profiles import load_fleet

NOW = 1_760_000_000.0
SCENARIOS = ["healthy", "degrading", "critical"]


@pytest.fixture(scope="module")
def app():
    return create_app(load_fleet(), clock=lambda: NOW)


@pytest.fixture
def client(app):
    client = app.test_client()
    assert client.post("/scenario/set", json={"scenario": "healthy"}).status_code == 200
    return client


def test_status_has_the_keys_of_the_original_system_and_more(client):
    answer = client.get("/status")
    status = answer.json
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert list(status)[:5] == ["running", "scenario", "tick_count", "fleet_size", "affected_servers"]
    assert {key: status[key] for key in list(status)[:5]} == {
        "running": True,
        "scenario": "healthy",
        "tick_count": 0,
        "fleet_size": 20,
        "affected_servers": 0,
    }
    assert status["scenarios"]["critical"] == {"affected_share": 0.25, "multiplier": 1.6}
    assert sum(status["servers_by_state"].values()) == 20
    assert (status["affected_server_names"], status["seed"], status["timestamp"]) == ([], 42, NOW)


@pytest.mark.parametrize(("scenario", "affected"), [("degrading", 5), ("critical", 5), ("healthy", 0)])
def test_a_scenario_is_set_and_answered_with_the_new_status(client, scenario, affected):
    answer = client.post("/scenario/set", json={"scenario": scenario})
    assert (answer.status_code, answer.json["scenario"], answer.json["affected_servers"]) == (
        200,
        scenario,
        affected,
    )
    assert len(answer.json["affected_server_names"]) == affected
    assert client.get("/status").json == answer.json


@pytest.mark.parametrize(
    ("body", "given"),
    [
        ('{"scenario": "chaos"}', "chaos"),
        ('{"scenario": 3}', 3),
        ('{"scenario": null}', None),
        ('{"scenario": ["critical"]}', ["critical"]),
        ('{"scenario": ""}', ""),
        ("{}", []),
        ('{"Scenario": "critical"}', ["Scenario"]),
        ('["critical"]', ["critical"]),
        ("null", None),
        ('{"scenario": "crit', '{"scenario": "crit'),
        ("", ""),
        ("not JSON", "not JSON"),
    ],
)
def test_a_wrong_scenario_is_refused_naming_field_value_and_the_valid_ones(client, body, given):
    client.post("/scenario/set", json={"scenario": "degrading"})
    before = client.get("/status").json
    answer = client.post("/scenario/set", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert (answer.json["field"], answer.json["given"], answer.json["valid"]) == (
        "scenario",
        given,
        SCENARIOS,
    )
    assert answer.json["error"]
    assert "healthy, degrading, critical" in answer.json["expected"]
    assert client.get("/status").json == before


def test_a_body_not_declared_as_json_is_refused(client):
    answer = client.post("/scenario/set", data='{"scenario": "critical"}', content_type="text/plain")
    assert (answer.status_code, answer.json["field"], answer.json["expected"]) == (
        400,
        "Content-Type",
        "application/json",
    )
    assert client.get("/status").json["scenario"] == "healthy"


def test_a_further_key_is_refused_by_name(client):
    answer = client.post("/scenario/set", json={"scenario": "critical", "servers": 3})
    assert (answer.status_code, answer.json["field"], answer.json["given"]) == (400, "servers", 3)
    assert client.get("/status").json["scenario"] == "healthy"


def test_setting_by_get_is_refused(client):
    assert client.get("/scenario/set").status_code == 405


@pytest.mark.parametrize("body", [
    "[" * 100_000, '{"scenario":' * 50_000, '{"scenario": NaN}', '{"scenario": 1e999}', '{"scenario": "\\ud800"}',
    f'{{"scenario": {"9" * 100_000}}}', f'{{"scenario": "{"x" * 100_000}"}}',
    f'{{"{"k" * 100_000}": 1, "scenario": ""}}', f'{{"scenario": "healthy", "k": "{"x" * 100_000}"}}',
    '{"scenario": %s}' % ("[" * 900 + "]" * 900), f"[{'1,' * 100_000}1]", '"' + "\u202e" * 100_000])
def test_json_made_to_break_a_parser_is_a_400_that_quotes_little(client, body):
    answer = client.post("/scenario/set", data=body.encode(), content_type="application/json")
    assert answer.status_code == 400 and len(answer.text) < 2000
    assert {"error", "field", "expected"} <= set(answer.json)
    assert client.get("/status").json["scenario"] == "healthy"
