"""HTTP for the sources: sessions that log in and retry, answers with a deadline, several requests at once.

A session of requests says how: login, headers, certificates, proxies, retries. What it looks up for every single request an
`Address` looks up once, and urllib3 sends them: for 20 servers that was half of the cycle.

Raises what the standard library has for it: ConnectionError (nobody there, broken off, TLS), TimeoutError,
OSError (a credentials file), ValueError (an answer larger than allowed). The sources translate these.
"""
import http.client
import ipaddress
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import requests
import urllib3
from requests.adapters import HTTPAdapter

from forecaster.sources.crew import Crew

AT_ONCE = 8  # requests on their way; Prometheus answers 20 by default and has other users
CONNECT_TIMEOUT = 3.0  # s; a machine that is up accepts at once; leaves room for one lost packet
_CHUNK = 1 << 16
_AGAIN = (429, 502, 503, 504)  # overloaded or starting up: these pass


class _Retry(urllib3.Retry):
    """Repeats what may pass. An attempt that used up its time is not: that would only add to the load. Neither is one
    answered with Retry-After: the next cycle comes soon enough for whoever asks to be left alone."""

    def increment(self, method=None, url=None, response=None, error=None, _pool=None, _stacktrace=None):
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            raise error
        if response is not None and response.headers.get("Retry-After", "0") != "0":
            raise urllib3.exceptions.MaxRetryError(_pool, url)
        return super().increment(method, url, response, error, _pool, _stacktrace)


class _Credentials(requests.auth.AuthBase):
    """Logs in with what the files hold at the time of the request, so that rotated secrets count at once.

    Always set on a session, because requests would otherwise look for a password in the user's .netrc.
    """

    def __init__(self, bearer_token_file: str | Path | None, basic_auth: tuple[str, str | Path] | None):
        self._token_file, self._basic = bearer_token_file, basic_auth

    def __call__(self, request):
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


class CredentialsError(OSError):
    """A credentials file that cannot be read."""


def http_session(retries: int = 2, backoff: float = 0.2, headers: dict[str, str] | None = None,
                 bearer_token_file: str | Path | None = None,
                 basic_auth: tuple[str, str | Path] | None = None,
                 ca_file: str | Path | None = None) -> requests.Session:
    """A session that verifies TLS (by `ca_file` or the system's authorities) and repeats failed connections.

    `basic_auth` is (user name, password file). `backoff` seconds double with every attempt.
    """
    if bearer_token_file and basic_auth:
        raise ValueError("bearer_token_file and basic_auth exclude each other: give one")
    retry = _Retry(total=retries, backoff_factor=backoff, backoff_max=5.0, status_forcelist=_AGAIN,
                   allowed_methods=("GET", "POST"), raise_on_status=False, respect_retry_after_header=False)
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=retry))
    session.mount("https://", HTTPAdapter(max_retries=retry))
    session.headers.update(headers or {})
    session.auth = _Credentials(bearer_token_file, basic_auth)
    session.verify = str(ca_file) if ca_file else True
    return session


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers (by any spelling) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Address:
    """Where requests of one method go, with what they have in common: headers, proxy and certificates as they are now, the
    login as of the last `renew`."""

    def __init__(self, session: requests.Session, method: str, url: str):
        with _translated():
            self._request = session.prepare_request(requests.Request(method, url))
            found = session.merge_environment_settings(self._request.url, {}, True, session.verify, session.cert)
            how = session.get_adapter(self._request.url)
            self._pool = how.get_connection_with_tls_context(self._request, found["verify"], found["proxies"], found["cert"])
            how.cert_verify(self._pool, self._request.url, found["verify"], found["cert"])
            self._target = how.request_url(self._request, found["proxies"])
        self._login, self._method, self._retries = session.auth, method, how.max_retries
        self._request.headers.pop("Content-Length", None)  # that of no body
        self._headers = dict(self._request.headers)

    def renew(self) -> None:
        """Reads the login anew; CredentialsError if that fails."""
        self._headers = dict(self._login(self._request).headers)

    def fetch(self, timeout: float, limit: int, data: bytes | str | None = None,
              headers: dict[str, str] | None = None, retries: urllib3.Retry | None = None) -> Answer:
        """The answer (of any status, redirects not followed) with a body of at most `limit` bytes.

        Each attempt has `timeout` seconds; `Crew.gather` sets the deadline that includes repeated attempts.
        """
        end = time.monotonic() + timeout
        with _translated(timeout):
            response = self._pool.urlopen(
                self._method, self._target, data, self._with(headers or {}), retries or self._retries, redirect=False,
                assert_same_host=False, timeout=urllib3.Timeout(connect=min(timeout, CONNECT_TIMEOUT), read=timeout),
                preload_content=False, decode_content=False,
            )
            try:
                return _read(response, end, timeout, limit)
            finally:  # one read to its end has given its connection back already, any other is of no more use
                response.close()
                response.release_conn()

    def fetch_all(self, crew: Crew, bodies: Sequence[str], headers: Sequence[dict[str, str]], timeout: float, limit: int,
                  deadline: float) -> list[Answer | Exception]:
        """As `fetch`, all at once: the answers in order, an exception for one there is none of within `deadline` seconds.

        One thread sends them on connections that are open, then reads the answers: threads that wake each other up cost
        more than small answers do. What finds no open connection, or has to be sent again, gets a thread of its own.
        """
        started = time.monotonic()
        fetch = [partial(self.fetch, timeout, limit, body, more) for body, more in zip(bodies, headers, strict=True)]
        ready = self._open(min(len(bodies), AT_ONCE))
        sent = len(ready)
        exchange = [partial(self._exchange, ready, bodies[:sent], headers[:sent], timeout, limit)] if ready else []
        results = crew.gather([*exchange, *fetch[sent:AT_ONCE]], deadline, started)
        if ready:
            results[:1] = [results[0]] * sent if isinstance(results[0], Exception) else results[0]
        results += [self._retries] * (len(bodies) - len(results))
        again = [place for place, result in enumerate(results) if isinstance(result, urllib3.Retry)]
        late = crew.gather([partial(fetch[place], retries=results[place]) for place in again], deadline, started)
        for place, result in zip(again, late, strict=True):
            results[place] = result
        return results

    def _open(self, most: int) -> list[urllib3.connection.HTTPConnection]:
        """Pooled connections that need no more than a request; none where a later urllib3 lends none."""
        found = []
        if not (hasattr(self._pool, "_get_conn") and hasattr(self._pool, "_put_conn")):
            return found
        with _translated():
            while len(found) < most and self._pool.proxy is None:
                connection = self._pool._get_conn()
                if connection.is_closed:  # by the server, or never opened
                    self._pool._put_conn(connection)
                    break
                found.append(connection)
        return found

    def _exchange(self, connections: Sequence[urllib3.connection.HTTPConnection], bodies: Sequence[str],
                  headers: Sequence[dict[str, str]], timeout: float, limit: int) -> list[Answer | Exception | urllib3.Retry]:
        """The answers; a Retry, how often `fetch` may still try, where there is none yet."""
        end = time.monotonic() + timeout
        broken = [self._sent(*each, timeout) for each in zip(connections, bodies, headers, strict=True)]
        return [self._received(*each, end, timeout, limit) for each in zip(connections, broken, strict=True)]

    def _sent(self, connection: urllib3.connection.HTTPConnection, body: str, more: dict[str, str],
                timeout: float) -> Exception | None:
        """Sends a request, in one piece where http.client makes two; returns what the connection broke with, if it did."""
        connection.timeout, pieces = timeout, []
        connection.send = pieces.append
        try:
            connection.request(self._method, self._target, body, self._with(more), preload_content=False, decode_content=False)
            connection.sock.sendall(b"".join(pieces))
        except (OSError, http.client.HTTPException) as error:
            return error
        finally:
            del connection.send
        return None

    def _received(self, connection: urllib3.connection.HTTPConnection, broken: Exception | None, end: float, timeout: float,
                  limit: int) -> Answer | Exception | urllib3.Retry:
        """The answer on a connection, which goes back to the pool, open if it can be used again."""
        answer = None
        try:
            with _translated(timeout):
                try:
                    if broken is not None:
                        raise broken
                    connection.timeout = max(end - time.monotonic(), 0.001)  # time is up: only what is there already
                    response = connection.getresponse()
                except TimeoutError:
                    raise TimeoutError(f"no answer within {timeout:g}s") from None
                except (OSError, http.client.HTTPException) as error:  # as when the server closed it a moment ago
                    return self._retries.increment(self._method, self._target, None, urllib3.exceptions.ProtocolError(error),
                                                   self._pool)
                answer = _read(response, end, timeout, limit)
            if self._retries.is_retry(self._method, answer.status):
                return self._retries.increment(self._method, self._target, response, None, self._pool)
            return answer
        except urllib3.exceptions.MaxRetryError:  # asked often enough: the refusal is the answer
            return answer
        except (OSError, ValueError) as error:
            return error
        finally:
            if answer is None:
                connection.close()
            self._pool._put_conn(connection)

    def _with(self, more: dict[str, str]) -> dict[str, str]:
        """The common headers, and more that take the place of those of their name in any spelling."""
        given = {name.lower() for name in more}
        return {name: value for name, value in self._headers.items() if name.lower() not in given} | more


def _read(response: urllib3.BaseHTTPResponse, end: float, timeout: float, limit: int) -> Answer:
    """The whole answer; ValueError for more than `limit` bytes, TimeoutError past `end`."""
    parts, size = [], 0
    while part := response.read1(_CHUNK, decode_content=True):  # whatever there is
        parts.append(part)
        size += len(part)
        if size > limit:
            raise ValueError(f"the answer is larger than {limit} bytes")
        if time.monotonic() > end:
            raise TimeoutError(f"no complete answer within {timeout:g}s")
    return Answer(response.status, response.headers, b"".join(parts))


def fetch(session: requests.Session, method: str, url: str, timeout: float, limit: int,
          data: bytes | str | None = None, headers: dict[str, str] | None = None) -> Answer:
    """One request, as from `Address`."""
    return Address(session, method, url).fetch(timeout, limit, data, headers)


@contextmanager
def _translated(timeout: float = 0.0) -> Iterator[None]:
    """Raises what the standard library has for what requests and urllib3 raise."""
    try:
        yield
    except (CredentialsError, TimeoutError):
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        cause = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason else error
        if isinstance(cause, urllib3.exceptions.TimeoutError) and not isinstance(cause, urllib3.exceptions.NewConnectionError):
            raise TimeoutError(f"no answer within {timeout:g}s") from error
        raise ConnectionError(str(cause)) from error


def on_this_machine(host: str) -> bool:
    """Whether no network lies between."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
