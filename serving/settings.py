"""Reads YAML files into frozen, validated settings.

A settings object is always valid: `load` returns one or raises `SettingsError`. The error has one line per problem:
the file, the dotted key, the given value, what was expected and what to do. What a file may take is bounded before it
is understood (serving.yaml_bounds).

    SettingsError (ServingError, ValueError)   any problem with a settings file or with overrides
"""

import difflib
import math
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from serving import ServingError
from serving.shown import cut, quoted, shown
from serving.yaml_bounds import BYTES, LOADER, REMEDY, check

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_DURATION_EXPECTED = "a duration such as 250ms, 15s, 5m or 1h30m, or a number of seconds, greater than 0"
_WIDTH = 80  # characters shown of a key or value
_LONGEST = 2000  # characters of a line of the message
_MOST = 20  # problems that are told


class SettingsError(ServingError, ValueError):
    """Invalid settings; `problems` holds the lines of the message."""

    def __init__(self, *problems: str):
        self.problems = tuple(cut(shown(problem), _LONGEST) for problem in problems)
        super().__init__("\n".join(self.problems))


class Settings(BaseModel):
    """Base of every settings section: frozen; rejects unknown keys and numbers that are NaN or infinite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)


AnySettings = TypeVar("AnySettings", bound=BaseModel)


def parse_duration(given: Any) -> float:
    """Seconds (> 0, finite) from "15s", "5m", "1h30m", "250ms" or a number; ValueError otherwise."""
    seconds = math.nan
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        seconds = float(given) if abs(given) < sys.float_info.max else math.inf  # of 400 digits there is no float
    elif isinstance(given, str):
        text = given.strip()
        if re.fullmatch(r"\d+(?:\.\d+)?", text):
            seconds = float(text)
        elif re.fullmatch(f"(?:{_DURATION_PART.pattern})+", text):
            seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"expected {_DURATION_EXPECTED}")
    return seconds


Duration = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]


def load(
    model_cls: type[AnySettings], path: str | Path | None, overrides: Mapping[str, Any] | None = None,
    bases: Mapping[str, Path] | None = None,
) -> AnySettings:
    """Settings of `model_cls` from the YAML file at `path` (None: defaults only).

    `overrides` maps dotted keys to values that take precedence over the file, such as command line flags; None means
    no override. A file with `base: NAME` changes the file that `bases` has under this name. Raises SettingsError.
    """
    data = {} if path is None else _read_with_base(Path(path), model_cls, bases or {})
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    for dotted, value in given.items():
        _put(data, dotted, value)
    try:
        return model_cls.model_validate(data)
    except ValidationError as error:
        file = "settings" if path is None else str(path)
        found = error.errors(include_url=False)
        problems = [_describe(model_cls, item, file, given) for item in found[:_MOST]]
        if len(found) > _MOST:
            problems.append(f"{file}: and {len(found) - _MOST:,} more problems; correct these first")
        raise SettingsError(*problems) from error


def _read_with_base(path: Path, model_cls: type[BaseModel], bases: Mapping[str, Path]) -> dict[str, Any]:
    """The mapping in a YAML file, laid over the one that it names as its base."""
    data = _read(path, model_cls)
    base = data.get("base")
    if isinstance(base, str) and base in bases:
        return _laid_over(_read_with_base(bases[base], model_cls, bases), data)
    return data


def _laid_over(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are changed key by key, all else is replaced; null in place of a mapping removes it."""
    data = dict(base)
    for key, value in changes.items():
        below = data.get(key)
        if isinstance(below, dict) and value is None:
            del data[key]
        else:
            data[key] = _laid_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return data


def _read(path: Path, model_cls: type[BaseModel]) -> dict[str, Any]:
    """The mapping in a YAML file; SettingsError if there is none or a key is repeated."""
    keys = ", ".join(_keys_of(model_cls))
    try:
        with path.open("rb") as file:
            content = file.read(BYTES + 1)
        if len(content) > BYTES:
            raise SettingsError(f"{path}: is larger than {BYTES >> 20} MiB; expected a smaller file; {REMEDY}")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror or error}); expected a readable YAML file; "
            "check the path and its permissions"
        ) from error
    except UnicodeDecodeError as error:
        problem = f"{path}: byte {error.start} is not UTF-8; expected UTF-8 text; save the file as UTF-8"
        raise SettingsError(problem) from error
    try:
        if (too_much := check(text)) is not None:
            raise SettingsError(f"{path}: {too_much}")
        loader = LOADER(text)
        node = loader.get_single_node()
        if node is None:
            raise SettingsError(f"{path}: is empty; expected a mapping with some of the keys {keys}; restore the file")
        repeated = [
            f"{path}: {key}: repeated in lines {first} and {second}; expected once; remove one"
            for key, first, second in islice(_repeated_keys(node, (), set()), _MOST)
        ]
        if repeated:
            raise SettingsError(*repeated)
        data = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: {_yaml_problem(error)}; expected valid YAML; correct the file") from error
    except SettingsError:
        raise
    except Exception as error:  # PyYAML has many for an invalid scalar, such as the date 2025-13-40 or `!!bool 3`
        told = cut(f"{error}" or type(error).__name__)
        problem = f"{path}: a value cannot be parsed ({told}); expected plain YAML values; put the value in quotes"
        raise SettingsError(problem) from error
    if not isinstance(data, dict):
        raise SettingsError(
            f"{path}: got {_shown(data)}; expected a mapping with some of the keys {keys}; write `key: value` lines"
        )
    return data


def _yaml_problem(error: yaml.YAMLError) -> str:
    """One line: where the YAML parser stopped, and why."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
    return f"{where}not valid YAML ({reason})"


def _repeated_keys(node: yaml.Node, at: tuple[str, ...], seen: set[int]) -> Iterator[tuple[str, int, int]]:
    """(dotted key, first line, second line) for each key that is repeated in one mapping."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _repeated_keys(item, (*at, str(index)), seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}  # (tag, key) -> line of its first use
        for key, value in node.value:
            name = cut(str(key.value), _WIDTH)
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in lines:
                    yield ".".join((*at, name)), lines[key.tag, key.value], line
                lines.setdefault((key.tag, key.value), line)
            yield from _repeated_keys(value, (*at, name), seen)


def _put(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Sets a dotted key in nested mappings and creates the mappings on its way."""
    *parents, last = dotted.split(".")
    for parent in parents:
        if not isinstance(data.get(parent), dict):
            data[parent] = {}
        data = data[parent]
    data[last] = value


def _describe(model_cls: type[BaseModel], item: Any, file: str, overrides: Mapping[str, Any]) -> str:
    """One line of the message for one pydantic error."""
    owner, field, steps = _locate(model_cls, item["loc"])
    dotted = ".".join(cut(str(step), _WIDTH) for step in steps)
    if any(dotted == key or dotted.startswith(f"{key}.") for key in overrides):
        file = "command line"
    start = f"{file}: {dotted or '(top level)'}: "
    if item["type"] == "extra_forbidden":
        valid = _keys_of(owner) if owner else []
        near = difflib.get_close_matches(cut(str(steps[-1]), _WIDTH), valid, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        known = ", ".join(valid) or "none"
        return f"{start}unknown key (value {_shown(item['input'])}); {hint}valid keys: {known}"
    meaning = f" ({field.description})" if field is not None and field.description else ""
    if item["type"] == "missing":
        return f"{start}missing; expected a value{meaning}; add the key"
    message = re.sub(r"^(Value|Assertion) error, ", "", item["msg"])
    if item["type"] == "value_error" and isinstance(item["input"], Mapping):  # a rule on several keys
        if not dotted and message.split(":", 1)[0] in overrides:
            file = "command line"
        return f"{file}: {dotted}{': ' if dotted else ''}{message}"
    message = re.sub(r"^Input should be (?=\S)", "expected ", message)
    remedy = "correct the value"
    if field is not None and not field.is_required() and field.default_factory is None:
        remedy += f", or remove the key to use the default {_shown(field.default)}"
    return f"{start}got {_shown(item['input'])}; {message}{meaning}; {remedy}"


def _locate(annotation: Any, loc: tuple[Any, ...]) -> tuple[type[BaseModel] | None, FieldInfo | None, list[Any]]:
    """Follows an error's location through the types: (section of the last key, its field, key steps).

    A location inside a union has a step with the member's name. This step is not a key of the file and is left out.
    """
    owner: type[BaseModel] | None = None
    field: FieldInfo | None = None
    steps: list[Any] = []
    for step in loc:
        if step == "[key]":  # pydantic adds this step where the key itself is invalid
            continue
        annotation, was_member = _union_member(annotation, step)
        if was_member:
            continue
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        steps.append(step)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            owner, field = annotation, _field(annotation, step)
            annotation = field.annotation if field is not None else None
        elif isinstance(origin, type) and issubclass(origin, Mapping) and len(arguments) == 2:
            owner, field, annotation = None, None, arguments[1]
        elif origin in (list, tuple, set, frozenset) and arguments:
            index = step if origin is tuple and isinstance(step, int) and Ellipsis not in arguments else 0
            owner, field, annotation = None, None, arguments[min(index, len(arguments) - 1)]
        else:
            owner, field, annotation = None, None, None
    return owner, field, steps


def _union_member(annotation: Any, step: Any) -> tuple[Any, bool]:
    """(type of the next step, whether `step` names a union member instead of a key)."""
    while typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, False
    members = [member for member in typing.get_args(annotation) if member is not type(None)]
    if len(members) == 1:
        return _union_member(members[0], step)
    for annotated in members:
        member = annotated
        while typing.get_origin(member) is Annotated:
            member = typing.get_args(member)[0]
        if _names(member, step):
            return member, True
    return None, False


def _names(member: Any, step: Any) -> bool:
    """Whether a location step names this union member, by its type or by a literal tag of its fields."""
    if isinstance(member, type) and member.__name__ == step:
        return True
    fields = getattr(member, "model_fields", {})
    return (
        any(
            step in typing.get_args(info.annotation)
            for info in fields.values()
            if typing.get_origin(info.annotation) is typing.Literal
        )
        or str(member) == step
    )


def _field(model_cls: type[BaseModel], key: Any) -> FieldInfo | None:
    """The field of a key, by alias or name."""
    for name, info in model_cls.model_fields.items():
        if key in (info.alias, name):
            return info
    return None


def _keys_of(model_cls: type[BaseModel]) -> list[str]:
    """The keys of a section, as they are written in a file."""
    return [info.alias or name for name, info in model_cls.model_fields.items()]


def _shown(value: Any) -> str:
    """A value for a message: short, without the content of a section."""
    if isinstance(value, dict):
        return f"a mapping of {len(value)}"
    if value is None:
        return "nothing"
    return quoted(value, _WIDTH)
