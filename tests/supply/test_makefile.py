"""`make venv`: which Python the virtual environment has."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTHING = "Nothing to be done"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout whose .venv is installed and has the Python of this test; `other` is a Python of another version."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    venv.create(tmp_path / ".venv")
    (tmp_path / ".venv/.installed").touch()
    (tmp_path / "other").write_text("#!/bin/sh\necho cpython-399\n")
    (tmp_path / "other").chmod(0o755)
    return tmp_path


def make(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHON"))}
    return subprocess.run(["make", *words], cwd=folder, env=inherited | environment, capture_output=True, text=True,
                          timeout=30, check=False)


@pytest.mark.parametrize("words", [(), (f"PYTHON={sys.executable}",)], ids=["none is given", "the same is given"])
def test_a_venv_that_is_there_stays(folder, words):
    assert NOTHING in make(folder, "-n", "venv", *words).stdout


@pytest.mark.parametrize("given", ["command line", "environment"])
def test_a_venv_of_another_python_than_the_one_that_is_given_is_made_anew(folder, given):
    other = {"PYTHON": str(folder / "other")}
    done = make(folder, "-n", "venv", **other) if given == "environment" else make(
        folder, "-n", "venv", f"PYTHON={other['PYTHON']}")
    assert f"{folder / 'other'} -m venv --clear .venv" in done.stdout
    assert NOTHING in make(folder, "-n", "venv").stdout, "without it any Python will do"


def test_a_python_that_is_missing_is_said_and_the_venv_stays(folder):
    done = make(folder, "venv", "PYTHON=python3.99")
    assert done.returncode != 0 and "Python 3.11 or newer is needed" in done.stderr
    assert (folder / ".venv/.installed").exists()
