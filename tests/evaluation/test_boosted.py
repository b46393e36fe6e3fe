"""The gradient-boosted yardstick learns from history alone, and only from the history it is given."""

import sys

import numpy as np
import pytest

from forecaster.evaluation import boosted
from forecaster.evaluation.boosted import Boosted
from forecaster.evaluation.windows import draw
from forecaster.risk.conditions import Condition
from forecaster.training.dataset import DatasetError, History

CPU = {"cpu": Condition(signal="cpu_pct", above=95)}
SIGNALS = ("cpu_pct",)


def nightly(days: int = 12, servers: int = 4) -> History:
    """Servers that are full for an hour of each day, each at its own."""
    values = np.random.default_rng(0).uniform(5, 20, (days * 288, servers, 1)).astype(np.float32)
    for server in range(servers):
        for day in range(days):
            begin = day * 288 + 50 * server
            values[begin : begin + 12, server] = 99
    names = tuple(f"s{i}" for i in range(servers))
    return History(0.0, 300.0, SIGNALS, names, ("x",) * servers, values)


def test_nightly_work_is_foreseen():
    history = nightly()
    made = Boosted(history.between(0, 9 * 288), 300.0, CPU, 1)
    windows = draw(history, 300.0, 40, 2, first=9 * 86400.0)
    chance = made.chances([windows])["8h"][:, 0]
    came = (windows.truth()[:, 0] > 95).any(1)
    assert chance.shape == (len(windows),) and chance[came].mean() > 0.9 and chance[~came].mean() < 0.1


def test_with_too_few_incidents_the_chance_is_the_base_rate():
    fit = boosted.fit(np.zeros((50, 3), np.float32), np.r_[np.ones(5), np.zeros(40), [np.nan] * 5], 1)
    np.testing.assert_allclose(fit(np.zeros((2, 3), np.float32)), 5 / 45)


def test_features_are_of_the_distance_from_the_limit_and_of_what_was_on():
    history = nightly(days=8, servers=1)
    context = draw(history, 300.0, 1, 1, first=7 * 86400.0).context(slice(None))
    one, other = (boosted.features(values, Condition(signal="cpu_pct", above=limit), SIGNALS, np.zeros(1))
                  for values, limit in ((context, 95), (context + 100, 195)))
    assert one.dtype == np.float32 and np.isfinite(one).all()
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_without_scikit_learn_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(DatasetError, match=r"sklearn.* is not installed; pip install 'fleetcast\[backtest"):
        Boosted(nightly(), 300.0, CPU, 1)
