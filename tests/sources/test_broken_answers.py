"""Whatever a broken API answers: what can be used is, and what is held of other servers stays as it is."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.capacity.held import STEP as CAPACITY_STEP
from forecaster.capacity.held import Held
from forecaster.capacity.series import Named as Entity
from forecaster.capacity.series import Naming, Stretch
from forecaster.capacity.settings import Resource
from forecaster.limits import Limits
from forecaster.memory.window import Window
from forecaster.readings import Labels, Reading, Readings, SourceError
from forecaster.sources.answers import TOO_MANY, parse
from forecaster.sources.bounds import Bounds
from forecaster.sources.naming import Roster
from forecaster.sources.shard import WHOLE, Shard
from forecaster.sources.signal_query import SignalQuery
from forecaster.sources.transport import Answer
from tests.prometheus_answers import STEP, T0

LABELS = Labels(longest=16, altogether=256)
GOOD = [{"metric": {"server": name, "profile": "p"}, "value": [T0, "1.5"]} for name in ("a", "b")]
RANGE = [{"metric": {"server": name, "profile": "p"}, "values": [[T0, "0.5"]]} for name in ("a", "b")]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20) | st.just("a"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text(max_size=5) | st.sampled_from(["server", "profile", "metric", "value", "values"]), inner, max_size=3),
    max_leaves=8)
broken = st.lists(st.one_of(anything, st.fixed_dictionaries(
    {"metric": st.dictionaries(st.sampled_from(["server", "profile", "mode"]), anything, max_size=3)},
    optional={"value": st.just([T0, "7"]) | anything, "values": st.just([[T0, "0.7"]]) | anything})), max_size=5)


def text(kind: str, series: list) -> Answer:
    return Answer(200, {}, json.dumps({"status": "success", "data": {"resultType": kind, "result": series}}).encode())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(broken, st.integers(0, 2), st.sampled_from([WHOLE, Shard(0, 2), Shard(1, 2)]))
def test_broken_series_between_good_ones_change_nothing_of_what_is_held_of_the_good(series, place, shard):
    query = SignalQuery("cpu", "q", "here", Bounds(), LABELS, shard, Limits(), lambda: T0)
    window = Window(("cpu",), 15.0, STEP, 3)
    named, values = query.instant(text("vector", [*GOOD[:place], *series, *GOOD[place:]]))
    assert query.error is None or not any(map(shard.owns, "ab"))
    roster = Roster.of([named], LABELS)
    window.append(Reading(T0, roster.servers, roster.profiles, roster.values([values])))
    held = dict(zip(window.servers, window.latest(T0)[:, 0].tolist(), strict=True))
    for name in "ab":
        if shard.owns(name):
            assert held[name] in (1.5, 7.0), "7.0 where a broken answer has a second series of it"
    assert all(isinstance(name, str) and 0 < len(name) <= 16 for name in held)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(broken, st.integers(0, 2))
def test_broken_series_of_a_range_cost_only_themselves(series, place):
    query = SignalQuery("cpu", "q", "here", Bounds(), LABELS, WHOLE, Limits(), lambda: T0)
    pieces = query.range(text("matrix", [*RANGE[:place], *series, *RANGE[place:]]), np.array([float(T0)]), STEP, 0, 0)
    assert {"a", "b"} <= {piece.server for piece in pieces}
    assert all(isinstance(piece.server, str) and 0 < len(piece.server) <= 16 for piece in pieces)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(anything)
def test_a_broken_answer_is_an_error_of_the_source_and_nothing_else(told):
    query = SignalQuery("cpu", "q", "here", Bounds(), LABELS, WHOLE, Limits(), lambda: T0)
    answers = [told, {"status": "success", "data": told},
               {"status": "success", "data": {"resultType": "vector", "result": told}}]
    for answer in answers:
        named, values = query.instant(Answer(200, {}, json.dumps(answer).encode()))
        assert len(values) >= len(named.places)
        try:
            parse(Answer(400, {}, json.dumps(answer).encode()), "vector", "here", "q")
        except SourceError:
            continue
        pytest.fail("an error status is an error")


def state(part: Window | Held) -> list:
    ring = part._ring if isinstance(part, Window) else part
    return copy.deepcopy([value for value in vars(ring).values()])


names = st.lists(st.sampled_from(["a", "b", "c", "d"]) | st.none() | st.integers(0, 2) | st.just(("a",)), max_size=4)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(names, names, st.integers(0, 4), st.booleans())
def test_a_window_takes_a_reading_whole_or_not_at_all(servers, profiles, rows, history):
    window = Window(("cpu",), 15.0, STEP, 3, most=3, idle=10.0)
    window.append(Reading(T0, ("a", "b"), ("p", "p"), np.ones((2, 1), np.float32)))
    before = state(window)
    values = np.full((rows, 1), 2.0, np.float32)
    try:
        if history:
            window.fill(Readings(np.array([T0 + 15.0]), tuple(servers), tuple(profiles), values[None]))
        else:
            window.append(Reading(T0 + 15.0, tuple(servers), tuple(profiles), values))
    except ValueError:
        np.testing.assert_equal(state(window), before)
    else:
        assert len(window.servers) <= 3 and len(window.profiles) == len(window.servers)
        assert window.encoder(T0 + 15.0).shape == (len(window.servers), 1, 3)


def stretch(entities: list, instant: float) -> Stretch:
    shape = len(entities), 3
    return Stretch(instant + CAPACITY_STEP * np.arange(-2.0, 1.0), entities, ["p"] * len(entities),
                   np.full(shape, 0.5, np.float32), np.full(shape, 100.0, np.float32))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.builds(Entity, st.sampled_from(["a", "b"]) | st.integers(0, 2),
                          st.sampled_from(["/", "/x"]) | st.none(), st.sampled_from(["", "d1"])), max_size=4))
def test_a_pass_over_what_fills_up_is_taken_whole_or_not_at_all(entities):
    held = Held("origin")
    held.take(stretch([Entity("a", "/", "d1")], T0), 10)
    before = state(held)
    try:
        held.take(stretch(entities, T0 + CAPACITY_STEP), 10)
    except (TypeError, ValueError):
        np.testing.assert_equal(state(held), before)
    assert len(held.entities) == len(held.profiles) == len(held.hourly) == len(held.size) == len(held.missed)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(broken)
def test_broken_series_of_what_fills_up_cost_only_themselves(series):
    naming = Naming("disk", Resource(query="q", entity=("mode",)), LABELS, WHOLE)
    parsed = parse(text("matrix", [*series, *RANGE]), "matrix", "here", "q")
    found, _ = naming.read(parsed, None, np.array([float(T0)]), STEP)
    assert {"a", "b"} <= {one.server for one in found.entities}
    assert all(isinstance(part, str) and len(part) <= 16 for one in found.entities for part in one)


def test_of_what_fills_up_ignored_series_and_those_of_other_shards_take_no_room_and_known_ones_come_first():
    resource = Resource(query="q", entity=("mode",), ignore={"mode": "ignored.*"})

    def answer(*series: tuple[str, str]):
        return parse(text("matrix", [{"metric": {"server": server, "mode": mode}, "values": [[T0, "0.5"]]}
                                     for server, mode in series]), "matrix", "here", "q")

    def read(naming: Naming, *series: tuple[str, str]) -> tuple[list[str], list[str]]:
        found, notes = naming.read(answer(*series), None, np.array([float(T0)]), STEP)
        return [one.server for one in found.entities], [*notes.texts()]

    ignored = [("a", f"ignored{n}") for n in range(9)]
    naming = Naming("disk", resource, LABELS, WHOLE, most=2)
    assert read(naming, *ignored, ("y", "/"), ("z", "/")) == (["y", "z"], [])
    assert naming.left_out == 9
    assert read(naming, ("b", "/"), ("y", "/"), ("z", "/")) == (["y", "z"], [TOO_MANY])
    shard, servers = Shard(0, 2), [f"s{n}" for n in range(20)]
    mine = [server for server in servers if shard.owns(server)]
    sharded = Naming("disk", resource, LABELS, shard, most=len(mine))
    assert read(sharded, *((server, "/") for server in servers)) == (mine, [])
