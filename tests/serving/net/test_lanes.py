"""Threads that answer, by path, and the bound on what waits for one."""

import threading

from serving.net.lanes import Lanes


def test_remote_reads_run_four_at_once_and_those_beyond_the_waiting_ones_are_refused_while_pages_go_on():
    lanes, leave, running = Lanes(), threading.Event(), threading.Semaphore(0)

    def held() -> bool:
        running.release()
        return leave.wait(20)

    reads = [lanes.of("/api/v1/read").submit(held) for _ in range(4 + 32)]
    assert all(running.acquire(timeout=20) for _ in range(4)) and not running.acquire(blocking=False)
    assert lanes.of("/api/v1/read").submit(held) is None
    assert lanes.of("/status").submit(lambda: "a page").result(20) == "a page"
    leave.set()
    assert all(read.result(20) for read in reads)
