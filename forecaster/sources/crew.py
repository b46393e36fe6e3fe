"""Several calls at once under one deadline."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")


def gather(calls: Sequence[Callable[[], T]], workers: int, limit: float) -> list[T | Exception]:
    """Results in the order of `calls`, at most `workers` of which run at once.

    The result is the exception of a call that raised, and TimeoutError for one not done within `limit` seconds. A call
    not begun by then is never begun; one that hangs is not waited for. Every round has threads of its own, so that a
    call that hangs takes none from the next round. Only the exit of the interpreter waits for such calls, until their
    own timeouts; a service leaves by os._exit (see serving.net.runner) and does not.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="fetch")
    futures = [pool.submit(_outcome, call) for call in calls]
    done, _ = wait(futures, limit)
    pool.shutdown(wait=False, cancel_futures=True)
    late = TimeoutError(f"no answer within {limit:g}s")
    return [future.result() if future in done else late for future in futures]


def _outcome(call: Callable[[], T]) -> T | Exception:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - the caller decides what it means
        return error
