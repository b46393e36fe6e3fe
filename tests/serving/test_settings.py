from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from serving.settings import Duration, Settings, SettingsError, load, parse_duration


class Scrape(Settings):
    kind: Literal["scrape"] = "scrape"
    targets: tuple[str, ...] = ()
    timeout: Duration = 10.0


class Query(Settings):
    kind: Literal["prometheus"] = "prometheus"
    url: str


class Example(Settings):
    refresh: Duration = 15.0
    workers: int = Field(2, ge=1, description="number of threads that read")
    counts: dict[str, int] = Field(default_factory=dict)
    weights: dict[int, float] = Field(default_factory=dict)
    sources: tuple[Scrape, ...] = ()
    source: Annotated[Scrape | Query, Field(discriminator="kind")] = Scrape()
    spare: Query | None = None

    @model_validator(mode="after")
    def _not_both(self) -> "Example":
        if self.spare and self.workers > 8:
            raise ValueError(f"workers: got {self.workers}, expected at most 8 where there is a spare")
        return self


def problems(tmp_path: Path, text: str | bytes, **overrides) -> tuple[str, ...]:
    """The lines of the error that loading `text` gives, without the folder."""
    path = tmp_path / "example.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError) as caught:
        load(Example, path, overrides)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return tuple(line.replace(f"{tmp_path}/", "") for line in caught.value.problems)


def test_a_good_file_gives_frozen_settings(tmp_path):
    path = tmp_path / "example.yml"
    path.write_text(
        "refresh: 1h30m\ncounts: {a: 3}\nsource: {kind: prometheus, url: u}\nsources: [{timeout: 250ms}]\n"
    )
    settings = load(Example, path)
    assert (settings.refresh, settings.counts, settings.source) == (5400.0, {"a": 3}, Query(url="u"))
    assert settings.sources[0].timeout == 0.25
    with pytest.raises(ValidationError):
        settings.refresh = 3


def test_without_a_file_the_defaults_hold():
    assert load(Example, None) == Example()


def test_overrides_win_over_the_file_and_none_is_no_override(tmp_path):
    path = tmp_path / "example.yml"
    path.write_text("refresh: 5s\nworkers: 3\n")
    settings = load(Example, path, {"refresh": "7s", "workers": None, "spare.url": "http://y"})
    assert (settings.refresh, settings.workers, settings.spare) == (7.0, 3, Query(url="http://y"))


def test_an_override_that_is_wrong_is_blamed_on_the_command_line(tmp_path):
    (line,) = problems(tmp_path, "workers: 3\n", refresh="soon")
    assert line.startswith("command line: refresh: got 'soon'; expected a duration such as")
    (line,) = problems(tmp_path, "spare: {url: x}\n", workers=9)
    assert line == "command line: workers: got 9, expected at most 8 where there is a spare"


def test_every_problem_gets_one_line_with_key_value_and_remedy(tmp_path):
    lines = problems(tmp_path, "refresh: 0\nworkers: many\ncounts: {a: b}\nsources: [{}, {timeout: -1}]\n")
    assert [line.split(": got")[0] for line in lines] == [
        "example.yml: refresh",
        "example.yml: workers",
        "example.yml: counts.a",
        "example.yml: sources.1.timeout",
    ]
    assert lines[1] == (
        "example.yml: workers: got 'many'; expected a valid integer, unable to parse string as an "
        "integer (number of threads that read); correct the value, or remove the key to use the default 2"
    )


def test_an_unknown_key_names_the_nearest_and_all_valid_keys(tmp_path):
    assert problems(tmp_path, "refesh: 5s\n") == (
        (
            "example.yml: refesh: unknown key (value '5s'); did you mean refresh? "
            "valid keys: refresh, workers, counts, weights, sources, source, spare"
        ),
    )


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (
            "sources: [{tmeout: 3}]",
            "example.yml: sources.0.tmeout: unknown key (value 3); did you mean timeout? valid keys: kind",
        ),
        (
            "source: {kind: prometheus, ur: x, url: y}",
            "example.yml: source.ur: unknown key (value 'x'); did you mean url?",
        ),
        ("spare: {url: x, zzz: 1}", "example.yml: spare.zzz: unknown key (value 1); valid keys: kind, url"),
        ("spare: {}", "example.yml: spare.url: missing; expected a value; add the key"),
        ("source: {kind: carrier}", "example.yml: source: got a mapping of 1; "),
        ("workers: .nan", "example.yml: workers: got nan; "),
        ("weights: {heavy: 1}", "example.yml: weights.heavy: got 'heavy'; expected a valid integer"),
        ("refresh: true", "example.yml: refresh: got True; expected a duration"),
    ],
)
def test_problems_in_nested_sections_carry_the_whole_key(tmp_path, text, start):
    (line,) = problems(tmp_path, text)
    assert line.startswith(start)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "example.yml: is empty; expected a mapping with some of the keys refresh, "),
        ("# only a comment\n", "example.yml: is empty; "),
        ("- 1\n", "example.yml: got [1]; expected a mapping with some of the keys refresh, "),
        ("workers: [1,\n", "example.yml: line 2, column 1: not valid YAML ("),
        ("workers: 1\n  refresh: 2\n", "example.yml: line 2, column 10: not valid YAML ("),
        (b"workers: \xff\n", "example.yml: byte 9 is not UTF-8; "),
        ("workers: 1\x00\n", "example.yml: not valid YAML ("),
        ("workers: !!python/name:os.system 1\n", "example.yml: line 1, column 10: not valid YAML ("),
        ("workers: 2025-13-40\n", "example.yml: a value cannot be parsed ("),
        ("a: 1\n---\nb: 2\n", "example.yml: line 2, column 1: not valid YAML ("),
    ],
)
def test_a_file_that_is_no_complete_mapping_is_refused_in_one_line(tmp_path, text, line):
    (got,) = problems(tmp_path, text)
    assert got.startswith(line)
    assert got.count(";") >= 2


def test_a_key_given_twice_is_refused_wherever_it_stands(tmp_path):
    assert problems(
        tmp_path, "workers: 3\ncounts: {a: 1, a: 2}\nsources:\n- timeout: 1\n  timeout: 2\nworkers: 4\n"
    ) == (
        "example.yml: counts.a: repeated in lines 2 and 2; expected once; remove one",
        "example.yml: sources.0.timeout: repeated in lines 4 and 5; expected once; remove one",
        "example.yml: workers: repeated in lines 1 and 6; expected once; remove one",
    )


def test_a_merged_mapping_may_be_overridden(tmp_path):
    path = tmp_path / "example.yml"
    path.write_text("sources:\n- &base {targets: [a], timeout: 1}\n- {<<: *base, timeout: 2}\n")
    assert [source.timeout for source in load(Example, path).sources] == [1.0, 2.0]


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(
        SettingsError, match=r"missing\.yml: cannot be read \(No such file or directory\); expected"
    ):
        load(Example, tmp_path / "missing.yml")
    with pytest.raises(SettingsError, match=r"cannot be read \(Is a directory\)"):
        load(Example, tmp_path)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("250ms", 0.25),
        ("15s", 15),
        ("5m", 300),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1d", 86400),
        ("1.5m", 90),
        (" 2s ", 2),
        ("15", 15),
        (15, 15),
        (0.5, 0.5),
    ],
)
def test_durations_are_read_as_seconds(given, seconds):
    assert parse_duration(given) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "given",
    [0, -1, "0s", "-5s", "5 s", "5x", "", "s", "1h-5m", None, True, [], float("inf"), float("nan"), "nan"],
)
def test_what_is_no_duration_is_refused(given):
    with pytest.raises(ValueError, match="expected a duration such as 250ms, 15s, 5m or 1h30m"):
        parse_duration(given)
