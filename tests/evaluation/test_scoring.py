"""Figures are checked on numbers small enough to work out by hand."""

import numpy as np
import pytest

from forecaster.evaluation import scoring
from forecaster.training.dataset import ERROR_FLOOR, day_ago_error

SIGNALS = ("cpu_pct", "disk_io_mb_s")
NAN = float("nan")


def flat(low, mid, high, rows=1, signals=1):
    return np.tile(np.array([low, mid, high], np.float32), (rows, signals, 96, 1))


def test_the_loss_is_twice_the_textbook_pinball_loss():
    found = scoring.loss(flat(1, 2, 4), np.full((1, 1, 96), 3.0, np.float32))[0, 0, 0]
    np.testing.assert_allclose(found, [2 * 0.1 * 2, 2 * 0.5 * 1, 2 * 0.1 * 1], rtol=1e-6)


def test_weighted_quantile_loss_divides_by_the_actual_values():
    found = scoring.figures(flat(1, 2, 4), np.full((1, 1, 96), 3.0, np.float32), np.ones((1, 1)), ["cpu_pct"])
    row = found["signals"]["cpu_pct"]
    mean = (0.4 + 1.0 + 0.2) / 3
    assert row["wql_8h"] == pytest.approx(mean / 3, rel=1e-5) and row["wql_30m"] == row["wql_8h"]
    assert row["pinball_at_1h"] == pytest.approx(mean / 2, rel=1e-5)
    assert row["sql"] == pytest.approx(mean, rel=1e-5)
    assert row["accuracy_30m"] == pytest.approx(100 - 100 / 3, rel=1e-5)
    assert found["inside80"] == 1.0 and row["coverage80_8h"] == 1.0


def test_every_server_counts_alike_in_the_scaled_loss():
    truth = np.stack([np.full((1, 96), 3.0), np.full((1, 96), 300.0)]).astype(np.float32)
    forecast = np.concatenate([flat(1, 2, 4), 100 * flat(1, 2, 4)])
    found = scoring.figures(forecast, truth, np.array([[1.0], [100.0]]), ["mem_pct"])
    alone = scoring.figures(forecast[:1], truth[:1], np.array([[1.0]]), ["mem_pct"])
    assert found["sql_geo"] == pytest.approx(alone["sql_geo"], rel=1e-5)


def test_what_was_not_observed_is_not_scored():
    truth = np.full((1, 1, 96), np.nan, np.float32)
    truth[0, 0, :6] = 3.0
    found = scoring.figures(flat(1, 2, 4), truth, np.ones((1, 1)), ["cpu_pct"])["signals"]["cpu_pct"]
    assert found["wql_8h"] == found["wql_30m"] and np.isnan(found["accuracy_8h"]) and np.isnan(found["wql_at_8h"])


def test_the_day_ago_error_has_a_floor_and_ignores_gaps():
    context = np.tile(np.arange(288, dtype=np.float32), 7)[None, None]
    assert day_ago_error(context).tolist() == [[ERROR_FLOOR]]
    context = context.copy()
    context[0, 0, 288:] += 2.0
    context[0, 0, 600:] = np.nan
    assert day_ago_error(context)[0, 0] == pytest.approx(2.0 * 288 / 312)


def test_a_certain_and_right_forecaster_of_incidents_has_no_error():
    outcome = np.array([True, False, False, True])
    found = scoring.probability_figures(outcome.astype(float), outcome)
    assert (found["brier"], found["skill"], found["auroc"], found["ece"]) == (0.0, 1.0, 1.0, 0.0)


def test_the_base_rate_said_everywhere_has_no_skill_but_is_calibrated():
    outcome = np.array([True, False, False, False])
    found = scoring.probability_figures(np.full(4, 0.25), outcome)
    assert found["skill"] == pytest.approx(0) and found["auroc"] == 0.5 and found["ece"] == pytest.approx(0)


def test_overconfidence_is_a_calibration_error():
    found = scoring.probability_figures(np.full(10, 0.95), np.arange(10) < 5)
    assert found["ece"] == pytest.approx(0.45)


def test_without_both_outcomes_skill_and_auroc_are_unknown():
    found = scoring.probability_figures(np.array([0.1, 0.2]), np.array([False, False]))
    assert np.isnan(found["skill"]) and np.isnan(found["auroc"])


def test_chances_that_are_unknown_are_left_out():
    assert scoring.probability_figures(np.array([np.nan, 0.5]), np.array([True, True]))["windows"] == 1


def test_alarms_are_judged_by_precision_recall_and_lead_time():
    first = np.array([2.0, np.inf, 6.0, np.nan])
    found = scoring.alarm_figures(np.array([True, True, False, True]), first, 5.0)
    assert (found["alarms"], found["incidents"]) == (2, 2)
    assert (found["precision"], found["recall"], found["lead_minutes"]) == (0.5, 0.5, 10.0)


# -- several signals, windows and steps


def forecast(*bands: tuple[float, float, float], windows: int = 1) -> np.ndarray:
    """float32 (windows, C, 96, 3): one level band for each signal."""
    return np.tile(np.array(bands, np.float32)[None, :, None], (windows, 1, 96, 1))


def truth(*levels: float, windows: int = 1) -> np.ndarray:
    return np.tile(np.array(levels, np.float32)[None, :, None], (windows, 1, 96))


def test_weighted_and_scaled_loss_are_those_worked_out_by_hand():
    made = scoring.figures(forecast((8, 11, 12), (2, 2, 4)), truth(10, 2), np.array([[3.0, 0.1]]), SIGNALS)
    cpu, disk = made["signals"]["cpu_pct"], made["signals"]["disk_io_mb_s"]
    assert cpu["wql_8h"] == pytest.approx(0.6 / 10, abs=1e-6) and cpu["pinball_8h"] == pytest.approx(0.3, abs=1e-6)
    assert disk["wql_30m"] == pytest.approx(0.4 / 3 / 2, abs=1e-6)
    assert cpu["sql"] == pytest.approx(0.6 / 3, abs=1e-6) and disk["sql"] == pytest.approx(0.4 / 3 / 0.1, abs=1e-6)
    assert made["wql_mean"] == pytest.approx((0.06 + 0.4 / 6) / 2, abs=1e-6)
    assert made["sql_geo"] == pytest.approx(np.sqrt(0.2 * 0.4 / 0.3), abs=1e-6)
    assert made["inside80"] == 1 and made["cpu_wql_30m"] == made["cpu_wql_8h"] == cpu["wql_8h"]


def test_every_window_counts_alike_in_the_scaled_loss_and_by_its_size_in_the_weighted_one():
    came = np.concatenate([truth(10), truth(1000)])
    said = np.concatenate([forecast((10, 10, 10)), forecast((900, 900, 900))])
    row = scoring.figures(said, came, np.array([[1.0], [50.0]]), ("cpu_pct",))["signals"]["cpu_pct"]
    assert row["wql_8h"] == pytest.approx(100 / 1010, abs=1e-6)
    assert row["sql"] == pytest.approx(np.sqrt(1e-6 * 100 / 50), rel=1e-6), "an exact forecast counts as 1e-6, not as 0"


def test_figures_to_30_minutes_see_six_steps_and_figures_at_30_minutes_the_sixth():
    said, came = forecast((0, 1, 2)), truth(1)
    said[:, :, 5] += 10
    found = scoring.figures(said, came, None, ("cpu_pct",))
    row = found["signals"]["cpu_pct"]
    quiet, off = 0.4 / 3, 2 * (0.9 * 9 + 0.5 * 10 + 0.1 * 11) / 3
    assert row["wql_at_5m"] == pytest.approx(quiet, abs=1e-6) and row["wql_at_30m"] == pytest.approx(off, abs=1e-5)
    assert row["wql_30m"] == pytest.approx((5 * quiet + off) / 6, abs=1e-5)
    assert row["wql_8h"] == pytest.approx((95 * quiet + off) / 96, abs=1e-5)
    assert found["wql_mean"] == found["wql_mean_8h"] == row["wql_8h"] != found["wql_mean_30m"]
    assert row["coverage80_30m"] == pytest.approx(5 / 6) and row["coverage80_at_30m"] == 0
    assert "sql" not in row


@pytest.mark.parametrize(("label", "step"), scoring.HORIZONS.items())
def test_figures_at_a_horizon_are_those_of_its_step_alone(label, step):
    said, minutes = forecast((0, 1, 2)), {"5m": 5, "30m": 30, "1h": 60, "4h": 240, "8h": 480}
    said[:, :, minutes[label] // 5 - 1] = 5
    row = scoring.figures(said, truth(1), None, ("cpu_pct",))["signals"]["cpu_pct"]
    assert [at for at in scoring.HORIZONS if row[f"coverage80_at_{at}"] == 0] == [label] and step * 5 == minutes[label]


def test_a_window_without_forecast_does_not_count_in_coverage():
    said = np.concatenate([forecast((0, 1, 2)), forecast((NAN, NAN, NAN))])
    assert scoring.figures(said, np.concatenate([truth(1), truth(1)]), None, ("cpu_pct",))["inside80"] == 1


def test_the_percentage_error_of_a_negative_value_is_that_of_its_magnitude():
    assert scoring.mape(np.array([-40.0]), np.array([-50.0])) == pytest.approx(20)


def test_a_signal_never_observed_has_no_figures_and_no_warning():
    row = scoring.figures(forecast((8, 11, 12)), truth(NAN), np.full((1, 1), NAN), ("cpu_pct",))["signals"]["cpu_pct"]
    assert all(np.isnan(value) for value in row.values())


def test_a_value_on_the_edge_of_the_band_is_inside():
    assert scoring.figures(forecast((1, 1, 1)), truth(1), None, ("cpu_pct",))["inside80"] == 1


@pytest.mark.parametrize(
    ("name", "level", "error"),
    [("cpu_pct", 50.0, 10.0), ("cpu_pct", 0.5, 500.0), ("disk_io_mb_s", 0.5, 1000.0)],
)
def test_the_percentage_error_is_floored_at_one_percent_of_cpu(name, level, error):
    came = truth(level)
    row = scoring.figures(forecast((0, level + 5, 99)), came, None, (name,))["signals"][name]
    assert row["mape_30m"] == pytest.approx(error, rel=1e-5)
    assert row["accuracy_8h"] == pytest.approx(100 - error, rel=1e-5)


def test_the_percentage_error_of_a_signal_at_rest_is_floored_at_a_hundredth_of_its_mean():
    came = np.concatenate([truth(0), truth(200)])
    row = scoring.figures(forecast((0, 0, 0), windows=2), came, None, ("disk_io_mb_s",))["signals"]["disk_io_mb_s"]
    assert row["mape_8h"] == pytest.approx(50)
    came[0] = 0.01
    row = scoring.figures(forecast((0, 0, 0), windows=2), came, None, ("disk_io_mb_s",))["signals"]["disk_io_mb_s"]
    assert row["mape_8h"] == pytest.approx(50 * (1 + 0.01 / 1.0), rel=1e-3)


def test_the_score_of_a_window_is_its_scaled_loss_over_the_signals_it_has():
    came = np.concatenate([truth(10, 2), truth(10, NAN), truth(NAN, NAN)])
    said, scale = forecast((8, 11, 12), (2, 2, 4), windows=3), np.tile([3.0, 0.1], (3, 1))
    score = scoring.window_score(said, came, scale)
    np.testing.assert_allclose(score, [np.sqrt(0.2 * 0.4 / 0.3), 0.2, NAN], rtol=1e-5)


def test_loss_and_coverage_of_every_step_are_those_of_the_figures():
    rng = np.random.default_rng(0)
    said, came = np.sort(rng.normal(5, 2, (7, 2, 96, 3)), -1), rng.normal(5, 2, (7, 2, 96))
    came[3, 1, 5] = NAN
    wql, coverage = scoring.by_step(said, came)
    assert wql.shape == coverage.shape == (2, 96)
    row = scoring.figures(said, came, None, SIGNALS)["signals"]["disk_io_mb_s"]
    assert wql[1, 5] == pytest.approx(row["wql_at_30m"]) and coverage[1, 95] == pytest.approx(row["coverage80_at_8h"])


def test_chances_are_judged_by_brier_score_skill_order_and_calibration():
    said, came = np.array([0.1, 0.1, 0.9, 0.9]), np.array([False, False, True, False])
    made = scoring.probability_figures(said, came)
    assert made["brier"] == pytest.approx((3 * 0.01 + 0.81) / 4) and made["base_rate"] == 0.25
    assert made["skill"] == pytest.approx(1 - 0.21 / (0.25 * 0.75))
    assert made["auroc"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert made["ece"] == pytest.approx(0.5 * 0.1 + 0.5 * 0.4)


def test_certainty_belongs_to_the_last_bin():
    assert scoring.reliability(np.array([1.0, 0.95, 0.0]), np.array([1.0, 0.0, 0.0])) == [
        (pytest.approx(1 / 3), 0, 0),
        (pytest.approx(2 / 3), 0.975, 0.5),
    ]
