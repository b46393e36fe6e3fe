"""Files that are made, or chosen by mistake, to take hours and gigabytes are refused at once, in few words."""

import time
from typing import Any

import pytest

from exporter.profiles import load_fleet
from forecaster.config import load_config
from serving.settings import Settings, SettingsError, load
from tests.bounded import measured

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True))
MERGED = "a: &a {k: 1}\n" + "".join(f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}], k{name}: 1}}\n"
                                    for before, name in zip("abcdefgh", "bcdefghi", strict=True))
HUGE = {
    "an alias of aliases": BOMB, "merged aliases": MERGED, "a mapping in itself": "a: &a {b: *a}\n",
    "merged into itself": f"a: &{'a' * 900} {{<<: *{'a' * 900}}}\n",
    "200,000 unknown keys": "".join(f"k{n}: 1\n" for n in range(200_000)),
    "90,000 unknown keys": "".join(f"k{n}: 1\n" for n in range(90_000)), "60,000 items": f"a: [{'1, ' * 60_000}]\n",
    "deep lists": "a: " + "[" * 100_000, "deep mappings": "a: " + "{a: " * 100_000,
    "deep dashes": "- " * 100_000, "a long value": f"refresh: {'x' * 900_000}\n",
    "a long key": f"{'x' * 900_000}: 1\n", "a sexagesimal number": f"refresh: 1{':1' * 400_000}\n",
    "ä at the end of what is read": "ä" * (1 << 20), "51 levels": "a: " + "[" * 50 + "]" * 50,
}


class Anything(Settings):
    refresh: float = 1.0
    a: Any = None


@pytest.mark.parametrize("what", HUGE)
def test_a_file_that_is_too_much_is_refused_at_once_in_one_short_line(tmp_path, what):
    path = tmp_path / "a.yml"
    path.write_text(HUGE[what])
    for read in (lambda: load(Anything, path), lambda: load_fleet(path), lambda: load_config(path)):
        started = time.process_time()
        with pytest.raises(SettingsError) as caught:
            read()
        assert time.process_time() - started < 1
        [line] = caught.value.problems
        assert line.startswith(f"{path}: ") and len(line) < 300


def test_little_memory_goes_into_a_refusal(tmp_path):
    for number, text in enumerate((*HUGE.values(), "a: " * (50 << 20 >> 2))):
        (tmp_path / f"{number}.yml").write_text(text)
    (tmp_path / "endless.yml").symlink_to("/dev/zero")
    took = measured("from pathlib import Path; from tests.serving.test_settings_bounds import *", f"""
        said = 0
        for path in sorted(Path({str(tmp_path)!r}).glob("*.yml")):
            try:
                load(Anything, path)
            except SettingsError as error:
                said += len(str(error)) < 400
    """)
    assert took.said == len(HUGE) + 2
    assert took.mebibytes < 50 and took.seconds < 5


@pytest.mark.parametrize(("text", "start"), [
    ("".join(f"k{n}: 1\n" for n in range(10_000)), "k0: unknown key"),
    (f"{'k' * 1000}: 1\n", "kkk"), (f"refresh: 0x{'f' * 5000}\n", "refresh: got a number of thousands of digits"),
    ("".join(f"k{n}: 1\n" * 2 for n in range(5000)), "k0: repeated"), (f"{'k' * 1000}: 1\n" * 2, "kkk"),
    ("refresh: !!bool 3", "a value cannot be parsed"), ("refresh: !!int ''", "a value cannot be parsed"),
    ("refresh: !!timestamp x", "a value cannot be parsed"), (f"refresh: {'9' * 5000}", "a value cannot be parsed")])
def test_a_wrong_file_within_the_bounds_is_refused_in_at_most_21_lines_of_bounded_length(tmp_path, text, start):
    path = tmp_path / "a.yml"
    path.write_text(text)
    started = time.thread_time()
    with pytest.raises(SettingsError) as caught:
        load(Anything, path)
    assert time.thread_time() - started < 1
    assert caught.value.problems[0].startswith(f"{path}: {start}")
    assert len(caught.value.problems) <= 21 and max(map(len, caught.value.problems)) < 400


def test_aliases_and_long_lists_in_ordinary_measure_are_taken(tmp_path):
    path = tmp_path / "a.yml"
    path.write_text("a: {one: &one {k: [1, 2]}, two: *one, three: {<<: *one, j: 3}}\n")
    assert load(Anything, path).a["three"] == {"k": [1, 2], "j": 3}
    path.write_text("a:\n" + "".join(f"- http://host-{n:05}.example.com:9100\n" for n in range(20_000)))
    assert len(load(Anything, path).a) == 20_000


def test_foreign_characters_of_a_file_reach_no_terminal(tmp_path):
    path = tmp_path / "a.yml"
    path.write_text('"k\\e[2J\\u202e\\n": 1\n')
    with pytest.raises(SettingsError) as caught:
        load(Anything, path)
    assert r"k\x1b[2J\u202e\n: unknown key" in str(caught.value) and str(caught.value).isprintable()
