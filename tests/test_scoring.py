"""Figures are checked on numbers small enough to work out by hand."""

import numpy as np
import pytest

from forecaster import scoring


def flat(low, mid, high, rows=1, signals=1):
    return np.tile(np.array([low, mid, high], np.float32), (rows, signals, 96, 1))


def test_the_loss_is_twice_the_textbook_pinball_loss():
    found = scoring.loss(flat(1, 2, 4), np.full((1, 1, 96), 3.0, np.float32))[0, 0, 0]
    np.testing.assert_allclose(found, [2 * 0.1 * 2, 2 * 0.5 * 1, 2 * 0.1 * 1], rtol=1e-6)


def test_weighted_quantile_loss_divides_by_what_came():
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
    assert scoring.day_ago_error(context).tolist() == [[scoring.SCALE_FLOOR]]
    context = context.copy()
    context[0, 0, 288:] += 2.0
    context[0, 0, 600:] = np.nan
    assert scoring.day_ago_error(context)[0, 0] == pytest.approx(2.0 * 288 / 312)


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


def test_the_first_crossing_of_any_role_counts():
    truth = np.zeros((3, 2, 96), np.float32)
    truth[0, 1, 4] = 250.0
    truth[2] = np.nan
    first = scoring.crossing(truth, {"cpu": 0, "latency": 1}, {"cpu": 95, "latency": 200}, 6)
    assert first[0] == 5 and np.isinf(first[1]) and np.isnan(first[2])


def test_a_value_exactly_on_the_threshold_is_no_crossing():
    truth = np.full((1, 1, 96), 95.0, np.float32)
    assert np.isinf(scoring.crossing(truth, {"cpu": 0}, {"cpu": 95.0}, 96)[0])


def test_alarms_are_judged_by_precision_recall_and_lead_time():
    first = np.array([2.0, np.inf, 6.0, np.nan])
    found = scoring.alarm_figures(np.array([True, True, False, True]), first, 5.0)
    assert (found["alarms"], found["incidents"]) == (2, 2)
    assert (found["precision"], found["recall"], found["lead_minutes"]) == (0.5, 0.5, 10.0)
