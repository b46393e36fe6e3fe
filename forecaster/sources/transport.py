"""HTTP requests of the sources and of push: login, TLS, retries, and a limit of time and size for every answer.

The timeouts of requests, urllib3 and http.client are those of a single read: a byte each second never meets them. Here
a request has one deadline, for all its attempts and everything that is read of them: _Deadline gives each attempt the
time that is left, and _Response each read.

Errors are those of the standard library: ConnectionError (no connection, or broken off), TimeoutError, TLSError and
CredentialsError (both OSError), ValueError (an answer larger than allowed). Callers translate them into their own.
"""

import http.client
import io
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3 import connection
from urllib3.connectionpool import ConnectionPool

CONNECT_TIMEOUT = 3.0  # s; a lost SYN is sent again after 1 s (RFC 6298)
_CHUNK = 1 << 16
_OVERLOADED = (429, 502, 503, 504)  # overloaded or starting up


class CredentialsError(OSError):
    """A credentials file that cannot be read."""


class TLSError(OSError):
    """A connection that TLS does not allow, as with an expired certificate or a missing `ca_file`."""


@dataclass(frozen=True)
class Answer:
    """Status, headers (case-insensitive), the whole body, decompressed, and how long the headers took (s)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    waited: float = 0.0


class _Retry(urllib3.Retry):
    """Does not repeat a request that timed out, as that would add to the load, nor one answered with Retry-After: the
    next cycle is the next attempt."""

    def increment(self, method: str | None = None, url: str | None = None,
                  response: urllib3.BaseHTTPResponse | None = None, error: Exception | None = None,
                  _pool: ConnectionPool | None = None, _stacktrace: TracebackType | None = None) -> Self:
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        return not has_retry_after and super().is_retry(method, status_code)


class _Deadline(urllib3.Timeout):
    """The time that is left until `end`, seconds of the monotonic clock, whenever it is asked for."""

    def __init__(self, end: float):
        super().__init__()
        self.end = end

    def clone(self) -> "_Deadline":
        """For the next attempt; there is none after the end."""
        if time.monotonic() >= self.end:
            raise urllib3.exceptions.TimeoutError
        return _Deadline(self.end)

    @property
    def connect_timeout(self) -> float:
        """For the connection, and the request."""
        return min(CONNECT_TIMEOUT, max(self.end - time.monotonic(), 0.001))  # 0 means not to wait at all

    @property
    def read_timeout(self) -> float:
        """For the answer."""
        return max(self.end - time.monotonic(), 0.0)


class _Timed(io.RawIOBase):
    """What comes from a socket within the timeout that it has now; TimeoutError after that."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket):
        self._raw, self._sock, self._end = raw, sock, time.monotonic() + (sock.gettimeout() or 0.0)

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Reads what has arrived."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Closes the socket, if its connection is closed as well."""
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """Status line, headers, chunk sizes, trailers and body: all of it within the timeout of the socket."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any):
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Timed(self.fp.detach(), sock))


class HTTPConnection(connection.HTTPConnection):
    """Its name is part of what urllib3 says of a connection that fails."""

    response_class = _Response


class HTTPSConnection(connection.HTTPSConnection):
    """The same with TLS."""

    response_class = _Response


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = HTTPConnection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = HTTPSConnection


class _Adapter(HTTPAdapter):
    """Connections, also those of a proxy, whose answers are _Response."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Called once."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> urllib3.ProxyManager:
        """Called for each request to a proxy."""
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self.poolmanager.pool_classes_by_scheme
        return manager


class _Credentials(requests.auth.AuthBase):
    """Logs in with the content of the files at the time of each request, so that rotated secrets count at once.

    Set on every session, even without files: otherwise requests looks for a password in the user's .netrc.
    """

    def __init__(self, bearer_token_file: str | Path | None, basic_auth: tuple[str, str | Path] | None):
        self._token_file, self._basic = bearer_token_file, basic_auth

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token_file:
            request.headers["Authorization"] = f"Bearer {_secret(self._token_file)}"
        elif self._basic:
            requests.auth.HTTPBasicAuth(self._basic[0], _secret(self._basic[1]))(request)
        return request


def _secret(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"credentials file {path} cannot be read: {error}") from error


class _Session(requests.Session):
    """A session that follows no redirects. Requests would read the body of one, of any length, before it says so."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: a redirect is an answer as any other."""


def http_session(retries: int = 2, backoff: float = 0.2, headers: Mapping[str, str] | None = None,
                 bearer_token_file: str | Path | None = None, basic_auth: tuple[str, str | Path] | None = None,
                 ca_file: str | Path | None = None,
                 certificate: tuple[str | Path, str | Path] | None = None) -> requests.Session:
    """A session that verifies TLS (by `ca_file` or the system's authorities) and repeats failed requests.

    `basic_auth` is (user name, password file), `certificate` is (certificate file, key file) to log in with in TLS.
    The pause between attempts starts at `backoff` seconds and doubles.

    Threads may share it for `fetch`. Requests makes no such promise (github.com/psf/requests/issues/2766), but a
    request changes only the session's cookies, of which none are accepted, and urllib3's pools, which are thread-safe.
    """
    if bearer_token_file and basic_auth:
        raise ValueError("bearer_token_file and basic_auth exclude each other: give one")
    retry = _Retry(total=retries, backoff_factor=backoff, backoff_max=5.0, status_forcelist=_OVERLOADED,
                   allowed_methods=("GET", "POST"), raise_on_status=False, respect_retry_after_header=False)
    session = _Session()
    session.mount("http://", _Adapter(max_retries=retry))
    session.mount("https://", _Adapter(max_retries=retry))
    session.headers.update(headers or {})
    session.auth = _Credentials(bearer_token_file, basic_auth)
    session.verify = str(ca_file) if ca_file else True
    session.cert = (str(certificate[0]), str(certificate[1])) if certificate else None
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    return session


def fetch(session: requests.Session, method: str, url: str, timeout: float, limit: int,
          data: bytes | str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """The answer, of any status, with a body of at most `limit` bytes after decompression.

    `timeout` seconds bound everything: all attempts, and the answer to its last byte. Whatever ends it, the connection
    is closed, or free for the next request.
    """
    began = time.monotonic()
    try:
        # verify: else REQUESTS_CA_BUNDLE of the environment replaces the session's ca_file
        with session.request(method, url, data=data, headers=headers, verify=session.verify, stream=True,
                             timeout=_Deadline(began + timeout),  # type: ignore[arg-type]  # see HTTPAdapter.send
                             ) as response:
            waited = time.monotonic() - began
            return Answer(response.status_code, response.headers, _body(response.raw, limit), waited)
    except CredentialsError:
        raise
    except (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise TimeoutError(f"no answer within {timeout:g}s") from error
    except requests.exceptions.SSLError as error:
        raise TLSError(str(_cause(error))) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError) as error:
        raise ConnectionError(str(_cause(error))) from error
    except OSError as error:  # ca_file or certificate
        raise TLSError(str(error)) from error


def _body(raw: urllib3.HTTPResponse, limit: int) -> bytes:
    """The whole body; ValueError for more than `limit` bytes."""
    parts, size = [], 0
    while part := raw.read1(_CHUNK, decode_content=True):  # what has arrived; iter_content waits until a chunk is full
        parts.append(part)
        size += len(part)
        if size > limit:
            parts.clear()  # the error may be kept, and with its traceback these
            raise ValueError(f"the answer is larger than {limit} bytes")
    return b"".join(parts)


def _cause(error: Exception) -> object:
    """The error that requests and urllib3 wrapped."""
    cause = error.args[0] if isinstance(error, requests.RequestException) and error.args else error
    return cause.reason or cause if isinstance(cause, urllib3.exceptions.MaxRetryError) else cause
