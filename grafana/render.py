"""Writes the dashboards to grafana/dashboards/*.json.

python -m grafana.render            writes them
python -m grafana.render --check    says which of them differ from what would be written; exit code 1 if any does
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana import capacity, operations, overview, quality, server

FOLDER = Path(__file__).resolve().parent / "dashboards"
DASHBOARDS: Mapping[str, Callable[[], Dashboard]] = {
    "overview.json": overview.dashboard,
    "server.json": server.dashboard,
    "capacity.json": capacity.dashboard,
    "quality.json": quality.dashboard,
    "operations.json": operations.dashboard,
}


def render() -> dict[str, str]:
    """The text of each file, by name."""
    return {
        name: json.dumps(made(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for name, made in DASHBOARDS.items()
    }


def differing(folder: Path) -> list[str]:
    """One line for each file of `folder` that is missing, different, or nobody's."""
    found = {path.name: path.read_text() for path in folder.glob("*.json")}
    made = render()
    lines = [
        f"{folder / name} is {'not what the code makes' if name in found else 'missing'}"
        for name, text in made.items()
        if found.get(name) != text
    ]
    return lines + [f"{folder / name} is made by no module: delete it" for name in found if name not in made]


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks the files; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m grafana.render", description="Write the dashboards as JSON.")
    parser.add_argument("--check", action="store_true", help="only say what differs")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.check:
        lines = differing(options.folder)
        for line in lines:
            print(line, file=sys.stderr)
        if lines:
            print("run `python -m grafana.render` and commit what it writes", file=sys.stderr)
        return 1 if lines else 0
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, text in render().items():
        (options.folder / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
