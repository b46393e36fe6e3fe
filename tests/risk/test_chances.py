"""Chances of incidents: calm servers, coherent windows, any server of a fleet, and the file that holds them."""

import io
import json
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.risk.chances import FILE, WINDOWS, ChanceError, Chances, signed
from forecaster.risk.conditions import Condition
from forecaster.risk.evidence import INPUTS
from tests.risk.test_evidence import LEVELS, ahead, quantiles, series
from tests.tiny_models import chances_of, tiny_chances

CHANCES, SHA = tiny_chances(), "a" * 64
HOT, COLD = Condition(signal="cpu_pct", above=90), Condition(signal="cpu_pct", below=-90)
CALM = quantiles(*[50.0] * 7, rows=3)


def of(history, said, condition=HOT, chances=CHANCES):
    made, step = chances_of(chances, condition, history, said, LEVELS, 1e-3)
    return made["30m"], made["8h"], step


def test_a_server_further_from_the_limit_than_half_its_own_range_has_the_chance_of_calm_servers():
    chances = replace(CHANCES, calm=np.array([0.001, 0.004]))
    history = np.full((3, 300), 50, np.float32)
    history[1, 7], history[2] = 76, np.nan  # 14 below the limit of 90; half of the range from 50 is 13
    soon, later, step = of(history, CALM, chances=chances)
    assert soon.tolist() == [0.001] * 3 and later.tolist() == [0.004] * 3 and step.tolist() == [0] * 3
    history[1, 7] = 77
    assert of(history, CALM, chances=chances)[0][1] != 0.001
    high = CALM.copy()
    high[0, 95, -1] = 77
    assert of(history, high, chances=chances)[1][0] != 0.004


def test_chances_of_one_server_do_not_depend_on_the_others():
    together, alone = of(series(5), ahead(5)), of(series(5)[2:3], ahead(5)[2:3])
    for many, one in zip(together, alone, strict=True):
        np.testing.assert_allclose(many[2:3], one, rtol=1e-6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.floats(-3, 3), st.floats(-3, 3), st.floats(0.1, 3))
def test_within_eight_hours_is_at_least_as_likely_as_within_thirty_minutes(seed, soon, later, slope):
    chances = replace(CHANCES, constant=np.array([soon, later]), slope=np.array([slope, 1.0]))
    first, second, step = of(series(4, 600, seed), ahead(4, seed), chances=chances)
    assert ((first > 0) & (first <= second) & (second < 1)).all()
    assert ((step > 0) == (second >= 0.5)).all()


def test_an_incident_below_is_one_above_of_the_negated_signal():
    for above, below in zip(of(series(), ahead()), of(-series(), -ahead()[..., ::-1], COLD), strict=True):
        np.testing.assert_allclose(above, below, rtol=1e-5)
    history, said, levels = signed(-1, np.ones((1, 2)), quantiles(*range(7)), (0.1, 0.5, 0.8))
    assert history.tolist() == [[-1, -1]] and said[0, 0].tolist() == [-6, -5, -4, -3, -2, -1, 0]
    assert levels == pytest.approx([0.2, 0.5, 0.9])


def test_log_odds_are_the_mean_of_the_networks():
    inputs = np.random.default_rng(3).normal(0, 1, (4, INPUTS)).astype(np.float32)
    apart = [replace(CHANCES, layers=tuple((w[[k]], b[[k]]) for w, b in CHANCES.layers)).log_odds(inputs)
             for k in range(2)]
    np.testing.assert_allclose(CHANCES.log_odds(inputs), np.mean(apart, 0), atol=1e-6)


def test_an_input_far_beyond_all_that_was_trained_on_counts_as_five_deviations():
    inputs = np.full((1, INPUTS), 5, np.float32)
    np.testing.assert_array_equal(CHANCES.log_odds(inputs), CHANCES.log_odds(inputs * 1000))


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0, 1))
def test_any_server_lies_between_the_worst_and_independent_ones(given_chances, separate):
    chances = np.array(given_chances)
    made = replace(CHANCES, separate=np.full(2, separate)).any("8h", chances)
    independent = 1 - np.prod(1 - chances)
    assert chances.max() - 1e-9 <= made <= independent + 1e-9


def test_any_of_bound_servers_is_the_worst_and_of_independent_ones_multiplies():
    chances = np.array([0.2, np.nan, 0.5, 0.1])
    bound, apart = (replace(CHANCES, separate=np.array([0.5, value])) for value in (0.0, 1.0))
    assert bound.any("8h", chances) == pytest.approx(0.5)
    assert apart.any("8h", chances) == pytest.approx(1 - 0.8 * 0.5 * 0.9)
    assert bound.joint == {"30m": {"floor": 0, "common": 0, "separate": 0.5},
                           "8h": {"floor": 0, "common": 0, "separate": 0}}


def test_any_is_unknown_without_a_known_chance_or_for_another_window():
    assert np.isnan(CHANCES.any("8h", np.array([np.nan]))) and np.isnan(CHANCES.any("8h", np.array([])))
    assert np.isnan(CHANCES.any("1h", np.array([0.5])))


@pytest.mark.parametrize(("wrong", "message"), [
    ({"center": np.zeros(3, np.float32)}, "parts do not fit"),
    ({"calm": np.zeros(3)}, "parts do not fit"),
    ({"layers": CHANCES.layers[:1]}, "parts do not fit: layers of .*, expected .* inputs and 2 outputs"),
    ({"layers": CHANCES.layers[1:]}, "parts do not fit"),
    ({"scale": np.zeros(INPUTS, np.float32)}, "scale is not above 0"),
    ({"slope": np.array([1.0, np.nan])}, "not finite"),
])
def test_parts_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(CHANCES, **wrong)


def stored(folder, content=None):
    (folder / FILE).write_bytes(CHANCES.to_bytes(SHA) if content is None else content)
    return folder


def changed(**facts) -> bytes:
    """The file with other facts."""
    with np.load(io.BytesIO(CHANCES.to_bytes(SHA))) as held:
        data = dict(held)
    out = io.BytesIO()
    np.savez(out, **data | {"facts": np.array(json.dumps(json.loads(str(data["facts"])) | facts))})
    return out.getvalue()


def test_chances_come_back_from_their_file(tmp_path):
    loaded = Chances.load(stored(tmp_path), SHA)
    for field in fields(Chances):
        if field.name not in ("layers", "report"):
            np.testing.assert_array_equal(getattr(loaded, field.name), getattr(CHANCES, field.name))
    assert loaded.report == CHANCES.report and loaded.to_bytes(SHA) == CHANCES.to_bytes(SHA)
    for ours, theirs in zip(of(series(), ahead()), of(series(), ahead(), chances=loaded), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [*WINDOWS] == ["30m", "8h"]


def test_chances_of_other_weights_are_refused_and_say_how_to_make_some(tmp_path):
    expected = rf"{FILE}: made for weights a+, the model has f+; run fleet-forecaster calibrate --model"
    with pytest.raises(ChanceError, match=expected):
        Chances.load(stored(tmp_path), "f" * 64)


@pytest.mark.parametrize(("content", "message"), [
    (b"", "damaged"),
    (b"PK\x03\x04 no archive", "damaged"),
    (CHANCES.to_bytes(SHA)[:-300], "damaged"),
    (changed(format=99), "format 99, expected 1"),
    (changed(layers=3), "damaged .*weights_2"),
    (changed(layers=1), "damaged"),
    (changed(layers="two"), "damaged"),
])
def test_a_damaged_file_is_refused_and_says_how_to_make_one(tmp_path, content, message):
    with pytest.raises(ChanceError, match=rf"{FILE}: {message}.*run fleet-forecaster calibrate --model {tmp_path}"):
        Chances.load(stored(tmp_path, content), SHA)


def test_a_file_that_is_not_there_is_said_to_be(tmp_path):
    with pytest.raises(ChanceError, match=rf"{FILE}: cannot be read \(No such file.*run fleet-forecaster calibrate"):
        Chances.load(tmp_path, SHA)


def test_a_file_that_holds_code_is_not_run(tmp_path):
    out = io.BytesIO()
    np.savez(out, facts=np.array([{"format": 1}], object))
    with pytest.raises(ChanceError, match="damaged"):
        Chances.load(stored(tmp_path, out.getvalue()), SHA)
