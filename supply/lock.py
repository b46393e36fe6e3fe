"""Writes `constraints.txt` anew (`make constraints`): uv resolves all extras for every platform, with hashes.

    usage: python -m supply.lock [ARGUMENT OF uv pip compile ...], as --upgrade or --upgrade-package NAME

Versions that still fit stay. PyTorch's builds for CPUs have the version of the standard builds and an index of their
own; their hashes are written beside the standard builds'. Where that index is out of reach, the hashes in the file are
kept while the version stays.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
HEADER = ("# Exact versions that are tested together, for all extras, with the sha256 of their files.\n"
          "# Written by `make constraints`.\n")
TORCH = re.compile(r"^torch==(?P<version>[^\s+]+)(?P<local>\+cpu)? \\\n(?P<hashes>(?: +--hash=.*\n)+)", re.MULTILINE)
ALWAYS = "pip>=26.1\n"  # the first that takes hashes from constraints


def compiled(*arguments: str, stdin: str) -> subprocess.CompletedProcess[str]:
    """What uv writes for the requirements in `stdin`, with hashes."""
    command = ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes",
               "--python-version", "3.11", *arguments, "-"]
    return subprocess.run([sys.executable, "-m", *command], input=stdin, stdout=subprocess.PIPE, text=True, check=False)


def joined(locked: str, *others: str) -> str:
    """`locked`, in which torch also has the hashes of its entries in `others` that pin the same version."""
    def merged(entry: re.Match[str]) -> str:
        same = [found for text in others for found in TORCH.finditer(text) if found["version"] == entry["version"]]
        hashes = {line.strip(" \\") for found in (entry, *same) for line in found["hashes"].splitlines()}
        return f"torch=={entry['version']} \\\n" + " \\\n".join(f"    {text}" for text in sorted(hashes)) + "\n"

    return TORCH.sub(merged, locked)


def main() -> None:
    path = ROOT / "constraints.txt"
    before = path.read_text()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "constraints.txt"  # the versions that uv prefers; it would keep old hashes, too
        output.write_text(re.sub(r" \\\n +--hash=\S+", "", before))
        lock = compiled("--all-extras", "--universal", "--output-file", str(output), *sys.argv[1:],
                        str(ROOT / "pyproject.toml"), stdin=ALWAYS)
        if lock.returncode:
            sys.exit(lock.returncode)
        locked = output.read_text()
    [torch] = TORCH.finditer(locked)
    cpu = compiled("--no-deps", "--default-index", CPU_INDEX, stdin=f"torch=={torch['version']}\n")
    if cpu.returncode:
        print(f"{CPU_INDEX} is out of reach: the hashes of PyTorch's CPU builds are those that the file had for torch "
              f"{torch['version']}", file=sys.stderr)
    path.write_text(HEADER + joined(locked, before, cpu.stdout))


if __name__ == "__main__":
    main()
