"""TLS and a login in containers: what deploy/compose/secure.yml starts before all else, and its health check.

    python -m stack.compose make           makes what is missing below /secure, and the configuration anew
    python -m stack.compose ask URL        exit code 0 if the page answers, with the login

In: the configuration of docker-compose.yml. Out, a volume each, so that a service gets what it needs only:

    server/   certificate, key and web configuration of every service
    client/   certificate of the authority, password, and both for Prometheus' programs (client.yml)
    config/   the configuration with https:// and the login

Their group may read the first two, everybody config/, which holds no secret. The services may run meanwhile: files are
replaced whole, and those of config/ only where they differ.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from stack.certificates import AUTHORITY, private
from stack.layout import HOST, PORTS, ROOT
from stack.secure import PASSWORD, USER, client_config, configure, make_login, open_url

FOLDER = Path("/secure")
SERVER, CLIENT, CONFIG = "server", "client", "config"  # folders
PROGRAMS = "client.yml"
SOURCES = {  # by place below config/: the file or folder in the repository
    "prometheus/prometheus.yml": "deploy/compose/prometheus.yml",
    "prometheus/targets": "deploy/compose/targets",
    "prometheus/alertmanager.yml": "deploy/compose/alertmanager.yml",
    "prometheus/rules": "prometheus/rules",
    "forecaster/presets": "forecaster/presets",
    "grafana/datasources": "deploy/compose/datasources",
    "grafana/dashboards": "grafana/provisioning/dashboards",
}
_GROUP, _ALL = 0o440, 0o444


def make(folder: Path = FOLDER) -> None:
    """Makes everything in a folder, or what is missing of it."""
    server, client, config = (folder / name for name in (SERVER, CLIENT, CONFIG))
    for one, mode in ((server, 0o750), (client, 0o750), (config, 0o755)):
        one.mkdir(parents=True, exist_ok=True)
        one.chmod(mode)
    make_login(server, client, (*PORTS, "localhost", HOST), _GROUP)
    private(client / PROGRAMS, yaml.safe_dump(client_config(client)).encode(), _GROUP)
    with tempfile.TemporaryDirectory() as made:
        _configuration(Path(made), client)
        _replace(Path(made), config)


def _configuration(target: Path, client: Path) -> None:
    for name, source in SOURCES.items():
        origin, copy = ROOT / source, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if origin.is_dir() else shutil.copyfile)(origin, copy)
    for file in target.rglob("*.yml"):
        file.write_text(file.read_text().replace("http://", "https://"))
    configure(target, client)
    for file in (target / "grafana/datasources").glob("*.yml"):
        content = yaml.safe_load(file.read_text())
        for source in content["datasources"]:
            _log_in(source, client)
        file.write_text(yaml.safe_dump(content, sort_keys=False))


def _log_in(source: dict[str, Any], client: Path) -> None:
    """Grafana reads both files when it starts."""
    source |= {"basicAuth": True, "basicAuthUser": USER}
    source["jsonData"]["tlsAuthWithCACert"] = True
    source["secureJsonData"] = {"basicAuthPassword": f"$__file{{{client / PASSWORD}}}",
                                "tlsCACert": f"$__file{{{client / AUTHORITY}}}"}


def _replace(made: Path, target: Path) -> None:
    """Has in `target` the files of `made` and no others, and touches none that is the same."""
    for file in [path for path in target.rglob("*") if path.is_file()]:
        if not (made / file.relative_to(target)).exists():
            file.unlink()
    for file in [path for path in made.rglob("*") if path.is_file()]:
        place = target / file.relative_to(made)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists() or place.read_bytes() != file.read_bytes():
            private(place, file.read_bytes(), _ALL)


def main(arguments: list[str] | None = None) -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m stack.compose", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where all of it is (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("make", help="make what is missing, and the configuration anew")
    commands.add_parser("ask", help="ask for a page").add_argument("url", help="https://…")
    given = parser.parse_args(arguments)
    if given.command == "make":
        make(given.folder)
    else:
        open_url(given.folder / CLIENT, given.url, 5).close()


if __name__ == "__main__":
    main()
