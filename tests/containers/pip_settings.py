"""How pip of this machine finds packages, for `pip install` within the build of the image."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

_PASSED = ("index-url", "extra-index-url", "find-links", "cert", "trusted-host", "proxy", "default-timeout")


def settings() -> dict[str, str]:
    """The settings of pip of this machine that say where packages come from, by name."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    found = dict[str, str]()
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        short = name.rpartition(".")[2]
        if short in _PASSED and (short not in found or name.startswith(":env:")):  # variables count more than files
            found[short] = value.strip("'\"").replace("\\n", " ")
    return found


def build_arguments(folder: Path) -> list[str]:
    """Arguments of `podman build`: a pip.conf, written to ``folder``, and what it names of this machine's files."""
    given = settings()
    lines = ["[global]", *(f"{name} = {value}" for name, value in given.items())]
    (folder / "pip.conf").write_text("\n".join([*lines, ""]))
    paths = {urlsplit(word).path for value in given.values() for word in value.split()
             if urlsplit(word).scheme in ("", "file") and word.startswith(("/", "file:"))}
    # An index of files has its files beside it.
    paths = {str(Path(path).parent) if Path(path).name == "simple" else path for path in paths}
    there = {path: path for path in sorted(paths) if Path(path).exists()}
    mounts = {str(folder / "pip.conf"): "/etc/pip.conf", **there}
    return [f"--volume={source}:{target}:ro" for source, target in mounts.items()]
