"""The file of a small network (npz): arrays, and facts as JSON. Everything that is wrong with one is one error."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from forecaster import npz
from forecaster.npz import Arrays

LARGEST = 1 << 26  # bytes of all arrays, unpacked; ours have less than 2 MB
Made = TypeVar("Made")


def read(path: Path, version: int, problem: type[ValueError], remedy: str,
         make: Callable[[Mapping[str, Any], Arrays], Made]) -> Made:
    """What `make` makes of the facts and arrays; else a `problem` that names the file, the cause and the remedy."""
    try:
        with path.open("rb") as file:
            data = npz.read(file, LARGEST)
        facts = json.loads(str(data.pop("facts")))
        if facts["format"] != version:
            raise problem(f"{path}: format {facts['format']!r}, expected {version}; {remedy}")
        return make(facts, data)
    except problem:
        raise
    except OSError as error:
        raise problem(f"{path}: cannot be read ({error.strerror or error}); {remedy}") from error
    except Exception as error:  # the file may hold anything
        raise problem(f"{path}: damaged ({error}); {remedy}") from error


def to_bytes(version: int, facts: Mapping[str, Any], arrays: Mapping[str, Any]) -> bytes:
    """The content of a file that ``read`` reads."""
    out = io.BytesIO()
    text = np.array(json.dumps({"format": version, **facts}, allow_nan=False))
    np.savez_compressed(out, facts=text, **arrays)
    return out.getvalue()
