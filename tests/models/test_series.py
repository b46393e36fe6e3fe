"""Features and network of single series: any scale, any length of history, exactly idle stays exactly idle."""

import numpy as np
import pytest
import torch

from forecaster.models import series, views
from forecaster.models.artifact import MODELS, Architecture, ModelError, write_artifact
from forecaster.models.model import Model
from forecaster.models.network import ANCHORS, SeriesNetwork, sparsemax
from forecaster.models.series import SeriesEncoding
from forecaster.models.views import CONTEXT
from forecaster.signals import Signal

pytestmark = pytest.mark.slow

LEVELS = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
SMALL = Architecture(hidden=8, heads=2, continuous=4, dropout=0.0, quantiles=LEVELS)
NOW = 1_772_409_600.0


def encoding(**changed) -> SeriesEncoding:
    return SeriesEncoding(
        **{
            "signals": ("cpu_pct", "net_in_mb_s"),
            "floors": (1e-3, 1e-6),
            "low": (0.0, 0.0),
            "high": (100.0, None),
            "levels": LEVELS,
            "step": 300.0,
            "horizon": 96,
            "timezone": "UTC",
        }
        | changed
    )


@pytest.fixture(scope="module")
def weights():
    from forecaster.training.library import build_network

    torch.manual_seed(1)
    e = encoding()
    library = build_network(e.variables, SMALL, e.encoder_steps, e.outputs).state_dict()
    return {k: v for k, v in library.items() if "variable_selection.prescalers" not in k}


@pytest.fixture(scope="module")
def model(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("series") / "tiny"
    write_artifact(folder, {k: v.numpy() for k, v in weights.items()}, encoding(), SMALL, {}, {"name": "tiny"})
    return Model.load(folder, "cpu")


def noise(servers=3, steps=CONTEXT, seed=0):
    return np.random.default_rng(seed).random((servers, 2, steps)).astype(np.float32) * 50


def ask(model, window):
    return model.forecast(window, NOW, ("host",) * len(window), ("generic",) * len(window))


def test_an_idle_machine_is_forecast_exactly_idle(model):
    window = np.full((1, 2, CONTEXT), 0.25, np.float32)
    window[..., :900] = np.nan
    values, done = ask(model, window)
    assert done.all() and (values == 0.25).all()


def test_the_network_says_the_same_of_an_idle_machine_that_is_not_asked_of_it(model):
    filled, known = series.fill(np.full((2, CONTEXT), 0.25, np.float32))
    made = model.engine(series.batch(model.encoding, filled, known, np.array([0, 1]), np.full(2, NOW)))
    assert made.shape == (2, 96, len(LEVELS)) and (made == 0.25).all()


def test_forecasts_scale_with_the_series(model):
    window = noise(1)
    window[:, 1] *= 10
    window[0, 0] = window[0, 1]
    small, _ = ask(model, np.stack([window[0], window[0] / 1000]))
    np.testing.assert_allclose(small[1, 1], small[0, 1] / 1000, rtol=0.05, atol=1e-4)


def test_quantiles_rise_and_stay_inside_the_bounds(model):
    values, done = ask(model, noise() * 2)
    assert done.all() and values.shape == (3, 2, 96, 3)
    assert (np.diff(values, axis=-1) >= 0).all() and values[:, 0].max() <= 100 and values.min() >= 0


@pytest.mark.parametrize("known", [3, 11, 40, 300, 1000])
def test_a_server_with_little_history_is_forecast_too(model, known):
    window = noise(1)
    window[..., :-known] = np.nan
    values, done = ask(model, window)
    assert done.all() and np.isfinite(values).all()


def test_a_signal_without_history_or_silent_for_too_long_is_not(model):
    window = noise(3)
    window[0, :, :-2] = np.nan
    window[1, 0, -10:] = np.nan
    values, done = ask(model, window)
    assert done.tolist() == [[False, False], [False, True], [True, True]] and np.isnan(values[~done]).all()


def test_a_signal_is_forecast_the_same_whatever_else_the_server_has(model):
    whole = noise(2)
    lacking = whole.copy()
    lacking[0, 1] = np.nan
    (expected, _), (found, done) = ask(model, whole), ask(model, lacking)
    assert done.tolist() == [[True, False], [True, True]] and np.isnan(found[0, 1]).all()
    np.testing.assert_allclose(found[done], expected[done], rtol=1e-3)


def test_a_shorter_window_is_the_same_as_an_unknown_past(model):
    window = noise(1)
    window[..., :-100] = np.nan
    np.testing.assert_array_equal(ask(model, window)[0], ask(model, window[..., -100:])[0])


def test_what_lies_before_the_first_value_repeats_the_known_in_whole_hours():
    context = np.full((1, CONTEXT), np.nan, np.float32)
    context[0, -30:] = np.arange(30)
    filled, known = series.fill(context)
    assert known.tolist() == [30]
    assert filled[0, -54:-30].tolist() == [*range(24, 30), *range(6, 24)], "24 steps are two whole hours"
    assert filled[0, [-49, -73, -97]].tolist() == [29.0] * 3


def test_gaps_carry_the_last_value_on():
    context = np.arange(CONTEXT, dtype=np.float32)[None].copy()
    context[0, 100:110] = np.nan
    filled, known = series.fill(context)
    assert (filled[0, 100:110] == 99).all() and known[0] == CONTEXT


def test_views_read_the_same_minute_of_the_hour_and_the_same_time_of_day():
    hourly = (np.arange(CONTEXT) % 12).astype(np.float32)[None]
    seen = views.views(hourly, np.array(LEVELS, np.float32), 96)
    assert (seen["hours"][0, 0] == np.arange(12)[:, None]).all()
    daily = (np.arange(CONTEXT) % 288).astype(np.float32)[None]
    seen = views.views(daily, np.array(LEVELS, np.float32), 96)
    assert (seen["days"][0, 0] == np.arange(96)[:, None]).all()


def test_what_followed_moments_like_the_present_is_a_view_of_jobs_with_any_period():
    """Every 250 minutes: no hour, no day."""
    values = np.where(np.arange(CONTEXT + 96) % 50 < 7, np.arange(CONTEXT + 96) % 50 + 3, 1).astype(np.float32)
    past, future = values[None, :CONTEXT], values[CONTEXT:]
    seen, near = views.analogs(past, past, np.array(LEVELS, np.float32), 96)
    assert seen.shape == (1, views.ANALOGS, 96, len(LEVELS))
    assert (seen[0, 0] == future[:, None]).all() and near[0, 0] == 0
    strange, far = views.analogs(noise(1)[:, 0], noise(1)[:, 0], np.array(LEVELS, np.float32), 96)
    assert 0.3 < far[0, 0] < far[0, 1] < 1 and np.ptp(strange[0, 0], -1).min() > 0


def test_analogs_read_nothing_that_has_not_happened_yet():
    """What follows a moment ends before now: the newest moment that can be alike is a horizon ago."""
    rising = np.arange(CONTEXT, dtype=np.float32)[None]
    seen, _ = views.analogs(rising, rising, np.array([0, 0.5, 1], np.float32), 96)
    assert seen.max() == CONTEXT - 1


def test_sparse_weights_are_the_nearest_ones_that_sum_to_one():
    found = sparsemax(torch.tensor([[1.0, 0.8, 0.1], [0.2, 0.2, 0.2], [0.0, 5.0, 0.0]]), 1)
    expected = torch.tensor([[0.6, 0.4, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert sparsemax(torch.tensor([[1.0, float("nan")], [2.0, 0.0]]), 1)[1].tolist() == [1, 0]
    x = torch.randn(4, 17, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    weights = sparsemax(x, 1)
    torch.testing.assert_close(weights.sum(1), torch.ones(4, 3))
    (weights[0, :, 0] * torch.arange(17.0)).sum().backward()
    assert (weights == 0).any() and x.grad[0, :, 0].abs().sum() > 0 and x.grad[1].abs().sum() == 0


def test_a_burst_of_days_ago_leaves_an_idle_machine_exactly_idle():
    """Of the model that ships: views that remember the burst get no weight at all."""
    window = np.full((1, 5, CONTEXT), 0.25, np.float32)
    window[..., 700:705] = 40
    values, done = Model.load(MODELS / "servers", "cpu").forecast(window, NOW, ("host",), ("generic",))
    assert done.all() and (values == 0.25).all()


def test_what_was_measured_above_a_bound_can_be_forecast_again(model):
    """Processors of virtual machines are recorded at 105 % of what was provisioned; others stay inside the bound."""
    window = noise(2)
    window[:, 0] = window[:, 0] / 50 + 104
    window[1, 0] -= 5
    values, _ = ask(model, window)
    assert 104 < values[0, 0].max() <= window[0, 0].max() and values[1, 0].max() <= 100
    assert values[1, 0].max() > 99


FURTHER = {
    "net_in_mb_s": Signal(query="x", unit="megabytes_per_second", like="cpu_pct"),  # the model's own stays itself
    "disk_busy_pct": Signal(query="x", unit="percent", min=5, like="net_in_mb_s"),
    "load": Signal(query="x", unit="count", like="nobody"),
    "pressure_pct": Signal(query="x", unit="percent", max=100, like="cpu_pct"),
}


@pytest.mark.parametrize("widening", [None, [[1.0] * len(ANCHORS), [3.0] * len(ANCHORS)]])
def test_a_signal_that_is_like_one_of_the_model_is_forecast_as_that_one_within_its_own_bounds(
        weights, tmp_path, widening):
    facts = {} if widening is None else {"widening": widening}
    write_artifact(tmp_path / "m", {k: v.numpy() for k, v in weights.items()}, encoding(), SMALL, {}, facts)
    plain, more = Model.load(tmp_path / "m", "cpu"), Model.load(tmp_path / "m", "cpu", signals=FURTHER)
    assert more.encoding.signals == ("cpu_pct", "net_in_mb_s", "disk_busy_pct", "pressure_pct")
    assert more.encoding.floors == (1e-3, 1e-6, 1e-3, 1e-3) and more.engine.name == plain.engine.name
    window = noise(2) / 2
    own, _ = ask(plain, window)
    values, done = ask(more, np.concatenate([window, window[:, 1:], window[:, :1]], 1))
    assert done.all()
    np.testing.assert_allclose(values[:, :2], own, rtol=1e-3)
    np.testing.assert_allclose(values[:, 3], own[:, 0], rtol=1e-3)
    np.testing.assert_allclose(values[:, 2], np.maximum(own[:, 1], 5), atol=0.5)  # its floor is that of percent
    assert own[:, 1].min() < 5 == values[:, 2].min()


def test_what_is_stored_of_an_encoding_is_what_was_trained():
    stored = encoding().to_json()
    assert "likes" not in stored and SeriesEncoding.from_json(stored) == encoding()
    assert encoding().extended({"cpu_pct": FURTHER["pressure_pct"]}) == encoding()


def test_the_network_learns_through_the_served_pass(weights):
    tensors = {k: v.clone().requires_grad_() for k, v in weights.items()}
    filled, known = series.fill(noise(4)[:, 0])
    inputs = series.batch(encoding(), filled, known, np.zeros(4, np.int64), np.full(4, NOW))
    out = SeriesNetwork(tensors, encoding(), SMALL.heads)({k: torch.as_tensor(v) for k, v in inputs.items()})
    out.abs().mean().backward()
    assert out.shape == (4, 96, len(LEVELS)) and tensors["output_layer.weight"].grad.abs().sum() > 0


def test_stored_widening_moves_the_band_and_not_the_median(weights, model):
    arrays = {k: v.numpy() for k, v in weights.items()}
    facts = {"weights_sha256": "", "widening": [[2.0] * len(ANCHORS)] * 2}
    wide = Model(encoding(), SMALL, arrays, facts, {}, torch.device("cpu"))
    window = noise(1) + 20
    plain, broad = ask(model, window)[0], ask(wide, window)[0]
    np.testing.assert_allclose(broad[..., 1], plain[..., 1], rtol=1e-5)
    assert (broad[..., 2] - broad[..., 1] >= plain[..., 2] - plain[..., 1] - 1e-3).all()
    with pytest.raises(ModelError, match="widening"):
        Model(encoding(), SMALL, arrays, facts | {"widening": [[1.0]]}, {}, torch.device("cpu"))
