"""Windows of the past are cut without leaks, forecast as in serving, and judged."""

import numpy as np
import pytest

from exporter.profiles import METRICS
from forecaster.config import load_config
from forecaster.evaluation import backtest, scoring
from forecaster.evaluation.backtest import CONTEXT_STEPS, Forecaster, Joined, Windows, at_origins, draw
from forecaster.models import heuristic
from forecaster.models.model import Model
from forecaster.risk.chance import Calibration
from forecaster.risk.thresholds import RiskConfig, Severe
from forecaster.training.dataset import DatasetError, History
from tests.tiny_models import MONDAY, history, write_untrained

SIGNALS = load_config("fleet").signals
CPU = {"cpu_pct": SIGNALS["cpu_pct"]}
STEP = 300.0


def ramp(rows: int = 3 * scoring.DAY, resolution: float = STEP) -> History:
    """Two servers whose one signal tells the row it stands in, the second server's 10000 more."""
    values = (np.arange(rows)[:, None, None] + np.array([0, 10_000])[:, None]).astype(np.float32)
    return History(MONDAY, resolution, ("cpu_pct",), ("a001", "b001"), ("database", "web_api"), values)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model.load(write_untrained(tmp_path_factory.mktemp("artifact") / "tiny"), "cpu")


def simulated(count: int = 5) -> Windows:
    """Windows of different servers and instants of the simulated fleet."""
    place = np.stack([np.arange(count) * 3, 600 + 137 * np.arange(count)], 1)
    return Windows(history(), place, 5)


# -- cutting


def test_a_windows_targets_begin_at_its_origin_and_its_context_ends_before():
    windows = at_origins(ramp(), STEP, np.array([[1, 300]]))
    truth, context = windows.truth(), windows.context(slice(None))
    assert truth.shape == (1, 1, 96) and truth.dtype == np.float32
    assert (truth[0, 0, 0], truth[0, 0, -1], context[0, 0, -1]) == (10_300, 10_395, 10_299)
    assert windows.instants().tolist() == [MONDAY + 299 * STEP]
    assert windows.names(slice(None)) == (("b001",), ("web_api",))


def test_a_context_is_a_week_and_unknown_before_the_history_begins():
    context = at_origins(ramp(), STEP, np.array([[0, 300]])).context(slice(None))
    assert context.shape == (1, 1, CONTEXT_STEPS) == (1, 1, 7 * 288)
    assert np.isnan(context[0, 0, :-300]).all()
    np.testing.assert_array_equal(context[0, 0, -300:], np.arange(300))


def test_targets_beyond_the_end_are_unknown():
    truth = at_origins(ramp(400), STEP, np.array([[0, 390]])).truth()
    assert np.isfinite(truth).sum() == 10 and truth[0, 0, 9] == 399


def test_one_minute_history_is_read_in_steps_of_five_minutes_with_its_newest_motion():
    windows = Windows(ramp(9000, 60.0), np.array([[0, 2000]]), 5)
    np.testing.assert_array_equal(windows.truth()[0, 0, :3], [2005, 2010, 2015])
    np.testing.assert_array_equal(windows.context(slice(None))[0, 0, -3:], [1990, 1995, 2000])
    np.testing.assert_array_equal(windows.earlier(slice(None))[0, 0, -2:], [1994, 1999])
    assert Windows(ramp(), np.array([[0, 300]]), 1).earlier(slice(None)) is None, "a grid of whole steps shows no motion"


def test_drawn_windows_have_a_day_before_and_eight_hours_after():
    windows = draw(ramp(), STEP, 40, seed=3)
    assert len(windows) == 80 and windows.place[:, 1].min() >= scoring.DAY
    assert np.isfinite(windows.truth()).all() and windows.place[:, 1].max() + 96 < len(ramp().values)
    np.testing.assert_array_equal(windows.place, draw(ramp(), STEP, 40, seed=3).place)
    assert (windows.place != draw(ramp(), STEP, 40, seed=4).place).any()


def test_windows_are_drawn_only_where_the_present_is_observed_and_hardly_a_target_missing():
    holey = ramp()
    holey.values[400:402, 0] = np.nan
    holey.values[600:606, 1] = np.nan
    windows = draw(holey, STEP, 1000, seed=0)
    first, second = (set(windows.place[windows.place[:, 0] == s, 1].tolist()) for s in (0, 1))
    assert not first & set(range(400, 425)) and 425 in first and 350 in first
    assert not second & set(range(509, 600)) and second & set(range(288, 504))


def test_windows_may_be_kept_to_the_last_weeks():
    assert draw(ramp(), STEP, 50, 0, first=MONDAY + 500 * STEP).place[:, 1].min() >= 500


def test_a_history_too_short_for_one_window_says_how_much_is_needed():
    with pytest.raises(DatasetError, match=r"no window can be cut from 25\.0 h of 2 servers; expected at least 32 h"):
        draw(ramp(300), STEP, 4, 0)


def test_a_resolution_that_does_not_divide_the_step_is_refused():
    with pytest.raises(DatasetError, match="70 s does not divide the step of 300 s"):
        draw(ramp(5000, 70.0), STEP, 4, 0)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (np.array([[0.0, 5.0]]), r"float64 \(1, 2\); expected integers \(N, 2\)"),
        (np.array([1, 2, 3]), r"int64 \(3,\); expected integers"),
        (np.empty((0, 2), np.int64), r"\(0, 2\); expected integers"),
        (np.array([[0, 300], [2, 300]]), r"window 1 is \(server 2, origin 300\); expected servers 0\.\.1"),
        (np.array([[-1, 300]]), "expected servers"),
        (np.array([[0, 0]]), r"origin 0\); expected .* origins 1\.\.864"),
        (np.array([[0, 865]]), "origin 865"),
    ],
)
def test_pairs_that_name_no_window_are_refused(pairs, message):
    with pytest.raises(DatasetError, match=message):
        at_origins(ramp(), STEP, pairs)


def test_windows_of_several_histories_stand_under_one_index():
    joined = Joined([at_origins(ramp(), STEP, np.array([[0, 300], [1, 301]])), at_origins(ramp(), STEP, np.array([[1, 400]]))])
    assert [joined.context(i)[0, -1] for i in range(3)] == [299, 10_300, 10_399]
    assert joined.title(2) == "b001, 2026-03-03 09:15 UTC"


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


def test_no_forecast_depends_on_what_came_after_its_origin(model):
    windows, changed = simulated(1), history().values.copy()
    now = windows.place[0, 1]
    changed[now + 1 :] = np.float32(77)
    later = Windows(History(**{**history().__dict__, "values": changed}), windows.place, 5)
    for source in (model, "heuristic", "persistence", "seasonal-naive", "last-day", "predict-linear"):
        one, other = (backtest.run(Forecaster("x", SIGNALS, source), w) for w in (windows, later))
        np.testing.assert_array_equal(one, other)


def test_batches_make_no_difference(model, monkeypatch):
    whole = backtest.run(Forecaster("tiny", SIGNALS, model), simulated())
    monkeypatch.setattr(backtest, "BATCH", 2)
    seen = []

    def bar(items):
        seen.extend(items)
        return seen

    np.testing.assert_allclose(backtest.run(Forecaster("tiny", SIGNALS, model), simulated(), bar), whole, rtol=1e-3, atol=1e-3)
    assert seen == [0, 2, 4]


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
    flipped = Windows(History(**{**history().__dict__, "values": history().values[..., ::-1],
                                 "signals": tuple(backwards)}), windows.place, 5)
    straight, turned = (backtest.run(Forecaster("tiny", signals, model), w)
                        for signals, w in ((SIGNALS, windows), (backwards, flipped)))
    np.testing.assert_allclose(turned[:, ::-1], straight, rtol=1e-4, atol=1e-4)


def test_a_signal_the_model_does_not_know_is_nan_and_has_no_part_in_its_figures(model):
    signals = {"swap_pct": SIGNALS["mem_pct"], **SIGNALS}
    values = np.concatenate([history().values[..., :1], history().values], -1)
    windows = Windows(History(**{**history().__dict__, "values": values, "signals": tuple(signals)}), simulated(2).place, 5)
    forecaster = Forecaster("tiny", signals, model)
    made = backtest.run(forecaster, windows)
    assert forecaster.unknown == ["swap_pct"]
    assert np.isnan(made[:, 0]).all() and np.isfinite(made[:, 1:]).all()
    found = backtest.evaluate(forecaster, made, windows.truth(), backtest.scale(windows))
    assert tuple(found["signals"]) == METRICS and np.isfinite(found["wql_mean"])


def test_a_model_that_needs_a_signal_the_data_lacks_is_refused(model):
    with pytest.raises(DatasetError, match="model tiny needs the signals mem_pct, .*, which the data lacks"):
        Forecaster("tiny", CPU, model)


def test_the_scale_of_a_window_is_its_own_day_ago_error():
    noise = np.random.default_rng(0).normal(50, 5, (3 * scoring.DAY, 2, 1)).astype(np.float32)
    given = History(MONDAY, STEP, ("cpu_pct",), ("a", "b"), ("x", "x"), noise)
    windows = at_origins(given, STEP, np.array([[1, 700]]))
    expected = np.abs(noise[288:700, 1, 0] - noise[: 700 - 288, 1, 0]).mean()
    assert backtest.scale(windows) == pytest.approx(np.array([[expected]]), rel=1e-5)


# -- incidents


def troubled() -> tuple[np.ndarray, np.ndarray]:
    """Forecasts (4, 3, 96, 3) and what came of cpu, memory and latency. Window 0: said and came; 1: only said; 2: only
    came, after an hour; 3: neither."""
    forecast, truth = np.full((4, 3, 96, 3), 10, np.float32), np.full((4, 3, 96), 10, np.float32)
    forecast[:2, :, 1] = [[50, 99, 99.5], [50, 99, 99.5], [50, 99, 600]]
    truth[0, 0, 3], truth[2, 2, 11] = 97, 250
    return forecast, truth


TROUBLE = ("cpu_pct", "mem_pct", "latency_ms")


def test_priorities_and_chances_are_held_against_severe_thresholds_crossed():
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
        assert exceedance.shape == (known.sum(), 3, 96), "chances of cpu, memory and latency for the rows that are known"
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


def test_a_yardstick_has_no_calibrated_chances():
    assert Forecaster("persistence", SIGNALS, "persistence").chances == {}
