import threading
import time

from forecaster.sources.crew import gather


def test_results_come_in_order_and_errors_are_returned():
    def call(n: int) -> int:
        if n == 1:
            raise OSError("no")
        return n

    results = gather([lambda n=n: call(n) for n in range(5)], 2, 5)
    assert [r if isinstance(r, int) else str(r) for r in results] == [0, "no", 2, 3, 4]
    assert gather([], 2, 5) == []


def test_as_many_calls_run_at_once_as_there_are_workers():
    barrier = threading.Barrier(3)
    assert sorted(gather([lambda: barrier.wait(5)] * 3, 3, 5)) == [0, 1, 2]
    running, most, lock = [0], [0], threading.Lock()

    def call() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.01)
        with lock:
            running[0] -= 1

    gather([call] * 9, 3, 5)
    assert most[0] <= 3


def test_a_call_that_hangs_delays_neither_the_caller_nor_the_next_round():
    released, before = threading.Event(), threading.active_count()
    began = time.monotonic()
    try:
        results = gather([lambda: released.wait(20), lambda: "there"], 2, 0.2)
        assert isinstance(results[0], TimeoutError) and "within 0.2s" in str(results[0]) and results[1] == "there"
        hanging = [lambda: released.wait(20)] * 2
        assert all(isinstance(result, TimeoutError) for result in gather(hanging, 2, 0.2))
        assert gather([lambda: 1, lambda: 2, lambda: 3], 2, 5) == [1, 2, 3]
        assert time.monotonic() - began < 2
    finally:
        released.set()
    assert gone(before)


def test_calls_not_begun_by_the_deadline_are_never_begun():
    begun, released, before = [], threading.Event(), threading.active_count()
    gather([lambda: released.wait(20), lambda: begun.append(1)], 1, 0.05)
    released.set()
    assert gone(before) and begun == []


def gone(most: int) -> bool:
    """Whether no more than `most` threads are left, in a moment."""
    until = time.monotonic() + 5
    while threading.active_count() > most and time.monotonic() < until:
        time.sleep(0.01)
    return threading.active_count() <= most
