"""Matchers of remote read: which values of a label each accepts."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import re2

from forecaster.publish import remote_pb as pb
from serving.web import RequestError

SOURCE = "curve"
_OPERATORS = {pb.EQ: "=", pb.NEQ: "!=", pb.RE: "=~", pb.NRE: "!~"}


def asks_for_curves(matchers: Iterable[pb.Message]) -> bool:
    """Whether they have source="curve"."""
    return any(m.type == pb.EQ and m.name == "source" and m.value == SOURCE for m in matchers)


def accepted(matchers: Iterable[pb.Message],
             values: Mapping[str, Sequence[str]]) -> dict[str, npt.NDArray[np.bool_]] | None:
    """For each label, which of its values every matcher accepts; None where a matcher wants a label that is not there.

    RequestError for a matcher that is not valid.
    """
    keep = {label: np.ones(len(of), dtype=bool) for label, of in values.items()}
    for matcher in matchers:
        accepts = _test(matcher)
        if matcher.name in keep:
            known = {value: accepts(value) for value in set(values[matcher.name])}
            keep[matcher.name] &= np.array([known[value] for value in values[matcher.name]], bool)
        elif not accepts(""):  # a label a series does not have counts as empty
            return None
    return keep


def _test(matcher: pb.Message) -> Callable[[str], bool]:
    """The matcher as a function of a label's value; expressions are RE2's and match the whole value."""
    if matcher.type == pb.EQ:
        return lambda value: value == matcher.value
    if matcher.type == pb.NEQ:
        return lambda value: value != matcher.value
    if matcher.type not in (pb.RE, pb.NRE):
        raise RequestError(f"the matcher on {matcher.name!r} has type {matcher.type}", "matchers",
                           "type " + ", ".join(f"{number} ({sign})" for number, sign in _OPERATORS.items()))
    # RE2, not Python's `re`: the syntax of Prometheus, and linear in time for every expression
    try:
        expression = re2.compile(matcher.value, _quiet_options())
    except re2.error as error:
        reason = str(error.args[0], "utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        shown = f"{matcher.name}{_OPERATORS[matcher.type]}{matcher.value!r}"
        raise RequestError(f"{shown} is not a valid expression ({reason})", "matchers", "RE2 syntax") from error
    wanted = matcher.type == pb.RE
    return lambda value: (expression.fullmatch(value) is not None) == wanted


def _quiet_options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False  # the answer tells of a wrong expression; stderr does not need to
    return options
