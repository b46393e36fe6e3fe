"""Signals and horizons: what is forecast, and how far.

A horizon or window is a number of steps under a name. One step of the model is 5 minutes, so "30m" is 6 steps
whatever `step` is configured; a shorter `step` runs the same steps faster, as a rehearsal.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from serving.settings import Settings, parse_duration

HORIZON_STEPS = 96  # H, fixed by the trained model: 8 h, a work shift
STEP_MINUTES = 5  # of one step, in the model and in the names of horizons

PLACEHOLDERS = ("$shard", "$total_shards")  # in a query, replaced by this forecaster's share of the fleet
_SELECTOR = re.compile(r"""([a-zA-Z_:][\w:]*)?({([^{}"']|"([^"\\]|\\.)*"|'([^'\\]|\\.)*')*})?""")
_STRING = re.compile(r"""#[^\n]*|"([^"\\\n]|\\.)*"|'([^'\\\n]|\\.)*'|`[^`]*`""")  # or comment
_CLOSES = {")": "(", "]": "[", "}": "{"}
_METRIC_NAME = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"


def steps_of(label: str) -> int:
    """The steps of a horizon's name: 6 for "30m". ValueError unless they are 1..HORIZON_STEPS whole steps."""
    steps = parse_duration(label) / (60 * STEP_MINUTES)
    if steps != int(steps) or not 1 <= steps <= HORIZON_STEPS:
        raise ValueError(f"{label!r} is not a step of the model; expected a multiple of 5m from 5m to 8h: "
                         "name such a time")
    return int(steps)


def _by_label(given: Any) -> dict[str, int]:
    """{"30m": 6, ...} from ["30m", ...], shortest first."""
    if not isinstance(given, (list, tuple, dict)) or not given:
        raise ValueError("expected a list of names such as [5m, 30m, 8h]: name at least one")
    labels = [str(label) for label in given]
    steps = {label: steps_of(label) for label in labels}
    if len(labels) != len(set(steps.values())):
        raise ValueError("a time is named twice; expected each once: remove the repetition")
    return dict(sorted(steps.items(), key=lambda item: item[1]))


StepsByLabel = Annotated[dict[str, int], BeforeValidator(_by_label)]


def _promql(query: str) -> str:
    """The query on one line, without comments; in label_replace, $1 and ${1} are PromQL's own."""
    query = _STRING.sub(lambda found: found[0] if found[0][0] != "#" else "", query)
    if not query.strip():
        raise ValueError("expected a PromQL expression: write one that yields a series per server")
    unknown = sorted(set(re.findall(r"\$[A-Za-z_]\w*", query)) - {"$step", *PLACEHOLDERS})
    if "$job" in unknown:
        raise ValueError("$job stands for source.job, which is not set: set it, or write the job")
    if unknown:
        raise ValueError(f"unknown placeholder {', '.join(unknown)}: only $step, $job, {' and '.join(PLACEHOLDERS)} "
                         "are filled in")
    _closed(query)
    return " ".join(query.split())


def _closed(query: str) -> None:
    """ValueError where a bracket is not closed, or closes none."""
    bare, opened = _STRING.sub(lambda found: " " * len(found[0]), query), list[tuple[str, int]]()
    for place, one in enumerate(bare):
        if one in "([{":
            opened.append((one, place))
        elif one in _CLOSES and (not opened or opened.pop()[0] != _CLOSES[one]):
            raise ValueError(f"{one!r} closes nothing in {query[:place + 1][-40:]!r}: remove it, or open it before")
    if opened:
        one, place = opened[-1]
        raise ValueError(f"{one!r} is not closed in {query[place:][:40]!r}: close it")


def _selector(query: str) -> str:
    if not _SELECTOR.fullmatch(query):
        raise ValueError('expected a selector such as up{job="node"}: the times of its samples are read, and an '
                         "expression has none")
    return query


PromQL = Annotated[str, AfterValidator(_promql)]
Selector = Annotated[PromQL, AfterValidator(_selector)]


class Signal(Settings):
    """One quantity to forecast: a PromQL expression with one series per server, in `unit`."""

    query: PromQL = Field(description="PromQL with one series per server; "
                       "`$step`, `$job`, `$shard` and `$total_shards` are filled in")
    unit: Literal["percent", "ratio", "milliseconds", "seconds", "megabytes_per_second", "bytes_per_second",
                  "bytes", "per_second", "count"] = Field(description="unit of the query's result")
    title: str | None = Field(None, min_length=1, description="name shown to people")
    optional: bool = Field(False, description="whether a server may lack it: then it does not count as missing")
    like: str | None = Field(None, description="a signal of the model: where the model was not trained on this one, it "
                             "forecasts it as that one; for models of single series, such as `servers`")
    min: float | None = Field(0.0, description="lowest possible value, null where there is none")
    max: float | None = Field(None, description="highest possible value, null where there is none")
    metric: str | None = Field(None, pattern=_METRIC_NAME, description="metric to read, for kind scrape")
    scale: float = Field(1.0, gt=0, description="factor from the metric's unit to `unit`")

    @field_validator("max")
    @classmethod
    def _max_is_above_min(cls, high: float | None, info: ValidationInfo) -> float | None:
        low = info.data.get("min")
        if high is not None and low is not None and high <= low:
            raise ValueError(f"expected more than min ({low:g}): raise max or lower min")
        return high
