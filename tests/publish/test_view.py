"""Views: a tenant's part of a Result and an Outlook is that of a fleet of its own."""

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest

from forecaster.publish.alerts import alerts, environment
from forecaster.publish.capacity_gauges import CapacityCollector
from forecaster.publish.collector import ForecastCollector
from forecaster.publish.view import View, Views
from forecaster.risk.thresholds import RiskConfig
from tests.outlooks import board_of, entity, make_outlook
from tests.results import DESCRIBED, HORIZONS, WINDOWS, Clock, board_with, curves, incidents_of, make_result, page
from tests.tiny_models import tiny_chances

SERVERS, PROFILES = ("a1", "b1", "a2", "b2", "a3"), ("x", "y", "x", "x", "generic")
BUSY = {(0, 0): (0.4, 0.5), (1, 0): (0.9, 0.95), (3, 2): (0.7, 0.8), (4, 1): (0.2, 0.3)}


def fleet(rows=range(5), stale=("b2",), unforecast=("b9",)):
    """A Result of the servers at these rows, made anew; b1 has a P1, also where its chance is known."""
    rows = [*rows]
    forecast = curves(5)
    forecast[1, :2] = 99
    place = {row: at for at, row in enumerate(rows)}
    incidents = incidents_of(len(rows), on=[(place[1], 1)] if 1 in place else [],
                             chance={(place[s], i): both for (s, i), both in BUSY.items() if s in place})
    incidents = replace(incidents, chances=tiny_chances())
    made = make_result([SERVERS[row] for row in rows], [PROFILES[row] for row in rows], forecast=forecast[rows],
                       stale=[name for name in stale if name in {SERVERS[row] for row in rows}],
                       unforecast=dict.fromkeys(unforecast, "no_values"), incidents=incidents, proven=False)
    return replace(made, risk=replace(made.risk, severe_any=incidents.any_server()))


def same(one, other) -> bool:
    """Whether two Results have the same in every field."""
    if is_dataclass(one) and not isinstance(one, type):
        return all(same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
                   if field.name not in ("chances", "conditions"))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(of, other[key]) for key, of in one.items())
    return one == other or bool(np.isnan([one, other]).all())


@pytest.mark.parametrize("rows", [[0, 2, 4], [1, 3], [3], [4, 1], [*range(5)]])
def test_a_part_of_a_result_is_in_all_figures_the_result_of_these_servers_alone(rows):
    rows = sorted(rows)
    part, alone = fleet().only({SERVERS[row] for row in rows}), fleet(rows, unforecast=())
    assert part.servers == alone.servers and part.health == alone.health
    assert part.risk.severe_any["8h"] >= max(np.nan_to_num(part.risk.severe["8h"]))
    assert same(part, alone)
    assert environment(part) == environment(alone)
    assert alerts(part, RiskConfig().roles) == alerts(alone, RiskConfig().roles)


def test_figures_of_all_servers_that_cannot_be_divided_are_left_out():
    whole = make_result(SERVERS, PROFILES, any_server=0.5)
    part = whole.only({"a1"})
    assert whole.proof is not None and part.proof is None
    assert whole.risk.severe_any["8h"] == 0.5 and np.isnan(part.risk.severe_any["8h"])


def test_a_part_of_an_outlook_has_the_entities_of_these_servers_in_all_fields():
    entities = tuple(entity(server) for server in ("a1", "b1", "b2"))
    whole = make_outlook(entities, used=(0.1, 0.2, 0.3), priority=(1, 0, 2), full_at=(1e9, 2e9, 3e9))
    part = whole.only({"b1", "b2", "b3"})
    assert same(part, make_outlook(entities[1:], used=(0.2, 0.3), priority=(0, 2), full_at=(2e9, 3e9)))
    assert part.urgent == {"b2"} and whole.only(()).entities == ()


def view(selectors: dict[str, str], result=None, outlook=None) -> Views:
    board, filling, clock = board_with(result or fleet()), board_of(outlook), Clock()
    return Views(View(board, ForecastCollector(board, HORIZONS, WINDOWS, DESCRIBED, clock),
                      filling, CapacityCollector(filling, clock)), selectors)


def test_the_gauges_of_a_view_are_those_of_a_fleet_of_its_own():
    alone = board_with(fleet([0, 2, 4], unforecast=()))
    expected = page(ForecastCollector(alone, HORIZONS, WINDOWS, DESCRIBED, Clock()))
    assert page(view({"a": 'server=~"a.*"'}).of(frozenset({"a"})).collector) == expected


def test_several_tenants_are_seen_together_and_unknown_ones_have_nothing():
    views = view({"a": 'server="a1"', "b": 'server="b1"'})
    assert views.of(frozenset({"a", "b", "c"})).board.last.servers == ("a1", "b1")
    assert views.of(frozenset({"c"})).board.last.servers == () == views.of(frozenset()).board.last.servers
    assert len(views.of(None).board.last.servers) == 5


def test_what_fills_up_follows_the_profile_of_the_forecast():
    entities = tuple(entity(server, profile="generic") for server in ("a1", "b1", "z9"))
    selectors = {"x": 'profile="x"', "no-y": 'profile!="y"', "by-name": 'server=~"z.*"'}
    views = view(selectors, outlook=make_outlook(entities))
    seen = {name: [one.server for one in views.of(frozenset({name})).filling.last.entities]
            for name in selectors}
    assert seen == {"x": ["a1"], "no-y": ["a1"], "by-name": ["z9"]}


def test_a_server_that_changes_its_profile_changes_its_tenant_with_the_next_result():
    result = fleet()
    views = view({"x": 'profile="x"'}, result, make_outlook((entity("b1"),)))
    seen = views.of(frozenset({"x"}))
    assert "b1" not in seen.board.last.servers and not seen.filling.last.entities
    views.of(None).board.publish(replace(result, profiles=("y", "x", "y", "y", "y")))
    assert seen.board.last.servers == ("b1",) and len(seen.filling.last.entities) == 1
