"""The exporter's page for people."""

import re

import pytest

from exporter.app import create_app
from exporter.page import figure
from exporter.profiles import FleetConfig, load_fleet
from tests.doors import PASSWORD, basic, bearer

pytestmark = pytest.mark.slow
NOW = 1_760_000_000.0


@pytest.fixture
def client(clock):
    return create_app(load_fleet(), clock).test_client()


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def table(client, name: str) -> list[str]:
    """The rows of a table as text."""
    rows = re.findall(rf'<tr id="{name}-.*?</tr>', client.get("/").text, re.DOTALL)
    return [words(row) for row in rows]


def test_the_page_says_which_scenario_is_in_force_since_when_and_whom_it_affects(client, clock):
    assert "In force since the start, as configured, until another one is set" in words(client.get("/").text)
    client.post("/scenario/set", json={"scenario": "critical"})
    names = client.get("/status").json["affected_server_names"]
    shown = words(client.get("/").text)
    assert "20 simulated servers, scenario critical" in shown and "Begins at" in shown
    assert f"It affects 5 servers: {', '.join(names)}." in shown
    clock.now += 900
    assert "In force since" in words(client.get("/").text)


def test_the_profiles_have_their_number_of_servers_states_and_the_means_of_eight_metrics(client):
    rows = table(client, "profiles")
    assert len(rows) == 7 and [row.split()[:2] for row in rows][:2] == [["conductor", "2"], ["database", "4"]]
    assert all(re.fullmatch(r"\w+ \d+ (\d+ \w+,? )+([\d.]+ ?){8}", row) for row in rows), rows


def test_the_mounts_have_their_size_use_and_the_server_where_they_are_fullest(client):
    rows = table(client, "mounts")
    assert [row.split()[:2] for row in rows] == [["/", "20"], ["/data", "20"], ["/var/log", "20"]]
    assert all(re.search(r" [\d,]+ GiB \d+% pp\w+ \d+% \d+%$", row) for row in rows), rows


def test_the_servers_that_the_scenario_affects_stand_first(client, clock):
    client.post("/scenario/set", json={"scenario": "degrading"})
    clock.now += 900
    assert ["affected" in row for row in table(client, "servers")] == [True] * 5 + [False] * 15


def test_of_a_large_fleet_fifty_servers_have_a_row_and_an_update_is_small(clock):
    client = create_app(load_fleet(overrides={"servers": {"web_api": 90, "etl": 10}}), clock).test_client()
    assert len(table(client, "servers")) == 50 and "50 of 100" in client.get("/").text
    assert len(client.get("/").data) < 60_000


def test_the_page_has_a_button_for_each_scenario_of_the_fleet_and_the_command(client):
    text = client.get("/").text
    assert re.findall(r'data-scenario="(\w+)" aria-pressed="(\w+)"', text) == [
        ("healthy", "true"), ("degrading", "false"), ("critical", "false")]
    assert "25% of the servers, load × 1.6" in text
    command = "curl -X POST http://localhost/scenario/set -H 'Content-Type: application/json' -d '{\"scenario\":"
    assert command in text.replace("&#39;", "'").replace("&#34;", '"')


def test_names_of_a_fleet_file_are_escaped(clock):
    fleet = load_fleet().model_dump()
    for section in ("scenarios", "transitions"):
        fleet[section]["<i>&"] = fleet[section]["degrading"]
    client = create_app(FleetConfig.model_validate(fleet), clock).test_client()
    assert client.post("/scenario/set", json={"scenario": "<i>&"}).status_code == 200
    text = client.get("/").text
    assert "<i>" not in text and "scenario &lt;i&gt;&amp;" in text


@pytest.mark.parametrize(("headers", "login"), [
    (basic("alice", PASSWORD), " -u alice"), (bearer("x"), " -H 'Authorization: Bearer TOKEN'")])
def test_the_command_has_the_login_that_the_page_was_asked_with(client, headers, login):
    assert f"curl{login} -X POST" in client.get("/", headers=headers).text.replace("&#39;", "'")


@pytest.mark.parametrize(("value", "text"), [(0.0, "0.000"), (0.0123, "0.012"), (7.44, "7.4"), (1234.5, "1234")])
def test_figures_have_as_many_digits_as_one_reads(value, text):
    assert figure(value) == text
