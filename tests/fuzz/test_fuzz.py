"""Inputs that nobody means to send: those that broke something once, then as many drawn ones as a CI run can afford."""

import json
import random
from contextlib import closing

import numpy as np
import pytest

from tests.fuzz import mutate
from tests.fuzz.judge import Wrong, judged
from tests.fuzz.kinds import CORPUS, KINDS, corpus, drawn, quiet, wrong

SEED = 16


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.inputs])
def test_no_input_breaks_anything(name):
    kind = KINDS[name]()
    with quiet(), closing(kind):
        for path in corpus(name):
            assert (path.name, wrong(kind, path.read_bytes())) == (path.name, None)
        for number in range(kind.inputs):
            assert (number, wrong(kind, drawn(kind, SEED, number))) == (number, None)


def test_every_kind_of_the_corpus_is_known_and_described_and_its_inputs_are_small():
    described = (CORPUS / "README.md").read_text()
    for path in CORPUS.glob("*/*"):
        assert path.parent.name in KINDS
        assert f"`{path.parent.name}/{path.name}`" in described
        assert path.stat().st_size < 20_000


def _raises(given: bytes) -> None:
    raise KeyError("x")


def _wrong(given: bytes) -> None:
    raise Wrong("a value is lost")


def _takes_memory(given: bytes) -> None:
    assert len(bytearray(50_000_000)) and np.ones(50_000_000, np.int8).sum()


def _takes_too_much(given: bytes) -> None:
    np.ones(1 << 34, np.int8)


def _takes_time(given: bytes) -> None:
    sum(range(3_000_000))


@pytest.mark.parametrize(("run", "words"), [
    (_raises, "KeyError at fuzz/test_fuzz.py in _raises: 'x'"), (_wrong, "a value is lost"),
    (_takes_memory, "takes more than 20 MB"), (_takes_time, "takes more than 0.001 s of processor time"),
])
def test_an_exception_a_loss_memory_and_time_are_findings(run, words):
    assert judged(run, b"", 0.001 if run is _takes_time else 5.0, 20) == words


def test_more_memory_than_the_machine_should_give_is_refused_at_once():
    assert judged(_takes_too_much, b"", 5.0, 20).startswith(("_ArrayMemoryError", "MemoryError"))


def test_what_is_taken_well_is_no_finding():
    assert judged(len, b"", 5.0, 20) is None


def test_the_same_seed_draws_the_same_changes_and_another_draws_others():
    given = {"a": [1, {"b": "c"}], "d": None}
    made = [mutate.as_json(mutate.tree(random.Random(seed), given)) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]
    assert mutate.data(random.Random(1), b"abc" * 9) == mutate.data(random.Random(1), b"abc" * 9) != b"abc" * 9
    assert given == {"a": [1, {"b": "c"}], "d": None}


def test_a_tree_is_changed_at_every_depth():
    given = {"a": [1, {"b": "c"}], "d": None}
    changed = [repr(mutate.tree(random.Random(seed), given, 1)) for seed in range(200)]
    inside = [one for one in changed if one.startswith("{'a': [1, {'b': ") and one.endswith("}], 'd': None}")]
    assert any("'c'" not in one for one in inside)
    assert any(not one.startswith("{") for one in changed)


def test_a_deep_tree_is_deeper_than_a_parser_of_python_reads():
    with pytest.raises(RecursionError):
        json.loads(mutate.as_json([mutate.DEEP]))
