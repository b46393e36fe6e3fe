"""Who may do what: users with passwords (bcrypt), and tokens of machines, each with scopes.

A scope is `read` (every GET, and remote read), `control` (what changes a service: scenario, reload) or `write` (what
brings data: the webhooks of the pager). A user has all of them.

A login may be bound to tenants, of which the configuration of the forecaster says which servers are theirs. Where the
file has users, one that it does not name may see no tenant's.

    tokens:                                  # a file of --web.tokens.file
      prometheus: {file: secrets/prometheus.token, scopes: [read]}
      payments: {file: secrets/payments.token, scopes: [read], tenants: [payments]}
    users:                                   # of --web.config.file
      alice: {tenants: [payments]}
      root: {tenants: ["*"]}                 # the whole fleet
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import bcrypt
from pydantic import Field

from serving.doors.files import content
from serving.settings import Settings, SettingsError, load

Scope = Literal["read", "control", "write"]
SCOPES: tuple[Scope, ...] = ("read", "control", "write")
EVERYTHING = "*"  # in place of tenants: the whole fleet
_TENANT = r"[A-Za-z0-9!_.()'-]{1,150}"  # as Mimir and Loki have them
TenantName = Annotated[str, Field(pattern=f"^{_TENANT}$")]
_SECRET = secrets.token_bytes(32)  # of this process: digests are worth nothing elsewhere
_SHORTEST = 16  # characters of a token
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750
_BCRYPT_BYTES = 72  # bcrypt reads no more of a password
_WAITING = 3  # passwords that are checked or wait for it; a lane (serving.net.lanes) has more threads
_SUSPECT = 1  # of those, the ones from addresses that sent a wrong password lately
_LATELY = 60.0  # s
_ADDRESSES = 10_000  # whose wrong passwords are remembered


class Busy(Exception):
    """Too many passwords wait to be checked."""


@dataclass(frozen=True)
class Caller:
    """Who sends a request: "user NAME", "token NAME", or "" where no login is needed."""

    name: str
    scopes: frozenset[Scope] = frozenset(SCOPES)
    tenants: frozenset[str] | None = None  # that it is bound to; None: to none, so that it may name any


class Users:
    """Users by name with their bcrypt hashes.

    A bcrypt hash takes a tenth of a second and more, so that one is computed at a time, and the digest of the password
    that was right is remembered for each user, also from `before`, unless the hash has changed. An unknown user takes
    as long as a user that there is.

    Addresses that sent a wrong password within a minute share one place among those that wait, so that they leave the
    others to everybody else. ticks: seconds of a clock that only moves forward.
    """

    def __init__(self, hashes: Mapping[str, str], before: "Users | None" = None,
                 ticks: Callable[[], float] = time.monotonic):
        self._hashes, self._ticks = dict(hashes), ticks
        self._known: dict[str, bytes] = {}  # digests by user
        self._wrong: OrderedDict[str, float] = OrderedDict()  # address: when, the latest last
        if before is not None:
            self._wrong = before._wrong
            same = before._hashes.items() & self._hashes.items()
            self._known = {name: before._known[name] for name, _ in same if name in before._known}
        self._places, self._suspects = threading.BoundedSemaphore(_WAITING), threading.BoundedSemaphore(_SUSPECT)
        self._one = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def check(self, name: str, password: str, client: str = "") -> bool:
        """Whether this is the password of the user; Busy where too many others are being checked. client: the address
        that it comes from."""
        if not self._hashes:
            return False
        given = _digest(name.encode(), password.encode())
        if self._remembered(name, given):
            return True
        client = _network(client)
        with ExitStack() as held:
            suspect = self._ticks() - self._wrong.get(client, float("-inf")) < _LATELY
            for places in (self._suspects, self._places) if suspect else (self._places,):
                if not places.acquire(blocking=False):
                    raise Busy
                held.callback(places.release)
            with self._one:
                if self._remembered(name, given):  # while this one waited
                    return True
                decoys = [*self._hashes.values()]
                decoy = decoys[int.from_bytes(_digest(name.encode())) % len(decoys)]
                right = bcrypt.checkpw(password.encode()[:_BCRYPT_BYTES], self._hashes.get(name, decoy).encode())
                if right and name in self._hashes:
                    self._known[name] = given
                    return True
                self._wrong[client] = self._ticks()
                self._wrong.move_to_end(client)
                if len(self._wrong) > _ADDRESSES:
                    self._wrong.popitem(last=False)
                return False

    def _remembered(self, name: str, given: bytes) -> bool:
        return hmac.compare_digest(self._known.get(name, b""), given)


Bound = Annotated[tuple[Annotated[str, Field(pattern=rf"^(\*|{_TENANT})$")], ...], Field(min_length=1)]


class Token(Settings):
    """A token of a machine."""

    file: Path
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    tenants: Bound | None = None


class User(Settings):
    """What a user may see."""

    tenants: Bound


class TokenSettings(Settings):
    """The file of --web.tokens.file."""

    tokens: Annotated[dict[str, Token], Field(min_length=1)]
    users: Annotated[dict[str, User], Field(min_length=1)] | None = None


class Tokens:
    """Callers by token, and the tenants of users (None: those are not said). Digests with a key of the process are
    looked up, so that time tells nothing of a token."""

    def __init__(self, callers: Mapping[bytes, Caller], users: Mapping[str, User] | None = None):
        self._callers, self._users = callers, users

    def __bool__(self) -> bool:
        return bool(self._callers)

    @classmethod
    def read(cls, path: Path, note: Callable[[Path], object] = lambda file: None) -> "Tokens":
        """The tokens of a file; SettingsError if one cannot be used. Paths are relative to it. note: gets the path of
        each file before it is opened."""
        callers: dict[bytes, Caller] = {}
        note(path)
        settings = load(TokenSettings, path)
        for name, given in settings.tokens.items():
            file = path.parent / given.file
            where = f"{path}: tokens.{name}.file"
            note(file)
            token = content(where, file, "a token in a text file").decode("utf-8", "replace").strip()
            where = f"{where}: {file}"
            if len(token) < _SHORTEST or not _TOKEN.fullmatch(token):
                raise SettingsError(f"{where} has no token that can be used (not shown); expected {_SHORTEST} or more "
                                    "letters, digits or -._~+/; make one with `openssl rand -hex 32`")
            digest = _digest(token.encode())
            if digest in callers:
                raise SettingsError(f"{where} has the token of another name; expected one for each; make a new one")
            tenants = None if given.tenants is None else frozenset(given.tenants)
            callers[digest] = Caller(f"token {name}", frozenset(given.scopes), tenants)
        return cls(callers, settings.users)

    def caller(self, token: str) -> Caller | None:
        """Whose token it is; None for nobody's."""
        return self._callers.get(_digest(token.encode()))

    def user(self, name: str) -> Caller:
        """The caller that a user is, whose password was right."""
        if self._users is None:
            return Caller(f"user {name}")
        return Caller(f"user {name}", tenants=frozenset(self._users[name].tenants if name in self._users else ()))


def _network(address: str) -> str:
    """The /64 of an IPv6 address, which one client has all of; another address as it is."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address


def _digest(*parts: bytes) -> bytes:
    """A digest of the parts, and of where each one ends, that only this process can compute."""
    digest = hashlib.blake2b(key=_SECRET, digest_size=32)
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.digest()
