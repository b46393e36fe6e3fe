"""What `make up` runs: every part of Fleetcast on one machine, started, watched and stopped together.

StackError
  AlreadyRunning   this stack runs already
  PortTaken        ports that other programs hold
  ProcfileError    a Procfile line that cannot be read
  HistoryFailed    the past days could not be written or loaded
  PartFailed       a part ended or was not ready in time
"""


class StackError(Exception):
    """Base of all errors that end the start of the stack; the message says what to do."""


class AlreadyRunning(StackError):
    """Another process runs the same stack."""


class PortTaken(StackError):
    """One or more ports are held by other programs."""


class ProcfileError(StackError):
    """The Procfile has a line that is neither empty, a comment nor `name: command`."""


class HistoryFailed(StackError):
    """The exporter's past days could not be written or loaded into Prometheus."""


class PartFailed(StackError):
    """A part of the stack ended by itself or was not ready in time."""
