"""One request as WSGI (PEP 3333) has it, and an application's whole answer to it."""

import io
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

Headers = list[tuple[str, str]]
Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]*)?")  # the header: name or address, and a port


@dataclass
class Answer:
    """An answer: "200 OK", its headers, and the parts of its body."""

    status: str
    headers: Headers
    body: list[bytes] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.body))


def refusal(status: str, error: str, field: str, expected: str, *more: tuple[str, str]) -> Answer:
    """An answer with the JSON body of errors (see serving.web); `more` are further headers."""
    body = orjson.dumps({"error": error, "field": field, "expected": expected}) + b"\n"
    return Answer(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *more], [body])


def problem(method: str, version: str, target: str, headers: Sequence[tuple[str, str]]) -> tuple[str, str, str] | None:
    """(error, field, expected) of a request that is refused before anything reads its body, or None.

    What two programs may understand differently is refused: a repeated length, both lengths, names with a _, which WSGI
    cannot tell from those with a -, and a method in lower case, which Flask takes for the one in upper case.
    """
    if method != method.upper():
        return f"the method {method[:20]!r} is not in upper case", "method", "one such as GET"
    if not target.startswith("/"):
        return "the request's target is no path", "path", "a path that begins with /, without scheme and host"
    try:
        target.encode("ascii")
        if b"\0" in unquote_to_bytes(target):
            raise ValueError
        unquote_to_bytes(target).decode()
    except ValueError:
        return "the path or the query is not UTF-8 text", "path", "UTF-8 without NUL, percent-encoded"
    names = [name.lower() for name, _ in headers]
    for name in names:
        if "_" in name:
            return f"the header {name[:100]!r} has a _ in its name", "headers", "names of letters, digits and -"
    for name in ("content-length", "host"):
        if names.count(name) > 1:
            return f"the header {name} is repeated", name, "one"
    host = next((value for name, value in headers if name.lower() == "host"), None)
    if not (version == "HTTP/1.0" if host is None else HOST.fullmatch(host)):
        return "the header host is missing or malformed", "host", "the name or address of this service"
    if "content-length" in names and "transfer-encoding" in names:
        return "the request has two lengths", "content-length", "either content-length or transfer-encoding"
    return None


def environ(method: str, target: str, version: str, headers: Iterable[tuple[str, str]]) -> Environ:
    """The environment of a request without its body, whose chunks are joined by then; target: "/path?query"."""
    path, _, query = target.partition("?")
    found: Environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": version,
        "wsgi.version": (1, 0),
        "wsgi.errors": sys.stderr,
        "wsgi.input": io.BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers:
        key = name.upper().replace("-", "_")
        if key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            found.setdefault(key, value)
        elif key != "TRANSFER_ENCODING":
            key = f"HTTP_{key}"
            found[key] = f"{found[key]},{value}" if key in found else value
    return found


def run(application: Application, request: Environ) -> Answer:
    """The application's answer."""
    answer = Answer("", [])

    def start(status: str, headers: Headers, exc_info: object = None) -> Callable[[bytes], None]:
        answer.status, answer.headers = status, headers
        return answer.body.append

    parts = application(request, start)
    try:
        answer.body += parts
    finally:
        if callable(close := getattr(parts, "close", None)):
            close()
    return answer
