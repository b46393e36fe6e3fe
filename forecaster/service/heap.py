"""Keeps the process small: free memory goes back to the system, and threads share what the C library keeps."""

import ctypes
import gc
import os
from typing import Any

_ARENA_MAX = -8  # M_ARENA_MAX of mallopt(3)
_ARENAS = 2


def few_arenas() -> None:
    """Lets all threads share two arenas where the C library has them (glibc), by default eight for each core: each
    one keeps the holes that large answers leave in it. To be called before threads are started. MALLOC_ARENA_MAX in
    the environment counts more."""
    if "MALLOC_ARENA_MAX" not in os.environ and (option := _of_libc("mallopt")) is not None:
        option(_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Collects what only refers to itself, as closed parts do, and returns free pages to the system where the C library
    offers that (glibc). Worth calling after a start or a reload: after a model was compiled these are 50 MiB."""
    gc.collect()
    if (trim := _of_libc("malloc_trim")) is not None:
        trim(0)


def _of_libc(name: str) -> Any:
    """A function of the C library; None where it has none of that name."""
    return getattr(ctypes.CDLL(None), name, None)
