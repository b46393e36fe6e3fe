"""Seeded changes of inputs: of bytes, of structures as JSON has them, and of arrays as npz files hold them."""

import io
import json
import random
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DEEP = "\0deep"  # in a tree: written as brackets nested DEPTH times, deeper than parsers recurse
DEPTH = 20_000
LONG = 1 << 20  # characters of the longest text

NUMBERS: Sequence[Any] = (0, -1, 1, 0.0, -0.0, 0.5, 1e-320, 1e39, 1e308, -1e308, 2**31, 2**53 + 1, 2**63, -2**63, 2**64,
                          10**400, float("nan"), float("inf"), -float("inf"), True, False)
TEXTS: Sequence[str] = ("", " ", "0", "NaN", "Inf", "-inf", "1e999", "0x10", "1_000", "null", "\0", "\n", "\r\n", "\t",
                        "\x1b[2J\x1b[H", "\u202e", "\ud800", "\ufeff", "é", "\U0001f4a5", "a" * 300, "{}", "[]", "<b>",
                        '"', "\\", "'", "../../etc/passwd", "%s%n", "${x}", "=1+1", "__name__", "server", "profile")
SHAPES: Sequence[tuple[int, ...]] = ((), (0,), (1,), (3,), (0, 0), (1, 1), (2, 3, 4), (1, 0, 1))


def odd(chance: random.Random) -> Any:
    """A value that hardly anybody expects."""
    kind = chance.random()
    if kind < 0.4:
        return chance.choice(TEXTS)
    if kind < 0.75:
        return chance.choice(NUMBERS)
    return chance.choice((None, [], {}, [[]], [None], {"": None}, {"a": {"b": {}}}, DEEP,
                          "x" * chance.choice((999, LONG))))


def data(chance: random.Random, given: bytes, most: int = 6) -> bytes:
    """These bytes after one to `most` changes."""
    made = bytearray(given)
    for _ in range(chance.randint(1, most)):
        at = chance.randrange(len(made) + 1)
        length = min(chance.choice((1, 1, 2, 4, 16, 256)), len(made) - at)
        match chance.randrange(8):
            case 0 if length:
                made[at] ^= 1 << chance.randrange(8)
            case 1:
                del made[at:at + length]
            case 2:
                made[at:at] = chance.randbytes(chance.choice((1, 2, 4, 16)))
            case 3:
                made[at:at] = made[at:at + length] * chance.choice((1, 2, 50))
            case 4 if length:
                made[at:at + length] = bytes([chance.choice((0, 0xFF, 0x7F, 0x80, 0x20, 0x0A))]) * length
            case 5:
                made[at:at] = chance.choice(TEXTS).encode("utf-8", "surrogatepass")
            case 6:
                del made[at:]
            case _:
                other = chance.randrange(len(made) + 1)
                made[at:at + length] = made[other:other + length]
    return bytes(made)


def tree(chance: random.Random, given: Any, most: int = 3) -> Any:
    """A copy of this structure of dicts, lists and scalars after one to `most` changes, each at a random place."""
    for _ in range(chance.randint(1, most)):
        given = _changed(chance, given, chance.randrange(max(1, _size(given))))
    return given


def _size(given: Any) -> int:
    parts = given.values() if isinstance(given, Mapping) else given if isinstance(given, list | tuple) else ()
    return 1 + sum(map(_size, parts))


def _changed(chance: random.Random, given: Any, place: int) -> Any:
    """A copy in which the part at this place, counted depth first, is another."""
    if place == 0:
        return _other(chance, given)
    place -= 1
    items = list(given.items()) if isinstance(given, Mapping) else list(enumerate(given))
    for number, (key, part) in enumerate(items):
        size = _size(part)
        if place < size:
            items[number] = key, _changed(chance, part, place)
            break
        place -= size
    return dict(items) if isinstance(given, Mapping) else [part for _, part in items]


def _other(chance: random.Random, given: Any) -> Any:
    if isinstance(given, Mapping) and given and chance.random() < 0.7:
        made, name = dict(given), chance.choice([*given])
        match chance.randrange(3):
            case 0:
                del made[name]
            case 1:
                made[chance.choice(TEXTS)] = made.pop(name)
            case _:
                made[chance.choice(TEXTS)] = odd(chance)
        return made
    if isinstance(given, list | tuple) and given and chance.random() < 0.7:
        made, at = list(given), chance.randrange(len(given))
        match chance.randrange(4):
            case 0:
                del made[at]
            case 1:
                made[at:at] = made[at:at + 1] * chance.choice((1, 300))
            case 2:
                chance.shuffle(made)
            case _:
                made.insert(at, odd(chance))
        return made
    if isinstance(given, str) and chance.random() < 0.4:
        return chance.choice((given + chance.choice(TEXTS), given[:len(given) // 2], given * 40, given.upper()))
    return odd(chance)


def as_json(given: Any) -> bytes:
    """The text of a tree; NaN, numbers of any size and lone surrogates are written as they are."""
    text = json.dumps(given, ensure_ascii=False)
    deep = "[" * DEPTH + "]" * DEPTH
    return text.replace(json.dumps(DEEP), deep).encode("utf-8", "surrogatepass")


def arrays(chance: random.Random, given: Mapping[str, np.ndarray]) -> bytes:
    """An npz file of these arrays of which one to three are others; seldom a bomb, or damaged."""
    made = {name: np.asarray(one) for name, one in given.items()}
    for _ in range(chance.randint(1, 3)):
        name = chance.choice([*made])
        if chance.random() < 0.08:
            del made[name]
            made = made or {"nothing": np.zeros(0)}
        else:
            made[name] = _array(chance, made[name])
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=True, **made)
    content = out.getvalue()
    if chance.random() < 0.08:
        content = data(chance, content, 3)
    return bomb(chance, [*given]) if chance.random() < 0.02 else content


def _array(chance: random.Random, given: np.ndarray) -> np.ndarray:
    match chance.randrange(9):
        case 0:
            other = chance.choice((np.float16, np.float64, np.complex64, np.int8, np.bool_, np.str_))
            with np.errstate(all="ignore"):
                return given.astype(other if given.dtype.kind in "fiub" else np.object_)
        case 1:
            return np.zeros(chance.choice(SHAPES), given.dtype)
        case 2:
            return given.T
        case 3:
            return np.concatenate([given.reshape(-1), given.reshape(-1)[:1]])
        case 4:
            return given[..., None] if chance.random() < 0.5 or not given.ndim else given[0:0]
        case 5:
            return np.array(odd(chance), object)
        case 6 if given.dtype.kind == "U":
            return np.array([chance.choice(TEXTS) for _ in range(given.size)], np.str_).reshape(given.shape)
        case 7:
            return np.repeat(given, 2, 0) if given.ndim else np.tile(given, 3)
        case _ if given.size and given.dtype.kind in "fiu":
            made = given.copy().reshape(-1)
            for at in (chance.randrange(made.size) for _ in range(3)):
                with np.errstate(all="ignore"):
                    made[at] = np.float64(chance.choice([n for n in NUMBERS if n != 10**400])).astype(made.dtype)
            return made.reshape(given.shape)
    return np.zeros((2, 2))


def bomb(chance: random.Random, names: Sequence[str]) -> bytes:
    """An npz file of a few KB whose arrays say that they are large, or are large: zeros compress a thousandfold."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            head, shape = io.BytesIO(), chance.choice(((1 << 60,), (1 << 26,), (9, 9)))
            np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": shape})
            with file.open(f"{name}.npy", "w") as opened:
                opened.write(head.getvalue())
                for _ in range(chance.choice((0, 0, 256))):
                    opened.write(bytes(1 << 18))
    return out.getvalue()
