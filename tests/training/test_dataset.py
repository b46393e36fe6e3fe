"""History becomes training windows without leaks, and rare trouble is seen often enough."""

import numpy as np
import pytest

from exporter.fleet import Fleet
from exporter.profiles import METRICS, load_fleet
from forecaster.models.features import UNKNOWN
from forecaster.training.dataset import (
    CORE,
    DatasetError,
    History,
    Windows,
    fit_encoding,
    kept_signals,
    training_batches,
)
from forecaster.training.simulation import simulate, simulate_many
from tests.tiny_models import MONDAY, history, windows

pytestmark = pytest.mark.slow

BOUNDS = dict.fromkeys(METRICS, (0.0, None))


def ramp(rows: int = 24 * 12 * 2) -> History:
    """Two servers whose every signal tells the row it stands in: 1000 for the first, 2000 for the second, plus row."""
    values = (np.arange(rows)[:, None, None] + np.array([1000, 2000])[:, None] + np.zeros(8)).astype(np.float32)
    return History(MONDAY, 300.0, METRICS, ("a001", "b001"), ("database", "web_api"), values)


def cut_windows() -> Windows:
    return Windows([ramp()], fit_encoding([ramp()], BOUNDS, 300.0, 24, 96, "UTC"))


def test_a_windows_past_ends_at_now_and_its_future_begins_one_step_later():
    past, future, instants, earlier = cut_windows().cut(0, np.array([1]), np.array([100]))
    assert past.shape == (1, 8, 24) and future.shape == (1, 8, 96)
    assert past[0, 0, -1] == 2100 and past[0, 0, 0] == 2077
    assert future[0, 0, 0] == 2101 and future[0, 0, -1] == 2196
    assert instants.tolist() == [MONDAY + 100 * 300]
    assert np.isnan(earlier).all(), "steps on a grid of steps have no motion within"


def test_sampled_windows_never_reach_beyond_the_history():
    past, future, instants, _, identity = cut_windows().sample(2000, np.random.default_rng(0))
    row = past[:, 0, -1].astype(np.float64) % 1000
    assert row.min() >= 23 and (row + 96).max() < len(ramp().values)
    np.testing.assert_array_equal(instants, MONDAY + row * 300)
    np.testing.assert_array_equal(future[:, 0, 0] % 1000, row + 1)
    assert {tuple(i) for i in identity.tolist()} == {(1, 1), (2, 2)}


def test_one_minute_history_is_read_at_steps_of_five_minutes_from_any_minute():
    past, _, instants, _, _ = windows().sample(64, np.random.default_rng(1))
    assert len(set((instants % 300).tolist())) > 1
    server = windows().identity[0]
    assert len(server) == 20 and past.shape == (64, 8, 24)


def test_simulated_history_holds_trailing_means_of_the_step():
    made = simulate(load_fleet(), MONDAY, 0.1, 300.0, None, seed=0)
    values, _ = Fleet(load_fleet()).trajectory(MONDAY - 240, 149)
    np.testing.assert_allclose(made.values[0], values[:5].mean(0), rtol=1e-5)
    assert made.values.shape == (144, 20, 8) and made.resolution == 60.0


def test_many_fleets_have_their_own_seeds_and_months():
    histories = simulate_many(load_fleet(), 3, 0.5, 300.0, seed=5, end=MONDAY, copies=1)
    encoding = fit_encoding(histories, BOUNDS, 300.0, 24, 96, "UTC")
    assert len(encoding.months) == 3
    assert not np.allclose(histories[0].values, histories[1].values)


def test_restless_windows_are_chosen_by_their_past_alone():
    rng = np.random.default_rng(2)
    usual = windows().sample(4000, rng)[0]
    restless = windows().sample(4000, rng, restless=1.0)[0]
    moved = [np.abs(p[:, 0, -1] - p[:, 0, -3]).mean() for p in (usual, restless)]
    assert moved[1] > 2 * moved[0]
    out = [np.abs(p[:, 0, -1] - usual[:, 0, -1].mean()).mean() for p in (usual, restless)]
    assert out[1] > 1.5 * out[0], "windows far outside the ordinary are among them, too"


def test_training_batches_are_reproducible_and_train_the_unknown():
    first, again = (list(training_batches(windows(), 64, 6, seed=3)) for _ in range(2))
    lengths = {inputs["observed"].shape[1] for inputs, _ in first}
    assert len(lengths) > 1 and max(lengths) <= 24 and min(lengths) >= 3
    for (a, target_a), (b, target_b) in zip(first, again, strict=True):
        np.testing.assert_array_equal(target_a, target_b)
        assert all(np.array_equal(a[key], b[key]) for key in a)
    static = np.concatenate([inputs["static"] for inputs, _ in first])
    months = np.concatenate([inputs["calendar"][:, 0, 1] for inputs, _ in first])
    assert 0.3 < (static[:, 1] == UNKNOWN).mean() < 0.7
    assert 0.02 < (static[:, 0] == UNKNOWN).mean() < 0.25 and 0.02 < (months == UNKNOWN).mean() < 0.25


def test_half_of_the_rows_keep_all_signals_and_the_others_lose_some_but_never_all():
    kept = kept_signals(METRICS, 4000, np.random.default_rng(0))
    assert kept.any(1).all() and 0.5 < kept.all(1).mean() < 0.6
    usual = (kept == np.isin(METRICS, CORE)).all(1).mean(), (kept == np.isin(METRICS, CORE[:2])).all(1).mean()
    assert all(0.1 < share < 0.16 for share in usual) and set(kept.sum(1).tolist()) == set(range(1, 9))
    assert kept_signals(("queue_length",), 5, np.random.default_rng(0)).all(), "one signal cannot be lost"


def test_a_dropped_signal_has_the_inputs_of_a_missing_one_and_no_target():
    inputs, target = next(iter(training_batches(windows(), 256, 1, seed=4)))
    gone = np.isnan(target).all(-1)
    assert 0.1 < gone.mean() < 0.4 and not gone.all(1).any()
    values, motions = np.split(inputs["observed"].transpose(0, 2, 1), 2, 1)
    assert (values[gone] == 0).all() and (motions[gone] == 0).all() and (values[~gone] != 0).any(-1).all()


def test_a_history_without_some_signals_names_those_it_cannot_leave_out():
    assert ramp().without(["cpu_pct"]).signals == METRICS[1:] and ramp().without(["cpu_pct"]).values.shape[-1] == 7
    for names, said in ((["swap_pct"], "swap_pct"), (METRICS, "cpu_pct")):
        with pytest.raises(DatasetError, match=rf"cannot leave out {said}.*; expected some, not all, of cpu_pct"):
            ramp().without(names)


def test_unobserved_targets_stay_nan_and_rows_without_history_are_left_out():
    holey = history().values.copy()
    holey[:1500, 0] = np.nan
    holed = History(MONDAY, 60.0, METRICS, history().servers, history().profiles, holey)
    batch = list(training_batches(Windows([holed], windows().encoding), 256, 4, seed=0))
    assert any(len(target) < 256 for _, target in batch)
    assert all(np.isfinite(inputs["observed"]).all() for inputs, _ in batch)


def test_a_history_too_short_for_one_window_says_how_much_is_needed():
    with pytest.raises(DatasetError, match=r"history of 5\.0 h is too short .* at least 10\.0 h"):
        Windows([ramp(60)], cut_windows().encoding)


def test_a_resolution_that_does_not_divide_the_step_is_refused():
    odd = History(MONDAY, 70.0, METRICS, ("a001", "b001"), ("x", "y"), ramp(5000).values)
    with pytest.raises(DatasetError, match="70 s does not divide the step of 300 s"):
        Windows([odd], cut_windows().encoding)
