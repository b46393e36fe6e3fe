"""One exporter of the season's fleet: `python exporter.py PORT FILE NAME` serves what FILE says of the servers of NAME.

It runs as a program of its own so that it can be killed, and uses the standard library only so that it starts at once.
"""

import json
import random
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SIGNALS = ("cpu_pct", "mem_pct", "latency_ms")


def page(state: dict, exporter: str, draw: random.Random) -> str:
    """The text of /metrics: silent servers and, at random, a share of the samples are missing; the factor of a refused
    signal is there twice, so that Prometheus refuses the query."""
    lines = []
    for signal in SIGNALS:
        for name, server in state["servers"].items():
            if server["exporter"] != exporter or server["silent"] or draw.random() < state["holes"]:
                continue
            lines.append(f'season_{signal}{{server="{name}",profile="web"}} {server[signal] + draw.random():.3f}')
            for copy in (1, 2)[:2 if signal in state["refused"] else 1]:
                lines.append(f'season_{signal}_factor{{server="{name}",copy="{copy}"}} 1')
    return "\n".join([*sorted(lines), ""])


def main(port: int, file: Path, exporter: str) -> None:
    """Serves until it is killed."""
    draw = random.Random(exporter)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = page(json.loads(file.read_text()), exporter, draw).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
