"""From the Procfile and the programs on this machine to the parts that will run."""

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
BOOTSTRAP = "history.om"  # in the data folder: what the forecaster starts from where there is no Prometheus


@dataclass(frozen=True)
class Part:
    """One process of the stack: its command, its port and the path that answers 200 once it is ready."""

    name: str
    command: tuple[str, ...]
    port: int
    ready: str


@dataclass(frozen=True)
class Plan:
    """What will run, and one sentence for each thing that will not."""

    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    embedded: bool  # no Prometheus: the forecaster reads the exporter itself

    def names(self) -> frozenset[str]:
        return frozenset(part.name for part in self.parts)


def read_procfile(text: str) -> dict[str, tuple[str, ...]]:
    """Command words by part name; ProcfileError names the line that is wrong."""
    commands: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None or found[1] in commands:
            problem = "expected `name: command`" if found is None else f"{found[1]} is there twice"
            raise ProcfileError(f"Procfile, line {number}: {problem}; found {line!r}")
        commands[found[1]] = tuple(shlex.split(found[2]))
    return commands


def search_path(layout: Layout) -> str:
    """PATH for the parts: the virtual environment, the fetched programs, then the machine's own."""
    return os.pathsep.join(
        (str(Path(sys.executable).parent), str(layout.tools), os.environ.get("PATH", os.defpath))
    )


def environment(layout: Layout) -> dict[str, str]:
    """The environment of the parts. Grafana opens with the fleet, and gets an administrator only where the caller
    chose a password."""
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
    """The full path of a program of the stack, or None where this machine does not have it."""
    return shutil.which(program, path=search_path(layout))


def find_command(layout: Layout, words: tuple[str, ...]) -> tuple[str, ...] | None:
    """The words of a Procfile command with the program's full path, or None where this machine does not have it.

    Grafana comes as `grafana-server` or as `grafana server`, and outside of /usr/share with its files beside bin/.
    """
    program = find_program(layout, words[0])
    if words[0] != "grafana-server":
        return (program, *words[1:]) if program else None
    start = (program,) if program else (find_program(layout, "grafana"), "server")
    if start[0] is None:
        return None
    beside = Path(start[0]).resolve().parent.parent
    if (beside / "conf" / "defaults.ini").is_file():
        words = tuple(f"--homepath={beside}" if word.startswith("--homepath=") else word for word in words)
    return *start, *words[1:]


def plan(layout: Layout, embedded: bool = False, without: Iterable[str] = ()) -> Plan:
    """The parts this machine can run. `embedded` leaves Prometheus and what depends on it out on purpose."""
    commands = read_procfile((layout.root / "Procfile").read_text())
    parts, notes = {}, []
    for name, words in commands.items():
        found = find_command(layout, words)
        if name in without:
            continue
        if found is None:
            if name != "grafana":  # optional on a bare machine, and never fetched
                notes.append(
                    f"{name} does not run: there is no {words[0]} on this machine "
                    "(`make tools` says how to get it)."
                )
            continue
        command = (found[0], *(layout.place(word) for word in found[1:]))
        parts[name] = Part(name, command, layout.ports[name], _READY.get(name, "/-/ready"))
    embedded = embedded or "prometheus" not in parts
    if embedded:
        parts = {name: parts[name] for name in ("exporter", "forecaster") if name in parts}
        notes.append(
            "Without Prometheus: the forecaster reads the exporter itself (source: scrape). "
            "There are no queries, no alerts and no pages; its own page shows the fleet."
        )
        if "forecaster" in parts:
            parts["forecaster"] = _scraping(parts["forecaster"], layout)
    elif "node-exporter" not in parts:
        parts.pop("forecaster-node", None)
    return Plan(tuple(parts.values()), tuple(notes), embedded)


def _scraping(forecaster: Part, layout: Layout) -> Part:
    """The forecaster, told to read the exporter's page and the history file instead of Prometheus."""
    options = (
        "--source",
        "scrape",
        "--source.url",
        layout.url("exporter", "/metrics"),
        "--source.bootstrap",
        str(layout.data / BOOTSTRAP),
    )
    return replace(forecaster, command=forecaster.command + options)


def write_targets(layout: Layout, names: Iterable[str]) -> None:
    """Tells Prometheus about the optional parts that run, and takes back what is said of the others."""
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
