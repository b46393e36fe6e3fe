"""HTTP requests of the sources and of push: login, TLS, retries, and a limit of time and size for every answer.

Errors are those of the standard library: ConnectionError (no connection, or broken off), TimeoutError, TLSError and
CredentialsError (both OSError), ValueError (an answer larger than allowed). Callers translate them into their own.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from types import TracebackType
from typing import Self

import requests
import urllib3
from requests.adapters import HTTPAdapter
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
                 ca_file: str | Path | None = None) -> requests.Session:
    """A session that verifies TLS (by `ca_file` or the system's authorities) and repeats failed requests.

    `basic_auth` is (user name, password file). The pause between attempts starts at `backoff` seconds and doubles.

    Threads may share it for `fetch`. Requests makes no such promise (github.com/psf/requests/issues/2766), but a
    request changes only the session's cookies, of which none are accepted, and urllib3's pools, which are thread-safe.
    """
    if bearer_token_file and basic_auth:
        raise ValueError("bearer_token_file and basic_auth exclude each other: give one")
    retry = _Retry(total=retries, backoff_factor=backoff, backoff_max=5.0, status_forcelist=_OVERLOADED,
                   allowed_methods=("GET", "POST"), raise_on_status=False, respect_retry_after_header=False)
    session = _Session()
    session.mount("http://", HTTPAdapter(max_retries=retry))
    session.mount("https://", HTTPAdapter(max_retries=retry))
    session.headers.update(headers or {})
    session.auth = _Credentials(bearer_token_file, basic_auth)
    session.verify = str(ca_file) if ca_file else True
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    return session


def fetch(session: requests.Session, method: str, url: str, timeout: float, limit: int,
          data: bytes | str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """The answer, of any status, with a body of at most `limit` bytes after decompression.

    `timeout` seconds bound each attempt's wait for the first byte, and the time until the body is complete.
    """
    began = time.monotonic()
    try:
        # verify: else REQUESTS_CA_BUNDLE of the environment replaces the session's ca_file
        with session.request(method, url, data=data, headers=headers, timeout=(min(timeout, CONNECT_TIMEOUT), timeout),
                             verify=session.verify, stream=True) as response:
            waited = time.monotonic() - began
            body = _body(response.raw, began + timeout, timeout, limit)
            return Answer(response.status_code, response.headers, body, waited)
    except (CredentialsError, TimeoutError):
        raise
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise TimeoutError(f"no answer within {timeout:g}s") from error
    except requests.exceptions.SSLError as error:
        raise TLSError(str(_cause(error))) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError) as error:
        raise ConnectionError(str(_cause(error))) from error
    except OSError as error:  # ca_file
        raise TLSError(str(error)) from error


def _body(raw: urllib3.HTTPResponse, end: float, timeout: float, limit: int) -> bytes:
    """The whole body; ValueError for more than `limit` bytes, TimeoutError past `end` (monotonic clock)."""
    parts, size = [], 0
    while part := raw.read1(_CHUNK, decode_content=True):  # what has arrived; iter_content waits until a chunk is full
        parts.append(part)
        size += len(part)
        if size > limit:
            raise ValueError(f"the answer is larger than {limit} bytes")
        if time.monotonic() > end:
            raise TimeoutError(f"no complete answer within {timeout:g}s")
    return b"".join(parts)


def _cause(error: Exception) -> object:
    """The error that requests and urllib3 wrapped."""
    cause = error.args[0] if isinstance(error, requests.RequestException) and error.args else error
    return cause.reason or cause if isinstance(cause, urllib3.exceptions.MaxRetryError) else cause
