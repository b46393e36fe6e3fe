"""Text from outside reaches logs and terminals with its control characters escaped."""

import io
import logging
import subprocess
import sys

import pytest

from serving.shown import LogFormatter, cut, quoted, say, shown

FOREIGN = "a\nERROR forged\r\x1b[2J\x1b]0;x\x07\x9b1A\u202eb\u2066\u200f\u2028c\x85\x00\udc80"


def test_printable_text_stays_and_everything_else_is_written_as_in_a_python_string():
    assert shown("größe 東京 🔥 'x' \\n") == "größe 東京 🔥 'x' \\n"
    assert shown(FOREIGN).isprintable()
    assert shown("a\n\x1b[2J\u202e") == r"a\n\x1b[2J\u202e"


def test_what_is_quoted_has_a_longest_length_whatever_was_given():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    for given in ("x" * 10**6, "\x1b" * 10**6, 16 ** 5000, nested, {"a": FOREIGN * 1000}, range(10**6), [1] * 10**6):
        assert len(quoted(given)) <= 200 and quoted(given).isprintable()
    assert (quoted("a"), quoted(3), cut("abcdef", 5)) == ("'a'", "3", "ab...")


@pytest.fixture
def log():
    """(a logger, what it writes)."""
    # LOG001: outside of logging's tree, as pytest cannot pass on a lone surrogate that it captured in another process
    logger, handler = logging.Logger("sources"), logging.StreamHandler(io.StringIO())  # noqa: LOG001
    handler.setFormatter(LogFormatter())
    logger.addHandler(handler)
    return logger, handler.stream.getvalue


def test_a_record_is_one_line_whatever_text_is_in_it(log):
    logger, written = log
    logger.error("source failed: %s", FOREIGN)
    [line] = written().splitlines()
    assert line.isprintable() and r"source failed: a\nERROR forged\r\x1b[2J" in line
    logger.error("x" * 10**6)
    assert len(written()) < 10_000


def test_no_line_of_a_traceback_passes_for_a_record(log):
    logger, written = log
    try:
        raise ValueError(FOREIGN)
    except ValueError:
        logger.exception("stage failed")
    first, *others = written().splitlines()
    assert first.endswith("ERROR sources: stage failed") and len(others) > 3
    assert all(line.startswith("    ") and line.isprintable() for line in others)
    assert any("ERROR forged" in line for line in others)


def test_what_is_said_keeps_its_lines_and_escapes_the_rest(capsys):
    say("one\ntwo \x1b[2J\r")
    say("three\u202e", sys.stderr)
    assert capsys.readouterr() == ("one\ntwo \\x1b[2J\\r\n", "three\\u202e\n")


@pytest.mark.parametrize("command", [
    ["-m", "forecaster", "check-config", "--config.file"], ["-m", "exporter", "serve", "--config.file"]])
def test_a_command_shows_a_wrong_file_escaped(tmp_path, command):
    path = tmp_path / "a.yml"
    path.write_text('"a\\e[2J\\nfleet-forecaster: good": 1\n')
    done = subprocess.run([sys.executable, *command, path], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and r"a\x1b[2J\nfleet-forecaster: good: unknown key" in done.stderr
    assert done.stderr.replace("\n", "").isprintable()


def test_every_program_logs_in_this_form():
    code = """
import importlib, logging
for name in ("forecaster.__main__", "exporter.__main__", "stack.pager"):
    logging.getLogger().handlers.clear()
    try:
        importlib.import_module(name).main(["--help"])
    except SystemExit:
        logging.getLogger(name).error("source failed: a\\nb\\x1b[2J")
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    ends = [line.partition(" ERROR ")[2] for line in done.stderr.splitlines()]
    assert ends == [f"{name}: source failed: a\\nb\\x1b[2J" for name in (
        "forecaster.__main__", "exporter.__main__", "stack.pager")]
