"""Training of the forecast of what fills up: what it learns from, and that it serves what it has learned."""

import numpy as np
import pytest
import torch

from exporter.mounts import Mounts
from forecaster.capacity.courses import courses
from forecaster.capacity.forecast import Weights, forecast
from forecaster.capacity.network import MARKS
from forecaster.capacity.past import HOURS
from forecaster.training import capacity
from forecaster.training.mounts import STREAM, made, simulated, varied
from forecaster.training.rhythms import rhythms

pytestmark = pytest.mark.slow  # the simulation begins up to a year before


@pytest.fixture(scope="module")
def learned():
    """(rows, weights) of a training of seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capacity, "SERVERS", 6)
        patch.setattr(capacity, "INSTANTS", 3)
        rows, held_out = capacity.history(1)
    return rows, capacity.learn(rows, held_out, 60, 1, {"fleets": 1})


def test_a_simulated_past_and_its_outcome_are_one_course():
    past, later = next(simulated(3, 4, 1))
    assert past.hourly.shape == (12, HOURS) and np.isfinite(past.hourly).all() and np.isfinite(later).all()
    np.testing.assert_allclose(past.recent[:, -1], past.hourly[:, -1], rtol=1e-5)
    np.testing.assert_allclose(past.recent[:, -13], past.hourly[:, -2], atol=1e-6)
    quiet = np.abs(later[:, 0, 0] - past.hourly[:, -1]) < 0.05
    assert quiet.mean() > 0.7


def test_several_futures_follow_from_one_past_and_spread_with_time():
    past, later = next(simulated(3, 20, 1, futures=6))
    assert later.shape == (60, 6, 336)
    apart = np.ptp(later, axis=1)
    assert np.median(apart[:, 0]) < 0.5 * np.median(apart[:, 71]) and (apart[:, -1] > 0).mean() > 0.9
    rows = capacity.rows_of([(past, later), (past, later[:, :1])], 6)
    assert rows.later.shape[1] == 6 and (np.ptp(rows.later[len(rows.later) // 2:], axis=1) == 0).all()
    assert set(np.unique(np.round(6 * rows.full))) - {0, 6}, "full in some of the futures"


def test_varied_courses_keep_their_shape_and_begin_below_their_limit():
    rng = np.random.default_rng(1)
    past, later = varied(made(rng, 200), rng)
    now = past.recent[:, -1]
    lowered = past.limit < 1
    assert 0.2 < lowered.mean() < 0.5 and not (now >= past.limit)[lowered].any()
    assert np.isnan(past.hourly).any(1).mean() > 0.2 and np.isfinite(later).all()


def test_mounts_that_run_three_times_as_fast_have_every_third_hour_of_their_futures():
    past, later = next(simulated(3, 4, 1, pace=3, futures=2))
    mounts = Mounts([f"s{number}" for number in range(4)], ["web"] * 4, 3)
    expected = mounts.futures(past.instant, 9, 2, STREAM)
    whole = mounts.futures(past.instant, 3 * 336, 2, STREAM)
    np.testing.assert_array_equal(later, whole[:, :, 2::3].swapaxes(0, 1))
    np.testing.assert_array_equal(later[:, :, :3], expected[:, :, [2, 5, 8]].swapaxes(0, 1))


def test_several_futures_are_varied_alike():
    example = made(np.random.default_rng(2), 50)
    one, three = (varied((example[0], np.repeat(example[1], number, 1)), np.random.default_rng(4)) for number in (1, 3))
    np.testing.assert_array_equal(np.repeat(one[1], 3, 1), three[1])
    np.testing.assert_array_equal(one[0].limit, three[0].limit)
    np.testing.assert_array_equal(one[0].recent, three[0].recent)


def test_rhythms_repeat_and_their_past_and_outcome_are_one_course():
    past, later = rhythms(np.random.default_rng(3), 300)
    later = later[:, 0]
    assert past.hourly.shape == (300, HOURS) and np.isfinite(later).all() and (later <= 1).all() and (later >= 0).all()
    np.testing.assert_allclose(past.recent[:, -1], past.hourly[:, -1])
    whole = np.concatenate([past.hourly, later], 1)
    again = np.abs(whole[:, 168:] - whole[:, :-168]).mean(1) < 0.2 * np.ptp(whole, 1)
    assert again.mean() > 0.5
    quiet = np.abs(later[:, 0] - past.hourly[:, -1]) < 0.1 * np.ptp(whole, 1)
    assert quiet.mean() > 0.6


def test_what_is_served_is_what_was_trained(learned):
    _, weights = learned
    past, _ = next(simulated(3, 4, 1))
    found = courses(past)
    served = weights.percentiles(found)
    batch = capacity.Batch(rows_like(found), np.arange(len(found.now)), weights.center, weights.scale)
    with torch.no_grad():
        trained = capacity.mean([batch.percentiles(network(gate)) for gate in weights.gates])
        odds = batch.log_odds(network(weights.full), trained).numpy()
    np.testing.assert_allclose(served[:, :, MARKS - 1], np.swapaxes(trained.numpy(), 1, 2), atol=1e-4)
    room = past.limit - found.now
    expected = np.maximum.accumulate(odds * weights.slope + weights.constant, 1)
    np.testing.assert_allclose(weights.log_odds(found, room, served), expected, atol=0.02)


def test_a_training_of_seconds_beats_no_change_and_can_be_stored(learned, tmp_path):
    _, weights = learned
    path = tmp_path / "capacity.npz"
    path.write_bytes(weights.to_bytes())
    past, later = next(simulated(5, 20, 1))
    later = later[:, 0]
    used = forecast(past, Weights.load(path)).used
    level = np.array((0.1, 0.5, 0.9))
    below = later[..., None] - used
    loss = np.maximum(level * below, (level - 1) * below).mean(-1)[:, :24].mean()
    assert loss < 0.9 * np.abs(later - past.hourly[:, -1:])[:, :24].mean() / 2  # the loss of no change


def rows_like(found):
    n = len(found.now)
    return capacity.Rows(found.paths[..., MARKS - 1], found.spread, found.traits, 1 - found.now, 1 - found.now,
                         np.zeros((n, 1, len(MARKS)), np.float16), np.zeros((n, 4), np.float32))


def network(layers):
    """The layers as training has them."""
    made = []
    for weights, constants in layers:
        linear = torch.nn.Linear(*weights.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.as_tensor(weights.T))
            linear.bias.copy_(torch.as_tensor(constants))
        made += [linear, torch.nn.SiLU()]
    return torch.nn.Sequential(*made[:-1])
