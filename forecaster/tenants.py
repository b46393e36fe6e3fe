"""Tenants: teams that share a forecaster, and the matchers that say which servers are whose.

Matchers are Prometheus' own. They read the labels `server` and `profile` as the forecaster's series have them, and a
server is a tenant's where all of the tenant's matchers accept it. A server that is not forecast has no profile that is
known; matchers on `profile`, negative ones too, do not accept it.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, Self

import re2
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from serving.doors.logins import TenantName
from serving.settings import Settings
from serving.shown import cut

MOST = 200  # tenants: each that is asked for has a text of its own to render and to keep
_LABELS = ("server", "profile")
_EXPECTED = "expected matchers on server and profile, such as server=~\"pay-.+\",profile!=\"database\""
_MATCHER = re.compile(r"""\s*(?P<label>[A-Za-z_]\w*)\s*(?P<operator>=~|!~|!=|=)\s*
                      (?P<value>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)\s*(?:,\s*|$)""", re.VERBOSE)
_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t"}
_MEMORY = 2 << 20  # bytes for an expression and for matching with it

Accepts = Callable[[str], bool]


def matchers(selector: str) -> tuple[tuple[str, Accepts], ...]:
    """(label, what accepts its value) of each matcher of a selector, whose braces may be left out; ValueError."""
    text, found, at = selector.strip(), [], 0
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    while at < len(text):
        part = _MATCHER.match(text, at)
        if part is None:
            raise ValueError(f"there is no matcher at {cut(text[at:], 40)!r}; {_EXPECTED}: correct it")
        label, at = part["label"], part.end()
        if label not in _LABELS:
            raise ValueError(f"{label} is not a label that the forecaster's series of a server have; {_EXPECTED}: "
                             "use the names under which /status and /metrics show servers and profiles")
        found.append((label, _accepts(part["operator"], _unquoted(part["value"]))))
    if not found:
        raise ValueError(f"there is no matcher; {_EXPECTED}: server=~\".+\" is every server")
    return tuple(found)


def _unquoted(value: str) -> str:
    """A string of PromQL; one in backticks has no escapes."""
    if value[0] == "`":
        return value[1:-1]

    def plain(escape: re.Match[str]) -> str:
        if escape[1] not in _ESCAPES:
            raise ValueError(f"{escape[0]} is no escape of a string in PromQL; expected \\\\ for a backslash: write "
                             f"\\{escape[0]}, or the string in backticks")
        return _ESCAPES[escape[1]]

    return re.sub(r"\\(.)", plain, value[1:-1])


def _accepts(operator: str, value: str) -> Accepts:
    wanted = operator in ("=", "=~")
    if operator in ("=", "!="):
        return lambda given: (given == value) == wanted
    options = re2.Options()
    options.log_errors, options.never_capture, options.max_mem = False, True, _MEMORY
    try:
        expression = re2.compile(value, options)
    except re2.error as error:
        raise ValueError(f"{cut(value)!r} is not an expression of RE2 ({cut(str(error))}): correct it") from error
    return lambda given: (expression.fullmatch(given) is not None) == wanted


def _selector(given: Any) -> Any:
    if isinstance(given, str):
        return given
    raise ValueError(f"{_EXPECTED}: write them as one text, in single quotes")


def _checked(selector: str) -> str:
    matchers(selector)
    return selector


Selector = Annotated[str, BeforeValidator(_selector), AfterValidator(_checked)]


class Tenants(Settings):
    """Teams that share this forecaster: a request of a tenant gets its servers only."""

    required: bool = Field(False, description="whether a request without a tenant, by header or by login, is refused; "
                           "otherwise it gets the whole fleet")
    servers: dict[TenantName, Selector] = Field(
        default_factory=dict, max_length=MOST, description="tenant: matchers on `server` and `profile` of its servers, "
        "which must all hold, such as `server=~\"pay-.+\",profile!=\"database\"`")

    @model_validator(mode="after")
    def _someone_is_let_in(self) -> Self:
        if self.required and not self.servers:
            raise ValueError("required is true, and there is no tenant; expected some in servers: name them, or remove "
                             "required")
        return self


class Tenant:
    """Which servers are one tenant's."""

    def __init__(self, selector: str):
        self._matchers = matchers(selector)

    def has(self, server: str, profile: str | None) -> bool:
        """Whether the server is; `profile`: None where it is not known."""
        values = {"server": server, "profile": profile}
        return all((value := values[label]) is not None and accepts(value) for label, accepts in self._matchers)
