"""Arrays in one file on disk (npz), written atomically; every problem when reading is one error."""

import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class SnapshotError(Exception):
    """A snapshot is missing, damaged, or lacks an array; the message says which."""


def save(path: str | os.PathLike[str], **arrays: Any) -> None:
    """Writes the arrays; readers find the old file or the whole new one. OSError if it cannot be written."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".part", delete=False) as file:
        try:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def load(path: str | os.PathLike[str], names: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of these names; SnapshotError otherwise. Never runs code from the file."""
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except FileNotFoundError as error:
        raise SnapshotError(f"no snapshot at {path}") from error
    except (OSError, ValueError, TypeError, KeyError, EOFError, MemoryError, NotImplementedError,
            zipfile.BadZipFile, zlib.error) as error:
        raise SnapshotError(f"snapshot {path} cannot be read: {error}") from error
