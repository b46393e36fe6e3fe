"""Reads npz files, which anybody may have written: anything that is wrong with one is one error.

What a file unpacks to is known before anything is unpacked, and bounded. Nothing in a file is run.
"""

import zipfile
from collections.abc import Mapping, Sequence
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Arrays: TypeAlias = dict[str, NDArray[Any]]
Shape: TypeAlias = Sequence[int | str]  # a letter stands for a length that is the same wherever the letter is


class NpzError(ValueError):
    """A file that is not what it should be; the message says what is wrong, without the path."""


def read(file: IO[bytes], most: int, names: Sequence[str] | None = None) -> Arrays:
    """The arrays of these names (default: all). NpzError if anything is wrong with the file, one of them is missing or
    they are larger than `most` bytes altogether."""
    try:
        with zipfile.ZipFile(file) as archive:
            given = archive.infolist()
            if (size := sum(one.file_size for one in given)) > most:
                raise NpzError(f"its arrays have {size} bytes, expected at most {most}")
            wanted = [f"{name}.npy" for name in names] if names is not None else [one.filename for one in given]
            if missing := set(wanted) - {one.filename for one in given}:
                raise NpzError(f"it has no {min(missing)}")
            return {name.removesuffix(".npy"): _array(archive, name) for name in wanted}
    except NpzError:
        raise
    except Exception as error:  # zipfile and numpy raise a dozen kinds
        raise NpzError(f"{error or type(error).__name__}") from error


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):
            raise NpzError(f"{name} is longer than its array")
    return array


def check(arrays: Mapping[str, NDArray[Any]], fields: Mapping[str, tuple[str, Shape]]) -> None:
    """NpzError unless each array has its kind and shape: fields map names to those. Kinds are those of numpy, without
    the size of texts: "float32", "int64", "bool", "str". Numbers are not infinite, texts can be encoded as UTF-8."""
    lengths: dict[str, int] = {}
    for name, (kind, shape) in fields.items():
        array = arrays[name]
        found = "str" if array.dtype.kind == "U" else array.dtype.name
        fits = array.ndim == len(shape) and all(
            (lengths.setdefault(length, have) if isinstance(length, str) else length) == have
            for length, have in zip(shape, array.shape, strict=True))
        if found != kind or not fits:
            wanted = ", ".join(f"{length}={lengths[length]}" if length in lengths else str(length) for length in shape)
            raise NpzError(f"{name} is {found} {array.shape}, expected {kind} ({wanted})")
        if array.dtype.kind == "f" and np.isinf(array).any():
            raise NpzError(f"{name} has infinite numbers")
        if kind == "str":
            try:
                "".join(array.ravel().tolist()).encode()
            except ValueError as error:  # characters that no text has
                raise NpzError(f"{name} is not text: {error}") from error
