"""The oracle knows all that can be known at an instant, and nothing after it."""

import numpy as np
import pytest

from exporter.fleet import MINUTE, Fleet
from exporter.profiles import METRICS, load_fleet
from forecaster.evaluation import oracle
from forecaster.risk.conditions import Condition
from forecaster.training.dataset import DAY
from forecaster.training.simulation import scheduled, simulate_fleet

pytestmark = pytest.mark.slow

START = 20_000 * DAY
NOW = START + 0.9 * DAY


@pytest.fixture(scope="module")
def fleet():
    config = load_fleet().model_copy(update={"seed": 5, "servers": {"database": 2, "web_api": 2}})
    return scheduled(config, START, 2.0, 0.5, seed=5)


@pytest.fixture(scope="module")
def futures(fleet):
    return oracle.rollouts(fleet, NOW, 60, 0.5, seed=1)


def test_rollouts_are_reproducible_and_differ_from_each_other(fleet, futures):
    assert futures.shape == (60, 4, 8, 96) and futures.dtype == np.float32
    np.testing.assert_array_equal(oracle.rollouts(fleet, NOW, 60, 0.5, seed=1), futures)
    assert futures[:, 0, 0, 50].std() > 0


def test_the_truth_is_one_continuation_of_the_same_state(fleet, futures):
    """A step ahead, all futures lie close to the actual values: they start from the same hidden condition."""
    history = simulate_fleet(fleet, START, 1.0, 300.0)
    truth = history.values[int((NOW - START) // 60) + 5]
    middle = np.median(futures[..., 0], 0)
    cpu = METRICS.index("cpu_pct")
    np.testing.assert_allclose(middle[:, cpu], truth[:, cpu], rtol=0.25)


def test_scenarios_that_begin_later_are_not_known(fleet):
    later = scheduled(fleet.config, START, 2.0, 0.5, seed=5)
    later.set_scenario("critical", NOW + 3600)
    np.testing.assert_array_equal(oracle.rollouts(later, NOW, 20, 0.5, 1), oracle.rollouts(fleet, NOW, 20, 0.5, 1))


class OtherFuture(Fleet):
    """The same fleet up to NOW, with other random numbers from the first minute nobody has seen yet."""

    def _draws(self, minute):
        normal, uniform = super()._draws(minute)
        return (-normal, 1 - uniform) if self.stream == 0 and minute >= NOW // MINUTE else (normal, uniform)


def test_nothing_of_the_real_future_is_known_not_even_its_first_minute(fleet):
    other = OtherFuture(fleet.config)
    other.events = list(fleet.events)
    assert (other.trajectory(NOW, 2)[0][1] != fleet.trajectory(NOW, 2)[0][1]).all()
    np.testing.assert_array_equal(oracle.rollouts(other, NOW, 20, 0.5, 1), oracle.rollouts(fleet, NOW, 20, 0.5, 1))


def test_asking_leaves_the_fleet_as_it_was(fleet):
    before = list(fleet.events)
    oracle.rollouts(fleet, NOW, 5, 0.5, seed=1)
    assert fleet.events == before


def test_quantiles_rise_and_chances_count_rollouts(futures):
    found = oracle.quantiles(futures)
    assert found.shape == (4, 8, 96, 3) and (np.diff(found, axis=-1) >= 0).all()
    conditions = {"always": Condition(signal="cpu_pct", above=-1), "never": Condition(signal="cpu_pct", above=1e9)}
    past = futures[0, :, :, :1]
    np.testing.assert_array_equal(oracle.chances(futures, past, METRICS, conditions, 6), [[1, 0, 1]] * 4)


def test_an_incident_that_must_last_counts_the_steps_before_the_rollouts():
    futures = np.full((2, 1, 1, 96), 10, np.float32)
    futures[0, 0, 0, 0] = 99
    lasting = {"cpu": Condition.model_validate({"signal": "cpu_pct", "above": 95, "for": "10m"})}
    found = [oracle.chances(futures, np.full((1, 1, 2), now, np.float32), ("cpu_pct",), lasting, 6) for now in (99, 10)]
    assert [one.tolist() for one in found] == [[[0.5, 0.5]], [[0, 0]]]


def test_origins_leave_room_before_and_behind():
    found = oracle.origins(START, 9.0, 20, 7.0, seed=1)
    assert found.min() >= START + 7 * DAY and found.max() <= START + 9 * DAY - 8 * 3600 and len(set(found)) == 20
