"""The tables of keys and the examples of configuration, held against the models and the presets."""

import types
import typing
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import BaseModel

from exporter.profiles import FleetConfig
from forecaster.config import ForecasterConfig, HttpUrl, ListenAddress, Ordinal, Timezone, load_config
from forecaster.risk.thresholds import Band, Level, Levels
from forecaster.signals import StepsByLabel
from serving.settings import Duration
from stack.layout import ROOT
from tests.documents import DOCUMENTS, bare, blocks, by_name, sentences, table

WORDS = {bool: "true or false", Duration: "duration", HttpUrl: "address", ListenAddress: "host:port", Timezone: "time zone",
         StepsByLabel: "times", Path: "path", int: "whole number", Ordinal: "whole number", float: "number", str: "text"}
REFERENCE = "docs/reference/configuration.md"
BOUNDS = {"gt": "above", "ge": "from", "le": "to"}


def is_section(hint: object) -> bool:
    """Whether its keys have rows of their own; small lists of numbers stand in one."""
    return isinstance(hint, type) and issubclass(hint, BaseModel) and hint not in (Band, Level, Levels)


def keys_of(model: type[BaseModel], before: str = "", given: Mapping[str, BaseModel] | None = None
            ) -> dict[str, tuple[str, str]]:
    """(type, default) as the reference writes them, by dotted key, in the model's order.

    `given` has the defaults by name where `model` is what a mapping holds.
    """
    found: dict[str, tuple[str, str]] = {}
    hints = typing.get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        key, hint, default = before + name, hints[name], field.get_default(call_default_factory=True)
        held = typing.get_args(hint)[1] if typing.get_origin(hint) is dict else None
        if is_section(hint):
            found |= keys_of(hint, f"{key}.")
        elif is_section(held) and field.is_required():
            found |= keys_of(held, f"{key}.<name>.")
        elif is_section(held):
            found |= keys_of(held, f"{key}.<window>.", default)
        elif held is Levels:
            found[f"{key}.<role>"] = kind(held), "none"
        elif given:
            defaults = (f"{item}: {shown(getattr(value, name))}" for item, value in given.items())
            found[key] = kind(hint), "; ".join(defaults)
        else:
            found[key] = (kind(hint) + limits(hint, field.metadata),
                          "required" if field.is_required() else shown(default, hint))
    return found


def kind(hint: object) -> str:
    """A type in words."""
    word = next((word for known, word in WORDS.items() if hint == known), None)
    if word is not None:
        return word
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return kind(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if member is type(None) else kind(member) for member in arguments)
    if origin is tuple:
        return f"list of {kind(arguments[0])}"
    if origin is dict:
        return f"{kind(arguments[1])} by name"
    return ", ".join(f"`{name}`" for name in hint.model_fields)


def limits(hint: object, metadata: list) -> str:
    """The bounds of a number; that a duration is above 0 goes without saying."""
    if hint == Duration:
        return ""
    return "".join(f" {word} {getattr(rule, name)}" for rule in metadata for name, word in BOUNDS.items()
                   if hasattr(rule, name))


def shown(value: object, hint: object = None) -> str:
    """A default as the reference writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if hint == Duration:
        unit = next(size for size in (3600, 60, 1) if value % size == 0)
        return f"`{value / unit:g}{ {3600: 'h', 60: 'm', 1: 's'}[unit]}`"
    if isinstance(value, Band):
        return f"{value.above:g}: {value.points:g}"
    if isinstance(value, BaseModel):
        return ", ".join(f"{number:g}" for number in value.model_dump().values())
    if isinstance(value, (tuple, Mapping)):
        return ", ".join(shown(item) for item in value) or "none"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def points(bands: tuple[Band, ...]) -> tuple[str, str]:
    """(points, limits) of the bands, lowest first: ("15, 30, 40", "90, 95, 98")."""
    return tuple(", ".join(f"{getattr(band, of):g}" for band in reversed(bands)) for of in ("points", "above"))


def test_every_key_of_the_configuration_is_listed_with_its_type_and_default():
    assert {key: cells[:2] for key, cells in by_name("Configuration of the forecaster", REFERENCE).items()} == {
        key: (bare(kind_of), default) for key, (kind_of, default) in keys_of(ForecasterConfig).items()}


def test_every_key_of_the_fleet_file_is_listed():
    assert list(by_name("Fleet file", REFERENCE)) == list(FleetConfig.model_fields)


def test_every_example_of_a_configuration_can_be_used(tmp_path):
    examples = [yaml.safe_load(text) for document in DOCUMENTS for text in blocks("yaml", document)]
    ours = [example for example in examples if "scrape_configs" not in example]
    assert ours
    fleet = yaml.safe_load((ROOT / "forecaster/presets/fleet.yml").read_text())
    for example in ours:
        (tmp_path / "example.yml").write_text(yaml.safe_dump(fleet | example))
        assert load_config(tmp_path / "example.yml") != load_config("fleet")


def test_the_example_for_another_prometheus_says_what_ours_is_told():
    [theirs] = [yaml.safe_load(text) for text in blocks("yaml", "docs/your-hosts.md")]
    ours = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    address = load_config("node_exporter").listen
    [job] = theirs["scrape_configs"]
    assert job == {"job_name": "forecaster", "static_configs": [{"targets": [address]}]}
    assert job["job_name"] in [ours_too["job_name"] for ours_too in ours["scrape_configs"]]
    assert theirs["remote_read"] == [{key: read[key] for key in ("url", "read_recent", "required_matchers")}
                                     for read in ours["remote_read"] if address in read["url"]]


def test_the_table_of_points_has_the_defaults():
    risk = load_config("fleet").risk.points
    units = {"CPU": (risk.cpu, "%"), "memory": (risk.memory, "%"), "latency": (risk.latency, "ms")}
    assert table("Risk", "docs/how-it-works.md") == {
        (name, points(bands)[0]): (f"{points(bands)[1]} {unit}",) for name, (bands, unit) in units.items()}


def test_the_numbers_in_the_text_are_the_defaults():
    config = load_config("fleet")
    priorities, health = config.risk.priorities, config.risk.health
    severe, moderate = config.risk.incident["30m"].severe, config.risk.incident["30m"].moderate
    sample, span = config.warmup.sample_interval, config.warmup.samples * config.warmup.sample_interval
    text = sentences("docs/how-it-works.md")
    for said in (
        f"Every {config.refresh:g} s (`refresh`)",
        f"mean of the last {config.step / 60:g} minutes (`step`)",
        f"window of {config.encoder_steps * config.step / 3600:g} hours",
        f"up to {config.encoder_steps} steps of it (`encoder_steps`)",
        f"{config.warmup.samples} samples of {sample:g} s, {span / 60:g} minutes",
        f"From {priorities.p1:g} on a server is P1, from {priorities.p2:g} on P2",
        f"adds {severe.weight:g} (severe) or {moderate.weight:g} (moderate)",
        f"{severe.p50:g} and {severe.p90:g} therefore mean MB/s",
        f"Above {health.warning:g} the fleet's health is warning, above {health.critical:g} critical",
        f"The minimum is {config.live.minimum} by default and {load_config('node_exporter').live.minimum} in the preset",
        f"no cycle succeeds for {config.forecast_ttl / 60:g} minutes (`forecast_ttl`)",
        f"silent for {config.stale_after / 60:g} minutes (`stale_after`)",
        f"after {config.drop_after / 3600:g} h (`drop_after`)",
    ):
        assert said in text, said
