"""Who is forecast by what: warm servers by the model, the others by the trend, stale ones by nothing."""

import numpy as np
import pytest

from forecaster.config import load_config
from forecaster.memory.memory import Present
from forecaster.models import forecast, heuristic
from forecaster.models.artifact import MODELS
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
    assert np.isnan(made.values[:, 0]).all() and made.by_model.tolist() == [[False, *[True] * 8]] * 4
    forecast.add_trend(made, now, signals)
    assert (made.values[:, 0, :, 1] == 7).all()
    np.testing.assert_allclose(made.values[:, :0:-1], expected, rtol=1e-5)


def test_a_warm_server_whose_history_is_too_short_for_the_model_is_left_to_the_trend(model):
    context = window()
    context[1, :, :-2] = np.nan
    made = forecast.by_model(model, tuple(SIGNALS), present((True,) * 4), context, None)
    assert made.by_model.any(1).tolist() == made.by_model.all(1).tolist() == [True, False, True, True]
    assert np.isnan(made.values[1]).all()
    assert len(made.quantiles.values) == 3 and np.isfinite(made.values[[0, 2, 3]]).all()


def test_without_a_warm_server_there_is_no_forecast_by_the_model(model):
    made = forecast.by_model(model, tuple(SIGNALS), present((False,) * 4), window(), None)
    assert made.quantiles is None and not made.by_model.any()
    assert made.values.shape == (4, 8, 96, 3) and made.values.dtype == np.float32 and np.isnan(made.values).all()


SHIPPED, HOSTS, HOST = MODELS / "servers", ("h1", "h2"), ("generic",) * 2
OF_HOSTS = dict(list(load_config("node_exporter").signals.items())[:5])  # those that the model was trained on


@pytest.fixture(scope="module")
def servers_model():
    return Model.load(SHIPPED, "cpu")


def day(*, signals: int = 5) -> np.ndarray:
    """float32 (2, signals, 288): noise, of which each row is its own."""
    return np.random.default_rng(4).random((2, signals, 288)).astype(np.float32) * 40


def hosts(context: np.ndarray) -> Present:
    encoder = context[..., -24:]
    return Present(NOW, HOSTS, HOST, encoder, encoder[..., -1], np.full(2, 150), np.full(2, NOW), np.zeros(2, bool),
                   np.ones(2, bool))


def test_a_host_is_forecast_by_the_signals_it_has_and_what_it_lacks_is_unknown(servers_model):
    signals = OF_HOSTS
    names, context = tuple(signals), day()
    whole = forecast.by_model(servers_model, names, hosts(context), context, None)
    context = context.copy()
    context[1, 1:] = np.nan
    made = forecast.by_model(servers_model, names, hosts(context), context, None)
    forecast.add_trend(made, hosts(context), signals)
    assert made.method == ("tft", "tft") and made.by_model.tolist() == [[True] * 5, [True, *[False] * 4]]
    np.testing.assert_allclose(made.values[0], whole.values[0], rtol=1e-3)
    np.testing.assert_allclose(made.values[1, 0], whole.values[1, 0], rtol=1e-3)
    assert np.isnan(made.values[1, 1:]).all() and np.isnan(made.quantiles.values[1, 1:]).all()


def test_a_configuration_may_lack_signals_of_the_model_and_have_others(servers_model):
    signals = OF_HOSTS
    context = day()
    whole = forecast.by_model(servers_model, tuple(signals), hosts(context), context, None)
    names = ("disk_io_mb_s", "load", "cpu_pct")
    held = np.stack([context[:, list(signals).index("disk_io_mb_s")], context[:, 1] * 0 + 3, context[:, 0]], 1)
    made = forecast.by_model(servers_model, names, hosts(held), held, None)
    forecast.add_trend(made, hosts(held), {name: signals.get(name, signals["cpu_pct"]) for name in names})
    assert made.by_model.tolist() == [[True, False, True]] * 2 and (made.values[:, 1, :, 1] == 3).all()
    column = [list(signals).index(name) for name in ("disk_io_mb_s", "cpu_pct")]
    np.testing.assert_allclose(made.values[:, [0, 2]], whole.values[:, column], rtol=1e-3)


def test_a_further_signal_of_a_host_is_forecast_by_the_model_where_the_host_has_it():
    signals = load_config("node_exporter").signals
    model = Model.load(SHIPPED, "cpu", signals=signals)
    context = day(signals=len(signals))
    context[1, 5:] = np.nan
    made = forecast.by_model(model, tuple(signals), hosts(context), context, None)
    assert made.by_model.tolist() == [[True] * 14, [True] * 5 + [False] * 9]
    assert made.quantiles.signals == tuple(signals) and np.isnan(made.values[1, 5:]).all()


def test_the_trend_fills_only_what_the_model_does_not_forecast_of_servers_that_are_not_stale():
    signals, context = OF_HOSTS, day()
    now = hosts(context)
    made = forecast.nothing(now)
    made.values[0, 0], made.by_model[0, 0] = -1, True
    forecast.add_trend(made, Present(**vars(now) | {"stale": np.array([False, True])}), signals)
    assert (made.values[0, 0] == -1).all() and np.isnan(made.values[1]).all()
    np.testing.assert_array_equal(made.values[0, 1:], heuristic.forecast(now.encoder, signals)[0, 1:])


def test_a_signal_that_fell_silent_has_no_trend_after_half_an_hour():
    signals, context = OF_HOSTS, day()
    context[0, 0, -6:], context[1, 0, -7:] = np.nan, np.nan
    made = forecast.nothing(hosts(context))
    forecast.add_trend(made, hosts(context), signals)
    assert np.isfinite(made.values[0]).all() and np.isnan(made.values[1, 0]).all()
    assert np.isfinite(made.values[1, 1:]).all()
