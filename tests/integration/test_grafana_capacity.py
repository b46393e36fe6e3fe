"""Every query about what fills up, asked as Grafana asks it, of a real Prometheus that holds a month and the curves.

web03 has /data, which is full in 20 hours, and /, which is quiet; /log of web04 is full. A replica says the same, and
another fleet has servers of the same names.
"""

from collections.abc import Iterator, Mapping

import pytest

from grafana import filling
from tests.grafana_stack import HOUR, Prometheus, Query, ask, has_data, interpolate, load, panels, queries
from tests.real_prometheus import stored

NOW = 1_700_000_000 // 3600 * 3600 + 600.0
DAY = 24 * HOUR
SPANS = {"capacity.json": (-14 * DAY, 14 * DAY), "server.json": (-6 * HOUR, 8 * HOUR)}
CHOSEN = {"fleet": "hosts", "server": "web03", "resource": "disk", "entity": "/data"}
OF_CAPACITY = [query for name in SPANS for query in queries(name) if "_capacity_" in query.expression]
# (server, entity) -> used share, growth a day, chances, p50 is full in so many hours, rank in the rules
ENTITIES = {
    ("web03", "/data"): (0.9, 0.12, (0.01, 0.8, 0.97, 0.99), 20, 2),
    ("web03", "/"): (0.4, 0.001, (0, 0, 0.01, 0.02), None, 0),
    ("web04", "/log"): (1.0, 0.5, (1, 1, 1, 1), None, 4),
}


def samples() -> Iterator[tuple[str, float, float]]:
    """(series, value, time); those of a family follow each other."""
    for instance in ("a", "b"):
        for (server, entity), (used, growth, chances, hours, rank) in ENTITIES.items():
            known = f'job="forecaster",fleet="hosts",instance="{instance}",server="{server}",profile="web"'
            of = f'{known},resource="disk",entity="{entity}"'
            for ago in range(30 * 288 if entity == "/data" else 0, -1, -1):
                yield f"observed_capacity_used_ratio{{{of}}}", used - growth * ago / 288 / 30, NOW - ago * 300
            for window, chance in zip(filling.WINDOWS, chances, strict=True):
                yield f'forecast_capacity_full_chance{{{of},window="{window}"}}', chance, NOW
            for percentile, later in (("p90", 0.7), ("p50", 1), ("p10", 2)) if hours else ():
                yield (f'forecast_capacity_full_timestamp_seconds{{{of},percentile="{percentile}"}}',
                       NOW + later * hours * HOUR, NOW)
            if used == 1:
                yield f'observed_capacity_full{{{of},priority="P1"}}', 1, NOW
            yield f'observed_capacity_size{{{of},unit="bytes"}}', 500e9, NOW
            for figure, value in (("growth_ratio_per_day", growth), ("previous_growth_ratio_per_day", growth / 2),
                                  ("growth_changed_timestamp_seconds", NOW - DAY), ("largest_step_ratio", 0.01),
                                  ("largest_step_timestamp_seconds", NOW - HOUR)):
                yield f"observed_capacity_{figure}{{{of}}}", value, NOW
            if rank and instance == "a":
                recorded = of.replace('instance="a",', "")
                yield f"entity:capacity_urgency:max{{{recorded}}}", rank, NOW
            if instance == "a":
                for percentile, above in (("p10", -0.1), ("p50", 0), ("p90", 0.1)):
                    curve = f'source="curve",server="{server}",resource="disk",entity="{entity}"'
                    for hour in range(1, 337):
                        yield (f'forecast_capacity_used_ratio{{{curve},percentile="{percentile}"}}',
                               used + above + growth * hour / 24, NOW - 250 + hour * HOUR)
        about = f'job="forecaster",fleet="hosts",instance="{instance}"'
        yield f"forecaster_capacity_last_success_timestamp_seconds{{{about}}}", NOW - 60, NOW
        yield f'forecaster_capacity_failed{{{about},resource="disk"}}', 0, NOW
    yield 'observed_capacity_full{job="forecaster",fleet="other",server="web03",resource="disk",entity="/data"}', 1, NOW


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory) -> Iterator[Prometheus]:
    lines = [f"{series} {value} {at}" for series, value, at in
             sorted(samples(), key=lambda one: (one[0].partition("{")[0], one[0], one[2]))]
    with stored(tmp_path_factory.mktemp("capacity"), lines) as url:
        yield Prometheus(url)


def asked(prometheus: Prometheus, query: Query) -> list[dict]:
    return ask(prometheus, query, CHOSEN, SPANS[query.dashboard], NOW)


def one(title: str, ref: str = "A", name: str = "capacity.json") -> Query:
    (found,) = (query for query in queries(name) if (query.panel, query.ref) == (title, ref))
    return found


def values(result: list[dict]) -> dict[tuple[str, ...], float]:
    """(server, entity) -> the value."""
    return {(row["metric"].get("server", ""), row["metric"].get("entity", "")): float(row["values"][-1][1])
            for row in result}


def test_every_panel_of_the_dashboard_and_of_the_servers_row_asks_about_what_fills_up():
    assert {query.panel for query in OF_CAPACITY} == {panel["title"] for panel in panels(load("capacity.json"))} | {
        "What fills up"}


@pytest.mark.parametrize("query", OF_CAPACITY, ids=str)
def test_every_query_has_data(prometheus: Prometheus, query: Query):
    assert has_data(asked(prometheus, query))


def test_the_table_lists_what_is_full_and_what_will_be_with_its_date(prometheus: Prometheus):
    cells = {ref: values(asked(prometheus, one("What is full first", ref))) for ref in filling.FLEET_ROWS}
    data, log = ("web03", "/data"), ("web04", "/log")
    assert cells["A"] == {data: 2, log: 4}
    assert cells["B"] == pytest.approx({data: 0.9, log: 1})
    assert cells["C"] == {data: 1000 * (NOW + 20 * HOUR), log: 0}
    assert cells["D"] == {data: 0.8, log: 1}
    assert cells["F"] == {data: 0.12, log: 0.5}


def test_a_server_lists_all_of_its_own(prometheus: Prometheus):
    cells = {ref: values(asked(prometheus, one("What fills up", ref, "server.json"))) for ref in filling.SERVER_ROWS}
    assert cells["A"] == {("web03", "/data"): 2, ("web03", "/"): 0}
    assert cells["B"] == pytest.approx({("web03", "/data"): 0.9, ("web03", "/"): 0.4})
    assert cells["C"] == {("web03", "/data"): 1000 * (NOW + 20 * HOUR)}


@pytest.mark.parametrize(("title", "value"), [
    ("First full in", 0), ("Full now", 1), ("Full within 24 h", 2), ("Full within 7 d", 2), ("Watched", 3),
    ("Resources not read", 0), ("Outlook age", 60), ("Full at (p50)", 1000 * (NOW + 20 * HOUR)),
    ("Full at (p10)", 1000 * (NOW + 40 * HOUR)), ("Growth a day", 60e9), ("Growth before", 30e9), ("Largest step", 5e9),
])
def test_a_tile_says_it_of_the_fleet_or_of_the_chosen_entity(prometheus: Prometheus, title: str, value: float):
    (found,) = asked(prometheus, one(title))
    assert float(found["values"][-1][1]) == pytest.approx(value)
    assert found["metric"] == ({"unit": "bytes"} if value in (60e9, 30e9, 5e9) else {})


def test_where_nothing_will_be_full_a_row_and_the_tiles_say_so(prometheus: Prometheus):
    fine = {"server": "web03", "resource": "disk", "entity": "/"}
    quiet = filling.FLEET_ROWS["A"].replace("$fleet", 'hosts",entity="/')
    assert [row["metric"] for row in prometheus.instant(quiet, NOW)] == [{"server": "nothing is full within 14 days"}]
    at = interpolate(filling.ENTITY_AT["p50"], CHOSEN | fine)
    assert [float(row["values"][0][1]) for row in prometheus.instant(at, NOW)] == [-1]


def test_the_course_ends_now_and_the_fan_goes_on_for_14_days(prometheus: Prometheus):
    title, step = "Course and forecast", HOUR
    ends = {}
    for query in (found for found in queries("capacity.json") if found.panel == title):
        text = interpolate(query.expression, CHOSEN)
        (drawn,) = prometheus.range(text, NOW - 14 * DAY - 900, NOW + 14 * DAY + 2 * HOUR, step)
        instants = [instant - NOW for instant, _ in drawn["values"]]
        assert len(instants) > 330, "no hour is missed"
        ends[query.ref] = (instants[0], instants[-1])
    assert ends["A"][0] < -13.9 * DAY and -HOUR <= ends["A"][1] <= 300
    for ref in "BCD":
        assert 0 < ends[ref][0] <= 2 * HOUR and ends[ref][1] >= 14 * DAY - HOUR


def test_growth_is_held_against_the_month(prometheus: Prometheus):
    for ref in "ABC":
        query = one("Change within a day, of the last month", ref)
        (drawn,) = asked(prometheus, query)
        assert float(drawn["values"][-1][1]) == pytest.approx(0.12 / 30, rel=1e-3)


@pytest.mark.parametrize("ahead", [0.0, 14 * DAY])
def test_variables_offer_what_is_likely_to_be_full_first(prometheus: Prometheus, ahead: float):
    offered: dict[str, list[str]] = {}
    chosen: Mapping[str, str] = CHOSEN
    for variable in load("capacity.json")["templating"]["list"]:
        if variable["type"] == "query" and variable["name"] != "fleet":
            text = interpolate(variable["query"]["query"], chosen)
            offered[variable["name"]] = prometheus.variable(text, variable["regex"], NOW + ahead)
    assert offered == {"server": ["web04", "web03"], "resource": ["disk"], "entity": ["/data", "/"]}
