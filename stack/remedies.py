"""Errors that end a command, on stderr; an error of the operating system gets its path and a remedy."""

import errno
import os
import sys
from pathlib import Path

from serving.shown import say
from stack import StackError

_REMEDIES = {
    errno.ENOTDIR: "move the file that is in place of the folder",
    errno.EEXIST: "move the file that is in place of the folder",
    errno.EISDIR: "move the folder that is in place of the file",
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "free some space, because your quota is used up",
    errno.EACCES: "allow your user to read and write there, e.g. with chown or chmod",
    errno.EPERM: "allow your user to read and write there, e.g. with chown or chmod",
    errno.EROFS: "make it writable, or use a copy of the repository on another disk",
    errno.ENOENT: "restore it (`git status` lists missing files, `make venv tools` installs programs)",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
}
_OTHERWISE = "correct the problem"


def explain(error: OSError, otherwise: Path) -> str:
    """The path, the problem and the remedy in one line. `otherwise`: the path if the error has none."""
    where = otherwise if error.filename is None else os.fsdecode(error.filename)
    problem = error.strerror or str(error) or type(error).__name__
    return f"{where}: {problem}; {_REMEDIES.get(error.errno or 0, _OTHERWISE)}, then start again"


def report(error: StackError | OSError, path: Path, when: str = "") -> int:
    """Prints an error and returns the exit code 1; `path` is as `otherwise` in explain()."""
    say(f"stack: {when}{explain(error, path) if isinstance(error, OSError) else error}", sys.stderr)
    return 1
