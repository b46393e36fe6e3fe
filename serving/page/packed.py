"""gzip for clients that accept it."""

import gzip

from flask import Response
from werkzeug.datastructures import Accept, Headers
from werkzeug.http import parse_accept_header

_LEAST = 1024  # bytes from which on it is worth it


def pack(content: bytes, level: int = 1) -> bytes:
    """The content as one gzip member."""
    return gzip.compress(content, compresslevel=level, mtime=0)


def packed(content: bytes, request_headers: Headers, small: bytes | None = None) -> Response:
    """A response with the content, compressed where the client accepts it; `small`: already compressed."""
    accepted = parse_accept_header(request_headers.get("Accept-Encoding", ""), Accept)
    if accepted.quality("gzip") > 0 and len(content) >= _LEAST:
        response = Response(small or pack(content))
        response.headers["Content-Encoding"] = "gzip"
    else:
        response = Response(content)
    response.headers["Vary"] = "Accept-Encoding"
    return response
