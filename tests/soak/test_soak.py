"""What a soak makes of its samples: the table, what is too much, and the draw of the faults."""

import os
import random
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.soak.faults import Fault, drawn
from tests.soak.processes import Usage, usage
from tests.soak.table import judged, rows, text
from tests.soak.watch import Sample


def life(pid: int = 1, seconds: int = 1800, start: int = 0, **per_hour: float) -> list[Sample]:
    """A sample every 5 s of a process with 10 threads, 20 descriptors and 100 MB at its start."""
    first = {"threads": 10, "descriptors": 20, "megabytes": 100.0}
    return [Sample(start + at, pid, Usage(**{name: value + at / 3600 * per_hour.get(name, 0.0)
                                             for name, value in first.items()})) for at in range(0, seconds, 5)]


def test_a_process_that_stays_as_it_is_has_no_slope_and_nothing_is_said():
    table = rows({"pager": life()})
    assert [(row.figure, row.start, row.end, row.largest, row.lives) for row in table] == [
        ("threads", 10, 10, 10, 1), ("descriptors", 20, 20, 20, 1), ("megabytes", 100, 100, 100, 1)]
    assert all(abs(row.slope) < 1e-6 for row in table) and judged(table) == []


@pytest.mark.parametrize(("figure", "per_hour", "words"), [
    ("threads", 40, "pager: threads from"), ("descriptors", 120, "pager: descriptors from"),
    ("megabytes", 90, "MB per hour over"), ("megabytes", 900, "expected at most 300 MB"),
])
def test_what_grows_is_told_with_its_slope(figure, per_hour, words):
    table = rows({"pager": life(**{figure: per_hour})})
    row = next(row for row in table if row.figure == figure)
    assert row.slope == pytest.approx(per_hour) and row.end > row.start
    assert any(words in told for told in judged(table))


def test_a_forecaster_may_grow_with_the_servers_that_it_holds():
    grown = life(megabytes=90)
    assert judged(rows({"forecaster": grown}))
    more = [replace(one, servers=20 + 60 * (one.at > 600)) for one in grown]
    assert judged(rows({"forecaster": more})) == []


def test_the_first_minute_of_a_life_does_not_count():
    started = [Sample(at, 1, Usage(1, 1, 10.0)) for at in range(0, 60, 5)]
    later = [Sample(at, 1, Usage(30, 90, 200.0)) for at in range(60, 1800, 5)]
    assert judged(rows({"pager": started + later})) == []


def test_the_longest_of_several_lives_counts_and_they_are_counted():
    table = rows({"pager": [*life(1, 300), *life(2, 1800, 300, threads=40), *life(3, 100, 2100)]})
    assert {row.lives for row in table} == {3} and table[0].seconds == pytest.approx(1735)
    assert len(judged(table)) == 1


def test_of_a_process_that_was_hardly_seen_nothing_is_said():
    assert rows({"pager": life(seconds=15)}) == []


def test_the_table_has_a_line_for_each_figure():
    assert len(text(rows({"pager": life(), "exporter": life()})).splitlines()) == 7


def test_every_fault_comes_once_before_one_comes_again_and_the_seed_decides_the_order():
    possible = [Fault(str(n), lambda world: lambda: None) for n in range(9)]

    def names(seed: int) -> list[str]:
        draw = drawn(possible, random.Random(seed))
        return [next(draw).name for _ in range(18)]

    assert sorted(names(1)[:9]) == sorted(names(1)[9:]) == [str(n) for n in range(9)]
    assert names(1) == names(1) != names(2)


def test_usage_counts_a_process_with_those_that_it_started_and_none_where_there_is_none():
    alone = usage(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        both, its = usage(os.getpid()), usage(child.pid)
        child.communicate(b"\n")
    assert alone and both and its and its.threads >= 1
    assert both.threads >= alone.threads + its.threads
    assert usage(child.pid) is None
