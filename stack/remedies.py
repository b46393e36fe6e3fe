"""What a person does about an error of the operating system, in one line."""

import errno
import os
from pathlib import Path

_REMEDIES = {
    errno.ENOTDIR: "a file is where a folder is needed: move it away",
    errno.EEXIST: "a file is where a folder is needed: move it away",
    errno.EISDIR: "a folder is where a file is needed: move it away",
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "free some space: your quota there is used up",
    errno.EACCES: "give yourself the right to read and write there, e.g. with chown or chmod",
    errno.EPERM: "give yourself the right to read and write there, e.g. with chown or chmod",
    errno.EROFS: "make it writable, or use a copy of the repository on another disk",
    errno.ENOENT: "put it where it is expected: `git status` shows what is missing, `make venv tools` gets programs",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
}
_OTHERWISE = "repair that"


def explain(error: OSError, otherwise: Path) -> str:
    """The path, the problem and the remedy. `otherwise`: the path where the error does not know one, as when a write
    fails."""
    where = otherwise if error.filename is None else os.fsdecode(error.filename)
    problem = error.strerror or str(error) or type(error).__name__
    return f"{where}: {problem}; {_REMEDIES.get(error.errno, _OTHERWISE)}, then start again"
