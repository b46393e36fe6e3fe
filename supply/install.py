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


def install(*options: str, pinned: Iterable[str] = (), stderr: int | None = None) -> bool:
    """Whether pip installed the entries `pinned`, or what `options` name; it takes no file without a known hash."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-build-isolation",
               "--require-hashes", *options, *(["--requirement", "/dev/stdin"] if pinned else [])]
    return subprocess.run(command, input="\n".join(pinned), stderr=stderr, text=True, check=False).returncode == 0


def main() -> None:
    constraints, extras = ROOT / "constraints.txt", sys.argv[1:]
    pinned = entries(constraints.read_text())
    try:
        wanted = requirements(extras)
    except KeyError as error:
        sys.exit(f"pyproject.toml has no extra {error}: expected those in [project.optional-dependencies]")
    if not install(pinned=[entry for entry in pinned if entry.startswith(FIRST)]):
        sys.exit(ADVICE)
    # A wheel of torch in a folder that pip knows (find-links): pip ranks it behind one of an index that states hashes,
    # which may need gigabytes of CUDA. Where there is none, this fails in a second and the next step fetches one.
    torch = [entry for entry in pinned if entry.startswith("torch==")]
    install("--no-index", "--no-deps", pinned=torch, stderr=subprocess.DEVNULL)
    if not install("--constraint", str(constraints), *wanted):
        sys.exit(ADVICE)


if __name__ == "__main__":
    main()
