"""Text from outside, as people see it: on a terminal, in a log, in the answer to a wrong request.

A label, a file or another service's message may hold characters that clear a screen, begin a line or turn the
direction of writing. They are shown as a Python string shows them: ESC as \\x1b, a new line as \\n.
"""

import logging
import sys
from typing import TextIO

QUOTED = 200  # characters that a message quotes of what was given
_LONGEST = 8000  # characters of a line in the log; the names of a few hundred servers


def shown(text: str) -> str:
    """The text on one line, with each character that cannot be printed (str.isprintable) escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def cut(text: str, most: int = QUOTED) -> str:
    """The text, with ... in place of what is longer than `most` characters."""
    return text if len(text) <= most else f"{text[:most - 3]}..."


def quoted(given: object, most: int = QUOTED) -> str:
    """What was given, as repr has it, with at most so many characters."""
    try:
        return cut(shown(repr(given[:most] if isinstance(given, str) and len(given) > most else given)), most)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a number of thousands of digits"
    except RecursionError:
        return "values nested without end"


def say(text: str, file: TextIO | None = None) -> None:
    """Prints lines of ours, in which text from outside may stand. `file`: standard output where not given."""
    for line in text.split("\n"):
        print(shown(line), file=file, flush=True)


class LogFormatter(logging.Formatter):
    """A record is one line that begins with its time; the lines of a traceback are indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return cut(shown(super().formatMessage(record)), _LONGEST)

    # the type of the standard library's stubs is private
    def formatException(self, ei) -> str:  # type: ignore[no-untyped-def]
        return "\n".join(f"    {cut(shown(line), _LONGEST)}" for line in super().formatException(ei).split("\n"))


def log_to_stderr() -> None:
    """Logs to standard error from level INFO on; to be called once, at the start of a command."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
