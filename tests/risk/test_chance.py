"""Calibrated chances: quantiles read backwards, evidence made a probability, one server and any server."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecaster.models.forecast import Forecast, Quantiles
from forecaster.risk.chance import (
    EVIDENCE,
    FILE,
    Calibration,
    ChanceError,
    Fit,
    evidence,
    exceedances,
)
from forecaster.risk.thresholds import RiskConfig

BOTH = ("cpu_pct", "latency_ms")
LEVELS = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
COLUMNS, SEVERE = {"cpu": 0, "latency": 1}, {"cpu": 95.0, "memory": 95.0, "latency": 200.0}
FIT = Fit(weights=(0.5, 0.3, 0.4), constant=-1.0, floor=0.01, common=0.05, separate=0.3)
SHA = hashlib.sha256(b"weights").hexdigest()
KNOWN = Calibration({"30m": FIT}, {"cpu": 95.0}, {"weeks": [2, 1]})


def quantiles(*cpu: float, latency: float = 10.0, steps: int = 6) -> np.ndarray:
    """float32 (1, 2, steps, Q): this quantile function of CPU at every step."""
    out = np.full((1, 2, steps, len(LEVELS)), latency, np.float32)
    out[:, 0] = cpu
    return out


def chance_above(limit: float, *cpu: float) -> float:
    return float(exceedances(quantiles(*cpu), LEVELS, COLUMNS, {"cpu": limit})[0, 0, 0])


def test_a_threshold_on_a_quantile_has_that_quantiles_chance():
    for level, value in zip(LEVELS, range(10, 80, 10), strict=True):
        assert chance_above(value, *range(10, 80, 10)) == pytest.approx(1 - level)


def test_between_two_quantiles_the_chance_is_linear():
    assert chance_above(45, *range(10, 80, 10)) == pytest.approx((0.5 + 0.25) / 2)


def test_beyond_the_outer_quantiles_the_chance_fades_without_a_jump_and_never_becomes_nothing():
    near, far, further = (chance_above(limit, *range(10, 80, 10)) for limit in (70.001, 80, 90))
    assert near == pytest.approx(0.02, rel=1e-2) and 0 < further < far < near
    assert far / near == pytest.approx(further / far, rel=1e-2)
    below, lowest = chance_above(9.999, *range(10, 80, 10)), chance_above(-1e6, *range(10, 80, 10))
    assert below == pytest.approx(0.98, rel=1e-3) and lowest == pytest.approx(1)


def test_a_value_pinned_to_one_number_is_certain_on_either_side_of_it():
    assert chance_above(99.9, *[100.0] * 7) == pytest.approx(1)
    assert chance_above(100.0, *[100.0] * 7) == pytest.approx(0.02)  # all that its quantiles say of values above 100
    assert chance_above(100.1, *[100.0] * 7) == pytest.approx(0)


@given(
    st.lists(st.floats(0, 100, width=32), min_size=7, max_size=7),
    st.lists(st.floats(0, 100, width=32), min_size=7, max_size=7),
    st.floats(1, 99),
    st.floats(0, 50),
)
def test_higher_quantiles_and_lower_thresholds_never_lower_a_servers_chance(one, other, limit, more):
    low, high = np.minimum(np.sort(one), np.sort(other)), np.maximum(np.sort(one), np.sort(other))

    def said(values, threshold):
        return FIT.server(FIT.spoken(exceedances(quantiles(*values), LEVELS, COLUMNS, {"cpu": threshold})))[0]

    assert 0 <= said(low, limit) <= said(low, limit - more) + 1e-12 <= 1
    # tails of other slopes may cross, beyond .02 and .98 alone; .02 there is up to .0246 after the fit
    assert said(low, limit) <= said(high, limit) + 0.025


def test_roles_that_are_not_forecast_are_left_out():
    assert exceedances(quantiles(*range(7)), LEVELS, COLUMNS, SEVERE).shape == (1, 2, 6)
    assert exceedances(quantiles(*range(7)), LEVELS, {}, SEVERE).shape == (1, 0, 6)


def test_two_roles_in_doubt_are_more_evidence_than_one():
    both = exceedances(quantiles(*range(90, 97), latency=300.0), LEVELS, COLUMNS, SEVERE)
    one = exceedances(quantiles(*range(90, 97)), LEVELS, COLUMNS, SEVERE)
    assert (evidence(both) > evidence(one)).all()


def test_a_role_without_a_forecast_leaves_the_chance_to_the_others():
    both = exceedances(quantiles(*range(90, 97), latency=10.0), LEVELS, COLUMNS, SEVERE)
    lacking = np.where([[[False], [True]]], np.nan, both)
    np.testing.assert_array_equal(evidence(lacking), evidence(both[:, :1]))
    chances, any_server = KNOWN.assess(np.stack([lacking[0], both[0] * np.nan]), np.array([True] * 2), {"30m": 6})
    expected = FIT.server(FIT.spoken(both[:, :1]))
    assert chances["30m"][0] == expected == any_server["30m"] and np.isnan(chances["30m"][1])


def test_only_the_windows_steps_count():
    late = np.full((1, 1, 96), 1e-6)
    late[..., 6:] = 0.9
    fits = Calibration({"30m": FIT, "8h": FIT}, SEVERE, {})
    chances, _ = fits.assess(late, np.array([True]), {"30m": 6, "8h": 96})
    assert chances["30m"][0] < 0.02 < chances["8h"][0]


def test_without_any_evidence_the_floor_is_left():
    assert Fit((1.0, 0.0, 0.0), -30.0, 0.01, 0.05, 1.0).server(np.zeros(3)) == pytest.approx(0.01)


def test_any_of_one_server_is_that_server():
    spoken = np.array([0.3])
    assert FIT.any(spoken) == pytest.approx(FIT.server(spoken)[0])


def test_independent_servers_multiply_and_bound_ones_follow_the_worst():
    spoken = np.array([0.2, 0.5, 0.1])
    assert Fit((0.0,) * 3, 0.0, 0.0, 0.0, 1.0).any(spoken) == pytest.approx(1 - 0.8 * 0.5 * 0.9)
    assert Fit((0.0,) * 3, 0.0, 0.0, 0.0, 0.0).any(spoken) == pytest.approx(0.5)


def test_a_thousand_calm_servers_share_the_chance_of_incidents_that_no_forecast_shows():
    few, many = (FIT.any(np.zeros(n)) for n in (3, 1000))
    assert FIT.floor < few < many <= FIT.common + 1e-9


def test_a_servers_certainty_is_the_fleets():
    assert 0.999 < FIT.any(np.array([1.0, 0.0])) <= 1


def test_servers_without_a_models_forecast_have_no_chance_and_do_not_count():
    exceedance = np.full((2, 1, 6), 0.2)
    chances, any_server = KNOWN.assess(exceedance, np.array([True, False, True]), {"30m": 6, "8h": 96})
    assert chances.keys() == any_server.keys() == {"30m"}
    assert np.isnan(chances["30m"]).tolist() == [False, True, False]
    assert any_server["30m"] == pytest.approx(float(FIT.any(FIT.spoken(exceedance))))


def test_a_models_forecast_has_chances_in_the_configured_windows_or_in_others():
    said = np.repeat(quantiles(*range(88, 102, 2)), 96 // 6, 2)
    known = np.array([[False, False], [True, True]])
    forecast = Forecast(np.zeros((2, 2, 96, 3), np.float32), known, Quantiles(said, LEVELS, ("cpu_pct", "latency_ms")))
    fits = Calibration({"30m": FIT, "8h": FIT, "1h": FIT}, SEVERE, {})
    chances, any_server = fits.of_forecast(forecast, BOTH, RiskConfig())
    assert chances.keys() == any_server.keys() == {"30m", "8h"} and np.isnan(chances["8h"]).tolist() == [True, False]
    expected = exceedances(said, LEVELS, COLUMNS, SEVERE)[..., :6]
    assert chances["30m"][1] == pytest.approx(FIT.server(FIT.spoken(expected))[0])
    assert fits.of_forecast(forecast, BOTH, RiskConfig(), {"1h": 12})[0].keys() == {"1h"}
    assert fits.of_forecast(Forecast(forecast.values, known), BOTH, RiskConfig()) == ({}, {})
    nobody = Forecast(forecast.values, np.zeros((2, 2), bool), forecast.quantiles)
    assert fits.of_forecast(nobody, BOTH, RiskConfig()) == ({}, {})


def test_a_server_of_which_the_trend_forecasts_a_role_has_no_chance():
    said = np.repeat(quantiles(*range(88, 102, 2), latency=10.0), 96 // 6, 2)
    said[0, 0] = np.nan  # CPU is not by the model
    values, by_model = np.full((1, 2, 96, 3), 99.0, np.float32), np.array([[False, True]])
    made = Quantiles(said, LEVELS, BOTH)
    chances, any_server = KNOWN.of_forecast(Forecast(values, by_model, made), BOTH, RiskConfig())
    assert np.isnan(chances["30m"]).all() and np.isnan(any_server["30m"])
    values[0, 0] = np.nan  # nor by the trend: it is missing
    chances, _ = KNOWN.of_forecast(Forecast(values, by_model, made), BOTH, RiskConfig())
    assert np.isfinite(chances["30m"]).all()


def test_unknown_forecasts_stay_unknown():
    chances, any_server = KNOWN.assess(np.full((1, 1, 6), np.nan), np.array([True]), {"30m": 6})
    assert np.isnan(chances["30m"]).all() and np.isnan(any_server["30m"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": (1.0, -0.1, 0.0)},
        {"weights": (1.0,) * (EVIDENCE + 1)},
        {"constant": float("nan")},
        {"floor": -0.1},
        {"common": 0.001},
        {"separate": 1.1},
    ],
)
def test_a_fit_that_could_fall_with_more_evidence_or_leave_0_to_1_is_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Fit(**{"weights": (1.0, 0.0, 0.0), "constant": 0.0, "floor": 0.01, "common": 0.05, "separate": 0.5} | wrong)


def stored(folder, **changes):
    content = json.loads(KNOWN.to_json(SHA)) | changes
    (folder / FILE).write_text(json.dumps(content))
    return folder


def test_a_calibration_comes_back_from_its_file(tmp_path):
    loaded = Calibration.load(stored(tmp_path), SHA)
    assert loaded == KNOWN and json.loads(KNOWN.to_json(SHA))["format"] == 2


def test_a_calibration_of_other_weights_is_refused_and_says_how_to_make_one(tmp_path):
    expected = r"made for weights .*, the model has ffff.*run fleet-forecaster calibrate --model"
    with pytest.raises(ChanceError, match=expected):
        Calibration.load(stored(tmp_path), "f" * 64)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda d: (d / FILE).write_text("{"), "damaged"),
        (lambda d: (d / FILE).write_text("[]"), "damaged"),
        (lambda d: (d / FILE).unlink(), "cannot be read"),
        (lambda d: stored(d, format=99), "format 99, expected"),
        (lambda d: stored(d, windows={"30m": {"weights": [1, 2, 3]}}), "damaged"),
        (lambda d: stored(d, windows={"30m": vars(FIT) | {"floor": 2}}), "damaged .*floor"),
    ],
)
def test_a_damaged_file_is_refused_and_says_how_to_make_one(tmp_path, break_it, message):
    break_it(stored(tmp_path))
    with pytest.raises(ChanceError, match=rf"{FILE}: {message}.*run fleet-forecaster calibrate"):
        Calibration.load(tmp_path, SHA)
