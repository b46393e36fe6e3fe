"""Writes the configuration of docker-compose.yml, that of `make up` with its own addresses:

    python deploy/compose/addresses.py

A service is reached by its name in place of 127.0.0.1. Series keep the labels that they have with `make up`, and so the
links in alerts lead to the ports that docker-compose.yml publishes.
"""

import re
from pathlib import Path

from stack.layout import PORTS, ROOT

FOLDER = Path(__file__).resolve().parent
SOURCES = {  # by file in this folder
    "prometheus.yml": "prometheus/prometheus.yml",
    "alertmanager.yml": "prometheus/alertmanager.yml",
    "targets/node.yml": "stack/targets/node.yml",
    "targets/forecaster-node.yml": "stack/targets/forecaster-node.yml",
    "datasources/fleetcast.yml": "grafana/provisioning/datasources/fleetcast.yml",
}
_NAMES = {port: name for name, port in PORTS.items()}
_TARGETS = re.compile(r'^( *)- targets: \["(127\.0\.0\.1:\d+)"\].*$', re.MULTILINE)
_ADDRESS = re.compile(r"127\.0\.0\.1:(\d+)")


def files() -> dict[str, str]:
    """Text by file in this folder."""
    return {name: _made(source) for name, source in SOURCES.items()}


def _made(source: str) -> str:
    text = (ROOT / source).read_text()
    if source.endswith("prometheus.yml"):
        before, heading, scrapes = text.partition("scrape_configs:")
        text = _named(before) + heading + _scraped(scrapes).replace("[fleet, __address__]", "[fleet, instance]")
    else:
        text = _scraped(text) if "targets/" in source else _named(text)
    return f"# Made from {source} by deploy/compose/addresses.py.\n{text}"


def _scraped(text: str) -> str:
    """Targets by name, with the address of `make up` as their instance."""
    labelled = _TARGETS.sub(r'\g<0>\n\1  labels: {instance: "\2"}', text)
    return "\n".join(line if "labels: {instance" in line else _named(line) for line in labelled.split("\n"))


def _named(text: str) -> str:
    return _ADDRESS.sub(lambda found: f"{_NAMES[int(found[1])]}:{found[1]}", text)


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(text)
