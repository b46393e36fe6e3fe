"""The file of weights, and what it refuses."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest

from forecaster.capacity.courses import courses
from forecaster.capacity.forecast import Weights, WeightsError
from tests.capacity.pasts import past_of


def test_the_weights_that_ship_are_read_and_written_alike(tmp_path):
    path, weights = tmp_path / "capacity.npz", Weights.load()
    path.write_bytes(weights.to_bytes())
    again = Weights.load(path)
    assert len(again.gates) == 2 and all(
        np.array_equal(a, b) for gate, other_gate in zip(weights.gates, again.gates, strict=True)
        for one, other in zip(gate, other_gate, strict=True) for a, b in zip(one, other, strict=True))
    assert again.report == weights.report


def test_a_file_that_is_missing_or_damaged_names_the_command_that_makes_one(tmp_path):
    path = tmp_path / "capacity.npz"
    with pytest.raises(WeightsError, match=r"cannot be read .*; run fleet-forecaster train --capacity"):
        Weights.load(path)
    path.write_bytes(Weights.load().to_bytes()[:-2000])
    with pytest.raises(WeightsError, match="damaged"):
        Weights.load(path)


def test_a_file_of_another_format_is_refused(tmp_path):
    path = tmp_path / "capacity.npz"
    with np.load(io.BytesIO(Weights.load().to_bytes())) as held:
        data = dict(held)
    data["facts"] = np.array(json.dumps(json.loads(str(data["facts"])) | {"format": 0}))
    np.savez(path, **data)
    with pytest.raises(WeightsError, match="format 0, expected 5"):
        Weights.load(path)


def test_parts_that_do_not_fit_are_refused():
    weights = Weights.load()
    with pytest.raises(ValueError, match="parts do not fit"):
        replace(weights, gates=(weights.gates[0], weights.gates[1][:-1]))
    with pytest.raises(ValueError, match="no gate"):
        replace(weights, gates=())
    with pytest.raises(ValueError, match="not finite"):
        replace(weights, slope=weights.slope * np.nan)


def test_what_is_served_is_the_mean_of_the_gates():
    weights, found = Weights.load(), courses(past_of(lambda at: 0.6 + at / 4000, lambda at: 0.4 + 0.1 * np.sin(at)))
    one, other = (replace(weights, gates=(gate,)).percentiles(found) for gate in weights.gates)
    assert np.abs(one - other).max() > 5e-3, "they differ"
    # sorted after the mean, not before: the same, as each output has its own percentile in both
    np.testing.assert_allclose(weights.percentiles(found), (one + other) / 2, atol=1e-4)
