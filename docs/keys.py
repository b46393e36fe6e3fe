"""The keys of a settings model in words: type, bounds and default, for the page on configuration."""

import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from forecaster.addresses import HttpUrl, ListenAddress
from forecaster.config import Ordinal, Timezone
from forecaster.risk.thresholds import Band, Level, Levels
from forecaster.signals import StepsByLabel
from serving.settings import Duration

TYPES = {bool: "true or false", int: "whole number", Ordinal: "whole number", float: "number", str: "text",
         Path: "path", Duration: "duration", StepsByLabel: "times", Timezone: "time zone", HttpUrl: "address",
         ListenAddress: "host:port"}
BOUNDS = {"gt": "above", "ge": "from", "le": "to"}

Row = tuple[str, ...]


def is_section(hint: object) -> typing.TypeGuard[type[BaseModel]]:
    """Whether its keys have rows of their own; small lists of numbers share one."""
    return isinstance(hint, type) and issubclass(hint, BaseModel) and hint not in (Band, Level, Levels)


def keys(model: type[BaseModel], before: str = "", given: Mapping[str, BaseModel] | None = None) -> Iterator[Row]:
    """(key, type, default, meaning) of each key, in the model's order; `given`: defaults by a mapping's keys."""
    for name, hint in typing.get_type_hints(model, include_extras=True).items():
        field = model.model_fields.get(name)
        if field is None:
            continue
        default = field.get_default(call_default_factory=True)
        named = next((part for part in (hint, *typing.get_args(hint)) if typing.get_origin(part) is dict), None)
        held = typing.get_args(named)[1] if named is not None else None
        key, words = f"{before}{field.alias or name}", kind(hint) + limits(hint, field.metadata)
        if is_section(hint):
            yield from keys(hint, f"{key}.")
        elif is_section(held) and (field.is_required() or not default):
            if default is None:
                yield f"`{key}`", "keys by name or null", "null", field.description or ""
            yield from keys(held, f"{key}.<name>.")
        elif is_section(held):
            yield from keys(held, f"{key}.<window>.", default)
        elif held is Levels:
            yield f"`{key}.<role>`", kind(held), "none", field.description or ""
        elif given:
            defaults = (f"{item}: {shown(getattr(value, name))}" for item, value in given.items())
            yield f"`{key}`", words, "; ".join(defaults), field.description or ""
        else:
            told = "required" if field.is_required() else shown(default, hint)
            yield f"`{key}`", words, told, field.description or ""


def kind(hint: object) -> str:
    """A type in words."""
    word = next((word for known, word in TYPES.items() if hint == known), None)
    if word is not None:
        return word
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return kind(inner[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if member is type(None) else kind(member) for member in inner)
    if origin is tuple:
        return f"list of {kind(inner[0])}"
    if origin is dict:
        return f"{kind(inner[1])} by name"
    return ", ".join(f"`{name}`" for name in typing.cast(type[BaseModel], hint).model_fields)


def limits(hint: object, metadata: list[object]) -> str:
    """The bounds of a number; that a duration is above 0 goes without saying."""
    return "".join(f" {word} {getattr(rule, name)}" for rule in metadata if hint != Duration
                   for name, word in BOUNDS.items() if hasattr(rule, name))


def shown(value: object, hint: object = None) -> str:
    """A default as the page writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if hint == Duration and isinstance(value, float):
        size, unit = next((size, unit) for size, unit in ((3600, "h"), (60, "m"), (1, "s")) if value % size == 0)
        return f"`{value / size:g}{unit}`"
    if isinstance(value, Band):
        return f"{value.above:g}: {value.points:g}"
    if isinstance(value, BaseModel):
        return ", ".join(f"{number:g}" for number in value.model_dump().values())
    if isinstance(value, (tuple, Mapping)):
        return ", ".join(shown(item) for item in value) or "none"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
