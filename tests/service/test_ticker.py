"""The beat: a tick at once, one at every whole refresh, and none after the end."""

import threading
import time

from forecaster.service.ticker import Ticker


def test_the_thread_ticks_until_told_to_end():
    ticked = threading.Event()
    ticker = Ticker(ticked.set, 0.01, time.time)
    ticker.start()
    assert ticked.wait(30)
    ticker.stopping.set()
    assert ticker.join(10)


def test_one_told_to_end_before_it_began_never_ticks():
    ticks = []
    ticker = Ticker(lambda: ticks.append(1), 0.01, time.time)
    ticker.stopping.set()
    ticker.start()
    assert ticker.join(10) and not ticks


def test_an_error_of_a_tick_ends_neither_the_thread_nor_the_beat():
    ticks = threading.Semaphore(0)

    def broken():
        ticks.release()
        raise ZeroDivisionError

    ticker = Ticker(broken, 0.01, time.time)
    ticker.start()
    assert all(ticks.acquire(timeout=30) for _ in range(2))
    ticker.stopping.set()
    assert ticker.join(10)


def test_one_that_waits_for_another_begins_after_its_first_tick():
    order, may = [], threading.Event()
    first = Ticker(lambda: (may.wait(30), order.append("first")), 60.0, time.time)
    second = Ticker(lambda: order.append("second"), 60.0, time.time)
    second.start(after=first.ticked)
    first.start()
    assert not first.ticked.is_set() and order == []
    may.set()
    assert second.ticked.wait(30) and order == ["first", "second"]
    for ticker in (first, second):
        ticker.stopping.set()
        assert ticker.join(10)
