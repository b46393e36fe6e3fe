"""What `make up` runs: all parts of Fleetcast on one machine, started, watched and stopped together.

In: the Procfile and the programs of this machine. Out: running parts with history, and the addresses of their pages.

    up          the command: prepares, starts, watches, stops
    layout      files and ports
    parts       the Procfile and the programs of this machine to parts
    preflight   ports in use and who holds them
    history     the past days, loaded into Prometheus
    secure      TLS and a login for every part: `make up SECURE=1`
    compose     the same for containers: deploy/compose/secure.yml
    certificates  an authority, and a certificate that it signs
    runner      the parts under supervisor
    leftovers   ends the parts of a supervisord that was killed
    ready       waits until the parts are ready, prints the addresses
    remedies    errors with their remedies
    pager       receives the webhooks of Alertmanager, prints and shows alerts
    webhook     the body of such a webhook
    conversation  what was said of an alert from its begin to its end
    open_alerts which alerts fire and which ended, and what is news about them
    kept        the newest of what comes, within bounds
    notices     the lines that are printed of a notification
    heartbeat   the watchdogs of the fleets, and which are missing
    page_view   the pager's page for people

StackError
  AlreadyRunning   this stack is already running
  PortTaken        ports in use
  ProcfileError    an invalid line of the Procfile
  HistoryFailed    the past days could not be written or loaded
  PartFailed       a part ended or was not ready in time
"""


class StackError(Exception):
    """Base of the errors that end the stack; the message says what to do."""


class AlreadyRunning(StackError):
    """Another process runs this stack."""


class PortTaken(StackError):
    """Other programs use one or more of the ports."""


class ProcfileError(StackError):
    """A line of the Procfile is not empty, a comment or `name: command`."""


class HistoryFailed(StackError):
    """The exporter's past days could not be written or loaded into Prometheus."""


class PartFailed(StackError):
    """A part of the stack ended by itself or was not ready in time."""
