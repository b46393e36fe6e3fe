"""Matchers of remote read: which values of a label each accepts."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import re2

from forecaster.publish import remote_pb as pb
from forecaster.publish.budget import Budget
from serving.shown import cut, quoted
from serving.web import RequestError

SOURCE = "curve"
LONGEST = 1 << 16  # characters of an expression: a thousand names of 60; RE2 compiles the worst in a second
_MEMORY = 2 << 20  # bytes for an expression and for matching with it; RE2 refuses those that do not fit
# Names joined by |, as Grafana asks for the chosen values of a variable. They need no expression.
_NAMES = re.compile(r"(?P<open>\()?(?:[\w /:@%,;=|-]|\\[.-])*+(?(open)\))")
_OPERATORS = {pb.EQ: "=", pb.NEQ: "!=", pb.RE: "=~", pb.NRE: "!~"}


def asks_for_curves(matchers: Iterable[pb.Message]) -> bool:
    """Whether they have source="curve"."""
    return any(m.type == pb.EQ and m.name == "source" and m.value == SOURCE for m in matchers)


def accepted(matchers: Iterable[pb.Message], values: Mapping[str, Sequence[str]],
             budget: Budget) -> dict[str, npt.NDArray[np.bool_]] | None:
    """For each label, which of its values every matcher accepts; None where a matcher wants a label that is not there.

    RequestError for a matcher that is not valid, and where the budget is used up.
    """
    keep = {label: np.ones(len(of), dtype=bool) for label, of in values.items()}
    for matcher in matchers:
        budget.go_on()
        accepts = _test(matcher, budget)
        if matcher.name in keep:
            known = {value: accepts(value) for value in set(values[matcher.name])}
            keep[matcher.name] &= np.array([known[value] for value in values[matcher.name]], bool)
        elif not accepts(""):  # a label a series does not have counts as empty
            return None
    return keep


def _test(matcher: pb.Message, budget: Budget) -> Callable[[str], bool]:
    """The matcher as a function of a label's value; expressions are RE2's and match the whole value."""
    if matcher.type == pb.EQ:
        return lambda value: value == matcher.value
    if matcher.type == pb.NEQ:
        return lambda value: value != matcher.value
    if matcher.type not in (pb.RE, pb.NRE):
        raise RequestError(f"the matcher on {quoted(matcher.name)} has type {matcher.type}", "matchers",
                           "type " + ", ".join(f"{number} ({sign})" for number, sign in _OPERATORS.items()))
    wanted: bool = matcher.type == pb.RE
    if _NAMES.fullmatch(matcher.value):
        names = frozenset(matcher.value.strip("()").replace("\\", "").split("|"))
        return lambda value: (value in names) == wanted
    found = _expression(matcher)

    def accepts(value: str) -> bool:
        budget.go_on()
        return (found(value) is not None) == wanted

    return accepts


def _expression(matcher: pb.Message) -> Callable[[str], object]:
    """What finds a whole value, else None. RE2 has the syntax of Prometheus and is linear in time, unlike `re`."""
    shown = cut(f"{quoted(matcher.name)[1:-1]}{_OPERATORS[matcher.type]}{quoted(matcher.value)}")
    if len(matcher.value) > LONGEST:
        raise RequestError(f"{shown} has {len(matcher.value)} characters", "matchers",
                           f"at most {LONGEST} in an expression; names joined by | may be longer")
    options = re2.Options()
    options.log_errors = False  # the answer tells of a wrong expression; stderr does not need to
    options.never_capture = True  # the memory for groups grows with the square of their number
    options.max_mem = _MEMORY
    try:
        find: Callable[[str], object] = re2.compile(matcher.value, options).fullmatch
    except re2.error as error:
        reason = str(error.args[0], "utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise RequestError(f"{shown} is not a valid expression ({cut(reason, 40)})", "matchers",
                           "RE2 syntax, in less than 2 MiB when compiled") from error
    return find
