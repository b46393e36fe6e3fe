"""The record of each server: sums by day, as servers come and go and the process restarts."""

import numpy as np
import pytest

from forecaster.memory.by_server import DAY, ByServer, figures
from forecaster.memory.scores import each, scored
from forecaster.memory.snapshot import SnapshotError

START = 20_000 * DAY


def one(value: float) -> np.ndarray:
    return np.full((1, 1, 4), value)


def counted(kept: ByServer, name: str) -> float:
    return kept.of(name)[0, 0]


def test_what_was_scored_is_added_up_for_a_week():
    kept = ByServer(1)
    for day in range(9):
        kept.add(START + DAY * day, ("a", "b"), np.array([1]), one(1))
    assert counted(kept, "b") == 7 and counted(kept, "a") == 0 and counted(kept, "nobody") == 0
    kept.add(START + DAY * 12, ("a", "b"), np.array([0]), one(1))
    assert counted(kept, "b") == 3 and counted(kept, "a") == 1


def test_servers_that_come_and_go_keep_their_own_sums():
    kept = ByServer(1)
    kept.add(START, ("a", "b"), np.array([0, 1]), np.concatenate([one(1), one(2)]))
    kept.add(START + 60, ("c", "b"), np.array([0]), one(4))
    assert [counted(kept, name) for name in "abc"] == [0, 2, 4]


def test_a_clock_that_is_set_back_forgets_the_days_that_it_takes_back():
    kept = ByServer(1)
    for day, count in ((-8, 1), (-2, 2), (-1, 4), (0, 8)):
        kept.add(START + DAY * day, ("a",), np.array([0]), one(count))
    kept.add(START - 2 * DAY, ("a",), np.array([0]), one(16))
    assert counted(kept, "a") == 2 + 16
    kept.add(START - 20 * DAY, ("a",), np.array([0]), one(32))
    assert counted(kept, "a") == 32


def test_figures_are_coverage_loss_over_the_trend_and_outcomes():
    forecasts = np.array([[40, 50, 60], [45, 50, 55], [30, 50, 70]], np.float32)[:, None, None]  # published first
    sums = np.concatenate([each(forecasts, np.array([[y]], np.float32)) for y in (55, 65, np.nan)]).sum(0)
    [(coverage, loss, outcomes)] = figures(sums)
    assert (coverage, outcomes) == (0.5, 2) and loss == pytest.approx(38 / 36), "3 + 29/3 over 13/3 + 23/3"
    assert np.isnan(figures(np.zeros((1, 4)))[0][:2]).all()


def test_the_sums_of_all_servers_are_those_of_each_added_up():
    rng = np.random.default_rng(1)
    made = np.sort(rng.normal(50, 5, (3, 20, 2, 3)), -1).astype(np.float32)
    y = rng.normal(50, 5, (20, 2)).astype(np.float32)
    y[3, 1] = np.nan
    assert each(made, y).sum(0) == pytest.approx(scored(made, y)[:, [0, 1, 3, 4]])


def test_a_restart_keeps_the_sums_and_other_settings_do_not(tmp_path):
    path, kept = tmp_path / "servers.npz", ByServer(1, "one")
    kept.add(START, ("a", "b"), np.array([0, 1]), np.concatenate([one(1), one(2)]))
    kept.snapshot(path)
    again = ByServer(1, "one")
    assert again.restore(path, START + 60) is None and counted(again, "b") == 2
    assert "another model" in ByServer(1, "two").restore(path, START)
    assert "has not come" in ByServer(1, "one").restore(path, START - DAY)
    kept._sums[0] = -1
    kept.snapshot(path)
    with pytest.raises(SnapshotError, match="below 0"):
        again.restore(path, START)
    assert counted(again, "b") == 2


def test_of_1000_servers_it_holds_less_than_a_megabyte():
    kept = ByServer(8)
    kept.add(START, tuple(f"s{n}" for n in range(1000)), np.array([0]), np.ones((1, 8, 4)))
    assert kept._sums.nbytes < 1 << 20
