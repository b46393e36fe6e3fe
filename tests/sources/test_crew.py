import threading
import time

from forecaster.sources.crew import Crew


def test_results_come_in_order_and_errors_are_handed_over():
    crew = Crew(2)

    def call(n: int):
        if n == 1:
            raise OSError("no")
        return n

    results = crew.gather([lambda n=n: call(n) for n in range(5)], 5)
    assert [r if isinstance(r, int) else str(r) for r in results] == [0, "no", 2, 3, 4]
    assert crew.gather([], 5) == []
    crew.close()


def test_threads_stay_for_the_next_calls_and_end_when_closed():
    crew, used, before = Crew(3), [], threading.active_count()
    for _ in range(20):
        barrier = threading.Barrier(3)
        crew.gather([lambda b=barrier: (b.wait(5), used.append(threading.get_ident()))] * 3, 5)
        until = time.monotonic() + 5
        while len(crew._idle) < 3 and time.monotonic() < until:
            time.sleep(0.001)
    assert len(set(used)) == 3 and threading.active_count() == before + 3
    crew.close()
    assert gone(before)


def test_what_hangs_delays_nobody_and_others_take_its_place():
    crew, released, before = Crew(2), threading.Event(), threading.active_count()
    began = time.monotonic()
    results = crew.gather([lambda: released.wait(20), lambda: "there"], 0.2)
    assert isinstance(results[0], TimeoutError) and "within 0.2s" in str(results[0]) and results[1] == "there"
    assert crew.gather([lambda: 1, lambda: 2, lambda: 3], 5) == [1, 2, 3]
    assert time.monotonic() - began < 2
    released.set()
    assert gone(before + 2), "no more threads wait than there is work for"
    crew.close()
    assert gone(before)


def test_a_deadline_may_have_begun_before():
    crew, released = Crew(1), threading.Event()
    (result,) = crew.gather([lambda: released.wait(20)], 10, since=time.monotonic() - 9.9)
    assert isinstance(result, TimeoutError) and "within 10s" in str(result)
    released.set()
    crew.close()


def test_calls_nobody_waits_for_any_more_are_not_begun():
    crew, begun, released, before = Crew(1), [], threading.Event(), threading.active_count()
    crew.gather([lambda: released.wait(20), lambda: begun.append(1)], 0.05)
    released.set()
    assert crew.gather([lambda: "next"], 5) == ["next"]
    crew.close()
    assert gone(before) and begun == []


def gone(most: int) -> bool:
    """Whether no more than so many threads are left, in a moment."""
    until = time.monotonic() + 5
    while threading.active_count() > most and time.monotonic() < until:
        time.sleep(0.01)
    return threading.active_count() <= most
