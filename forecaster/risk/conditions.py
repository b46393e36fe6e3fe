"""Settings of incidents: named conditions on a signal, as the configuration gives them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
import re2
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from forecaster.signals import STEP_MINUTES
from serving.settings import Duration, Settings

Severity = Literal["P1", "P2", "P3"]


def _pattern(text: str) -> str:
    options = re2.Options()
    options.log_errors = False  # the error says it
    try:
        re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise ValueError(f"not a regular expression of RE2 ({reason}): correct it") from error
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


class Condition(Settings):
    """What counts as an incident: a signal beyond a limit for some time."""

    signal: str = Field(description="signal of the condition")
    above: float | None = Field(None, description="limit above which it is on, in the signal's unit")
    below: float | None = Field(None, description="limit below which it is on; one of the two is needed")
    lasting: Duration = Field(60.0 * STEP_MINUTES, alias="for", description="time beyond the limit from which on it is "
                              "on, in steps of 5m")
    severity: Severity = Field("P1", description="highest priority that it gives a server")
    alone: Severity | None = Field(None, description="highest priority while no other incident comes with it and it is "
                                   "usual for the server (on on 2 of the last 7 days); null: as severity")
    servers: Pattern | None = Field(None, description="regular expression of the servers it is meant for; null: all")
    profiles: Pattern | None = Field(None, description="the same of profiles")

    @field_validator("below")
    @classmethod
    def _one_limit(cls, below: float | None, info: ValidationInfo) -> float | None:
        if "above" in info.data and (info.data["above"] is None) == (below is None):
            raise ValueError("the incident has no limit, or two; expected one of above and below: give one")
        return below

    @field_validator("lasting")
    @classmethod
    def _within_the_horizon(cls, lasting: float) -> float:
        if lasting > 8 * 3600:
            raise ValueError("expected at most 8h, the horizon of the forecasts: lower it")
        return lasting

    @field_validator("alone")
    @classmethod
    def _alone_is_no_more(cls, alone: Severity | None, info: ValidationInfo) -> Severity | None:
        if alone is not None and alone < info.data.get("severity", "P1"):
            raise ValueError(f"expected at most severity ({info.data['severity']}): lower alone or raise severity")
        return alone

    @property
    def steps(self) -> int:
        """Steps that it must last; a step is 5 minutes, as in the names of horizons."""
        return math.ceil(self.lasting / (60 * STEP_MINUTES) - 1e-9)

    @property
    def sign(self) -> int:
        """1 for an incident above its limit, -1 for one below: of the negated signal it is one above."""
        return 1 if self.above is not None else -1

    @property
    def limit(self) -> float:
        """The limit, of the negated signal where it is below."""
        return float(self.above) if self.above is not None else -float(self.below or 0.0)

    def meant(self, servers: tuple[str, ...], profiles: tuple[str, ...]) -> NDArray[np.bool_]:
        """bool (S,): the servers that it is meant for; expressions match whole names, as in PromQL."""
        chosen = np.ones(len(servers), bool)
        for pattern, names in ((self.servers, servers), (self.profiles, profiles)):
            if pattern is not None:
                chosen &= _matches(pattern, names)
        return chosen


@lru_cache(maxsize=64)
def _matches(pattern: str, names: tuple[str, ...]) -> NDArray[np.bool_]:
    compiled = re2.compile(pattern)
    return np.array([compiled.fullmatch(name) is not None for name in names], bool)
