"""The access log: one JSON object a line for each request, on standard error."""

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime

_SHOWN = 200  # characters of what a client chooses


def write(client: str, method: str, path: str, status: int, size: int, seconds: float) -> None:
    """One line, of printable ASCII. path: as it was sent, without the query. A malformed request has none. Where it
    cannot be written, as on a full disk, the line is lost and the connection goes on."""
    line = json.dumps({
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"), "client": client, "method": method[:_SHOWN],
        "path": path[:_SHOWN], "status": status, "bytes": size, "seconds": round(seconds, 6)})
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
