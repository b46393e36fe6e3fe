"""Plans the parts of the stack from the Procfile and the programs on this machine."""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from stack import ProcfileError
from stack.layout import Layout

_LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(\S.*)")
_READY = {"node-exporter": "/", "grafana": "/api/health"}
_TARGETS = {"node-exporter": "node.yml", "forecaster-node": "forecaster-node.yml"}
_LINKED = ("prometheus", "alertmanager")  # write their own address into alerts, which is http:// unless they are told
# the parts with a page of ours or of Grafana, as the foot of the pages calls them; Prometheus and Alertmanager are left
# out, as the packages of some distributions have no pages of theirs
_TITLES = {"exporter": "Simulated fleet", "forecaster": "Forecasts of the fleet",
           "forecaster-node": "Forecasts of this machine", "pager": "Pager", "grafana": "Grafana"}
_LINKING = ("exporter", "forecaster", "forecaster-node", "pager")
WEB_CONFIG = "web.yml"  # in the secure folder: TLS and users of every part
ALERTMANAGER = "--alertmanager.url"
BOOTSTRAP = "history.om"  # in the data folder: the history that the forecaster reads if there is no Prometheus


@dataclass(frozen=True)
class Part:
    """A process of the stack: its command, its port and the path that answers 200 once it is ready."""

    name: str
    command: tuple[str, ...]
    port: int
    ready: str


@dataclass(frozen=True)
class Plan:
    """The parts that will run, and a note for each one that will not."""

    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    embedded: bool  # without Prometheus: the forecaster scrapes the exporter

    def names(self) -> frozenset[str]:
        """The names of the parts."""
        return frozenset(part.name for part in self.parts)


def read_procfile(text: str) -> dict[str, tuple[str, ...]]:
    """Command words by part name; ProcfileError names the invalid line."""
    commands: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None or found[1] in commands:
            problem = "expected `name: command`" if found is None else f"{found[1]} is repeated"
            raise ProcfileError(f"Procfile, line {number}: {problem}; found {line!r}")
        commands[found[1]] = tuple(shlex.split(found[2]))
    return commands


def search_path(layout: Layout) -> str:
    """PATH of the parts: the virtual environment, the fetched programs, then the programs of the machine."""
    return os.pathsep.join((str(Path(sys.executable).parent), str(layout.tools), os.environ.get("PATH", os.defpath)))


def environment(layout: Layout) -> dict[str, str]:
    """The environment of the parts. Grafana's home page is the overview, and it has an administrator only if a password
    is set."""
    given = "GF_SECURITY_ADMIN_PASSWORD" in os.environ
    return {
        **os.environ,
        "PATH": search_path(layout),
        "PYTHONUNBUFFERED": "1",
        "FLEETCAST_DASHBOARDS": str(layout.root / "grafana" / "dashboards"),
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": str(layout.root / "grafana" / "dashboards" / "overview.json"),
        "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION": "false" if given else "true",
    }


def find_program(layout: Layout, program: str) -> str | None:
    """The full path of a program of the stack, or None if this machine does not have it."""
    return shutil.which(program, path=search_path(layout))


def find_command(layout: Layout, words: tuple[str, ...]) -> tuple[str, ...] | None:
    """The words of a Procfile command with the full path of its program, or None if this machine does not have it.

    Grafana's command is `grafana-server` or `grafana server`. Its files are in /usr/share, or beside its bin folder.
    """
    start: tuple[str, ...] = ()
    program = find_program(layout, words[0])
    if words[0] == "grafana-server":
        if program is None:
            program, start = find_program(layout, "grafana"), ("server",)
        home = Path(program or "").resolve().parent.parent
        if (home / "conf" / "defaults.ini").is_file():
            words = tuple(f"--homepath={home}" if word.startswith("--homepath=") else word for word in words)
    return (program, *start, *words[1:]) if program else None


def plan(layout: Layout, embedded: bool = False, without: Iterable[str] = ()) -> Plan:
    """The parts that this machine can run. `embedded` leaves out Prometheus and the parts that depend on it."""
    commands = read_procfile((layout.root / "Procfile").read_text())
    parts: dict[str, Part] = {}
    notes: list[str] = []
    for name, words in commands.items():
        found = find_command(layout, words)
        if name in without:
            continue
        if name == "grafana" and layout.secure is not None:
            notes.append("grafana does not run with SECURE=1.")
            continue
        if found is None:
            if name != "grafana":  # optional, and `make tools` does not fetch it
                notes.append(f"{name} does not run: {words[0]} is missing (`make tools` says how to get it).")
            continue
        command = (found[0], *(layout.place(word) for word in found[1:]))
        if layout.secure is not None:
            command += ("--web.config.file", str(layout.secure / WEB_CONFIG))
            if name in _LINKED:
                command += ("--web.external-url", layout.url(name))
        parts[name] = Part(name, command, layout.ports[name], _READY.get(name, "/-/ready"))
    embedded = embedded or "prometheus" not in parts
    if embedded:
        parts = {name: parts[name] for name in ("exporter", "forecaster") if name in parts}
        notes.append(
            "Without Prometheus: the forecaster scrapes the exporter (source: scrape). "
            "There are no queries, alerts or pages; the forecaster's own page shows the fleet."
        )
        if "forecaster" in parts:
            parts["forecaster"] = _scraping(parts["forecaster"], layout)
    elif "node-exporter" not in parts:
        parts.pop("forecaster-node", None)
    if "alertmanager" not in parts:
        parts = {name: _silent(part) for name, part in parts.items()}
    return Plan(tuple(_linking(part, parts, layout) for part in parts.values()), tuple(notes), embedded)


def _scraping(forecaster: Part, layout: Layout) -> Part:
    """The forecaster, reading the exporter's /metrics and the history file instead of Prometheus."""
    source = ("--source", "scrape", "--source.url", layout.url("exporter", "/metrics"))
    bootstrap = ("--source.bootstrap", str(layout.data / BOOTSTRAP))
    return replace(forecaster, command=forecaster.command + source + bootstrap)


def _linking(part: Part, running: Iterable[str], layout: Layout) -> Part:
    """The part, with links to the pages of the others."""
    if part.name not in _LINKING:
        return part
    links = [f"{_TITLES[name]}={layout.url(name, '/')}" for name in running if name in _TITLES and name != part.name]
    return replace(part, command=part.command + tuple(word for link in links for word in ("--web.link", link)))


def _silent(part: Part) -> Part:
    """The part, which tells no Alertmanager."""
    if ALERTMANAGER not in part.command:
        return part
    at = part.command.index(ALERTMANAGER)
    return replace(part, command=part.command[:at] + part.command[at + 2:])


def write_targets(layout: Layout, names: Iterable[str]) -> None:
    """Writes the target files of the optional parts that run, and removes those of the others."""
    names = set(names)
    folder = layout.config / "prometheus" / "targets"
    for name, file in _TARGETS.items():
        target = folder / file
        if name in names:
            folder.mkdir(parents=True, exist_ok=True)
            new = target.with_suffix(".new")
            new.write_text(layout.localise((layout.root / "stack" / "targets" / file).read_text()))
            new.replace(target)
        else:
            target.unlink(missing_ok=True)
