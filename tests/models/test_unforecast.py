"""Which servers are named as not forecast, and the reason."""

import numpy as np

from forecaster.config import load_config
from forecaster.memory.memory import Memory
from forecaster.memory.window import Window
from forecaster.models.forecast import add_trend, nothing
from forecaster.models.unforecast import unforecast
from forecaster.readings import Reading

SIGNALS = load_config("fleet").signals
NOW = 1_760_000_100.0


def reading(instant: float, up=None, **of_servers: float) -> Reading:
    """Every signal of these servers has the value."""
    values = np.array([[value] * len(SIGNALS) for value in of_servers.values()], np.float32)
    servers = tuple(of_servers)
    return Reading(instant, servers, ("generic",) * len(servers), values.reshape(-1, len(SIGNALS)), up=up)


def reasons(*readings: Reading, stale_after: float = 1800.0, encoder_steps: int = 24) -> dict[str, str]:
    """By the trend forecast after these readings."""
    window = Window(tuple(SIGNALS), 15.0, 300.0, encoder_steps)
    memory = Memory(window, None, None, None, {})
    for one in readings:
        memory.take(one, 86400.0, 1800.0)
    present = memory.present(NOW, 150, stale_after)
    made = nothing(present)
    add_trend(made, present, SIGNALS)
    assert not {*window.servers} - {server for one in readings for server in one.servers}
    return unforecast(made, present, readings[-1])


def test_a_server_that_is_up_and_never_had_a_value_is_named_and_takes_no_memory():
    assert reasons(reading(NOW, ("linux01", "win01"), linux01=30.0)) == {"win01": "no_values"}


def test_a_server_whose_only_values_are_no_numbers_is_told_from_one_that_has_no_series():
    found = reasons(reading(NOW, ("linux01", "odd01", "win01"), linux01=30.0, odd01=np.nan))
    assert found == {"odd01": "unusable_values", "win01": "no_values"}


def test_a_server_that_falls_silent_is_stale_whether_it_is_up_or_not():
    before = reading(NOW - 1815, a=30.0, b=30.0, c=30.0)
    assert reasons(before, reading(NOW, ("a", "c"), c=30.0)) == {"a": "stale", "b": "stale"}


def test_a_server_that_is_not_stale_and_has_no_value_in_the_encoder_has_no_values():
    before = reading(NOW - 1200, a=30.0)
    assert reasons(before, reading(NOW, b=30.0), encoder_steps=2) == {"a": "no_values"}


def test_a_server_that_is_no_longer_up_is_no_longer_named():
    before = reading(NOW - 15, ("linux01", "win01"), linux01=30.0)
    assert reasons(before, reading(NOW, ("linux01",), linux01=30.0)) == {}


def test_where_the_source_knows_nothing_of_scrapes_only_known_servers_are_named():
    assert reasons(reading(NOW, None, linux01=30.0)) == {}
