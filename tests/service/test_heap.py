"""What the C library keeps for threads."""

import os
import re
import subprocess
import sys

THREADS = """
import ctypes, sys, threading
from forecaster.service.heap import few_arenas
if sys.argv[1] == "few":
    few_arenas()
meet = threading.Barrier(9)
def hold():
    held = [bytes(2000) for _ in range(50)]
    meet.wait()
    meet.wait()
for _ in range(8):
    threading.Thread(target=hold).start()
meet.wait()
ctypes.CDLL(None).malloc_stats()
meet.wait()
"""


def arenas(which: str, **environment: str) -> int:
    inherited = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    done = subprocess.run([sys.executable, "-c", THREADS, which], env=inherited | environment, capture_output=True,
                          text=True, check=True)
    return len(re.findall(r"^Arena \d+:", done.stderr, re.MULTILINE))


def test_threads_share_two_arenas_where_they_would_have_one_each():
    assert arenas("few") <= 2 < arenas("many")


def test_an_operator_may_give_more_arenas():
    assert arenas("few", MALLOC_ARENA_MAX="5") == 5
