"""What the C library keeps for threads."""

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


def test_threads_share_two_arenas_where_they_would_have_one_each():
    def arenas(which: str) -> int:
        done = subprocess.run([sys.executable, "-c", THREADS, which], capture_output=True, text=True, check=True)
        return len(re.findall(r"^Arena \d+:", done.stderr, re.MULTILINE))

    assert arenas("few") <= 2 < arenas("many")
