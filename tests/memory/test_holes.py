"""What the window asks for again: columns that lack values which a store may have by now."""

import time

import numpy as np
import pytest

from forecaster.memory.again import Again
from forecaster.readings import Readings
from tests.memory.test_window import NAN, START, reading, stretch, window

NOW = START + 165.0  # of the twelfth and last column


def filled(**gone: slice):
    """A full window of db and web; keywords name what is missing: a signal, a server, or both, and in which columns."""
    ring = window()
    for k in range(12):
        values = {server: [k, 100.0 + k] for server in ("db", "web")}
        for name, columns in gone.items():
            if k in range(12)[columns]:
                for server in [name] if name in values else values:
                    for c, signal in enumerate(ring.signals):
                        if name in (server, signal):
                            values[server][c] = NAN
        ring.append(reading(START + 15 * k, **{server: tuple(value) for server, value in values.items()}))
    return ring


def test_a_full_window_has_no_holes():
    assert filled().holes(NOW) == [] and window().holes(NOW) == []


def test_a_column_that_a_signal_is_missing_in_is_a_hole_as_soon_as_the_signal_is_back():
    assert filled(cpu=slice(4, 6)).holes(NOW) == [(START + 60, START + 75)]
    assert filled(cpu=slice(10, None)).holes(NOW) == [], "while its query fails, its history is asked for in vain"
    assert filled(cpu=slice(0, 5), mem=slice(8, 9)).holes(NOW) == [(START, START + 60), (START + 120, START + 120)]
    assert filled(cpu=slice(None)).holes(NOW) == [], "a signal that never was is not missed"


def test_a_server_that_was_away_for_a_step_leaves_a_hole_and_a_shorter_silence_none():
    assert filled(web=slice(4, 8)).holes(NOW) == [(START + 60, START + 105)]
    assert filled(web=slice(4, 7)).holes(NOW) == []
    assert filled(web=slice(4, None)).holes(NOW) == [], "it is still away"
    assert filled(web=slice(0, 8)).holes(NOW) == [], "before its first value it may not have been there"


def test_stretches_that_were_empty_when_they_were_read_are_holes_once_there_are_values():
    ring = window()
    ring.fill(stretch([START + 15 * k for k in range(12)]))
    assert ring.gaps(NOW) == [] and ring.holes(NOW) == [], "nothing is known to be missing"
    ring.append(reading(NOW, web=(1, 1)))
    assert ring.holes(NOW) == [(START, START + 150)]


def test_a_hole_is_asked_for_at_once_and_then_after_pauses_that_double():
    again, columns, asked = Again(12), np.arange(1000, 1012), []
    for second in range(0, 7201, 15):
        if again.due(columns, second).all():
            again.asked(columns, np.full(12, True), second)
            asked.append(second // 60)
    assert asked == [0, 1, 3, 7, 15, 31, 63]


def test_an_unread_gap_is_asked_for_every_sixteen_minutes_at_the_latest():
    again, column, asked = Again(12), np.array([7]), []
    for minute in range(120):
        if again.due(column, 60.0 * minute).all():
            again.asked(column, np.array([False]), 60.0 * minute)
            asked.append(minute)
    assert asked == [0, 1, 3, 7, 15, 31, 47, 63, 79, 95, 111]


def test_of_a_window_only_what_is_due_is_asked_for_and_what_arrived_no_more():
    ring = filled(cpu=slice(4, 6))
    (hole,) = ring.holes(NOW)
    ring.fill(stretch([START + 60, START + 75], db=[(NAN, 1)] * 2))
    ring.asked(*hole, NOW)
    assert ring.holes(NOW) == [] and ring.holes(NOW - 1e6) == [], "not yet due, and out of the window"
    ring.append(reading(NOW + 60, db=(1, 1), web=(1, 1)))
    assert (START + 60, START + 75) in ring.holes(NOW + 60)
    ring.fill(stretch([START + 60, START + 75], db=[(1, 1)] * 2))
    assert ring.holes(NOW + 60) == []


def test_after_a_clock_was_set_back_nothing_waits_for_the_old_time():
    again, column = Again(12), np.array([7])
    again.asked(column, np.array([True]), 1e9)
    assert not again.due(column, 1e9 + 30).any() and again.due(column, 1e9 - 86400).all()


@pytest.mark.parametrize("span", [135.0, None])
def test_a_span_that_is_no_multiple_of_the_step_has_holes_too(span):
    ring = window(span=span)
    for k in range(12):
        ring.append(reading(START + 15 * k, web=(NAN, 1) if k == 8 else (1, 1)))
    assert ring.holes(NOW) == [(START + 120, START + 120)]


def test_holes_of_a_thousand_servers_are_found_in_milliseconds():
    ring = window(step=300.0, encoder_steps=24)
    values = np.ones((480, 1000, 2), np.float32)
    values[100:200, 3] = NAN
    instants = START + 15.0 * np.arange(480)
    ring.fill(Readings(instants, tuple(f"s{n:04}" for n in range(1000)), ("p",) * 1000, values))
    began = time.process_time()
    assert ring.holes(instants[-1]) == [(START + 1500, START + 2985)]
    assert time.process_time() - began < 0.1
