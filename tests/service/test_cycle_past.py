"""A cycle with a model that reads a week: the past is read after the forecast, kept, and given to the model."""

import numpy as np
import pytest

from forecaster.memory.past import Past
from forecaster.models.model import Model
from forecaster.readings import SourceUnreachable
from forecaster.service.cycle import Cycle
from tests.service.test_cycle import START, Bench
from tests.tiny_models import write_untrained

pytestmark = pytest.mark.slow


class LongMemory:
    """A real model that also notes what it was given."""

    def __init__(self, model):
        self._model, self.given = model, []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def quantiles(self, window, *rest):
        self.given.append(window)
        return self._model.quantiles(window[..., -24:], *rest)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Model.load(write_untrained(tmp_path_factory.mktemp("past") / "tiny"), "cpu")


@pytest.fixture
def bench(tiny):
    made = Bench(LongMemory(tiny))
    config = made.config
    made.past = Past(tuple(config.signals), config.step, config.refresh, 120)
    old = made.cycle
    made.cycle = Cycle(config, made.source, old.memory.window, old._model, made.board, made.collector, old._metrics,
                       made.clock, made.past)
    return made


def test_the_first_forecast_does_not_wait_for_the_days_before_and_the_second_has_them(bench):
    bench.run()
    asked = bench.source.ranges[-1]
    assert asked == (START - 119 * 300, START - 300), "after the forecast was out, at the model's step"
    bench.run(15)
    first, second = bench.cycle._model.given
    assert first.shape == second.shape == (20, 8, 120)
    assert np.isnan(first[..., :-24]).all() and np.isfinite(second).all()
    expected = bench.source._at(START - 100 * 300)
    np.testing.assert_allclose(second[..., -101], expected, rtol=1e-6)


def test_a_source_that_has_no_past_costs_no_forecast_and_is_asked_again(bench):
    bench.source.range_error = SourceUnreachable("connection refused")
    assert bench.run() is not None and bench.cycle.errors["query"] == "connection refused"
    bench.source.range_error = None
    bench.run(15)
    assert bench.past.piece(bench.clock.now) is None


def test_a_server_that_is_forgotten_leaves_the_past_too(bench):
    bench.run()
    assert "ppdb001" in bench.past.servers
    bench.past.drop(["ppdb001"])
    assert "ppdb001" not in bench.past.servers
