"""The audit log: who asked to change what, when, and what was answered; one JSON object a line."""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from flask import Request
from werkzeug.exceptions import HTTPException

log = logging.getLogger(__name__)

_SHOWN = 200  # characters of the body, which a client chooses


class AuditLog:
    """Appends to a file, or with "-" writes to standard output. The file is opened for each line, so that it can be
    rotated. clock: Unix seconds."""

    def __init__(self, path: str, service: str, clock: Callable[[], float]):
        self._path, self._service, self._clock = path, service, clock

    def write(self, who: str, request: Request, status: int) -> None:
        """One line; a log that cannot be written is an error in the service's own log, and the answer goes out."""
        try:
            body = request.get_data(as_text=True)[:_SHOWN]
        except HTTPException:  # it is too large
            body = ""
        line = json.dumps({  # characters that a terminal acts on are escaped, as all beyond printable ASCII
            "time": datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds"),
            "service": self._service, "who": who, "address": request.remote_addr, "method": request.method,
            "path": request.path[:_SHOWN], "status": status, "body": body})
        try:
            if self._path == "-":
                print(line, file=sys.stdout, flush=True)
            else:
                with open(self._path, "a", encoding="ascii") as file:
                    file.write(f"{line}\n")
        except OSError as error:
            log.error("audit log %s cannot be written (%s): %s", self._path, error.strerror or error, line)
