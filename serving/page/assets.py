"""Static files of pages. The address has a hash of the content, so that a browser keeps a file for good."""

import hashlib
import mimetypes
from collections.abc import Mapping
from importlib.resources.abc import Traversable

from flask import Response, request

from serving.page.packed import pack, packed

_FOREVER = "public, max-age=31536000, immutable"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Assets:
    """The files of some folders, and others by name; a later one takes the place of one of the same name."""

    def __init__(self, *folders: Traversable, more: Mapping[str, bytes] | None = None):
        files = {file.name: file.read_bytes() for folder in folders for file in folder.iterdir() if file.is_file()}
        self._names: dict[str, str] = {}  # name -> with hash
        self._files: dict[str, tuple[bytes, bytes, str]] = {}  # with hash -> content, packed, type
        for name, content in (files | dict(more or {})).items():
            stem, _, suffix = name.rpartition(".")
            hashed = f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{suffix}"
            kind = _TYPES.get(f".{suffix}") or mimetypes.guess_type(name)[0] or "application/octet-stream"
            self._names[name], self._files[hashed] = hashed, (content, pack(content, 9), kind)

    def address(self, name: str) -> str:
        """The address of a file; KeyError where there is none of this name."""
        return f"/ui/static/{self._names[name]}"

    def answer(self, hashed: str) -> Response | None:
        """The file of this name with hash, None where there is none."""
        found = self._files.get(hashed)
        if found is None:
            return None
        content, small, kind = found
        response = packed(content, request.headers, small)
        response.headers["Content-Type"] = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        response.headers["Cache-Control"] = _FOREVER
        return response
