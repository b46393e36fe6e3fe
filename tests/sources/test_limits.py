"""What an answer may hold: what is beyond a limit is refused and said, and costs only itself."""

import json
import logging
import re
from types import SimpleNamespace

import numpy as np
import pytest

from forecaster.limits import Limits
from forecaster.memory.memory import Memory
from forecaster.memory.scraped import ScrapeSource
from forecaster.memory.window import Window
from forecaster.readings import Reading, Readings
from forecaster.sources.prometheus import PrometheusSource
from forecaster.sources.transport import http_session
from tests.local_server import local_server
from tests.prometheus_answers import STEP, T0

REFRESH = 15.0
FEW = Limits(servers=20, series=30, name_length=16, labels_length=256)


def vector(*series: dict | str, **further: object) -> str:
    """An answer with these series, by labels or by server."""
    result = [{"metric": {"server": one} if isinstance(one, str) else one, "value": [T0, "1.5"]} for one in series]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}, **further})


@pytest.fixture
def asked():
    """A source of the signals cpu and mem, and `answers` by query, which a test may change."""
    with local_server(lambda request: request.answer(200, answers[request.form["query"]])) as server:
        signals = {name: SimpleNamespace(query=name) for name in ("cpu", "mem")}
        source = PrometheusSource(server.url, signals, STEP, session=http_session(retries=0), limits=FEW,
                                  clock=lambda: T0)
        answers = {"cpu": vector("a", "b"), "mem": vector("a", "b")}
        source.answers = answers
        yield source
        source.close()


def warnings(source: PrometheusSource, signal: str = "cpu") -> str:
    return "; ".join(source.describe()["signals"][signal]["warnings"])


@pytest.mark.parametrize(("labels", "said"), [
    ({"server": "x" * 17}, "more than 16 characters .*limits.name_length"),
    ({"server": "x", "profile": "y" * 17}, "more than 16 characters .*limits.name_length"),
    ({"server": "x", "mode": "y" * 250}, "more than 256 characters of labels .*limits.labels_length"),
    ({"server": "x", "z" * 250: "y"}, "more than 256 characters of labels .*limits.labels_length"),
    ({"server": 7}, "value is no text"), ({"server": None}, "value is no text"), ({"server": ["a"]}, "no text"),
    ({"server": "x", "mode": 7}, "value is no text"), ({"server": "x", "profile": {"a": 1}}, "value is no text"),
])
def test_a_series_with_labels_that_cannot_be_used_costs_only_itself(asked, labels, said):
    asked.answers["cpu"] = vector(labels, "b", "a")
    reading = asked.latest(T0)
    assert reading.servers == ("a", "b") and np.isfinite(reading.values).all()
    assert reading.left_out == {"cpu": 1, "mem": 0}
    assert re.search(said, warnings(asked))


def test_a_name_as_long_as_the_limit_is_a_name(asked):
    asked.answers["cpu"] = vector("x" * 16)
    assert "x" * 16 in asked.latest(T0).servers


def test_series_beyond_the_limit_are_left_out_and_known_servers_come_first(asked):
    known = [f"z{n}" for n in range(20)]
    asked.answers["cpu"] = vector(*known)
    asked.latest(T0)
    asked.answers["cpu"] = vector(*[f"a{n:02}" for n in range(40)], *known)
    reading = asked.latest(T0)
    assert set(known) < set(reading.servers) and len(set(reading.servers) - {"a", "b"}) == FEW.series
    assert "limits.series are left out" in warnings(asked) and reading.left_out["cpu"] == 30
    assert warnings(asked, "mem") == ""


def test_each_query_has_its_share_of_the_bytes_of_a_cycle_and_one_that_takes_more_fails_alone(asked):
    asked._max_bytes = 1000
    asked.answers["cpu"] = vector("a", "b", note="x" * 1000)
    reading = asked.latest(T0)
    assert list(reading.failed) == ["cpu"] and "larger than 1000 bytes" in str(reading.failed["cpu"])
    assert np.isfinite(reading.values[:, 1]).all()


def test_the_bytes_of_a_cycle_are_shared_equally():
    signals = {str(n): SimpleNamespace(query="q") for n in range(8)}
    whole = PrometheusSource("http://x", signals, STEP)
    gated = PrometheusSource("http://x", signals, STEP, shares=10)
    assert whole._max_bytes * 8 <= Limits().bytes and gated._max_bytes * 10 <= Limits().bytes


def test_history_holds_as_many_servers_as_may_be_held_those_of_now_first(asked):
    now = [f"z{n}" for n in range(8)]
    asked.answers |= {"cpu": vector(*now), "mem": vector(*now)}
    asked.latest(T0)
    result = [{"metric": {"server": name}, "values": [[T0, "1"]]} for name in [*(f"a{n:02}" for n in range(20)), *now]]
    text = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})
    asked.answers |= {"cpu": text, "mem": text}
    readings = asked.range(T0, T0, STEP)
    assert len(readings.servers) == FEW.servers and set(now) < set(readings.servers)
    (said,) = asked.describe()["signals"]["cpu"]["history"]
    assert "limits.servers are left out" in said and ": 8, for example" in said


def test_what_another_system_says_of_an_error_is_cut(asked):
    asked.answers["cpu"] = json.dumps({"status": "error", "errorType": "x" * 10_000, "error": "y" * 10_000})
    assert len(str(asked.latest(T0).failed["cpu"])) < 1000


# -- servers held -------------------------------------------------------------------------------------


@pytest.fixture
def memory() -> Memory:
    window = Window(("cpu", "mem"), REFRESH, STEP, 24, most=FEW.servers, idle=60.0)
    return Memory(window, None, None, None, {})


def test_new_names_in_each_cycle_are_bounded_and_those_there_go_on(asked, memory, caplog):
    good = [f"good{n}" for n in range(5)]
    refused, first = 0, None
    with caplog.at_level(logging.INFO):
        for cycle in range(12):
            asked.answers["cpu"] = asked.answers["mem"] = vector(*good, *(f"j{cycle}.{n}" for n in range(6)))
            memory.take(asked.latest(T0 + REFRESH * cycle), 86400.0, 1800.0)
            assert set(good) <= set(memory.window.servers) and len(memory.window.servers) <= FEW.servers
            assert (memory.window.last_seen[[memory.window.servers.index(one) for one in good]]
                    == T0 + REFRESH * cycle).all()
            refused += memory.refused
            first = cycle if first is None and memory.refused else first
    assert first == 2, "15 junk servers fit beside 5 good ones"
    assert memory.window._ring._values.shape[1] <= FEW.servers + 16
    assert sum("new servers are not taken up: 20 are held (limits.servers)" in text for text in caplog.messages) >= 1
    assert "j11.0" in memory.window.servers, "those that have been silent for a minute make room"
    assert any("forgetting j0.0, j0.1" in text and "others need the room" in text for text in caplog.messages)


def test_a_server_that_sends_is_not_forgotten_for_newcomers(asked, memory):
    names = [f"z{n:02}" for n in range(20)]
    asked.answers["cpu"] = asked.answers["mem"] = vector(*names)
    memory.take(asked.latest(T0), 86400.0, 1800.0)
    for cycle in range(1, 8):
        asked.answers["cpu"] = asked.answers["mem"] = vector(*names, "a", "b")
        memory.take(asked.latest(T0 + REFRESH * cycle), 86400.0, 1800.0)
        assert list(memory.window.servers) == names and memory.refused == 2


def test_history_takes_free_room_only(memory):
    here = tuple(f"z{n:02}" for n in range(18))
    memory.take(Reading(T0, here, ("p",) * 18, np.ones((18, 2), np.float32)), 86400.0, 1800.0)
    old = tuple(f"a{n:02}" for n in range(10))
    memory.window.fill(Readings(np.array([T0 - 600.0]), old, ("p",) * 10, np.ones((1, 10, 2), np.float32)))
    assert memory.window.servers == ("a00", "a01", *here)


# -- pages --------------------------------------------------------------------------------------------


@pytest.fixture
def scraped():
    with local_server(lambda request: request.answer(200, pages[0])) as server:
        pages, now = [b""], [float(T0)]
        signals = {"cpu": SimpleNamespace(metric="cpu", scale=1.0)}
        source = ScrapeSource([server.url], signals, 60.0, clock=lambda: now[0], limits=FEW, idle=30.0)
        source.pages, source.now = pages, now
        yield source
        source.close()


def page(*names: str) -> bytes:
    return "".join(f'cpu{{server="{name}"}} 1\n' for name in names).encode()


def test_lines_that_are_too_long_and_series_beyond_the_limit_cost_only_themselves(scraped):
    many = ",".join(f'l{n}=""' for n in range(100)).encode()
    scraped.pages[0] = b'cpu{server="long",' + many + b"} 1\n" + page("x" * 17, *(f"s{n:02}" for n in range(40)))
    scraped.scrape()
    said = "; ".join(scraped.describe()["targets"][0]["warnings"])
    assert "limits.labels_length are left out: 1" in said and "limits.name_length): 1" in said
    assert "limits.series are left out: 11" in said
    assert scraped.describe()["servers"] == FEW.servers and scraped.describe()["refused"] == 9
    assert scraped.latest(T0).refused == 9


def test_new_names_on_a_page_take_the_place_of_silent_ones(scraped):
    for cycle in range(8):
        scraped.now[0] = T0 + 5.0 * cycle
        scraped.pages[0] = page("good", *(f"j{cycle}.{n}" for n in range(15)))
        scraped.scrape()
        assert scraped.describe()["servers"] <= FEW.servers
        assert "good" in scraped.latest(scraped.now[0]).servers
    assert "j7.0" in scraped.latest(scraped.now[0]).servers
