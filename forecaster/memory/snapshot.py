"""Arrays in one file on disk (npz), written atomically; anything that is wrong with one is one error."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from forecaster import npz
from forecaster.npz import Arrays, NpzError, Shape
from serving.storage import write


class SnapshotError(Exception):
    """A snapshot is missing or damaged; the message says which, and what is wrong with it."""


def save(path: str | os.PathLike[str], **arrays: Any) -> None:
    """Writes the arrays; readers find the old file or the whole new one. OSError if it cannot be written."""
    write(Path(path), lambda file: np.savez(file, allow_pickle=False, **arrays))


def load(path: str | os.PathLike[str], fields: Mapping[str, tuple[str, Shape]], *more: str) -> Arrays:
    """The arrays of these `fields`, with the kinds and shapes of `npz.check`, and `more` that are not checked;
    SnapshotError otherwise."""
    try:
        with open(path, "rb") as file:  # its arrays are not compressed: they are as large as the file at most
            arrays = npz.read(file, os.fstat(file.fileno()).st_size, (*fields, *more))
        npz.check(arrays, fields)
    except FileNotFoundError as error:
        raise SnapshotError(f"no snapshot at {path}") from error
    except OSError as error:
        raise SnapshotError(f"snapshot {path} cannot be read: {error.strerror or error}") from error
    except NpzError as error:
        raise unusable(path, error) from error
    return arrays


def unusable(path: str | os.PathLike[str], reason: object) -> SnapshotError:
    """The error for a snapshot whose content cannot be used."""
    return SnapshotError(f"snapshot {path} cannot be read: {reason}")
