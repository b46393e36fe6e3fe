"""Installs what Fleetcast and its extras need, in the versions and with the sha256 hashes of `constraints.txt`.

    usage: python -m supply.install [EXTRA ...]

pip itself comes first, as it takes hashes from constraints only from 26.1 on, and setuptools with it, which builds the
project and whatever has no wheel: nothing is fetched that has no hash. The project is not installed. Needs the standard
library and pip only.
"""

import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRST = ("pip==", "setuptools==")
ADVICE = """
The packages were not installed. Where pip says that they do not match the hashes, a file is not the one that is
pinned: it is damaged or was tampered with, or your package index builds packages itself. CONTRIBUTING.md,
"Dependencies", says how to pin the files of such an index."""


def entries(text: str) -> list[str]:
    """The entries of a requirements file, each on one line with its hashes, without comments."""
    lines = text.replace("\\\n", "").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def requirements(extras: Iterable[str]) -> list[str]:
    """What `pyproject.toml` asks for at run time and for `extras`.

    Raises:
        KeyError: `pyproject.toml` has no such extra.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(need for extra in extras for need in project["optional-dependencies"][extra])]


def pip_install(*options: str, stdin: str | None = None) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-build-isolation"]
    if subprocess.run([*pip, "--require-hashes", *options], input=stdin, text=True, check=False).returncode:
        sys.exit(ADVICE)


def main() -> None:
    constraints = ROOT / "constraints.txt"
    first = [entry for entry in entries(constraints.read_text()) if entry.startswith(FIRST)]
    pip_install("--requirement", "/dev/stdin", stdin="\n".join(first))
    pip_install("--constraint", str(constraints), *requirements(sys.argv[1:]))


if __name__ == "__main__":
    main()
