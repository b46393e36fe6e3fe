"""Reads a file that a configuration names: a certificate, a key, a token."""

from pathlib import Path

from serving.settings import SettingsError

LARGEST = 1 << 20  # bytes; a bundle of all public authorities has 200,000


def content(where: str, file: Path, expected: str) -> bytes:
    """What a regular file of at most LARGEST bytes holds; SettingsError, which begins with `where`, otherwise."""
    try:
        if file.exists() and not file.is_file():  # to open a pipe would wait for its writer
            raise OSError("not a regular file")
        with file.open("rb") as opened:
            found = opened.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # no path has a NUL
        raise SettingsError(f"{where}: {file} cannot be read ({getattr(error, 'strerror', None) or error}); expected "
                            f"{expected}; check the path and its permissions") from error
    if len(found) > LARGEST:
        raise SettingsError(f"{where}: {file} is larger than {LARGEST >> 20} MiB; expected {expected}; check that this "
                            "is the right file")
    return found
