"""Seeded mutations of files: of bytes, of the arrays of an npz file, and of JSON."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 10**9, 10**400, float("nan"), float("inf"), "", "x", "\ud800", "\0", "../..", [], {}, [[]],
    [None], [1, "a"], {"a": 1}, "9" * 5000, -1e308,
)


def bytes_of(rng: np.random.Generator, data: bytes) -> bytes:
    """The same with one to three places changed, cut, repeated or put in."""
    made = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, length = int(rng.integers(0, len(made) + 1)), int(rng.integers(1, 40))
        kind = rng.integers(0, 6)
        if kind == 0 and at < len(made):
            made[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            made[at:at + length] = rng.bytes(len(made[at:at + length]))
        elif kind == 2:
            del made[at:at + length]
        elif kind == 3:
            made[at:at] = rng.bytes(length)
        elif kind == 4:
            made[at:at] = made[at:at + length]
        else:
            del made[at:]
    return bytes(made)


def array_of(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """Another array in its place: of another type or shape, or with odd values."""
    kind = rng.integers(0, 14)
    if kind < 7:
        return [
            lambda: array[..., None], lambda: array.ravel()[:-1], lambda: np.zeros(0), lambda: np.array("x"),
            lambda: np.zeros((len(array) + 1 if array.ndim else 3, *array.shape[1:]), array.dtype),
            lambda: np.repeat(array, 2, 0) if array.ndim else array, lambda: np.array(0),
        ][kind]()
    if kind < 10:
        of: Any = rng.choice(["U3", "S3", "c8", "?", "f2", "M8[s]", "i1", "u8", ">f4", "f8", "V4"])
        try:
            with np.errstate(all="ignore"):
                return array.astype(of)
        except (ValueError, TypeError):
            return np.zeros(array.shape, of)
    if array.dtype.kind == "U":
        odd = ["\ud800", "", "x" * 5000, "a\nb", "\x1b[2J"][rng.integers(0, 5)]
        made = array.astype(f"U{max(len(odd), 1)}")
    else:
        limits = np.iinfo(array.dtype) if array.dtype.kind in "iu" else None
        odd = (limits.max, limits.min, -1)[rng.integers(0, 3)] if limits else (
            (np.nan, np.inf, -np.inf, 1e30, -1)[rng.integers(0, 5)] if array.dtype.kind == "f" else True)
        odd = odd if not (limits and odd < limits.min) else 0
        made = array.copy()
    if made.ndim == 0 or kind == 13:
        return np.full(made.shape, odd, made.dtype)
    if made.size:
        made.flat[rng.integers(0, made.size)] = odd
    return made


def arrays_of(rng: np.random.Generator, data: bytes) -> bytes:
    """An npz file with one array lacking, replaced by another of the same file, or by an odd one; valid in its form."""
    with np.load(io.BytesIO(data)) as held:
        arrays = {name: held[name] for name in held.files}
    names = list(arrays)
    name = names[rng.integers(0, len(names))]
    kind = rng.integers(0, 10)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[name] = arrays[names[rng.integers(0, len(names))]]
    else:
        arrays[name] = array_of(rng, arrays[name])
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def json_of(rng: np.random.Generator, text: bytes) -> bytes:
    """The document with one or two nodes lacking or replaced by odd ones."""
    tree = json.loads(text)
    for _ in range(rng.integers(1, 3)):
        places = list(_places(tree))
        if not places:
            return json.dumps(ODD[rng.integers(0, len(ODD))]).encode()
        parent, key = places[rng.integers(0, len(places))]
        if rng.integers(0, 5) == 0:
            del parent[key]
        else:
            parent[key] = ODD[rng.integers(0, len(ODD))]
    return json.dumps(tree).encode()


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from _places(tree[key])


def bomb(names: tuple[str, ...], gigabytes: float, member: str, compressed: bool = True) -> bytes:
    """An npz file of small size whose `member` holds this many gigabytes of zeros; the others are empty arrays."""
    out = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, "w", kind, compresslevel=1) as archive:
        for name in names:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                if name != member:
                    np.lib.format.write_array(file, np.zeros(0))
                    continue
                count = int(gigabytes * 2**30) // 4
                np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (count,)})
                block = bytes(1 << 24)
                for _ in range(count * 4 // len(block)):
                    file.write(block)
    return out.getvalue()
