import numpy as np
import pytest

from forecaster.readings import Labels, SourceNonsense
from forecaster.sources.naming import Named, Roster

NAMES = Labels("host", "role", "generic")


def named(*labels: dict) -> Named:
    return Named.of(labels, NAMES, "signal x")


def test_a_roster_is_all_signals_servers_sorted_each_with_its_values():
    cpu = named({"host": "b", "role": "web"}, {"host": "a"})
    mem = named({"host": "c", "role": "db"}, {"host": "b", "role": "front"}, {"host": "a", "role": "db"})
    roster = Roster.of([cpu, mem], NAMES)
    assert roster.servers == ("a", "b", "c")
    assert roster.profiles == ("db", "web", "db"), "the first signal that names one"
    values = roster.values([np.array([1, 2], np.float32), np.array([3, 4, 5], np.float32)])
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, [[2, 5], [1, 4], [np.nan, 3]])
    assert roster.holds([cpu, mem]) and not roster.holds([mem, cpu])


def test_a_server_with_several_series_is_known_but_has_no_value():
    doubled = named({"host": "a", "disk": "x"}, {"host": "b"}, {"host": "a", "disk": "y"}, {"host": "a", "disk": "z"})
    roster = Roster.of([doubled], NAMES)
    assert roster.servers == ("a", "b") and list(doubled.doubled) == ["a"]
    assert "'disk': 'x'" in str(doubled.doubled["a"]) and "'disk': 'y'" in str(doubled.doubled["a"])
    np.testing.assert_array_equal(roster.values([np.arange(4, dtype=np.float32)]), [[np.nan], [1]])


def test_a_series_without_a_server_is_an_error_that_says_where():
    with pytest.raises(SourceNonsense, match="signal x: a series has no label 'host'"):
        named({"server": "a"})


def test_no_signal_with_series_is_a_roster_of_nobody():
    roster = Roster.of([named(), named()], NAMES)
    assert roster.servers == () and roster.values([np.empty(0), np.empty(0)]).shape == (0, 2)
