"""From observed windows to the model's tensors, the same in training and serving."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from forecaster.models import features
from forecaster.models.features import CARRY_STEPS, UNKNOWN, Encoding, Scaling

NOW = datetime(2026, 3, 7, 18, 0, tzinfo=ZoneInfo("UTC")).timestamp()  # a Saturday


def encoding(timezone="UTC", months=(3,)) -> Encoding:
    scalings = (
        Scaling("cpu_pct", False, 0.0, 40.0, 10.0, 0.0, 100.0),
        Scaling("latency_ms", True, 0.1, 2.0, 0.5, 0.0, None),
    )
    return Encoding(scalings, ("database", "web_api"), ("ppdb001", "ppdb002"), months, 300.0, 24, 96, timezone)


def test_scaling_and_back_returns_the_value_within_bounds():
    for scaling, values in (
        (encoding().scalings[0], [0.0, 37.5, 100.0]),
        (encoding().scalings[1], [0.0, 12.0, 5000.0]),
    ):
        there = scaling.forward(np.array(values))
        np.testing.assert_allclose(scaling.inverse(there), values, rtol=1e-6, atol=1e-6)
    assert encoding().scalings[0].inverse(np.array([-50.0, 50.0])).tolist() == [0.0, 100.0]
    np.testing.assert_allclose(encoding().scalings[1].inverse(np.array([1e6])), np.exp(60) - 0.1)


def test_signals_that_span_orders_of_magnitude_are_scaled_by_their_logarithm():
    rng = np.random.default_rng(0)
    assert not Scaling.fit("cpu_pct", rng.uniform(20, 60, 1000), 0.0, 100.0).log
    assert Scaling.fit("latency_ms", rng.lognormal(2, 1, 1000), 0.0, None).log
    assert Scaling.fit("error_rate", rng.lognormal(-6, 2, 1000).clip(0, 1), 0.0, 1.0).log
    assert not Scaling.fit("temperature", rng.normal(0, 10, 1000), None, None).log


def test_the_fit_of_a_scaling_is_the_one_that_shipped_models_were_made_with():
    short = np.array([0, 10, 10, 10, 10, 10, 40, np.nan, np.inf])  # 99th percentile 38.2, the median 10
    long = np.array([0, 10, 10, 10, 10, 10, 42.5])  # 40.55: over four medians
    assert Scaling.fit("a", short, 0.0, 100.0) == Scaling("a", False, 0.0, 90 / 7, short[:7].std(), 0.0, 100.0)
    for low, high in ((0.0, 100.0), (0.0, None), (5.0, None)):
        scaling = Scaling.fit("a", long, low, high)
        g = np.log(long + 0.2)  # a fiftieth of the median
        np.testing.assert_allclose((scaling.offset, scaling.center, scaling.scale), (0.2, g.mean(), g.std()))
        assert scaling.log
    assert not Scaling.fit("a", long, -1.0, None).log and not Scaling.fit("a", long, None, None).log
    idle = Scaling.fit("a", np.zeros(9), 0.0, None)
    assert (idle.offset, idle.scale) == (1e-9, 1e-6)


def test_a_constant_signal_is_scaled_without_dividing_by_zero():
    scaling = Scaling.fit("cpu_pct", np.full(100, 7.0), 0.0, 100.0)
    assert np.isfinite(scaling.forward(np.array([7.0, 8.0]))).all()


def test_a_signal_without_any_value_cannot_be_learnt():
    with pytest.raises(ValueError, match="cpu_pct: no finite value"):
        Scaling.fit("cpu_pct", np.array([np.nan]), 0.0, 100.0)


def test_the_encoding_survives_its_file_unchanged():
    import json

    assert Encoding.from_json(json.loads(json.dumps(encoding().to_json()))) == encoding()


def test_unknown_servers_and_profiles_map_to_the_trained_unknown():
    found = encoding().identify(("ppdb002", "new001"), ("web_api", "gpu"))
    assert found.tolist() == [[2, 2], [UNKNOWN, UNKNOWN]]
    assert encoding().identify((), ()).shape == (0, 2)


def window(**gaps) -> np.ndarray:
    values = np.arange(24, dtype=np.float32)[None, None].repeat(2, 1) + 1
    for position in gaps.get("missing", ()):
        values[0, gaps.get("signal", 0), position] = np.nan
    return values


def test_a_short_gap_is_bridged_by_the_last_value_and_history_stays_whole():
    assert CARRY_STEPS == 6, "half an hour"
    bridged, there, steps = features.usable(window(missing=range(10, 10 + CARRY_STEPS)))
    assert steps.tolist() == [24] and there.all()
    assert (bridged[0, 0, 10 : 10 + CARRY_STEPS] == 10).all()


def test_a_longer_gap_in_one_signal_ends_the_usable_history_of_the_server():
    _, there, steps = features.usable(window(missing=range(5, 6 + CARRY_STEPS)))
    assert steps.tolist() == [24 - (6 + CARRY_STEPS)] and there.all()


def test_a_signal_that_fell_silent_is_carried_for_half_an_hour_and_then_missing():
    assert features.usable(window(missing=range(24 - CARRY_STEPS, 24)))[1].tolist() == [[True, True]]
    bridged, there, steps = features.usable(window(missing=range(23 - CARRY_STEPS, 24)))
    assert there.tolist() == [[False, True]] and steps.tolist() == [24]
    assert np.isnan(bridged[0, 0]).all() and np.isfinite(bridged[0, 1]).all()


def test_a_signal_never_observed_is_missing_and_without_any_signal_no_step_is_usable():
    _, there, steps = features.usable(window(missing=range(24), signal=1))
    assert there.tolist() == [[True, False]] and steps.tolist() == [24]
    _, there, steps = features.usable(np.full((3, 2, 24), np.nan, np.float32))
    assert not there.any() and steps.tolist() == [0, 0, 0]


def test_a_new_signal_counts_from_its_third_step_on():
    _, there, steps = features.usable(window(missing=range(21)))
    assert there.all() and steps.tolist() == [3]
    _, there, steps = features.usable(window(missing=range(22)))
    assert there.tolist() == [[False, True]] and steps.tolist() == [24]


def test_a_missing_signal_is_given_as_its_mean_in_training_without_motion():
    lacking = window(missing=range(24), signal=1)
    inputs = features.batch(encoding(), lacking, 24, np.array([NOW]), np.zeros((1, 2), np.int64), lacking - 1)
    assert (inputs["observed"][0, :, [1, 3]] == 0).all()
    whole = features.batch(encoding(), window(), 24, np.array([NOW]), np.zeros((1, 2), np.int64), window() - 1)
    np.testing.assert_array_equal(inputs["observed"][0, :, [0, 2]], whole["observed"][0, :, [0, 2]])


def test_a_batch_has_the_documented_shapes_and_types():
    inputs = features.batch(encoding(), window(), 12, np.array([NOW]), np.zeros((1, 2), np.int64))
    assert inputs["observed"].shape == (1, 12, 4) and inputs["observed"].dtype == np.float32
    assert inputs["known"].shape == (1, 108, 4) and inputs["known"].dtype == np.float32
    assert inputs["calendar"].shape == (1, 108, 2) and inputs["calendar"].dtype == np.int64
    assert inputs["static_reals"].tolist() == [[0.5]]
    np.testing.assert_allclose(inputs["observed"][0, -1, :2], encoding().scale(window())[0, :, -1])


def test_the_clock_tells_hour_weekday_and_month_of_every_step():
    inputs = features.batch(encoding(), window(), 24, np.array([NOW]), np.zeros((1, 2), np.int64))
    sin, cos, weekend, step = inputs["known"][0, 23]
    assert (round(float(sin), 6), round(float(cos), 6), weekend, step) == (-1.0, 0.0, 1.0, 0.0)
    assert inputs["calendar"][0, 23].tolist() == [5, 3]
    assert inputs["calendar"][0, 23 + 73].tolist() == [6, 3], "six hours and a step later it is Sunday"
    assert inputs["known"][0, -1, 3] == 1.0


def test_the_clock_follows_the_time_zone_of_the_users():
    berlin = features.batch(encoding("Europe/Berlin"), window(), 3, np.array([NOW - 3600]), np.zeros((1, 2), np.int64))
    utc = features.batch(encoding(), window(), 3, np.array([NOW]), np.zeros((1, 2), np.int64))
    np.testing.assert_allclose(berlin["known"], utc["known"], atol=1e-6)


def test_a_month_unseen_in_training_is_unknown():
    inputs = features.batch(encoding(months=(1, 2)), window(), 3, np.array([NOW]), np.zeros((1, 2), np.int64))
    assert (inputs["calendar"][..., 1] == UNKNOWN).all()
