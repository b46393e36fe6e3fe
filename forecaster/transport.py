"""HTTP for the sources: sessions that log in and retry, answers with a deadline, several requests at once.

Raises what the standard library has for it: ConnectionError (nobody there, broken off, TLS), TimeoutError,
OSError (a credentials file), ValueError (an answer larger than allowed). The sources translate these.
"""
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

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


def http_session(retries: int = 2, backoff: float = 0.2, headers: Mapping[str, str] | None = None,
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


def fetch(session: requests.Session, method: str, url: str, timeout: float, limit: int,
          **more: Any) -> tuple[requests.Response, bytes]:
    """Response (of any status, redirects not followed) and its body of at most `limit` bytes.

    Each attempt has `timeout` seconds; `gather` sets the deadline that includes repeated attempts.
    """
    end = time.monotonic() + timeout
    try:
        with session.request(method, url, timeout=(min(timeout, CONNECT_TIMEOUT), timeout), stream=True,
                             allow_redirects=False, verify=session.verify, **more) as response:
            parts, size = [], 0
            while part := response.raw.read1(_CHUNK, decode_content=True):  # whatever there is
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise ValueError(f"the answer is larger than {limit} bytes")
                if time.monotonic() > end:
                    raise TimeoutError(f"no complete answer within {timeout:g}s")
            return response, b"".join(parts)
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise TimeoutError(f"no answer within {timeout:g}s") from error
    except (CredentialsError, TimeoutError):
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        cause = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
        raise ConnectionError(str(getattr(cause, "reason", None) or cause)) from error


def gather(calls: Sequence[Callable[[], Any]], limit: float, workers: int) -> list[Any]:
    """Results in order; an exception for a call that raised, TimeoutError for one not done in `limit` s.

    The threads are daemons and not waited for: a call that hangs delays neither the caller nor the exit.
    """
    results: list[Any] = [TimeoutError(f"no answer within {limit:g}s")] * len(calls)
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    done: queue.SimpleQueue = queue.SimpleQueue()
    given_up = threading.Event()

    def work() -> None:
        while not given_up.is_set():
            try:
                number, call = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((number, call()))
            except Exception as error:  # noqa: BLE001 - handed over, the caller raises what it cannot use
                done.put((number, error))

    for item in enumerate(calls):
        waiting.put(item)
    for number in range(min(workers, len(calls))):
        threading.Thread(target=work, name=f"fetch-{number}", daemon=True).start()
    end = time.monotonic() + limit
    try:
        for _ in calls:
            number, result = done.get(timeout=max(0.0, end - time.monotonic()))
            results[number] = result
    except queue.Empty:
        given_up.set()
    return results
