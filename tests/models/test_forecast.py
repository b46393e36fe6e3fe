"""Who is forecast by what: warm servers by the model, the others by the trend, stale ones by nothing."""

import numpy as np
import pytest

from forecaster.config import load_config
from forecaster.memory.memory import Present
from forecaster.models import forecast, heuristic
from forecaster.models.model import Model
from tests.tiny_models import history, write_untrained

pytestmark = pytest.mark.slow

SIGNALS = load_config("fleet").signals
SERVERS, PROFILES = ("ppdb001", "ppdb002", "new001", "ppweb001"), ("database", "database", "gpu", "web_api")
NOW = history().start + 120 * 60


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model.load(write_untrained(tmp_path_factory.mktemp("artifact") / "tiny"), "cpu")


def window() -> np.ndarray:
    return np.ascontiguousarray(history().values[:120:5, :4].transpose(1, 2, 0))


def present(warm, stale=(False,) * 4) -> Present:
    encoder, count = window(), np.full(4, 150)
    seen = np.full(4, NOW)
    return Present(NOW, SERVERS, PROFILES, encoder, encoder[..., -1], count, seen, np.array(stale), np.array(warm))


def test_warm_servers_are_forecast_by_the_model_and_the_others_by_the_trend_except_stale_ones(model):
    now = present(warm=(True, False, False, True), stale=(False, False, True, False))
    made = forecast.by_model(model, tuple(SIGNALS), now, window(), None)
    assert made.method == ("tft", "heuristic", "heuristic", "tft")
    assert np.isnan(made.values[1:3]).all() and made.quantiles.signals == tuple(SIGNALS)
    rows = [0, 3]
    expected, done = model.quantiles(window()[rows], NOW, ("ppdb001", "ppweb001"), ("database", "web_api"))
    assert done.all()
    np.testing.assert_allclose(made.quantiles.values, expected, rtol=1e-5)
    np.testing.assert_allclose(made.values[rows], expected, rtol=1e-5)  # the tiny model has these quantiles alone
    forecast.add_trend(made, now, SIGNALS)
    np.testing.assert_array_equal(made.values[1], heuristic.forecast(window()[1:2], SIGNALS)[0])
    np.testing.assert_allclose(made.values[rows], expected, rtol=1e-5)
    assert np.isnan(made.values[2]).all()


def test_the_models_signals_are_found_by_name_and_the_trend_adds_the_one_it_does_not_know(model):
    names = ("queue_length", *reversed(SIGNALS))
    signals = {name: SIGNALS.get(name, SIGNALS["latency_ms"]) for name in names}
    wide = np.concatenate([np.full((4, 1, 24), 7, np.float32), window()[:, ::-1]], 1)
    now = present((True,) * 4)
    now = Present(NOW, SERVERS, PROFILES, wide, wide[..., -1], now.samples, now.last_seen, now.stale, now.warm)
    made = forecast.by_model(model, names, now, wide, wide)
    expected, _ = model.quantiles(window(), NOW, SERVERS, PROFILES, window())
    np.testing.assert_allclose(made.values[:, :0:-1], expected, rtol=1e-5)
    assert np.isnan(made.values[:, 0]).all() and made.by_model.all()
    forecast.add_trend(made, now, signals)
    assert (made.values[:, 0, :, 1] == 7).all()
    np.testing.assert_allclose(made.values[:, :0:-1], expected, rtol=1e-5)


def test_a_warm_server_whose_history_is_too_short_for_the_model_is_left_to_the_trend(model):
    context = window()
    context[1, :, :-2] = np.nan
    made = forecast.by_model(model, tuple(SIGNALS), present((True,) * 4), context, None)
    assert made.by_model.tolist() == [True, False, True, True] and np.isnan(made.values[1]).all()
    assert len(made.quantiles.values) == 3 and np.isfinite(made.values[[0, 2, 3]]).all()


def test_without_a_warm_server_there_is_no_forecast_by_the_model(model):
    made = forecast.by_model(model, tuple(SIGNALS), present((False,) * 4), window(), None)
    assert made.quantiles is None and not made.by_model.any()
    assert made.values.shape == (4, 8, 96, 3) and made.values.dtype == np.float32 and np.isnan(made.values).all()
