"""What counts as a finding: an exception, no answer in time, memory beyond a limit, or what a kind of input says."""

import resource
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from stack.layout import ROOT

PATIENCE = 120.0  # s until an input that is not done counts as hanging; a busy machine took 30 for 7 of processor time
ADDRESSES = 4 << 30  # bytes of address space that one input may add
PRODUCT = ("serving", "exporter", "forecaster", "stack")
_SELF = Path("/proc/self")


class Wrong(AssertionError):
    """Something that a kind of input found wrong, in words."""


class Hangs(BaseException):
    """Not done in time; no `except Exception` may keep it."""


def check(fine: object, words: str) -> None:
    """Wrong with these words unless `fine`."""
    if not fine:
        raise Wrong(words)


def judged(run: Callable[[bytes], None], given: bytes, seconds: float, megabytes: float) -> str | None:
    """What is wrong with how `run` takes this input, in one line without addresses or numbers of its own; None if
    nothing is. `seconds` of processor time and `megabytes` beyond those in use before are allowed."""
    before, started = _start_of_peak(), time.process_time()
    try:
        with _limits():
            run(given)
    except Wrong as error:
        return str(error)
    except Hangs as error:
        return f"no answer within {PATIENCE:g} s {_place(error)}"
    except Exception as error:  # noqa: BLE001  whatever it is, it is what is looked for
        return f"{type(error).__name__} {_place(error)}: {str(error)[:120]}"
    spent, more = time.process_time() - started, (_status("VmHWM") - before) / 1024
    if spent > seconds:
        return f"takes more than {seconds:g} s of processor time"
    return f"takes more than {megabytes:g} MB" if more > megabytes else None


def _place(error: BaseException) -> str:
    """Where it was raised: the innermost place of the product, or of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)
           and Path(frame.filename).relative_to(ROOT).parts[0] in PRODUCT]
    last = (own or frames)[-1]
    return f"at {'/'.join(Path(last.filename).parts[-2:])} in {last.name}"


@contextmanager
def _limits() -> Iterator[None]:
    """Bounds address space and, in the main thread, time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") * 1024 + ADDRESSES, hard))
    main = threading.current_thread() is threading.main_thread()

    def end(number: int, frame: FrameType | None) -> None:
        raise Hangs

    earlier = signal.signal(signal.SIGALRM, end) if main else None
    if main:
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        if main:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, earlier)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _start_of_peak() -> int:
    """Memory in use (KiB); the peak counts from now on."""
    with suppress(OSError):  # proc(5), clear_refs: 5 resets the peak
        (_SELF / "clear_refs").write_text("5")
    return _status("VmRSS")


def _status(field: str) -> int:
    """A figure of /proc/self/status, in KiB."""
    for line in (_SELF / "status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    return 0
