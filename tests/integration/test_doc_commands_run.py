"""The commands of the documents that are cheap enough to run, run as written."""

import subprocess
import sys
from pathlib import Path

import pytest

from stack.layout import ROOT
from tests.documents import commands, words


def is_cheap(line: str) -> bool:
    """Whether a command ends by itself within a minute and asks no other machine."""
    program, *rest = [word for word in words(line) if not word.startswith("FLEETCAST_")]
    small_backtest = "backtest" in rest and "--fleets" in rest and rest[rest.index("--fleets") + 1] == "1"
    if Path(program).name == "python":
        return "-c" in rest
    return Path(program).name.startswith("fleet-") and (
        small_backtest or bool({"check-config", "export", "history", "--version"} & {*rest}))


RUN = sorted({line for line in commands() if is_cheap(line)})


@pytest.fixture
def root(tmp_path) -> Path:
    """The repository, with folders of its own for what commands write."""
    for entry in ROOT.iterdir():
        if entry.name not in (".data", ".venv", "examples"):
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    (tmp_path / ".data").mkdir()
    (tmp_path / "examples").mkdir()
    for entry in (ROOT / "examples").iterdir():
        (tmp_path / "examples" / entry.name).symlink_to(entry)
    return tmp_path


def test_a_command_of_every_cheap_kind_is_run():
    for kind in ("check-config --config.file node_exporter", "export", "history", "backtest --fleets 1", "--version",
                 "python -c"):
        assert any(kind in line for line in RUN), kind


@pytest.mark.parametrize("line", RUN)
def test_a_command_does_what_it_is_shown_for(line, root):
    written = {word for word in words(line) if word.startswith("examples/") and word.endswith(".json")}
    for name in written:
        (root / name).unlink()
    result = subprocess.run(["bash", "-c", line], cwd=root, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert all((root / name).stat().st_size > 0 for name in written)
