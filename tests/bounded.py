"""Runs a piece of code in a process of its own whose memory is bounded, and measures what it takes."""

import json
import subprocess
import sys
import textwrap
from typing import NamedTuple

ADDRESSES = 4 << 30  # bytes of address space; a piece of code that needs more ends with an error


class Measured(NamedTuple):
    seconds: float  # of processor time
    mebibytes: float  # by which the process grew at most
    said: object  # what `said` is after the code, through JSON
    output: str


def measured(before: str, code: str, timeout: float = 60) -> Measured:
    """Runs `before`, then measures `code`; AssertionError with the output where the process fails."""
    program = "\n".join([
        "import json, resource, sys, time",
        f"resource.setrlimit(resource.RLIMIT_AS, ({ADDRESSES}, {ADDRESSES}))",
        "said = None", textwrap.dedent(before),
        "_peak, _start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()",
        textwrap.dedent(code),
        "_took = time.process_time() - _start",
        "_grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - _peak) / 1024",
        r"sys.stdout.write('\n' + json.dumps([_took, _grown, said]))"])
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    output, _, figures = done.stdout.rpartition("\n")
    return Measured(*json.loads(figures), output + done.stderr)
