"""HTTP requests as bytes: drawn, told apart into a WSGI environment, and what answers must be."""

import io
import json
import random
import string
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from flask import Flask

from tests.fuzz import mutate
from tests.fuzz.judge import check

METHODS = ("GET", "GET", "POST", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "get", "FOO", "")
QUERIES = ("", "", "?server=ppdb001", "?server=", "?server=%00", "?server=%ff", "?server=a&server=b", "?=", "?%",
           "?a" * 99, "?server=" + "x" * 5000, "?server=%ED%A0%80", "?limit=1e9", "?name[]=1")
TYPES = ("application/json", "application/x-www-form-urlencoded", "text/plain", "application/json; charset=\xff",
         "application/json; charset=utf-7", "multipart/form-data; boundary=", "multipart/form-data; boundary=x",
         "application/x-protobuf", "*/*", "/", "")
HEADERS = (
    ("Accept-Encoding", ("gzip", "gzip;q=nan", "gzip;q=-1", "br;q=1e999, *;q=0", "identity;q=0", "," * 999, "\xff")),
    ("Accept", ("application/openmetrics-text; version=1.0.0", "text/plain;version=9", "*/*;q=\x00", ";" * 999,
                "\xe9")),
    ("Host", ("127.0.0.1", "evil.example", "a:b:c", "[::1", "", "x" * 3000, "127.0.0.1:99999", "\xff")),
    ("Origin", ("null", "https://evil.example", "http://127.0.0.1", "://", "\xff")),
    ("Sec-Fetch-Site", ("cross-site", "same-origin", "none", "?")),
    ("Content-Encoding", ("gzip", "snappy", "br", "")),
    ("Transfer-Encoding", ("chunked", "gzip, chunked", "identity", "chunked, chunked")),
    ("Content-Length", ("-1", "0", "5", "99999999999999999999", "1e3", "0x5", "", " 5", "5, 5")),
    ("Authorization", ("Basic", "Basic !!!", "Basic Og==", "Bearer", "Bearer \xff", "Digest a=b",
                       "Basic " + "QUFB" * 999)),
    ("X-Scope-OrgID", ("", "a|b", "../..", "\x00", "x" * 999)),
    ("If-None-Match", ('"', 'W/"x"', "*")), ("Range", ("bytes=0-", "bytes=9-1", "x")),
    ("Cookie", ("a=b", ";;;=", "\xff")),
    ("X-Forwarded-For", ("1.2.3.4", "\x00")), ("X-Forwarded-Prefix", ("/x", "//evil.example")),
    ("SCRIPT_NAME", ("/x", "/-")),
    ("Script-Name", ("/x",)), ("Expect", ("100-continue", "x")),
    ("Connection", ("close", "keep-alive, close", "upgrade")),
)


def request(chance: random.Random, paths: Sequence[str], bodies: Sequence[bytes]) -> bytes:
    """One request; `paths` and `bodies` are those that the service takes."""
    method, path = chance.choice(METHODS), chance.choice(paths)
    if chance.random() < 0.2:
        path = mutate.data(chance, path.encode(), 2).decode("latin-1")
    target = path + chance.choice(QUERIES)
    body = b"" if method in ("GET", "HEAD") and chance.random() < 0.8 else chance.choice(bodies)
    if body and chance.random() < 0.7:
        body = mutate.data(chance, body)
    headers = {"Host": "127.0.0.1", "Content-Length": str(len(body))} if chance.random() < 0.95 else {}
    if body:
        headers["Content-Type"] = chance.choice(TYPES[:1] * 8 + TYPES)
    for name, values in chance.sample(HEADERS, chance.choice((0, 0, 1, 1, 2, 4))):
        headers[name] = chance.choice(values)
    if chance.random() < 0.05:
        headers |= {f"X-{n}": "x" * 50 for n in range(chance.choice((50, 300)))}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace") + body


def environment(given: bytes) -> dict[str, Any]:
    """The WSGI environment (PEP 3333) that a server makes of a request whose line and headers it could read."""
    head, _, body = given.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    method, target = (*line.split(" "), "", "")[:2]
    target = quote(target.encode("latin-1"), safe=string.punctuation)  # a server refuses what is not ASCII
    path, _, query = target.partition("?")
    made: dict[str, Any] = {
        "REQUEST_METHOD": method or "GET", "SCRIPT_NAME": "", "QUERY_STRING": query, "RAW_URI": target,
        "PATH_INFO": unquote_to_bytes(path.encode("latin-1")).decode("latin-1") or "/", "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1", "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http", "wsgi.errors": io.StringIO(), "wsgi.multithread": True, "wsgi.multiprocess": False,
        "wsgi.run_once": False, "wsgi.input": io.BytesIO(body)}
    for one in lines:
        name, _, value = one.partition(":")
        key = name.strip().upper().replace("-", "_")
        made[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value.strip()
    if not made.get("CONTENT_LENGTH", "0").isdecimal() or int(made.get("CONTENT_LENGTH", 0)) > len(body):
        made["CONTENT_LENGTH"] = str(len(body))  # a server answers 400 itself, or waits for the rest
    return made


def asked(app: Flask, given: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the application's answer; its exceptions come through."""
    told: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], error: Any = None) -> None:
        told[:] = [int(status[:3]), {name.lower(): value for name, value in headers}]

    answer = app.wsgi_app(environment(given), start)
    try:
        body = b"".join(answer)
    finally:
        if hasattr(answer, "close"):
            answer.close()
    return *told, body


def answered(status: int, headers: dict[str, str], body: bytes, head: bool = False) -> None:
    """Wrong unless this is an answer that a service may give: no error of its own; a refusal is JSON and short."""
    kind = headers.get("content-type", "")
    for name, value in headers.items():
        check(not {*"\r\n\0"} & {*name, *value}, f"control characters in the header {name}")
    if status < 400:
        return
    if status == 503 and kind.startswith("text/plain"):
        return  # not ready, and why
    check(len(body) < 4096, f"a refusal ({status}) of {len(body)} bytes quotes too much")
    if head or not body:
        return
    check(kind.startswith("application/json"), f"a refusal ({status}) is {kind or 'of no type'}, not JSON")
    told = json.loads(body)
    check({"error", "field", "expected"} <= {*told}, f"a refusal ({status}) lacks error, field or expected")
    check(status < 500 or told["field"] == "settings" or status == 503, f"HTTP {status} on {told['field']}")
