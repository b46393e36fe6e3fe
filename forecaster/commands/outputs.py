"""Files that `backtest` writes: checked before the work, written whole or not at all."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from serving.settings import SettingsError

FLAGS = ("out", "report", "plots")
SPARE_BYTES = 20_000_000  # for the report and the plots


def check(arguments: argparse.Namespace) -> None:
    """Creates the folders of the outputs; raises SettingsError where one cannot be written or names an input."""
    if arguments.plots:
        try:
            import matplotlib.backends.backend_agg  # noqa: F401  checked here, used by evaluation/plots.py
        except ImportError as error:
            raise SettingsError(f"backtest: --plots: {error.name} is not installed; pip install "
                                "'fleetcast[backtest]'") from error
    inputs = [path.resolve() for path in (arguments.data, arguments.windows) if path]
    for flag in ("out", "report"):
        path = getattr(arguments, flag)
        if path and path.resolve() in inputs:
            raise SettingsError(f"backtest: --{flag} {path} is an input of this run; name another file")
        if path and path.is_dir():
            raise SettingsError(f"backtest: --{flag} {path} is a folder; expected a file to write")
    if arguments.out and arguments.report and arguments.out.resolve() == arguments.report.resolve():
        raise SettingsError(f"backtest: --out and --report both name {arguments.out}; expected two files")
    for flag, folder in _folders(arguments):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise SettingsError(f"backtest: --{flag} {getattr(arguments, flag)}: cannot be written ({error.strerror}); "
                                "name another place") from error


def check_space(arguments: argparse.Namespace, forecast_bytes: int) -> None:
    """Raises SettingsError where a file system has too little free space for the outputs."""
    for flag, folder in _folders(arguments):
        need = SPARE_BYTES + forecast_bytes * (flag == "out")
        free = shutil.disk_usage(folder).free
        if free < need:
            raise SettingsError(f"backtest: --{flag} {getattr(arguments, flag)}: {free / 1e6:.0f} MB are free, up to "
                                f"{need / 1e6:.0f} MB are needed; free space or name another place")


def write(path: Path | None, save: Callable[[BinaryIO], object]) -> None:
    """Writes a file whole or not at all, none without a path; raises SettingsError."""
    if path is None:
        return
    fresh = path.with_name(f".{path.name}.new")
    try:
        with fresh.open("wb") as file:
            save(file)
        os.replace(fresh, path)
    except OSError as error:
        raise SettingsError(f"backtest: {path}: cannot be written ({error.strerror}); free space there") from error
    finally:
        fresh.unlink(missing_ok=True)


def _folders(arguments: argparse.Namespace) -> list[tuple[str, Path]]:
    """The flags given, and the folder each writes into."""
    given = [(flag, getattr(arguments, flag)) for flag in FLAGS]
    return [(flag, path if flag == "plots" else path.parent) for flag, path in given if path]
