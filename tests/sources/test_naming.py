import numpy as np

from forecaster.readings import Labels
from forecaster.sources.naming import Named, Roster

NAMES = Labels("host", "role", "generic")


def named(*labels: dict) -> Named:
    return Named.of(labels, NAMES)


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


def test_of_several_series_of_a_server_the_largest_value_counts_and_the_pair_is_told():
    doubled = named({"host": "a", "disk": "x"}, {"host": "b"}, {"host": "a", "disk": "y"}, {"host": "a", "disk": "z"})
    roster = Roster.of([doubled], NAMES)
    assert roster.servers == ("a", "b") and doubled.notes.left_out == 0
    (text,) = doubled.notes.texts().values()
    assert "largest value counts" in text and "max by (host, role)" in text and text.count("'a' has") == 1
    assert "'disk': 'x'" in text and ": 1, for example" in text
    nan = np.nan
    for values, largest in (([3, 1, 5, 4], 5), ([3, 1, nan, 4], 4), ([nan, 1, nan, -2], -2), ([nan, 1, nan, nan], nan)):
        np.testing.assert_array_equal(roster.values([np.array(values, np.float32)]), [[largest], [1]])


def test_a_series_without_a_server_belongs_to_none_and_is_counted_with_an_example():
    one = named({"server": "a"}, {"host": "b"}, {"host": ""})
    assert list(one.places) == ["b"] and one.notes.left_out == 2
    (text,) = one.notes.texts().values()
    assert text.startswith("series without the label 'host' are left out")
    assert ": 2, for example {'server': 'a'}" in text


def test_no_signal_with_series_is_a_roster_of_nobody():
    roster = Roster.of([named(), named()], NAMES)
    assert roster.servers == () and roster.values([np.empty(0), np.empty(0)]).shape == (0, 2)
