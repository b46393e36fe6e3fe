"""Gives memory back to the system after a start or a reload."""

import ctypes
import gc


def give_back() -> None:
    """Collects what only refers to itself, as closed parts do, and returns free pages to the system where the C library
    offers that (glibc). After a model was compiled these are 50 MiB."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
