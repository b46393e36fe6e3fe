"""The files and ports of a stack.

The default layout is the repository itself. `elsewhere` gives a second stack its own ports, data and copy of the
configuration, so that both can run at the same time.
"""

import re
import shutil
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
PORTS: Mapping[str, int] = {
    "exporter": 8001,
    "forecaster": 8000,
    "forecaster-node": 8002,
    "pager": 8003,
    "prometheus": 9090,
    "alertmanager": 9093,
    "node-exporter": 9100,
    "grafana": 3000,
}
# A layout elsewhere has its own copy of these; everything else is read from the repository.
CONFIGURATION = ("prometheus", "exporter/fleet.yml", "forecaster/presets", "grafana/provisioning")
SECURE = "secure"  # in the data folder: certificates, password, and a copy of the configuration that uses them
_ADDRESS = re.compile(r"(http://)?(127\.0\.0\.1|localhost):(\d+)")


@dataclass(frozen=True)
class Layout:
    """Folders and ports of a stack.

    root: the repository; data: state; config: the folder with prometheus/, exporter/fleet.yml and forecaster/presets/;
    tools: the folder with prometheus, promtool, alertmanager, amtool, node_exporter; ports: port by part; plain: where
    every part has TLS and a login, the configuration without them that `config` is made from.
    """

    root: Path
    data: Path
    config: Path
    tools: Path
    ports: Mapping[str, int]
    plain: Path | None = None

    @classmethod
    def here(cls, root: Path = ROOT) -> "Layout":
        """The layout of `make up`."""
        return cls(root, root / ".data", root, root / ".tools" / "bin", dict(PORTS))

    @classmethod
    def elsewhere(cls, data: Path, ports: Mapping[str, int] | None = None, root: Path = ROOT) -> "Layout":
        """A stack with its state and a copy of the configuration in `data`, on free ports unless `ports` gives them.

        The copy has the ports of the layout. Change it before the parts start.
        """
        layout = cls(root, data, data / "config", root / ".tools" / "bin", {**free_ports(), **(ports or {})})
        layout.copy_configuration(root)
        return layout

    def secured(self) -> "Layout":
        """The same stack with TLS and a login for every part; stack.secure makes its files."""
        return replace(self, config=self.data / SECURE / "config", plain=self.config)

    @property
    def secure(self) -> Path | None:
        """The folder of certificates and password, None where nothing needs a login."""
        return None if self.plain is None else self.data / SECURE

    def copy_configuration(self, origin: Path) -> None:
        """Copies the configuration from a folder, with the addresses of this layout."""
        for name in CONFIGURATION:
            source, target = origin / name, self.config / name
            files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
            for path in files:
                copy = target / path.relative_to(source) if source.is_dir() else target
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
                if path.suffix in (".yml", ".yaml"):
                    copy.write_text(self.localise(copy.read_text()))

    def url(self, part: str, path: str = "") -> str:
        """The address of a part, e.g. http://127.0.0.1:8001 followed by `path`."""
        return f"{'http' if self.plain is None else 'https'}://{HOST}:{self.ports[part]}{path}"

    def localise(self, text: str) -> str:
        """`text` with the default address of each part replaced by that of this layout."""
        moved = {PORTS[name]: port for name, port in self.ports.items()}

        def moved_to(found: re.Match[str]) -> str:
            scheme = "https://" if found[1] and self.plain is not None else found[1] or ""
            return f"{scheme}{found[2]}:{moved.get(int(found[3]), found[3])}"

        return _ADDRESS.sub(moved_to, text)

    def place(self, word: str) -> str:
        """A word of a Procfile command, with the addresses and paths of this layout."""
        option, equals, value = self.localise(word).rpartition("=")
        if value == ".data" or value.startswith(".data/"):
            value = str(self.data / value.removeprefix(".data").lstrip("/"))
        elif value.startswith(CONFIGURATION):
            value = str(self.config / value)
        if option.endswith("http_port"):
            value = str(self.ports["grafana"])
        return option + equals + value


def free_ports() -> dict[str, int]:
    """A free port for every part. All sockets are open at the same time, so that the ports differ."""
    with ExitStack() as held:
        sockets = {name: held.enter_context(socket.create_server((HOST, 0))) for name in PORTS}
        return {name: one.getsockname()[1] for name, one in sockets.items()}
