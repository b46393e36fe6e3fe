"""`fleet-forecaster export`: writes what another Prometheus, Grafana, Alertmanager or cluster needs."""

import argparse
import os
import shlex
import sys
import tempfile
from pathlib import Path

from forecaster.commands.flags import Commands
from forecaster.shipped import files
from forecaster.shipped.installation import Installation
from serving import __version__
from serving.settings import SettingsError, load
from serving.shown import say

KINDS = {
    "rules": files.rules,
    "dashboards": files.dashboards,
    "alertmanager": files.alertmanager,
    "kubernetes": files.kubernetes,
}
FLAGS = {name: f"--{name.replace('_', '-')}" for name in Installation.model_fields}


def add_command(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Adds `export` to the command line; it takes none of the common flags, since it reads no configuration."""
    parser = commands.add_parser(
        "export",
        allow_abbrev=False,
        help="write what your own Prometheus, Grafana, Alertmanager or cluster needs",
        description="Writes rules, dashboards, alertmanager or kubernetes: the files that ship, with the values of "
        "your installation. Brackets name what a flag is for; elsewhere it has no effect, so all four take the same.",
    )
    parser.add_argument("what", choices=KINDS, help="what to write")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to, made if missing")
    parser.add_argument("--force", action="store_true", help="overwrite files that have other content")
    for name, field in Installation.model_fields.items():
        told = f"{field.description}{' (default: %(default)s)' if field.default else ''}"
        parser.add_argument(FLAGS[name], default=field.default, metavar=name.rpartition("_")[2].upper(), help=told)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Writes the files and names them; the exit code."""
    fields = Installation.model_fields
    given = {name: value for name in FLAGS if (value := getattr(arguments, name)) != fields[name].default}
    made = KINDS[arguments.what](load(Installation, None, given))
    command = ["fleet-forecaster", "export", arguments.what]
    by = f"Made by Fleetcast {__version__}: " + shlex.join(command + [f"{FLAGS[name]}={given[name]}" for name in given])
    heads = {".json": "", ".md": f"<!-- {by} -->\n\n"}  # JSON has no comments
    texts = {name: heads.get(Path(name).suffix, f"# {by}\n") + text for name, text in made.items()}
    write(arguments.out, texts, arguments.force)
    for name in sorted(texts):
        say(str(arguments.out / name))
    linked = "".join(text for name, text in made.items() if not name.endswith(".md"))  # a runbook's commands are edited
    for name, field in fields.items():
        if name.endswith("_url") and name not in given and field.default and field.default in linked:
            say(f"fleet-forecaster: {field.default} is the demonstration's; set {FLAGS[name]}", sys.stderr)
    return 0


def write(folder: Path, texts: dict[str, str], force: bool) -> None:
    """Writes all files, each of them whole, or none; SettingsError where one has other content and is not forced."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = {folder / name: text.encode() for name, text in texts.items()}
        other = [path for path, text in paths.items() if path.exists() and path.read_bytes() != text]
        if other and not force:
            problem = "exists with other content, nothing was written; name another folder or overwrite with --force"
            raise SettingsError(*(f"export: {path}: {problem}" for path in other))
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as fresh:
            for path, text in paths.items():
                Path(fresh, path.name).write_bytes(text)
            for path in paths:
                os.replace(Path(fresh, path.name), path)
    except OSError as error:
        raise SettingsError(
            f"export: {error.filename or folder}: cannot be written ({error.strerror}); name a folder that is writable"
        ) from error
