"""Past windows are forecast as in serving, and their forecasts are compared with actual values."""

from dataclasses import replace

import numpy as np
import pytest

from exporter.profiles import METRICS
from forecaster.config import load_config
from forecaster.evaluation import backtest, scoring
from forecaster.evaluation.backtest import Forecaster
from forecaster.evaluation.windows import Windows
from forecaster.models import heuristic
from forecaster.models.artifact import MODELS
from forecaster.models.model import Model
from forecaster.risk.chance import Calibration
from forecaster.risk.thresholds import RiskConfig, Severe
from forecaster.training.dataset import DatasetError
from tests.tiny_models import history, write_untrained

pytestmark = pytest.mark.slow

SIGNALS = load_config("fleet").signals
CPU = {"cpu_pct": SIGNALS["cpu_pct"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model.load(write_untrained(tmp_path_factory.mktemp("artifact") / "tiny"), "cpu")


def simulated(count: int = 5) -> Windows:
    """Windows of different servers and instants of the simulated fleet."""
    place = np.stack([np.arange(count) * 3, 600 + 137 * np.arange(count)], 1)
    return Windows(history(), place, 5)


# -- forecasting


def test_a_model_is_asked_with_the_window_that_serving_would_show_it(model):
    windows = simulated()
    made = backtest.run(Forecaster("tiny", SIGNALS, model), windows)
    every = slice(None)
    served = np.concatenate([
        model.forecast(windows.context(every)[i : i + 1, :, -24:], float(windows.instants()[i]),
                       windows.names(every)[0][i : i + 1], windows.names(every)[1][i : i + 1],
                       windows.earlier(every)[i : i + 1])[0]
        for i in range(len(windows))
    ])
    np.testing.assert_allclose(made, served, rtol=1e-3, atol=1e-3)
    assert made.shape == (5, 8, 96, 3) and made.dtype == np.float32


def test_no_forecast_depends_on_values_after_its_origin(model):
    windows, changed = simulated(1), history().values.copy()
    now = windows.place[0, 1]
    changed[now + 1 :] = np.float32(77)
    later = Windows(replace(history(), values=changed), windows.place, 5)
    for source in (model, "heuristic", "persistence", "seasonal-naive", "last-day", "predict-linear"):
        one, other = (backtest.run(Forecaster("x", SIGNALS, source), w) for w in (windows, later))
        np.testing.assert_array_equal(one, other)


def test_batches_make_no_difference(model, monkeypatch):
    whole = backtest.run(Forecaster("tiny", SIGNALS, model), simulated())
    monkeypatch.setattr("forecaster.evaluation.windows.BATCH", 2)
    seen = []

    def bar(items):
        seen.extend(items)
        return seen

    parts = backtest.run(Forecaster("tiny", SIGNALS, model), simulated(), bar)
    np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-3)
    assert seen == [slice(0, 2), slice(2, 4), slice(4, 5)]


def test_where_history_is_too_short_the_heuristic_stands_in_and_is_counted(model):
    windows = simulated(3)
    context = windows.context(slice(None))
    context[1, :, :-2] = np.nan
    forecaster = Forecaster("tiny", SIGNALS, model)
    made = forecaster.forecast(context, windows.instants(), *windows.names(slice(None)))
    np.testing.assert_array_equal(made[1], heuristic.forecast(context[1:2, :, -12:], SIGNALS)[0])
    assert forecaster.left_to_heuristic == 1
    alone = Forecaster("tiny", SIGNALS, model)
    alone.forecast(context[[0, 2]], windows.instants()[[0, 2]], ("a", "b"), ("c", "d"))
    assert alone.left_to_heuristic == 0


def test_signals_in_another_order_are_given_to_the_model_in_its_own(model):
    windows, backwards = simulated(2), dict(reversed(SIGNALS.items()))
    turned_history = replace(history(), values=history().values[..., ::-1], signals=tuple(backwards))
    flipped = Windows(turned_history, windows.place, 5)
    straight, turned = (backtest.run(Forecaster("tiny", signals, model), w)
                        for signals, w in ((SIGNALS, windows), (backwards, flipped)))
    np.testing.assert_allclose(turned[:, ::-1], straight, rtol=1e-4, atol=1e-4)


def test_a_signal_the_model_does_not_know_is_nan_and_has_no_part_in_its_figures(model):
    signals = {"swap_pct": SIGNALS["mem_pct"], **SIGNALS}
    values = np.concatenate([history().values[..., :1], history().values], -1)
    given = replace(history(), values=values, signals=tuple(signals))
    windows = Windows(given, simulated(2).place, 5)
    forecaster = Forecaster("tiny", signals, model)
    made = backtest.run(forecaster, windows)
    assert forecaster.unknown == ["swap_pct"]
    assert np.isnan(made[:, 0]).all() and np.isfinite(made[:, 1:]).all()
    found = backtest.evaluate(forecaster, made, windows.truth(), windows.scale())
    assert tuple(found["signals"]) == METRICS and np.isfinite(found["wql_mean"])


def test_a_model_without_a_signal_in_common_with_the_data_is_refused(model):
    with pytest.raises(DatasetError, match="tiny forecasts cpu_pct, .*; the data has swap_pct: expected a signal"):
        Forecaster("tiny", {"swap_pct": SIGNALS["mem_pct"]}, model)


def test_a_host_with_cpu_alone_is_forecast_as_well_as_with_all_signals():
    shipped = Model.load(MODELS / "servers", "cpu")
    names = shipped.encoding.signals
    keep = [METRICS.index(name) for name in names]
    windows = Windows(replace(history(), values=history().values[..., keep], signals=names), simulated(4).place, 5)
    whole = Forecaster("servers", {name: SIGNALS[name] for name in names}, shipped)
    cpu = names.index("cpu_pct")
    alone = Windows(replace(windows.history, values=windows.history.values[..., [cpu]], signals=("cpu_pct",)),
                    windows.place, 5)
    of_all, of_one = backtest.run(whole, windows)[:, [cpu]], backtest.run(Forecaster("servers", CPU, shipped), alone)
    expected, found = (scoring.figures(made, alone.truth(), None, ["cpu_pct"]) for made in (of_all, of_one))
    assert found["cpu_wql_8h"] == pytest.approx(expected["cpu_wql_8h"], rel=1e-4)


# -- incidents


def troubled() -> tuple[np.ndarray, np.ndarray]:
    """Forecasts (4, 3, 96, 3) and actual values of cpu, memory and latency. Window 0: an incident forecast and actual;
    1: only forecast; 2: only actual, after an hour; 3: neither."""
    forecast, truth = np.full((4, 3, 96, 3), 10, np.float32), np.full((4, 3, 96), 10, np.float32)
    forecast[:2, :, 1] = [[50, 99, 99.5], [50, 99, 99.5], [50, 99, 600]]
    truth[0, 0, 3], truth[2, 2, 11] = 97, 250
    return forecast, truth


TROUBLE = ("cpu_pct", "mem_pct", "latency_ms")


def test_priorities_and_probabilities_are_compared_with_severe_thresholds_crossed():
    found = backtest.incidents(*troubled(), TROUBLE, RiskConfig())
    assert found["thresholds"] == dict(Severe())
    assert found["P1_30m"] == {"alarms": 2, "incidents": 1, "precision": 0.5, "recall": 1, "lead_minutes": 20}
    assert found["P1_8h"]["incidents"] == 2 and found["P1_8h"]["recall"] == 0.5
    assert found["P2_30m"] == found["P1_30m"], "an alarm of P2 is one of P1, too"
    assert found["weighted_30m"]["base_rate"] == 0.25 and found["weighted_8h"]["base_rate"] == 0.5
    assert found["weighted_30m"]["auroc"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert sum(share for share, _, _ in found["weighted_30m"]["reliability"]) == pytest.approx(1)
    assert "calibrated_30m" not in found


def test_calibrated_chances_are_judged_beside_the_weighted_ones_and_unknown_ones_left_out():
    chances = {"30m": np.array([0.9, 0.1, np.nan, 0.0])}
    found = backtest.incidents(*troubled(), TROUBLE, RiskConfig(), chances)
    assert found["calibrated_30m"]["windows"] == 3 and found["weighted_30m"]["windows"] == 4
    assert found["calibrated_30m"]["brier"] == pytest.approx((0.01 + 0.01) / 3)
    assert "calibrated_8h" not in found


def test_severe_thresholds_are_those_of_the_configuration():
    found = backtest.incidents(*troubled(), TROUBLE, RiskConfig(severe={"cpu": 98}))
    assert found["thresholds"]["cpu"] == 98 and found["P1_30m"]["incidents"] == 0


def test_without_a_role_among_the_signals_there_are_no_incidents():
    forecast, truth = troubled()
    assert backtest.incidents(forecast[:, :1], truth[:, :1], ("net_in_mb_s",), RiskConfig()) == {}


class Even(Calibration):
    """A calibration that holds an incident for as likely as none."""

    def __init__(self):
        super().__init__({}, {}, {})

    def assess(self, exceedance, known, windows):
        assert exceedance.shape == (known.sum(), 3, 96), "probabilities of cpu, memory and latency for known rows"
        return {window: np.where(known, 0.5, np.nan) for window in windows}, {}


def test_a_calibrated_model_says_its_chances_of_every_row_it_forecasts(model):
    windows, forecaster = simulated(3), Forecaster("tiny", SIGNALS, model, calibration=Even())
    context = windows.context(slice(None))
    context[1] = np.nan
    made = forecaster.forecast(context, windows.instants(), *windows.names(slice(None)))
    assert set(forecaster.chances) == {"30m", "8h"}
    np.testing.assert_array_equal(forecaster.chances["8h"], [0.5, np.nan, 0.5])
    found = backtest.evaluate(forecaster, made, windows.truth(), np.ones((3, 8)))
    assert found["incidents"]["calibrated_30m"]["windows"] == 2 and found["left_to_heuristic"] == 1


def test_batches_without_any_model_forecast_keep_their_place_among_the_chances(model):
    windows, forecaster = simulated(3), Forecaster("tiny", SIGNALS, model, calibration=Even())
    whole = slice(None)
    for context in (np.full_like(windows.context(whole), np.nan), windows.context(whole)):
        forecaster.forecast(context, windows.instants(), *windows.names(whole))
    np.testing.assert_array_equal(forecaster.chances["30m"], [np.nan] * 3 + [0.5] * 3)


def test_a_yardstick_has_no_calibrated_chances():
    assert Forecaster("persistence", SIGNALS, "persistence").chances == {}
