"""The trend heuristic: a line through the last hour, a band that grows, bounds that hold."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forecaster.models.heuristic import forecast, trend
from forecaster.signals import Signal

CPU = Signal(query="cpu", unit="percent", min=0, max=100)
ERRORS = Signal(query="errors", unit="ratio", min=0, max=1)
LATENCY = Signal(query="latency", unit="milliseconds", min=0)
FREE = Signal(query="free", unit="count", min=None)
NAN = np.nan


def one(values, signal=CPU, **options) -> np.ndarray:
    """float32 (H, Q): the forecast of one server with one signal."""
    return forecast(np.array([[values]], np.float32), [signal], **options)[0, 0]


def band(t: int) -> float:
    """Half width of p10..p90 in percentage points at 0-based step t."""
    return 10 + 1.2815515655446004 * 2 * math.sqrt(t + 1)


def test_result_has_one_curve_of_three_percentiles_per_server_and_signal():
    values = forecast(np.full((5, 2, 24), 40, np.float32), {"cpu_pct": CPU, "latency_ms": LATENCY})
    assert values.shape == (5, 2, 96, 3)
    assert values.dtype == np.float32


def test_line_goes_through_the_last_value_with_the_slope_of_the_last_hour():
    p50 = one(np.arange(20, 44))[:, 1]  # rises by 1 a step up to 43
    assert p50[:4].tolist() == [43, 44, 45, 46]


def test_slope_ignores_what_is_older_than_twelve_steps():
    steep_then_flat = [*np.arange(0, 120, 10), *[50] * 12]
    assert trend(np.array([[steep_then_flat]], np.float32)) == pytest.approx(0)
    assert one(steep_then_flat)[:, 1] == pytest.approx(50)


@pytest.mark.parametrize("t", [0, 1, 5, 40])
def test_band_is_ten_points_and_noise_that_grows_with_the_root_of_the_step(t):
    p10, p50, p90 = one([50.0] * 12)[t]
    assert p50 == 50
    assert p90 - p50 == pytest.approx(band(t), rel=1e-6)
    assert p50 - p10 == pytest.approx(band(t), rel=1e-6)


def test_closed_form_has_the_quantiles_of_the_random_process():
    noise = np.random.default_rng(1).normal(0, 2 * math.sqrt(10), 200_000)  # step 10, t = 9
    p10, _, p90 = one([50.0] * 12)[9]
    assert p10 == pytest.approx(np.quantile(50 - 10 + noise, 0.1), abs=0.1)
    assert p90 == pytest.approx(np.quantile(50 + 10 + noise, 0.9), abs=0.1)


def test_percentage_points_scale_to_the_span_of_a_bounded_signal():
    assert one([0.5] * 12, ERRORS)[3, 2] - 0.5 == pytest.approx(band(3) / 100, rel=1e-5)


def test_unbounded_signal_is_scaled_by_twice_its_largest_recent_magnitude():
    values = [80.0, *[20.0] * 11]  # the largest, 80, is within the last 12 steps: a point is 1.6
    p10, p50, p90 = one(values, FREE)[0]
    assert p90 - p50 == pytest.approx(1.6 * band(0), rel=1e-5)
    assert p50 - p10 == pytest.approx(1.6 * band(0), rel=1e-5)
    assert one([80.0, *[20.0] * 12], FREE)[0, 2] - 20 == pytest.approx(0.4 * band(0), rel=1e-5)


def test_curves_stop_at_the_bounds_of_the_signal():
    rising, falling = one(np.linspace(60, 95, 12)), one(np.linspace(40, 5, 12))
    assert rising.max() == 100 and rising[-1, 1] == 100
    assert falling.min() == 0 and falling[-1, 1] == 0


def test_a_line_that_runs_into_a_bound_keeps_its_band_and_never_looks_certain():
    rising, falling = one(np.linspace(60, 95, 12)), one(np.linspace(40, 5, 12))
    assert 100 - rising[-1, 0] == pytest.approx(band(95), rel=1e-5)
    assert falling[-1, 2] - 0 == pytest.approx(band(95), rel=1e-5)


def test_values_outside_the_bounds_are_brought_inside():
    assert one([130.0] * 12)[0].tolist() == pytest.approx([100 - band(0), 100, 100])


def test_one_observation_is_drawn_on_level():
    encoder = np.array([[[NAN] * 23 + [30]]], np.float32)
    assert trend(encoder).tolist() == [[0]]
    assert (forecast(encoder, [CPU])[0, 0, :, 1] == 30).all()


def test_last_observation_counts_even_if_it_is_older_than_the_line():
    values = one([30.0, 35.0, *[NAN] * 14], LATENCY)
    assert (values[:, 1] == 35).all()
    assert values[0, 2] - 35 == pytest.approx(0.7 * band(0), rel=1e-5)


def test_gaps_do_not_bend_the_line():
    values = np.arange(20.0, 44.0)
    values[[13, 14, 17, 21, 23]] = NAN
    p50 = one(values)[:, 1]
    assert trend(np.array([[values]], np.float32)) == pytest.approx(1)
    assert p50[:3] == pytest.approx([42, 43, 44])


@pytest.mark.parametrize("unobserved", [NAN, np.inf, -np.inf])
def test_nothing_observed_gives_nothing(unobserved):
    encoder = np.full((1, 2, 12), unobserved, np.float32)
    encoder[0, 1] = 40
    values = forecast(encoder, [CPU, CPU])
    assert np.isnan(values[0, 0]).all()
    assert np.isfinite(values[0, 1]).all()
    assert np.isnan(trend(encoder)[0, 0])
    assert trend(encoder)[0, 1] == 0


@pytest.mark.parametrize("shape", [(0, 2, 24), (3, 2, 0), (3, 2, 1)])
def test_empty_fleets_and_windows_keep_the_shape(shape):
    values = forecast(np.full(shape, NAN, np.float32), [CPU, LATENCY])
    assert values.shape == (shape[0], 2, 96, 3)
    assert trend(np.full(shape, NAN, np.float32)).shape == shape[:2]
    assert np.isnan(values).all()


def test_servers_do_not_touch_each_other():
    fleet = np.random.default_rng(2).uniform(0, 100, (7, 2, 24)).astype(np.float32)
    fleet[3, 0, 5:20] = NAN
    together = forecast(fleet, [CPU, LATENCY])
    for server in range(7):
        alone = forecast(fleet[server:server + 1], [CPU, LATENCY])
        np.testing.assert_array_equal(together[server], alone[0])


def test_equal_input_gives_equal_output_and_leaves_the_input_alone():
    encoder = np.random.default_rng(3).uniform(0, 100, (2, 1, 24)).astype(np.float32)
    before = encoder.copy()
    np.testing.assert_array_equal(forecast(encoder, [CPU]), forecast(encoder, [CPU]))
    np.testing.assert_array_equal(encoder, before)


def test_other_quantiles_and_horizons_can_be_asked_for():
    values = one([50.0] * 12, quantiles=(0.05, 0.1, 0.5, 0.9, 0.95), horizon=12)
    assert values.shape == (12, 5)
    assert (np.diff(values, axis=1) > 0).all()
    np.testing.assert_array_equal(values[:, 1:4], one([50.0] * 12)[:12])


def test_large_offsets_do_not_drown_the_slope():
    assert trend(np.array([[1e6 + np.arange(12)]], np.float32)) == pytest.approx(1, rel=1e-6)


def test_a_wrong_shape_says_what_was_expected():
    with pytest.raises(ValueError, match=r"\(3, 2, 24\), expected \(S, 1 signals, T\)"):
        forecast(np.zeros((3, 2, 24), np.float32), [CPU])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(arrays(np.float32, st.tuples(st.integers(1, 3), st.just(3), st.integers(0, 26)),
              elements=st.floats(width=32, allow_nan=True, allow_infinity=True)))
def test_curves_are_sorted_inside_the_bounds_and_nan_only_without_observation(encoder):
    values = forecast(encoder, [CPU, LATENCY, FREE])
    nothing = ~np.isfinite(encoder).any(axis=2)
    assert (np.isnan(values) == nothing[..., None, None]).all()
    assert (np.isnan(trend(encoder)) == nothing).all()
    assert not np.isinf(values).any()
    assert ((np.diff(values, axis=3) >= 0) | nothing[..., None, None]).all()
    assert ((values[:, 0] >= 0) & (values[:, 0] <= 100) | nothing[:, 0, None, None]).all()
    assert ((values[:, 1] >= 0) | nothing[:, 1, None, None]).all()
